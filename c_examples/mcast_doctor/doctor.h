/* The parts of mcast_doctor: what came, what was found, and how both are told. */
#ifndef DOCTOR_H
#define DOCTOR_H

#define SEVERAL_FILES
#define PROGRAM "mcast_doctor"
#include "../example.h"
#include "../mcast_text.h"
#include "../rtp.h"

#define SOURCES 64
#define FINDINGS 64

struct settings {
    struct endpoint endpoint;
    const char *source, *interface;
    int seconds, ttl, json, sender;
};

/* What came from one address and port. */
struct source {
    struct sockaddr_storage address;
    unsigned ifindex;
    uint64_t packets, bytes;
    int least_ttl, most_ttl;
    struct rtp rtp;
};

/* What came to the group as the network interfaces saw it, before this host's filters: by a packet socket, which
 * needs CAP_NET_RAW. */
#define WIRE_INTERFACES 16
struct wire {
    int fd; /* less than 0: it may not be opened */
    int count;
    struct {
        unsigned ifindex;
        uint64_t packets;
    } seen[WIRE_INTERFACES];
    uint64_t rp_filter_before, rp_filter; /* IPReversePathFilter of /proc/net/netstat */
};

struct traffic {
    uint64_t packets, bytes, dropped;
    uint64_t unlisted; /* packets of sources for which there was no room */
    double seconds;
    int source_count;
    struct source sources[SOURCES];
    struct wire wire;
};

/* Worst first. */
struct diagnosis {
    int refused; /* what opening the socket as it should be came to: a negative errno, or 0 */
    int count;
    struct castio_finding findings[FINDINGS];
};

/* traffic.c */
void count_view(struct traffic *traffic, const struct castio_datagram_view *view);
const char *ttl_remark(const struct settings *settings, const struct source *source);

/* wire.c */
void open_wire(struct wire *wire);
void count_wire(struct wire *wire, const struct settings *settings);
void close_wire(struct wire *wire);
uint64_t wire_packets(const struct wire *wire, unsigned ifindex);
unsigned busiest_other(const struct wire *wire, unsigned ifindex);

/* diagnosis.c: less than 0 for an error. Asks for each source that was seen. */
int diagnose(int fd, const struct settings *settings, const struct traffic *traffic, struct diagnosis *diagnosis);
const char *severity_name(int severity);
int is_healthy(const struct settings *settings, const struct traffic *traffic, const struct diagnosis *diagnosis);

/* report.c, json.c */
void print_report(const struct settings *settings, const struct traffic *traffic, const struct diagnosis *diagnosis);
void print_json(const struct settings *settings, const struct traffic *traffic, const struct diagnosis *diagnosis);

#endif
