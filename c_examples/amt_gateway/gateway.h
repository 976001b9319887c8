/* The parts of amt_gateway: what is subscribed to, and where it goes. */
#ifndef GATEWAY_H
#define GATEWAY_H

#define SEVERAL_FILES
#define PROGRAM "amt_gateway"
#include "../example.h"
#include "../mcast_text.h"
#include "../service.h"

#define VIEWS 256
#define EXCLUDED 64
#define LIST_LEN 2048

/* "GROUP[:PORT][@SOURCE]", taken apart; port 0: all. */
struct wish {
    const char *text;
    char group[HOST_LEN], source[HOST_LEN];
    struct sockaddr_storage address;
    uint16_t port;
};

struct settings {
    char relays[LIST_LEN];
    const char *local, *to, *tun;
    const char *excluded[EXCLUDED]; /* sources of groups that are wanted whole */
    int excluded_count;
    unsigned flags, port;
    int lines, json, ecn;
    uint64_t count;
};

struct gateway {
    struct settings settings;
    struct wish *wishes;
    int wish_count;
    struct castio_amt *amt;
    struct castio_amt_info info;
    uint64_t active_ns; /* since when the relay has the groups; 0: not, or silence was told */
    int fd; /* of --to or --tun, else -1 */
    struct castio_sender *sender;
    uint64_t forwarded, other_ports, lost;
    int error; /* the last of forwarding; told when it changes */
};

/* A view's address, of which no more is read than its family has. */
static inline const struct sockaddr_storage *address_of(const struct sockaddr *address)
{
    return (const struct sockaddr_storage *)address;
}

/* wishes.c */
int parse_wish(struct wish *wish);
int is_wished(const struct gateway *gateway, const struct castio_datagram_view *view);

/* output.c: 0, or the exit status after a message. */
int open_output(struct gateway *gateway);
void close_output(struct gateway *gateway);
void forward(struct gateway *gateway, const struct castio_datagram_view *views, size_t count);

/* tun.c: a descriptor, and 0; less than 0 for an error. */
int open_tun(const char *name);
ssize_t write_packet(int fd, const struct castio_datagram_view *view);

/* state.c */
void take_state(struct gateway *gateway);
void tell_state_counters(struct gateway *gateway);
void print_json(struct gateway *gateway);

#endif
