/* Datagrams in batches. */
#include "tour.h"

#include <stdlib.h>

/* How many, and how long each is but for the last. */
#define COUNT 1000
#define SIZE 200

static unsigned char sent[COUNT * SIZE];
static struct iovec pieces[COUNT];
static struct castio_datagram list[COUNT];
static struct castio_datagram_view views[COUNT];

/* Sends all of them in one call, and receives them while there are some. The handles are closed by
 * the caller. */
static enum outcome send_and_receive(struct castio_sender *sender, struct castio_receiver *receiver)
{
    size_t came = 0, calls = 0;
    uint64_t order = DIGEST_START;
    int ttl = 0;
    CHECK(castio_send_datagrams(sender, list, COUNT, PATIENCE_MS, NULL) == COUNT);
    while (came < COUNT) {
        ssize_t count;
        views[0].struct_size = sizeof views[0];
        TRY(count = castio_receive_datagrams(receiver, views, COUNT, PATIENCE_MS));
        for (ssize_t i = 0; i < count; i++) {
            CHECK(views[i].len == (came == COUNT - 1 ? SIZE / 2 : SIZE));
            order = digest(order, views[i].data, views[i].len);
            ttl = views[i].ttl;
            came++;
        }
        calls++;
    }
    CHECK(order == digest(DIGEST_START, sent, sizeof sent - SIZE / 2));
    CHECK(castio_receive_datagrams(receiver, views, COUNT, 0) == -EAGAIN);
    return passed("%d datagrams in 1 call -> %zu in %zu calls, in order, with TTL %d", COUNT, came, calls, ttl);
}

static enum outcome batch(enum kind kind)
{
    struct castio_receiver_options options = { sizeof options, 0, 0, CASTIO_RECEIVER_COALESCE };
    struct castio_receiver *receiver = NULL;
    struct castio_sender *sender = NULL;
    int ends[2];
    OPEN_ENDS(kind, ends);
    fill_pattern(sent, sizeof sent);
    for (size_t i = 0; i < COUNT; i++) {
        pieces[i].iov_base = sent + i * SIZE;
        pieces[i].iov_len = i == COUNT - 1 ? SIZE / 2 : SIZE;
        list[i].struct_size = sizeof list[i];
        list[i].iov = &pieces[i];
        list[i].iovcnt = 1;
    }
    TRY(castio_set_receive_buffer(ends[1], 1 << 20, NULL, NULL, 0));
    TRY(castio_receiver_open(ends[1], &options, &receiver));
    int opened = castio_sender_open(ends[0], NULL, &sender);
    enum outcome outcome = opened < 0 ? failed("castio_sender_open: %s", castio_error_name(opened))
                                      : send_and_receive(sender, receiver);
    castio_sender_close(sender);
    castio_receiver_close(receiver);
    return outcome;
}

/* What a relay does. */
static enum outcome fan_out(enum kind kind)
{
    enum { RECEIVERS = 100 };
    struct iovec payload[2] = { { "one payload, ", 13 }, { "many destinations", 17 } };
    struct sockaddr_storage to[RECEIVERS];
    int receivers[RECEIVERS];
    char came[64];
    struct castio_sender *sender;
    const char *address = kind == UDP6 ? "::1" : "127.0.0.1";
    int fd = udp_socket(address, 0);
    if (fd < 0)
        return no_ends(kind);
    for (size_t i = 0; i < RECEIVERS; i++) {
        TRY(receivers[i] = udp_socket(address, 0));
        to_address(address, port_of(receivers[i]), &to[i]);
    }
    TRY(castio_sender_open(fd, NULL, &sender));
    ssize_t count = castio_send_to_many(sender, payload, 2, to, RECEIVERS, PATIENCE_MS, NULL);
    castio_sender_close(sender);
    CHECK(count == RECEIVERS);
    for (size_t i = 0; i < RECEIVERS; i++) {
        CHECK(castio_read_all(receivers[i], came, sizeof came, PATIENCE_MS, NULL) == 30);
        CHECK(memcmp(came, "one payload, many destinations", 30) == 0);
        CHECK(castio_peek_available(receivers[i]) == -EAGAIN);
    }
    return passed("1 payload in 1 call -> came once at each of %d sockets", RECEIVERS);
}

const struct step datagram_steps[] = {
    { "datagrams", UDP4, batch },
    { "datagrams", UDP6, batch },
    { "datagrams to many", UDP4, fan_out },
    { "datagrams to many", UDP6, fan_out },
    { NULL, NOWHERE, NULL },
};
