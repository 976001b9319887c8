/* libuv: uv_udp_try_send, which sends at once; receiving with UV_UDP_RECVMMSG; uv_try_write. */
#include "harness.h"

#include <poll.h>
#include <stdlib.h>
#include <uv.h>

/* libuv cuts the buffer into pieces of 64 kB, and takes as many datagrams, 20 at most. */
#define BUFFER_SIZE (20 * 65536)

static uv_loop_t loop;
static uv_pipe_t stream;
static uv_udp_t sender, receiver;
static uv_timer_t tick;
static const struct load *load;
static char *buffer;

static void fine(int result, const char *what)
{
    if (result < 0)
        fail(what, uv_strerror(result));
}

static void open_stream(int fd)
{
    fine(uv_loop_init(&loop), "uv_loop_init");
    fine(uv_pipe_init(&loop, &stream, 0), "uv_pipe_init");
    fine(uv_pipe_open(&stream, fd), "uv_pipe_open");
}

static void write_pieces(struct iovec *pieces, int count)
{
    /* uv_buf_t is laid out as struct iovec on UNIX. */
    size_t all = 0;
    for (int i = 0; i < count; i++)
        all += pieces[i].iov_len;
    int written = uv_try_write((uv_stream_t *)&stream, (const uv_buf_t *)pieces, (unsigned)count);
    fine(written, "uv_try_write");
    check((size_t)written == all, "uv_try_write in full");
}

static void open_sender(int fd, const struct load *given)
{
    load = given;
    fine(uv_loop_init(&loop), "uv_loop_init");
    fine(uv_udp_init(&loop, &sender), "uv_udp_init");
    fine(uv_udp_open(&sender, fd), "uv_udp_open");
}

static void send_one(char *payload, const struct sockaddr_in *to)
{
    uv_buf_t piece = uv_buf_init(payload, (unsigned)load->size);
    int sent;
    while ((sent = uv_udp_try_send(&sender, &piece, 1, (const struct sockaddr *)to)) == UV_EAGAIN) {
        uv_os_fd_t fd;
        uv_fileno((uv_handle_t *)&sender, &fd);
        wait_for(fd, POLLOUT, TICK_MS);
    }
    fine(sent, "uv_udp_try_send");
}

static void send_each(size_t count)
{
    for (size_t i = 0; i < count; i++)
        send_one(load->payload + i * load->size, load->to);
}

static void fan_out(void)
{
    for (size_t i = 0; i < load->destinations; i++)
        send_one(load->payload, &load->to[i]);
}

static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *place)
{
    (void)handle, (void)suggested;
    *place = uv_buf_init(buffer, BUFFER_SIZE);
}

static void received(uv_udp_t *handle, ssize_t len, const uv_buf_t *data, const struct sockaddr *from, unsigned flags)
{
    (void)handle, (void)data, (void)flags;
    fine((int)len, "receiving");
    /* Without a sender it tells that there is no more, or that the buffer is free again. */
    if (from)
        arrived((size_t)len);
}

static void ticked(uv_timer_t *timer)
{
    (void)timer;
}

static void open_receiver(int fd, size_t size)
{
    (void)size;
    buffer = malloc(BUFFER_SIZE);
    fine(uv_loop_init(&loop), "uv_loop_init");
    fine(uv_udp_init_ex(&loop, &receiver, UV_UDP_RECVMMSG), "uv_udp_init_ex");
    fine(uv_udp_open(&receiver, fd), "uv_udp_open");
    fine(uv_udp_recv_start(&receiver, give_buffer, received), "uv_udp_recv_start");
    fine(uv_timer_init(&loop, &tick), "uv_timer_init");
    fine(uv_timer_start(&tick, ticked, TICK_MS, TICK_MS), "uv_timer_start");
}

static void receive(void)
{
    uv_run(&loop, UV_RUN_ONCE);
}

const struct peer peer = { open_stream, write_pieces, open_sender, send_each, fan_out, open_receiver, receive };
