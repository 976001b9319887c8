/* What the multicast steps share: groups, receivers and senders on the loopback interface. */
#ifndef TOUR_MULTICAST_H
#define TOUR_MULTICAST_H

#include "tour.h"

struct family {
    const char *any;    /* the wildcard address */
    const char *groups; /* a format for the text of a group */
    const char *self;   /* the address that a sender has */
    const char *other;  /* an address that no sender has */
};

const struct family *family_of(enum kind kind);

/* The text of a group; valid until the fourth call after. */
const char *group(enum kind kind, int number);

/* Every receiver has joined this one. What should not arrive is sent before something to it that
 * must: when that is the first to arrive, the other did not. */
#define MARKER 250

/* A socket on a port (0: any) that is shared, for its own groups only; kept. */
int receiver(enum kind kind, uint16_t port);
/* A socket that sends from `self` by the loopback interface; kept. */
int sender(enum kind kind);
int send_to(int fd, const char *address, uint16_t port, const char *text);
/* Whether the next datagram is this one. */
int hears(int fd, const char *expected);

/* PASSED, or skipped where this host's loopback interface has no multicast. */
enum outcome can_multicast(enum kind kind);
#define NEED_MULTICAST(kind) \
    do { \
        if (can_multicast(kind) != PASSED) \
            return SKIPPED; \
    } while (0)

#endif
