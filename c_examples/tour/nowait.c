/* One transfer that never blocks, on blocking descriptors. */
#define _GNU_SOURCE
#include "tour.h"

#include <fcntl.h>
#include <poll.h>

static char piece[4096], came[4096];

/* Fills it until there is no room, then takes all of it: nothing blocks, nothing is lost. */
static enum outcome fill_and_drain(enum kind kind)
{
    int ends[2];
    size_t sent = 0, got = 0;
    ssize_t count;
    OPEN_ENDS(kind, ends);
    CHECK(castio_recv_nowait(ends[1], came, sizeof came) == -EAGAIN);
    int mode = fcntl(ends[0], F_GETFL);
    while ((count = castio_send_nowait(ends[0], piece, sizeof piece)) >= 0)
        sent += (size_t)count;
    CHECK(count == -EAGAIN && sent > 0);
    while (got < sent) {
        /* What TCP has taken can still be on its way. */
        struct pollfd readable = { .fd = ends[1], .events = POLLIN };
        CHECK(poll(&readable, 1, PATIENCE_MS) == 1);
        TRY(count = castio_recv_nowait(ends[1], came, sizeof came));
        got += (size_t)count;
    }
    CHECK(got == sent && castio_recv_nowait(ends[1], came, sizeof came) == -EAGAIN);
    CHECK(fcntl(ends[0], F_GETFL) == mode && !(mode & O_NONBLOCK));
    return passed("empty: EAGAIN; %zu bytes until full: EAGAIN; %zu came; still blocking", sent, got);
}

static enum outcome datagrams(enum kind kind)
{
    int ends[2];
    struct iovec halves[2] = { { "data", 4 }, { "gram", 4 } };
    struct iovec room[2] = { { came, 2 }, { came + 100, 100 } };
    OPEN_ENDS(kind, ends);
    CHECK(castio_recv_nowait(ends[1], came, sizeof came) == -EAGAIN);
    TRY(castio_writev_nowait(ends[0], halves, 2));
    struct pollfd readable = { .fd = ends[1], .events = POLLIN };
    CHECK(poll(&readable, 1, PATIENCE_MS) == 1);
    CHECK(castio_readv_nowait(ends[1], room, 2) == 8);
    CHECK(memcmp(came, "da", 2) == 0 && memcmp(came + 100, "tagram", 6) == 0);
    CHECK(!(fcntl(ends[1], F_GETFL) & O_NONBLOCK));
    return passed("empty: EAGAIN; 2 buffers -> one datagram -> 2 buffers; still blocking");
}

static enum outcome file(enum kind kind)
{
    int ends[2];
    OPEN_ENDS(kind, ends);
    CHECK(castio_recv_nowait(ends[1], came, sizeof came) == 0);
    CHECK(castio_send_nowait(ends[0], "always ready", 12) == 12);
    CHECK(castio_recv_nowait(ends[1], came, sizeof came) == 12 && memcmp(came, "always ready", 12) == 0);
    return passed("empty: 0, the end of file; 12 bytes written -> 12 read");
}

const struct step nowait_steps[] = {
    { "nowait", TCP4, fill_and_drain },
    { "nowait", TCP6, fill_and_drain },
    { "nowait", UNIX_STREAM, fill_and_drain },
    { "nowait", SEQPACKET, fill_and_drain },
    { "nowait", PIPE, fill_and_drain },
    { "nowait", PTY, fill_and_drain },
    { "nowait", UDP4, datagrams },
    { "nowait", UDP6, datagrams },
    { "nowait", REGULAR, file },
    { NULL, NOWHERE, NULL },
};
