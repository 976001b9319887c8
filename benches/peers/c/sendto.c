/* No library: sendto(2) and recvfrom(2), a system call for each datagram; writev(2). */
#include "harness.h"

#include <errno.h>
#include <sys/time.h>

static int stream, sender, receiver;
static const struct load *load;
static char buffer[65536];

static void open_stream(int fd)
{
    stream = fd;
}

static void write_pieces(struct iovec *pieces, int count)
{
    size_t all = 0;
    for (int i = 0; i < count; i++)
        all += pieces[i].iov_len;
    check(writev(stream, pieces, count) == (ssize_t)all, "writev");
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

static void open_receiver(int fd, size_t size)
{
    struct timeval tick = { 0, TICK_MS * 1000 };
    (void)size;
    receiver = fd;
    check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof tick) == 0, "SO_RCVTIMEO");
}

static void receive(void)
{
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    ssize_t got = recvfrom(receiver, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &len);
    if (got >= 0)
        arrived((size_t)got);
    else
        check(errno == EAGAIN, "recvfrom");
}

const struct peer peer = { open_stream, write_pieces, open_sender, send_each, fan_out, open_receiver, receive };
