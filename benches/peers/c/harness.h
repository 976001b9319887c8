/* What each program of the comparison is made of, and what the harness (harness.c) gives it.
 *
 * The harness makes the sockets, keeps time, holds the sender back when receivers are behind, counts
 * what arrived and prints the result. A program holds what a user of its library would write: it
 * takes a socket over, and sends and receives in the way its library does best. */
#ifndef HARNESS_H
#define HARNESS_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* The most datagrams that send() is asked for, and the most destinations of fan_out(). */
#define BATCH_MAX 1024

/* What there is to send; the same memory for as long as the program runs. */
struct load {
    char *payload; /* `count` payloads of `size` bytes, one behind the other */
    size_t size;
    size_t count;
    struct sockaddr_in *to; /* for send() the first */
    size_t destinations;
};

/* A program. One socket of each kind at most in a process. What a function can't do is an error
 * (fail()), never passed over. */
struct peer {
    /* A connected stream socket; and writing all pieces to it, in order. */
    void (*open_stream)(int fd);
    void (*write_pieces)(struct iovec *pieces, int count);
    /* An unconnected UDP socket; sending the first `count` payloads to the first destination; sending
     * the first payload to all destinations. */
    void (*open_sender)(int fd, const struct load *load);
    void (*send)(size_t count);
    void (*fan_out)(void);
    /* A bound UDP socket; waiting for TICK_MS at most, and taking one datagram or more: arrived() for
     * each. */
    void (*open_receiver)(int fd, size_t size);
    void (*receive)(void);
};

extern const struct peer peer;

#define TICK_MS 20

/* What arrived so far. The sender, another process, looks at it. */
struct tally {
    uint64_t datagrams;
    uint64_t bytes;
};

extern struct tally *tally;

static inline void arrived(size_t len)
{
    __atomic_store_n(&tally->bytes, tally->bytes + len, __ATOMIC_RELAXED);
    __atomic_store_n(&tally->datagrams, tally->datagrams + 1, __ATOMIC_RELEASE);
}

/* Waits until poll(2) says so, or for this time. */
void wait_for(int fd, short events, int timeout_ms);

/* Leaves with a message; errno's if `code` is 0. */
void fail(const char *what, const char *why);
void check(int is_fine, const char *what);

#ifdef __cplusplus
}
#endif

#endif
