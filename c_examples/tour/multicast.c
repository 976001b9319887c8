/* Multicast: who receives, TTL, loop, interfaces, and sockets for one group. */
#define _GNU_SOURCE
#include "multicast.h"

#include <poll.h>
#include <stdio.h>

const struct family *family_of(enum kind kind)
{
    static const struct family families[2] = {
        { "0.0.0.0", "239.77.1.%d", "127.0.0.1", "127.0.0.9" },
        { "::", "ff15::77:1:%x", "::1", "::9" },
    };
    return &families[kind == UDP6];
}

const char *group(enum kind kind, int number)
{
    static char texts[4][64];
    static int next;
    char *text = texts[next = (next + 1) % 4];
    snprintf(text, sizeof texts[0], family_of(kind)->groups, number);
    return text;
}

int receiver(enum kind kind, uint16_t port)
{
    int fd = udp_socket(family_of(kind)->any, port);
    if (fd < 0 || castio_set_multicast_all(fd, 0) < 0)
        return -1;
    return castio_join_group(fd, group(kind, MARKER), "lo") < 0 ? -1 : fd;
}

int sender(enum kind kind)
{
    int fd = udp_socket(family_of(kind)->self, 0);
    return fd < 0 || castio_set_multicast_interface(fd, "lo") < 0 ? -1 : fd;
}

int send_to(int fd, const char *address, uint16_t port, const char *text)
{
    struct sockaddr_storage to;
    socklen_t len = to_address(address, port, &to);
    return sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&to, len) < 0 ? -1 : 0;
}

int hears(int fd, const char *expected)
{
    char came[64] = "";
    ssize_t count = castio_read_all(fd, came, sizeof came - 1, PATIENCE_MS, NULL);
    return count == (ssize_t)strlen(expected) && strcmp(came, expected) == 0;
}

enum outcome can_multicast(enum kind kind)
{
    int rx = receiver(kind, 0), tx = sender(kind);
    if (rx >= 0 && tx >= 0 && send_to(tx, group(kind, MARKER), port_of(rx), "?") == 0 && hears(rx, "?"))
        return PASSED;
    return skipped("no %s multicast on this loopback interface: %s", kind == UDP6 ? "IPv6" : "IPv4",
                   castio_error_name(errno));
}

/* Two have joined, the third has not: it gets nothing but the marker behind it. */
static enum outcome any_source(enum kind kind)
{
    NEED_MULTICAST(kind);
    int one = receiver(kind, 0), tx = sender(kind);
    uint16_t port = port_of(one);
    int two = receiver(kind, port), three = receiver(kind, port);
    CHECK(one >= 0 && two >= 0 && three >= 0 && tx >= 0);
    TRY(castio_join_group(one, group(kind, 1), "lo"));
    TRY(castio_join_group(two, group(kind, 1), "lo"));
    CHECK(castio_join_group(two, group(kind, 1), "lo") == -EADDRINUSE);
    TRY(send_to(tx, group(kind, 1), port, "once"));
    TRY(send_to(tx, group(kind, MARKER), port, "marker"));
    CHECK(hears(one, "once") && hears(one, "marker"));
    CHECK(hears(two, "once") && hears(two, "marker"));
    CHECK(hears(three, "marker"));
    TRY(castio_leave_group(two, group(kind, 1), "lo"));
    TRY(send_to(tx, group(kind, 1), port, "again"));
    TRY(send_to(tx, group(kind, MARKER), port, "marker"));
    CHECK(hears(one, "again") && hears(two, "marker"));
    return passed("sent once -> both that joined got it, the third nothing; left -> nothing more");
}

/* The hop count that a received datagram came with. */
static int received_ttl(int fd, enum kind kind)
{
    char byte, room[128];
    struct iovec iov = { &byte, 1 };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room };
    struct pollfd readable = { .fd = fd, .events = POLLIN };
    int ttl = -1;
    message.msg_controllen = sizeof room;
    if (poll(&readable, 1, PATIENCE_MS) != 1 || recvmsg(fd, &message, 0) != 1)
        return -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
        if (kind == UDP4 ? c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL
                         : c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT)
            memcpy(&ttl, CMSG_DATA(c), sizeof ttl);
    }
    return ttl;
}

static enum outcome time_to_live(enum kind kind)
{
    static const int values[] = { 0, 1, 7, 255 };
    NEED_MULTICAST(kind);
    int rx = receiver(kind, 0), tx = sender(kind), on = 1;
    CHECK(rx >= 0 && tx >= 0);
    TRY(setsockopt(rx, kind == UDP4 ? IPPROTO_IP : IPPROTO_IPV6, kind == UDP4 ? IP_RECVTTL : IPV6_RECVHOPLIMIT,
                   &on, sizeof on));
    CHECK(castio_get_ttl(tx) == 1);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        TRY(castio_set_ttl(tx, values[i]));
        CHECK(castio_get_ttl(tx) == values[i]);
        TRY(send_to(tx, group(kind, MARKER), port_of(rx), "t"));
        CHECK(received_ttl(rx, kind) == values[i]);
    }
    CHECK(castio_set_ttl(tx, 256) == -EINVAL && castio_get_ttl(tx) == 255);
    return passed("0, 1, 7, 255 set -> 0, 1, 7, 255 in the receiver's %s",
                  kind == UDP4 ? "IP_TTL" : "IPV6_HOPLIMIT");
}

/* An interface gets its IPv6 address and route in the kernel's own time. */
static int send_when_ready(int fd, const char *address, uint16_t port, const char *text)
{
    long long end = now_ms() + PATIENCE_MS;
    while (send_to(fd, address, port, text) < 0) {
        if ((errno != EADDRNOTAVAIL && errno != ENETUNREACH) || now_ms() > end)
            return -1;
        usleep(1000);
    }
    return 0;
}

/* A loopback interface gives back everything anyway: this needs one of another sort. */
static enum outcome loop(enum kind kind)
{
    if (!in_own_network())
        return skipped("would leave this host: needs a network namespace");
    if (make_interface("tour0") < 0)
        return skipped("no interface can be made by /dev/net/tun: %s", castio_error_name(errno));
    int rx = udp_socket(family_of(kind)->any, 0), tx = udp_socket(family_of(kind)->any, 0);
    if (rx < 0 || tx < 0)
        return no_ends(kind);
    TRY(castio_join_group(rx, group(kind, 1), "tour0"));
    TRY(castio_set_multicast_interface(tx, "tour0"));
    CHECK(castio_get_loop(tx) == 1);
    TRY(castio_set_loop(tx, 0));
    CHECK(castio_get_loop(tx) == 0);
    TRY(send_when_ready(tx, group(kind, 1), port_of(rx), "off"));
    TRY(castio_set_loop(tx, 1));
    TRY(send_to(tx, group(kind, 1), port_of(rx), "on"));
    CHECK(hears(rx, "on"));
    return passed("off -> this host gets nothing; on -> it does");
}

static enum outcome many_groups(enum kind kind)
{
    const int groups = kind == UDP4 ? 19 : 200;
    char text[16];
    NEED_MULTICAST(kind);
    int rx = receiver(kind, 0), tx = sender(kind);
    CHECK(rx >= 0 && tx >= 0);
    for (int i = 0; i < groups; i++)
        TRY(castio_join_group(rx, group(kind, i), "lo"));
    for (int i = 0; i < groups; i++) {
        snprintf(text, sizeof text, "group %d", i);
        TRY(send_to(tx, group(kind, i), port_of(rx), text));
        CHECK(hears(rx, text));
    }
    return passed("%d groups joined on one socket, one datagram to each -> %d came", groups, groups);
}

/* An interface by its name, by one of its addresses, and by its index. */
static enum outcome by_interface(enum kind kind)
{
    unsigned int index;
    char digits[16];
    NEED_MULTICAST(kind);
    TRY(castio_interface_index("lo", &index));
    snprintf(digits, sizeof digits, "%u", index);
    const char *names[] = { "lo", family_of(kind)->self, digits };
    for (int i = 0; i < 3; i++) {
        int rx = receiver(kind, 0), tx = udp_socket(family_of(kind)->any, 0);
        CHECK(rx >= 0 && tx >= 0);
        TRY(castio_join_group(rx, group(kind, 1), names[i]));
        TRY(castio_set_multicast_interface(tx, names[i]));
        /* Of an IPv4 socket Linux doesn't tell. */
        int told = castio_get_multicast_interface(tx);
        CHECK(told == (kind == UDP4 ? -EOPNOTSUPP : (int)index));
        TRY(send_to(tx, group(kind, 1), port_of(rx), names[i]));
        CHECK(hears(rx, names[i]));
    }
    CHECK(castio_set_multicast_interface(sender(kind), "no-such-one") == -ENODEV);
    return passed("\"%s\", \"%s\", \"%s\": joined and sent by each", names[0], names[1], names[2]);
}

/* Another socket on the same port and host has joined another group. */
static enum outcome open_in_one_call(enum kind kind)
{
    NEED_MULTICAST(kind);
    int rx = keep(castio_open_receiver(group(kind, 1), 0, NULL, "lo"));
    TRY(rx);
    uint16_t port = port_of(rx);
    int foreign = keep(castio_open_receiver(group(kind, 2), port, NULL, "lo"));
    int tx = keep(castio_open_sender(group(kind, 1), port, "lo", 1));
    int other = keep(castio_open_sender(group(kind, 2), port, "lo", 1));
    CHECK(foreign >= 0 && tx >= 0 && other >= 0);
    TRY(castio_write_all(other, "foreign", 7, PATIENCE_MS, NULL));
    TRY(castio_write_all(tx, "ours", 4, PATIENCE_MS, NULL));
    CHECK(hears(foreign, "foreign") && hears(rx, "ours"));
    return passed("same port, two groups -> each receiver got its own and no other");
}

static enum outcome multicast_all(enum kind kind)
{
    NEED_MULTICAST(kind);
    int joined = receiver(kind, 0), tx = sender(kind);
    int stranger = udp_socket(family_of(kind)->any, port_of(joined));
    CHECK(joined >= 0 && stranger >= 0 && tx >= 0);
    TRY(castio_join_group(joined, group(kind, 1), "lo"));
    CHECK(castio_get_multicast_all(stranger) == 1);
    TRY(send_to(tx, group(kind, 1), port_of(joined), "leaks in"));
    CHECK(hears(stranger, "leaks in"));
    TRY(castio_set_multicast_all(stranger, 0));
    TRY(castio_join_group(stranger, group(kind, MARKER), "lo"));
    TRY(send_to(tx, group(kind, 1), port_of(joined), "stays out"));
    TRY(send_to(tx, group(kind, MARKER), port_of(joined), "marker"));
    CHECK(hears(stranger, "marker"));
    return passed("on -> groups that others joined leak in; off -> they stay out");
}

const struct step multicast_steps[] = {
    { "multicast", UDP4, any_source },
    { "multicast", UDP6, any_source },
    { "multicast ttl", UDP4, time_to_live },
    { "multicast ttl", UDP6, time_to_live },
    { "multicast loop", UDP4, loop },
    { "multicast loop", UDP6, loop },
    { "multicast groups", UDP4, many_groups },
    { "multicast groups", UDP6, many_groups },
    { "multicast interface", UDP4, by_interface },
    { "multicast interface", UDP6, by_interface },
    { "open_receiver", UDP4, open_in_one_call },
    { "open_receiver", UDP6, open_in_one_call },
    { "multicast_all", UDP4, multicast_all },
    { "multicast_all", UDP6, multicast_all },
    { NULL, NOWHERE, NULL },
};
