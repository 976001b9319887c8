/* castio: one call for each batch, whatever the library makes of it. */
#include "harness.h"

#include <castio.h>
#include <errno.h>
#include <string.h>

static int stream;
static struct castio_sender *sender;
static struct castio_receiver *receiver;
static const struct load *load;
static struct iovec pieces[BATCH_MAX];
static struct castio_datagram datagrams[BATCH_MAX];
static struct castio_datagram_view views[BATCH_MAX];
static struct sockaddr_storage destinations[BATCH_MAX];

static void open_stream(int fd)
{
    stream = fd;
}

static void write_pieces(struct iovec *list, int count)
{
    check(castio_writev_all(stream, list, count, -1, NULL) >= 0, "castio_writev_all");
}

static void open_sender(int fd, const struct load *given)
{
    load = given;
    check(castio_sender_open(fd, NULL, &sender) == 0, "castio_sender_open");
    for (size_t i = 0; i < load->count; i++) {
        pieces[i].iov_base = load->payload + i * load->size;
        pieces[i].iov_len = load->size;
        datagrams[i].struct_size = sizeof datagrams[i];
        datagrams[i].iov = &pieces[i];
        datagrams[i].iovcnt = 1;
        datagrams[i].to = (const struct sockaddr *)load->to;
        datagrams[i].to_len = sizeof *load->to;
    }
    for (size_t i = 0; i < load->destinations; i++)
        memcpy(&destinations[i], &load->to[i], sizeof load->to[i]);
}

static void send_batch(size_t count)
{
    check(castio_send_datagrams(sender, datagrams, count, -1, NULL) == (ssize_t)count, "castio_send_datagrams");
}

static void fan_out(void)
{
    size_t count = load->destinations;
    check(castio_send_to_many(sender, pieces, 1, destinations, count, -1, NULL) == (ssize_t)count,
          "castio_send_to_many");
}

static void open_receiver(int fd, size_t size)
{
    struct castio_receiver_options options = { sizeof options, 0, 0, CASTIO_RECEIVER_COALESCE | CASTIO_RECEIVER_NO_DETAILS };
    (void)size;
    check(castio_receiver_open(fd, &options, &receiver) == 0, "castio_receiver_open");
    views[0].struct_size = sizeof views[0];
}

static void receive(void)
{
    ssize_t count = castio_receive_datagrams(receiver, views, BATCH_MAX, TICK_MS);
    check(count >= 0 || count == -ETIMEDOUT, "castio_receive_datagrams");
    for (ssize_t i = 0; i < count; i++)
        arrived(views[i].len);
}

const struct peer peer = { open_stream, write_pieces, open_sender, send_batch, fan_out, open_receiver, receive };
