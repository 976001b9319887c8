/* Multicast by source: joined, blocked, and as a whole filter. */
#define _GNU_SOURCE
#include "multicast.h"

/* One has joined the sender's address, the other an address that sends nothing. */
static enum outcome by_source(enum kind kind)
{
    const struct family *family = family_of(kind);
    NEED_MULTICAST(kind);
    int one = receiver(kind, 0), tx = sender(kind);
    int two = receiver(kind, port_of(one));
    CHECK(one >= 0 && two >= 0 && tx >= 0);
    TRY(castio_join_source(one, group(kind, 1), family->self, "lo"));
    TRY(castio_join_source(two, group(kind, 1), family->other, "lo"));
    TRY(send_to(tx, group(kind, 1), port_of(one), "from it"));
    TRY(send_to(tx, group(kind, MARKER), port_of(one), "marker"));
    CHECK(hears(one, "from it") && hears(one, "marker") && hears(two, "marker"));
    TRY(castio_join_source(two, group(kind, 1), family->self, "lo"));
    TRY(castio_leave_source(one, group(kind, 1), family->self, "lo"));
    TRY(send_to(tx, group(kind, 1), port_of(one), "again"));
    TRY(send_to(tx, group(kind, MARKER), port_of(one), "marker"));
    CHECK(hears(one, "marker") && hears(two, "again"));
    return passed("from %s -> who joined that source got it, who joined %s nothing", family->self, family->other);
}

static enum outcome open_for_source(enum kind kind)
{
    const struct family *family = family_of(kind);
    NEED_MULTICAST(kind);
    int one = keep(castio_open_receiver(group(kind, 1), 0, family->self, "lo"));
    TRY(one);
    int two = keep(castio_open_receiver(group(kind, 1), port_of(one), family->other, "lo"));
    /* By its address, which makes that the source: by the name "lo" the kernel takes another interface's. */
    int tx = keep(castio_open_sender(group(kind, 1), port_of(one), family->self, 1));
    CHECK(two >= 0 && tx >= 0);
    TRY(castio_write_all(tx, "from it", 7, PATIENCE_MS, NULL));
    CHECK(hears(one, "from it"));
    /* What came by the same group now comes to the other: it is the first, so nothing was before. */
    TRY(castio_join_source(two, group(kind, 1), family->self, "lo"));
    TRY(castio_write_all(tx, "later", 5, PATIENCE_MS, NULL));
    CHECK(hears(two, "later"));
    return passed("for source %s -> got it; for %s -> nothing until joined", family->self, family->other);
}

static enum outcome block(enum kind kind)
{
    const struct family *family = family_of(kind);
    NEED_MULTICAST(kind);
    int rx = receiver(kind, 0), tx = sender(kind);
    CHECK(rx >= 0 && tx >= 0);
    TRY(castio_join_group(rx, group(kind, 1), "lo"));
    TRY(castio_block_source(rx, group(kind, 1), family->self, "lo"));
    TRY(send_to(tx, group(kind, 1), port_of(rx), "blocked"));
    TRY(castio_unblock_source(rx, group(kind, 1), family->self, "lo"));
    TRY(send_to(tx, group(kind, 1), port_of(rx), "let in"));
    CHECK(hears(rx, "let in"));
    return passed("blocked -> nothing; unblocked -> it came");
}

/* Writes the sources of a filter, and reads back what stands. */
static int set_and_get(int fd, enum kind kind, int mode, const char *const *sources, size_t count)
{
    struct sockaddr_storage read[8], wanted;
    size_t found = 0;
    int found_mode = -1;
    if (castio_set_source_filter(fd, group(kind, 1), "lo", mode, sources, count) < 0)
        return -1;
    if (castio_get_source_filter(fd, group(kind, 1), "lo", &found_mode, read, 8, &found) < 0)
        return -1;
    if (found_mode != mode || found != count)
        return -1;
    for (size_t i = 0; i < count; i++) {
        int known = 0;
        socklen_t len = to_address(sources[i], 0, &wanted);
        for (size_t j = 0; j < found; j++)
            known |= memcmp(&wanted, &read[j], len) == 0;
        if (!known)
            return -1;
    }
    return 0;
}

static enum outcome whole_filter(enum kind kind)
{
    const struct family *family = family_of(kind);
    const char *both[] = { family->other, family->self };
    NEED_MULTICAST(kind);
    int rx = receiver(kind, 0), tx = sender(kind);
    uint16_t port = port_of(rx);
    CHECK(rx >= 0 && tx >= 0);
    TRY(set_and_get(rx, kind, CASTIO_FILTER_INCLUDE, both, 2));
    TRY(send_to(tx, group(kind, 1), port, "included"));
    CHECK(hears(rx, "included"));
    TRY(set_and_get(rx, kind, CASTIO_FILTER_INCLUDE, both, 1));
    TRY(send_to(tx, group(kind, 1), port, "not included"));
    TRY(set_and_get(rx, kind, CASTIO_FILTER_EXCLUDE, both, 2));
    TRY(send_to(tx, group(kind, 1), port, "excluded"));
    TRY(set_and_get(rx, kind, CASTIO_FILTER_EXCLUDE, both, 1));
    TRY(send_to(tx, group(kind, 1), port, "not excluded"));
    CHECK(hears(rx, "not excluded"));
    return passed("include 2, include 1, exclude 2, exclude 1: read back, and got what they let in");
}

const struct step filter_steps[] = {
    { "join_source", UDP4, by_source },
    { "join_source", UDP6, by_source },
    { "open_receiver source", UDP4, open_for_source },
    { "open_receiver source", UDP6, open_for_source },
    { "block_source", UDP4, block },
    { "block_source", UDP6, block },
    { "source_filter", UDP4, whole_filter },
    { "source_filter", UDP6, whole_filter },
    { NULL, NOWHERE, NULL },
};
