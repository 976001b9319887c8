/* Gathering and scattering: many buffers in one call, all of them or an exact count. */
#define _GNU_SOURCE
#include "tour.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

enum { BUFFERS = 100000, EACH = 3, TOTAL = BUFFERS * EACH };

static unsigned char bytes[TOTAL], came[TOTAL];
static struct iovec list[BUFFERS], before[BUFFERS];

/* Lays buffers of three bytes over a stretch of memory. */
static void lay_out(unsigned char *memory)
{
    for (int i = 0; i < BUFFERS; i++) {
        list[i].iov_base = memory + (size_t)i * EACH;
        list[i].iov_len = EACH;
    }
    memcpy(before, list, sizeof list);
}

static int list_is_as_before(void)
{
    return memcmp(before, list, sizeof list) == 0;
}

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
    (void)number;
    signals++;
}

/* Lets a signal interrupt whatever blocks, every few milliseconds, or no more. */
static void storm(int on)
{
    struct sigaction action = { .sa_handler = on ? count_signal : SIG_IGN };
    struct itimerval every = { { 0, 3000 }, { 0, 3000 } }, never = { { 0, 0 }, { 0, 0 } };
    if (on) {
        signals = 0;
        sigaction(SIGALRM, &action, NULL);
        setitimer(ITIMER_REAL, &every, NULL);
    } else {
        setitimer(ITIMER_REAL, &never, NULL);
        sigaction(SIGALRM, &action, NULL);
    }
}

/* Makes a socket's buffer small, so that a transfer has to wait in its middle. */
static void shrink(int fd)
{
    int small = 8192;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
}

struct peer {
    int fd;
    int result;
};

/* The other end of writev_all: takes its time, then reads by plain read() and tells the sum. */
static int drain(void *argument)
{
    struct peer *peer = argument;
    unsigned char piece[4096];
    uint64_t sum = DIGEST_START;
    size_t got = 0;
    usleep(20000);
    while (got < TOTAL) {
        ssize_t count = read(peer->fd, piece, sizeof piece);
        if (count <= 0)
            return 1;
        sum = digest(sum, piece, (size_t)count);
        got += (size_t)count;
    }
    return write(peer->result, &sum, sizeof sum) != sizeof sum;
}

/* The other end of readv_all: writes by plain write(), in pieces that fit no buffer. */
static int feed(void *argument)
{
    struct peer *peer = argument;
    size_t done = 0;
    usleep(20000);
    while (done < TOTAL) {
        size_t piece = TOTAL - done < 1001 ? TOTAL - done : 1001;
        ssize_t count = write(peer->fd, bytes + done, piece);
        if (count <= 0)
            return 1;
        done += (size_t)count;
    }
    return 0;
}

static enum outcome gather(enum kind kind)
{
    int ends[2], results[2];
    uint64_t sum = 0;
    size_t done = 0;
    OPEN_ENDS(kind, ends);
    OPEN_ENDS(PIPE, results);
    fill_pattern(bytes, TOTAL);
    lay_out(bytes);
    shrink(ends[0]);
    int mode = fcntl(ends[0], F_GETFL);
    struct peer peer = { ends[1], results[0] };
    pid_t child = start_child(drain, &peer);
    storm(1);
    ssize_t sent = castio_writev_all(ends[0], list, BUFFERS, PATIENCE_MS, &done);
    int interruptions = signals;
    storm(0);
    TRY(sent);
    CHECK(sent == TOTAL && done == TOTAL && list_is_as_before() && interruptions > 0);
    CHECK(fcntl(ends[0], F_GETFL) == mode);
    CHECK(finish_child(child) == 0);
    TRY(castio_read_all(results[1], &sum, sizeof sum, PATIENCE_MS, NULL));
    CHECK(sum == digest(DIGEST_START, bytes, TOTAL));
    return passed("%d buffers of %d bytes -> %zd bytes, digest equal, %d signals on the way", BUFFERS, EACH,
                  sent, interruptions);
}

static enum outcome scatter(enum kind kind)
{
    int ends[2];
    size_t done = 0;
    OPEN_ENDS(kind, ends);
    fill_pattern(bytes, TOTAL);
    memset(came, 0, sizeof came);
    lay_out(came);
    struct peer peer = { ends[0], -1 };
    pid_t child = start_child(feed, &peer);
    storm(1);
    ssize_t got = castio_readv_all(ends[1], list, BUFFERS, PATIENCE_MS, &done);
    int interruptions = signals;
    storm(0);
    TRY(got);
    CHECK(finish_child(child) == 0);
    CHECK(got == TOTAL && done == TOTAL && list_is_as_before() && interruptions > 0);
    CHECK(memcmp(came, bytes, TOTAL) == 0);
    return passed("%zd bytes -> %d buffers of %d bytes, each in its place, %d signals", got, BUFFERS, EACH,
                  interruptions);
}

/* A file isn't waited for, so one process does both. */
static enum outcome file_both_ways(enum kind kind)
{
    int ends[2];
    OPEN_ENDS(kind, ends);
    fill_pattern(bytes, TOTAL);
    lay_out(bytes);
    TRY(castio_writev_all(ends[0], list, BUFFERS, 0, NULL));
    memset(came, 0, sizeof came);
    lay_out(came);
    ssize_t got = castio_readv_all(ends[1], list, BUFFERS, 0, NULL);
    CHECK(got == TOTAL && memcmp(came, bytes, TOTAL) == 0);
    CHECK(castio_read_all(ends[1], came, 1, 0, NULL) == 0);
    return passed("%d buffers -> %zd bytes in the file -> %d buffers, equal; then end of file", BUFFERS, got,
                  BUFFERS);
}

/* A message goes out whole or not at all. */
static enum outcome message(enum kind kind)
{
    int ends[2];
    size_t done = 1;
    OPEN_ENDS(kind, ends);
    fill_pattern(bytes, TOTAL);
    lay_out(bytes);
    CHECK(castio_writev_all(ends[0], list, 1025, 0, &done) == -EMSGSIZE && done == 0);
    CHECK(castio_writev_all(ends[0], list, 1024, PATIENCE_MS, NULL) == 1024 * EACH);
    CHECK(castio_write_all(ends[0], NULL, 0, PATIENCE_MS, NULL) == 0);
    CHECK(castio_write_all(ends[0], "next", 4, PATIENCE_MS, NULL) == 4);
    memset(came, 0, sizeof came);
    lay_out(came);
    CHECK(castio_readv_all(ends[1], list, 1024, PATIENCE_MS, NULL) == 1024 * EACH);
    CHECK(memcmp(came, bytes, 1024 * EACH) == 0);
    CHECK(castio_read_all(ends[1], came, 64, PATIENCE_MS, NULL) == 0);
    CHECK(castio_read_all(ends[1], came, 64, PATIENCE_MS, NULL) == 4 && memcmp(came, "next", 4) == 0);
    return passed("1024 buffers -> one message of %d bytes; an empty one; 1025 refused: EMSGSIZE", 1024 * EACH);
}

/* The peer takes nothing: the count says what is out, and those bytes and no others are there. */
static enum outcome half_way(enum kind kind)
{
    enum { LARGE = 16 << 20 };
    int ends[2];
    size_t done = 0;
    OPEN_ENDS(kind, ends);
    unsigned char *large = malloc(2 * (size_t)LARGE);
    CHECK(large);
    fill_pattern(large, LARGE);
    long long start = now_ms();
    ssize_t result = castio_write_all(ends[0], large, LARGE, 100, &done);
    long long waited = now_ms() - start;
    drop(ends[0]);
    ssize_t got = castio_read_all(ends[1], large + LARGE, LARGE, PATIENCE_MS, NULL);
    int equal = got >= 0 && memcmp(large, large + LARGE, (size_t)got) == 0;
    free(large);
    CHECK(result == -ETIMEDOUT && waited >= 100);
    CHECK(got == (ssize_t)done && done > 0 && equal);
    return passed("nobody read: ETIMEDOUT after %lld ms; told %zu bytes out, and %zd came", waited, done, got);
}

static enum outcome short_read(enum kind kind)
{
    int ends[2];
    OPEN_ENDS(kind, ends);
    TRY(castio_write_all(ends[0], "the rest", 8, PATIENCE_MS, NULL));
    drop(ends[0]);
    ssize_t got = castio_read_all(ends[1], came, 100, PATIENCE_MS, NULL);
    CHECK(got == 8 && memcmp(came, "the rest", 8) == 0);
    CHECK(castio_read_all(ends[1], came, 100, PATIENCE_MS, NULL) == 0);
    return passed("100 bytes wanted, 8 there and the writer gone -> %zd, then 0", got);
}

/* The default action of SIGPIPE would end the tour here. */
static enum outcome closed_peer(enum kind kind)
{
    int ends[2];
    struct sigaction action;
    OPEN_ENDS(kind, ends);
    drop(ends[1]);
    ssize_t result = 0;
    for (int i = 0; i < 100 && result >= 0; i++)
        result = castio_write_all(ends[0], "anybody?", 8, PATIENCE_MS, NULL);
    sigaction(SIGPIPE, NULL, &action);
    CHECK(action.sa_handler == SIG_DFL);
    CHECK(result == -EPIPE || result == -ECONNRESET || (kind == PTY && result == -EIO));
    return passed("reader gone -> %s, and no SIGPIPE", castio_error_name((int)result));
}

const struct step vectored_steps[] = {
    { "writev_all", TCP4, gather },
    { "writev_all", TCP6, gather },
    { "writev_all", UNIX_STREAM, gather },
    { "writev_all", PIPE, gather },
    { "writev_all", PTY, gather },
    { "readv_all", TCP4, scatter },
    { "readv_all", TCP6, scatter },
    { "readv_all", UNIX_STREAM, scatter },
    { "readv_all", PIPE, scatter },
    { "readv_all", PTY, scatter },
    { "writev_all readv_all", REGULAR, file_both_ways },
    { "writev_all readv_all", UDP4, message },
    { "writev_all readv_all", UDP6, message },
    { "writev_all readv_all", SEQPACKET, message },
    { "write_all half-way", TCP4, half_way },
    { "write_all half-way", UNIX_STREAM, half_way },
    { "write_all half-way", PIPE, half_way },
    { "read_all at the end", TCP4, short_read },
    { "read_all at the end", UNIX_STREAM, short_read },
    { "read_all at the end", PIPE, short_read },
    { "no SIGPIPE", TCP4, closed_peer },
    { "no SIGPIPE", UNIX_STREAM, closed_peer },
    { "no SIGPIPE", SEQPACKET, closed_peer },
    { "no SIGPIPE", PIPE, closed_peer },
    { "no SIGPIPE", PTY, closed_peer },
    { NULL, NOWHERE, NULL },
};
