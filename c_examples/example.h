/* What the examples share: one-line errors, numbers and addresses from the command line, TCP sockets,
 * printing datagrams, and a clean stop on Ctrl-C. Define PROGRAM, the program's name, before including
 * it. */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <castio.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#include "output.h"

#define EXIT_USAGE 2
#define EXIT_SKIP 77

/* "mcast_recv: joining 239.1.2.3: No such device (ENODEV)". The code is a negative result of the
 * library, or errno. Returns the exit status. */
static inline int complain(const char *doing, const char *what, int code)
{
    char text[128];
    castio_strerror(code, text, sizeof text);
    fprintf(stderr, "%s: %s ", PROGRAM, doing);
    print_string(stderr, what);
    fprintf(stderr, ": %s (%s)\n", text, castio_error_name(code));
    return EXIT_FAILURE;
}

static inline int usage_error(const char *what, const char *why)
{
    fprintf(stderr, "%s: ", PROGRAM);
    print_string(stderr, what);
    fprintf(stderr, ": %s; try --help\n", why);
    return EXIT_USAGE;
}

/* A whole number in a range. Leaves with a message if it is anything else. */
static inline long number(const char *text, long least, long most)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (end == text || *end || errno || value < least || value > most) {
        char why[80];
        snprintf(why, sizeof why, "not a number from %ld to %ld", least, most);
        exit(usage_error(text, why));
    }
    return value;
}

static inline uint64_t clock_ns(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Stopping: SIGINT and SIGTERM are blocked but for where wait_readable() waits, so that none is
 * missed between a look at the flag and the wait. */
SHARED volatile sig_atomic_t stopped;
SHARED sigset_t while_waiting;

static inline void stop(int signal_number)
{
    stopped = signal_number;
}

static inline void catch_stop(void)
{
    struct sigaction action;
    sigset_t blocked;
    memset(&action, 0, sizeof action);
    action.sa_handler = stop;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &while_waiting);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* 1 when there is something to read, or room for what the outlet (NULL: none) keeps; 0 when it is time to stop
 * or the time (-1: none) has passed; less than 0 for an error. */
static inline int wait_ready(int fd, const struct outlet *outlet, int timeout_ms)
{
    struct timespec time = { timeout_ms / 1000, timeout_ms % 1000 * 1000000L };
    fd_set readable, writable;
    FD_ZERO(&readable);
    FD_ZERO(&writable);
    FD_SET(fd, &readable);
    if (outlet && outlet->len > 0 && outlet->error == 0)
        FD_SET(outlet->fd, &writable);
    int highest = outlet && outlet->fd > fd ? outlet->fd : fd;
    int ready = pselect(highest + 1, &readable, &writable, NULL, timeout_ms < 0 ? NULL : &time, &while_waiting);
    return ready < 0 && errno == EINTR ? 0 : ready;
}

static inline int wait_readable(int fd, int timeout_ms)
{
    return wait_ready(fd, NULL, timeout_ms);
}

/* An address and its port as text, "127.0.0.1 port 80". */
static inline const char *address_text(const struct sockaddr_storage *address, socklen_t len)
{
    static char text[160];
    char host[128], port[16];
    if (getnameinfo((const struct sockaddr *)address, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return "an unnamed address";
    snprintf(text, sizeof text, "%s port %s", host, port);
    return text;
}

/* A TCP socket that listens on a numeric address (port "0": any free one, to be printed), or one
 * that is connected to it. Less than 0 with errno; EINVAL for what is no address. */
static inline int tcp_socket(const char *host, const char *port, int listening)
{
    struct addrinfo hints, *found;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    if (getaddrinfo(host, port, &hints, &found) != 0) {
        errno = EINVAL;
        return -1;
    }
    int on = 1;
    int fd = socket(found->ai_family, SOCK_STREAM, 0);
    if (fd >= 0 && listening)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd >= 0 && (listening ? bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, 16) < 0
                              : connect(fd, found->ai_addr, found->ai_addrlen) < 0)) {
        int error = errno;
        close(fd);
        fd = -1;
        errno = error;
    }
    freeaddrinfo(found);
    return fd;
}

/* Tells where a socket listens, for whoever started the program. */
static inline void print_listening(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &len) == 0)
        printf("listening on %s\n", address_text(&address, len));
    flush_output();
}

/* A TCP socket that listens, of a program that stops cleanly. Less than 0 when it has complained. */
static inline int listen_on(const char *address, const char *port)
{
    int listener = tcp_socket(address, port, 1);
    if (listener < 0) {
        complain("listening on", address, errno);
        return -1;
    }
    catch_stop();
    print_listening(listener);
    return listener;
}

/* The next client, or less than 0: errno is EINTR when it is time to stop. */
static inline int accept_client(int listener)
{
    int ready = wait_readable(listener, -1);
    if (ready > 0)
        return accept(listener, NULL, NULL);
    if (ready == 0)
        errno = EINTR;
    return -1;
}

/* Prints datagrams and where they come from, so many (0: any number), until it is time to stop. Returns
 * the exit status; "receiving from 239.1.2.3" is what an error is told of. */
static inline int print_datagrams(int fd, int most, int timeout_ms, const char *doing, const char *what)
{
    for (int i = 0; most == 0 || i < most; i++) {
        char text[65536];
        struct sockaddr_storage from;
        socklen_t len = sizeof from;
        int ready = wait_readable(fd, timeout_ms);
        if (ready == 0 && stopped)
            break;
        if (ready == 0)
            return complain(doing, what, ETIMEDOUT);
        ssize_t count = recvfrom(fd, text, sizeof text, MSG_DONTWAIT, (struct sockaddr *)&from, &len);
        if (count < 0)
            return complain(doing, what, errno);
        print_string(stdout, address_text(&from, len));
        fputs(": ", stdout);
        print_text(stdout, text, (size_t)count);
        putchar('\n');
        if (flush_output() != EXIT_SUCCESS)
            return EXIT_CANNOT;
    }
    return EXIT_SUCCESS;
}

#endif
