/* Broadcast: permission, addresses, out of a chosen interface and out of all. */
#define _GNU_SOURCE
#include "tour.h"

#include <arpa/inet.h>
#include <poll.h>

static int hears(int fd, const char *expected)
{
    char came[64] = "";
    ssize_t count = castio_read_all(fd, came, sizeof came - 1, PATIENCE_MS, NULL);
    return count == (ssize_t)strlen(expected) && strcmp(came, expected) == 0;
}

static enum outcome directed(enum kind kind)
{
    (void)kind;
    static const char *const names[] = { "lo", "127.0.0.1" };
    int rx = udp_socket("0.0.0.0", 0), tx = udp_socket("0.0.0.0", 0);
    uint16_t port = port_of(rx);
    struct in_addr address;
    CHECK(rx >= 0 && tx >= 0);
    TRY(castio_broadcast_address("lo", &address));
    CHECK(address.s_addr == htonl(0x7fffffff));
    CHECK(castio_send_broadcast(tx, "no", 2, port, "lo", NULL) == -EACCES);
    TRY(castio_enable_broadcast(tx, 1));
    for (int i = 0; i < 2; i++) {
        CHECK(castio_send_broadcast(tx, "to all", 6, port, names[i], NULL) == 1);
        CHECK(hears(rx, "to all"));
    }
    return passed("not enabled: EACCES; enabled: to %s out of lo -> it came", inet_ntoa(address));
}

static enum outcome limited(enum kind kind)
{
    (void)kind;
    int rx = udp_socket("255.255.255.255", 0), tx = udp_socket("0.0.0.0", 0);
    CHECK(rx >= 0 && tx >= 0);
    TRY(castio_enable_broadcast(tx, 1));
    CHECK(castio_send_limited_broadcast(tx, "to all", 6, port_of(rx), "lo", NULL) == 1);
    CHECK(hears(rx, "to all"));
    return passed("to 255.255.255.255 out of lo -> it came");
}

static enum outcome from_text(enum kind kind)
{
    (void)kind;
    struct in_addr address;
    TRY(castio_directed_broadcast("192.12.34.7/24", &address));
    CHECK(address.s_addr == htonl(0xc00c22ff));
    TRY(castio_directed_broadcast("10.1.2.3/255.255.0.0", &address));
    CHECK(address.s_addr == htonl(0x0a01ffff));
    CHECK(castio_directed_broadcast("10.1.2.3/31", &address) == -EADDRNOTAVAIL);
    CHECK(castio_directed_broadcast("10.1.2.3/32", &address) == -EADDRNOTAVAIL);
    CHECK(castio_directed_broadcast("10.1.2/24", &address) == -EINVAL);
    return passed("192.12.34.7/24 -> 192.12.34.255, 10.1.2.3/255.255.0.0 -> 10.1.255.255, /31, /32 -> EADDRNOTAVAIL");
}

/* The next IPv4 frame that comes out of an interface, and where its packet goes. */
static int next_frame(int tap, unsigned char *frame, size_t len, struct in_addr *to)
{
    struct pollfd readable = { .fd = tap, .events = POLLIN };
    while (poll(&readable, 1, PATIENCE_MS) == 1) {
        ssize_t count = read(tap, frame, len);
        if (count >= 34 && frame[12] == 0x08 && frame[13] == 0x00) {
            memcpy(to, frame + 30, sizeof *to);
            return (int)count;
        }
    }
    return -1;
}

/* Seen where it leaves: on the wire of an interface that was made for it. */
static enum outcome everywhere(enum kind kind)
{
    (void)kind;
    static const unsigned char all_ones[6] = { 255, 255, 255, 255, 255, 255 };
    unsigned char frame[2048];
    struct in_addr directed, limited;
    size_t sent = 9;
    if (!in_own_network())
        return skipped("would leave this host: needs a network namespace");
    int tx = udp_socket("0.0.0.0", 0);
    CHECK(tx >= 0);
    TRY(castio_enable_broadcast(tx, 1));
    CHECK(castio_send_broadcast(tx, "x", 1, 9, NULL, &sent) == -EADDRNOTAVAIL && sent == 0);
    int tap = make_interface("tour0");
    if (tap < 0)
        return skipped("no interface can be made by /dev/net/tun: %s", castio_error_name(errno));
    CHECK(castio_send_broadcast(tx, "x", 1, 9, NULL, &sent) == 1 && sent == 1);
    CHECK(next_frame(tap, frame, sizeof frame, &directed) > 0 && memcmp(frame, all_ones, 6) == 0);
    CHECK(directed.s_addr == htonl(0x0a4d00ff));
    CHECK(castio_send_limited_broadcast(tx, "x", 1, 9, NULL, &sent) == 1 && sent == 1);
    CHECK(next_frame(tap, frame, sizeof frame, &limited) > 0 && memcmp(frame, all_ones, 6) == 0);
    CHECK(limited.s_addr == htonl(INADDR_BROADCAST));
    return passed("frames to ff:ff:ff:ff:ff:ff left, to 10.77.0.255 and 255.255.255.255; without any: EADDRNOTAVAIL");
}

const struct step broadcast_steps[] = {
    { "broadcast", UDP4, directed },
    { "broadcast limited", UDP4, limited },
    { "broadcast address", NOWHERE, from_text },
    { "broadcast all", UDP4, everywhere },
    { NULL, NOWHERE, NULL },
};
