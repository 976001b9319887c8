/* The parts of mcast_watch: ports with their memberships, groups with what came, three ways to tell. */
#ifndef WATCH_H
#define WATCH_H

#define SEVERAL_FILES
#define PROGRAM "mcast_watch"
#include "../example.h"
#include "../mcast_text.h"
#include "../rtp.h"

#define PORTS 64
#define INTERFACES 16
#define SOURCES 16
#define NOTES 256

/* Redrawn so often; rates are over the last two ticks. */
#define TICK_MS 500
#define WINDOW 2
/* A group that has brought something and brings nothing for so long is told to be silent. */
#define SILENCE_S 2

struct source {
    struct sockaddr_storage address;
    uint64_t packets;
    struct rtp rtp;
};

struct sample {
    uint64_t time_ns, packets, bytes, lost;
};

struct group {
    const char *text; /* as on the command line */
    struct endpoint endpoint;
    struct sockaddr_storage address;
    uint64_t packets, bytes, last_ns;
    uint64_t unlisted; /* packets of sources for which there was no room */
    int source_count;
    struct source sources[SOURCES];
    struct sample past[WINDOW];
    double packets_per_second, bits_per_second;
    uint64_t lost_told;  /* as the last note of a loss had it */
    int is_silent;       /* nothing has come for SILENCE_S, and that is told */
    const struct castio_membership_state *states; /* in its port's list */
    size_t state_count;
};

/* All groups of one port and family are joined by one handle. */
struct port {
    uint16_t number;
    int family, fd, ready_fd;
    struct castio_membership *membership;
    struct castio_membership_state *states;
    size_t state_room, state_count;
    uint64_t dropped;
    int error; /* the last of receiving; it is tried again at the next tick */
};

/* An event of a membership, or one of a stream. */
struct note {
    time_t time;
    int what, error;
    uint64_t lost;
    uint16_t port;
    struct sockaddr_storage group, source;
    char interface[16];
};
enum { SOURCE_SEEN = 100, PACKETS_LOST, SILENT, BACK };

struct settings {
    const char *source, *interfaces[INTERFACES];
    int interface_count, json, once, on_screen, seconds;
    unsigned reannounce_s;
};

struct watch {
    struct settings settings;
    struct group *groups, **by_address;
    int group_count, port_count;
    struct port ports[PORTS];
    struct note notes[NOTES]; /* a ring */
    uint64_t note_count, notes_told;
    uint64_t start_ns;
};

/* ports.c: less than 0 for an error. All ports are opened before the first group is added, so that their
 * descriptors are low: select() takes no others. */
int open_port(struct watch *watch, const struct group *group);
int add_group(struct watch *watch, const struct group *group);
void service_port(struct watch *watch, struct port *port);
void refresh_states(struct watch *watch);
void close_ports(struct watch *watch);

/* groups.c */
void sort_groups(struct watch *watch);
struct group *find_group(const struct watch *watch, const struct sockaddr_storage *address, uint16_t port);
void count_view(struct watch *watch, struct port *port, const struct castio_datagram_view *view);
void take_sample(struct watch *watch, struct group *group, uint64_t now_ns);
int lost_of(const struct group *group, uint64_t *lost); /* 0 if nothing of it is RTP */

/* notes.c */
struct note *add_note(struct watch *watch);
const char *what_name(int what);
const char *state_name(int state);
void print_note(const struct note *note);
void print_summary(const struct watch *watch);
int is_good(const struct watch *watch); /* all joined, and each brought something */

/* table.c, json.c */
void print_table(const struct watch *watch);
void redraw_table(const struct watch *watch);
void print_json(struct watch *watch);

#endif
