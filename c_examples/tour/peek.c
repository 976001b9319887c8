/* Looking at what waits without taking it. */
#define _GNU_SOURCE
#include "tour.h"

#include <poll.h>
#include <sys/resource.h>

static int wait_for(int fd, short events)
{
    struct pollfd one = { .fd = fd, .events = events };
    return poll(&one, 1, PATIENCE_MS) == 1;
}

static int state_of(int fd, size_t *available, int *error)
{
    struct castio_peek_info info = { .struct_size = sizeof info };
    int result = castio_peek_info(fd, &info);
    *available = info.available;
    *error = info.error;
    return result < 0 ? result : info.state;
}

/* Nothing, data, data still, then the end. */
static enum outcome stream(enum kind kind)
{
    int ends[2], error;
    size_t available;
    char came[100];
    OPEN_ENDS(kind, ends);
    CHECK(castio_peek_available(ends[1]) == -EAGAIN);
    CHECK(state_of(ends[1], &available, &error) == CASTIO_PEEK_NOTHING);
    TRY(castio_write_all(ends[0], "five!", 5, PATIENCE_MS, NULL));
    CHECK(wait_for(ends[1], POLLIN));
    CHECK(castio_peek_available(ends[1]) == 5);
    CHECK(state_of(ends[1], &available, &error) == CASTIO_PEEK_DATA && available == 5);
    if (kind != PIPE && kind != PTY)
        CHECK(castio_peek(ends[1], came, 2) == 2 && memcmp(came, "fi", 2) == 0);
    CHECK(castio_recv_nowait(ends[1], came, sizeof came) == 5 && memcmp(came, "five!", 5) == 0);
    if (kind == PTY)
        return passed("nothing, 5 bytes, and they are still there to read");
    drop(ends[0]);
    CHECK(wait_for(ends[1], POLLIN));
    CHECK(state_of(ends[1], &available, &error) == CASTIO_PEEK_END && castio_peek_available(ends[1]) == 0);
    return passed("nothing, 5 bytes, still there to read, then the end: each told apart");
}

static enum outcome messages(enum kind kind)
{
    int ends[2], error;
    size_t available;
    static char large[9000];
    char head[4];
    OPEN_ENDS(kind, ends);
    CHECK(state_of(ends[1], &available, &error) == CASTIO_PEEK_NOTHING);
    TRY(castio_write_all(ends[0], NULL, 0, PATIENCE_MS, NULL));
    TRY(castio_write_all(ends[0], large, sizeof large, PATIENCE_MS, NULL));
    CHECK(wait_for(ends[1], POLLIN));
    CHECK(state_of(ends[1], &available, &error) == CASTIO_PEEK_EMPTY_MESSAGE);
    CHECK(castio_recv_nowait(ends[1], head, sizeof head) == 0);
    CHECK(wait_for(ends[1], POLLIN));
    CHECK(castio_peek(ends[1], head, sizeof head) == sizeof head);
    CHECK(castio_peek_available(ends[1]) == (ssize_t)sizeof large);
    CHECK(state_of(ends[1], &available, &error) == CASTIO_PEEK_DATA && available == sizeof large);
    CHECK(castio_read_all(ends[1], large, sizeof large, 0, NULL) == (ssize_t)sizeof large);
    return passed("nothing, an empty message, one of %zu bytes: each told apart", available);
}

/* Nobody listens at the port that this socket is connected to. */
static enum outcome pending_error(enum kind kind)
{
    int ends[2], error;
    size_t available;
    OPEN_ENDS(kind, ends);
    drop(ends[1]);
    TRY(castio_write_all(ends[0], "hello", 5, PATIENCE_MS, NULL));
    CHECK(wait_for(ends[0], POLLIN));
    CHECK(state_of(ends[0], &available, &error) == CASTIO_PEEK_ERROR && error == -ECONNREFUSED);
    CHECK(state_of(ends[0], &available, &error) == CASTIO_PEEK_NOTHING);
    return passed("nobody at the other end -> error %s, once, then nothing", castio_error_name(-ECONNREFUSED));
}

static int send_in_pieces(void *argument)
{
    int fd = *(int *)argument;
    for (const char *piece = "0123456789abcdef"; *piece; piece += 4) {
        usleep(30000);
        if (write(fd, piece, 4) != 4)
            return 1;
    }
    return 0;
}

static long long processor_ms(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (long long)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

/* A header that arrives in pieces: seen whole, taken by nobody. */
static enum outcome whole_header(enum kind kind)
{
    int ends[2];
    char seen[16], taken[16];
    OPEN_ENDS(kind, ends);
    pid_t child = start_child(send_in_pieces, &ends[0]);
    long long busy = processor_ms();
    TRY(castio_peek_all(ends[1], seen, sizeof seen, PATIENCE_MS));
    busy = processor_ms() - busy;
    CHECK(memcmp(seen, "0123456789abcdef", 16) == 0 && finish_child(child) == 0);
    CHECK(castio_read_all(ends[1], taken, sizeof taken, 0, NULL) == 16 && memcmp(seen, taken, 16) == 0);
    CHECK(castio_peek_all(ends[1], seen, 1, 50) == -ETIMEDOUT);
    return passed("16 bytes in 4 pieces -> seen whole, %lld ms of processor; all still there", busy);
}

const struct step peek_steps[] = {
    { "peek", TCP4, stream },
    { "peek", TCP6, stream },
    { "peek", UNIX_STREAM, stream },
    { "peek", PIPE, stream },
    { "peek", PTY, stream },
    { "peek", UDP4, messages },
    { "peek", UDP6, messages },
    { "peek", SEQPACKET, messages },
    { "peek an error", UDP4, pending_error },
    { "peek an error", UDP6, pending_error },
    { "peek_all", TCP4, whole_header },
    { "peek_all", TCP6, whole_header },
    { "peek_all", UNIX_STREAM, whole_header },
    { NULL, NOWHERE, NULL },
};
