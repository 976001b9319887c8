/* Urgent data, its mark, and SIGURG. */
#define _GNU_SOURCE
#include "tour.h"

#include <signal.h>
#include <sys/syscall.h>

/* "abc" goes before the mark, '!' is at it, "xyz" behind it. */
static int send_around_mark(int fd)
{
    if (castio_write_all(fd, "ab", 2, PATIENCE_MS, NULL) < 0)
        return -1;
    if (castio_send_oob(fd, "c!", 2, PATIENCE_MS, NULL) != 2)
        return -1;
    return castio_write_all(fd, "xyz", 3, PATIENCE_MS, NULL) < 0 ? -1 : 0;
}

/* Reads up to the mark; returns how many bytes, or less than 0. */
static ssize_t read_to_mark(int fd, char *bytes, size_t len)
{
    size_t got = 0;
    int at_mark = 0;
    while (!at_mark) {
        ssize_t count = castio_recv_to_mark(fd, bytes + got, len - got, PATIENCE_MS, &at_mark);
        if (count < 0 || (count == 0 && !at_mark))
            return -1;
        got += (size_t)count;
    }
    return (ssize_t)got;
}

static enum outcome out_of_band(enum kind kind)
{
    int ends[2];
    char came[16];
    OPEN_ENDS(kind, ends);
    CHECK(castio_wait_oob(ends[1], 0) == -EAGAIN);
    CHECK(castio_recv_oob(ends[1]) == -EINVAL);
    TRY(send_around_mark(ends[0]));
    TRY(castio_wait_oob(ends[1], PATIENCE_MS));
    CHECK(castio_at_mark(ends[1]) == 0);
    CHECK(read_to_mark(ends[1], came, sizeof came) == 3 && memcmp(came, "abc", 3) == 0);
    CHECK(castio_at_mark(ends[1]) == 1);
    CHECK(castio_recv_oob(ends[1]) == '!');
    CHECK(castio_read_all(ends[1], came, 3, PATIENCE_MS, NULL) == 3 && memcmp(came, "xyz", 3) == 0);
    CHECK(castio_at_mark(ends[1]) == 0);
    return passed("\"abc\" up to the mark, '!' out of band, \"xyz\" behind it");
}

static enum outcome in_line(enum kind kind)
{
    int ends[2];
    char came[16];
    OPEN_ENDS(kind, ends);
    TRY(castio_set_oob_inline(ends[1], 1));
    CHECK(castio_get_oob_inline(ends[1]) == 1);
    TRY(send_around_mark(ends[0]));
    TRY(castio_wait_oob(ends[1], PATIENCE_MS));
    CHECK(castio_recv_oob(ends[1]) == -EINVAL);
    CHECK(read_to_mark(ends[1], came, sizeof came) == 3 && memcmp(came, "abc", 3) == 0);
    CHECK(castio_at_mark(ends[1]) == 1);
    CHECK(castio_read_all(ends[1], came, 4, PATIENCE_MS, NULL) == 4 && memcmp(came, "!xyz", 4) == 0);
    return passed("\"abc\" up to the mark, then \"!xyz\" in the stream");
}

enum owner { PROCESS, GROUP, THREAD };

struct watcher {
    int fd;
    int tell;
    enum owner owner;
};

static volatile sig_atomic_t urgent;

static void on_urgent(int number)
{
    urgent = number;
}

static int own(const struct watcher *watcher)
{
    switch (watcher->owner) {
    case PROCESS: return castio_set_oob_owner(watcher->fd, getpid());
    case GROUP: return setpgid(0, 0) < 0 ? -1 : castio_set_oob_owner(watcher->fd, -getpgrp());
    case THREAD: return castio_set_oob_owner_thread(watcher->fd, 0);
    }
    return -1;
}

/* The child: owns the socket, sleeps until the signal and nothing else wakes it, takes the byte. */
static int watch(void *argument)
{
    const struct watcher *watcher = argument;
    struct sigaction action = { .sa_handler = on_urgent };
    sigset_t blocked, before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGURG);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    sigaction(SIGURG, &action, NULL);
    if (own(watcher) < 0 || write(watcher->tell, "r", 1) != 1)
        return 1;
    while (urgent == 0)
        sigsuspend(&before);
    int byte = castio_recv_oob(watcher->fd);
    return byte < 0 || write(watcher->tell, &(char){ (char)byte }, 1) != 1;
}

static enum outcome signal_child(enum kind kind, enum owner owner, const char *who)
{
    int ends[2], results[2];
    pid_t told = 0;
    char byte = 0;
    OPEN_ENDS(kind, ends);
    OPEN_ENDS(PIPE, results);
    struct watcher watcher = { ends[1], results[0], owner };
    pid_t child = start_child(watch, &watcher);
    CHECK(castio_read_all(results[1], &byte, 1, PATIENCE_MS, NULL) == 1);
    TRY(castio_get_oob_owner(ends[1], &told));
    CHECK(told == (owner == GROUP ? -child : child));
    TRY(castio_send_oob(ends[0], "?", 1, PATIENCE_MS, NULL));
    CHECK(castio_read_all(results[1], &byte, 1, PATIENCE_MS, NULL) == 1 && byte == '?');
    CHECK(finish_child(child) == 0);
    return passed("child %s got SIGURG, and took '%c' out of band", who, byte);
}

static enum outcome to_process(enum kind kind)
{
    return signal_child(kind, PROCESS, "process");
}

static enum outcome to_group(enum kind kind)
{
    return signal_child(kind, GROUP, "process group");
}

static enum outcome to_thread(enum kind kind)
{
    return signal_child(kind, THREAD, "thread");
}

const struct step urgent_steps[] = {
    { "urgent", TCP4, out_of_band },
    { "urgent", TCP6, out_of_band },
    { "urgent", UNIX_STREAM, out_of_band },
    { "urgent inline", TCP4, in_line },
    { "urgent inline", TCP6, in_line },
    { "urgent inline", UNIX_STREAM, in_line },
    { "set_oob_owner", TCP4, to_process },
    { "set_oob_owner", TCP6, to_process },
    { "set_oob_owner", UNIX_STREAM, to_process },
    { "set_oob_owner", TCP4, to_group },
    { "set_oob_owner", TCP4, to_thread },
    { NULL, NOWHERE, NULL },
};
