/* The tour's steps: what each room shows, and what all of them use. */
#ifndef TOUR_H
#define TOUR_H

#include <castio.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

/* How long anything on loopback may take before it counts as lost. */
#define PATIENCE_MS 20000

enum outcome { PASSED, FAILED, SKIPPED };

/* A step ends by one of these: what came out at the other end, what was wrong, what isn't there. */
enum outcome passed(const char *format, ...) __attribute__((format(printf, 1, 2)));
enum outcome failed(const char *format, ...) __attribute__((format(printf, 1, 2)));
enum outcome skipped(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What a step runs on. */
enum kind { NOWHERE, TCP4, TCP6, UNIX_STREAM, SEQPACKET, UDP4, UDP6, PIPE, REGULAR, PTY };

struct step {
    const char *capability;
    enum kind kind;
    enum outcome (*run)(enum kind kind);
};

/* Each ends with an element without a capability. */
extern const struct step vectored_steps[], nowait_steps[], peek_steps[], urgent_steps[];
extern const struct step multicast_steps[], filter_steps[], broadcast_steps[];
extern const struct step datagram_steps[], stdio_steps[], host_steps[];

/* Ends the step unless the condition holds, or the call succeeds. castio sets errno as the system
 * does, so the same serves for both. */
#define CHECK(condition) \
    do { \
        if (!(condition)) \
            return failed("%s:%d: not so: %s", __FILE__, __LINE__, #condition); \
    } while (0)
#define TRY(call) \
    do { \
        if ((call) < 0) \
            return failed("%s:%d: %s: %s", __FILE__, __LINE__, #call, castio_error_name(errno)); \
    } while (0)

/* Opens the two ends of a step; a host without such a loopback address skips it. */
#define OPEN_ENDS(kind, ends) \
    do { \
        if (open_ends(kind, ends) < 0) \
            return no_ends(kind); \
    } while (0)
enum outcome no_ends(enum kind kind);

/* place.c: where the tour takes place ------------------------------------------------------------- */

/* Moves into a network namespace of its own, with nothing but a loopback interface that has a
 * route for IPv6 multicast (an ordinary one has none). Returns -1 where that isn't allowed. */
int enter_own_network(void);
int in_own_network(void);

/* Makes an Ethernet interface whose other end, where its frames come out, is the descriptor that
 * is returned. Address 10.77.0.1/24, and a link-local IPv6 one. Only in a network of one's own.
 * Closing the descriptor removes the interface. */
int make_interface(const char *name);

/* ends.c: pairs of descriptors and what goes through them ----------------------------------------- */

/* Gives a descriptor to the runner, which closes it when the step is over; returns it. */
int keep(int fd);
void close_kept(void);
/* Closes a kept descriptor now. */
void drop(int fd);

/* Makes two connected ends, kept: ends[0] for writing, ends[1] for reading. Returns -1 with errno;
 * EADDRNOTAVAIL says that the host has no such loopback address. */
int open_ends(enum kind kind, int ends[2]);
const char *kind_name(enum kind kind);

/* A UDP socket bound to an address of this host with port 0 (or the one given), kept. */
int udp_socket(const char *address, uint16_t port);
uint16_t port_of(int fd);
/* An address in text; returns its length. */
socklen_t to_address(const char *text, uint16_t port, struct sockaddr_storage *out);

/* A pattern that shows any byte that is lost, doubled or moved, and a sum of bytes in order. */
void fill_pattern(unsigned char *bytes, size_t len);
uint64_t digest(uint64_t sum, const unsigned char *bytes, size_t len);
#define DIGEST_START UINT64_C(14695981039346656037)

long long now_ms(void);

/* A child process that does one thing at the other end of a step, and what it found. It leaves
 * with what its function returns: 0 is good. */
pid_t start_child(int (*run)(void *), void *argument);
int finish_child(pid_t child);

#endif
