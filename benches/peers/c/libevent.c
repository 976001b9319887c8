/* libevent: an evbuffer for streams. It has nothing for datagrams but the event that one is there:
 * its users call sendto(2) and recvfrom(2) themselves. */
#include "harness.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>

static int stream, sender;
static struct evbuffer *output;
static struct event_base *base;
static const struct load *load;
static char buffer[65536];

static void open_stream(int fd)
{
    stream = fd;
    output = evbuffer_new();
    check(output != NULL, "evbuffer_new");
}

static void write_pieces(struct iovec *pieces, int count)
{
    evbuffer_add_iovec(output, (struct evbuffer_iovec *)pieces, count);
    while (evbuffer_get_length(output) > 0)
        check(evbuffer_write(output, stream) > 0, "evbuffer_write");
}

static void open_sender(int fd, const struct load *given)
{
    sender = fd;
    load = given;
}

static void send_one(const char *payload, const struct sockaddr_in *to)
{
    ssize_t sent = sendto(sender, payload, load->size, 0, (const struct sockaddr *)to, sizeof *to);
    check(sent == (ssize_t)load->size, "sendto");
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

static void readable(evutil_socket_t fd, short what, void *unused)
{
    struct sockaddr_in from;
    (void)unused;
    while (what & EV_READ) {
        socklen_t len = sizeof from;
        ssize_t got = recvfrom(fd, buffer, sizeof buffer, MSG_DONTWAIT, (struct sockaddr *)&from, &len);
        if (got < 0) {
            check(errno == EAGAIN, "recvfrom");
            return;
        }
        arrived((size_t)got);
    }
}

static void open_receiver(int fd, size_t size)
{
    struct timeval tick = { 0, TICK_MS * 1000 };
    (void)size;
    base = event_base_new();
    check(base != NULL, "event_base_new");
    evutil_make_socket_nonblocking(fd);
    struct event *readability = event_new(base, fd, EV_READ | EV_PERSIST, readable, NULL);
    check(readability && event_add(readability, &tick) == 0, "event_add");
}

static void receive(void)
{
    event_base_loop(base, EVLOOP_ONCE);
}

const struct peer peer = { open_stream, write_pieces, open_sender, send_each, fan_out, open_receiver, receive };
