/* The parts of mcast_tunnel: options, and how it tells. */
#ifndef TUNNEL_H
#define TUNNEL_H

#define SEVERAL_FILES
#define PROGRAM "mcast_tunnel"
#include "../example.h"
#include "../mcast_text.h"
#include "../service.h"

#define LIST_LEN 8192

struct settings {
    const char *kind_name, *local, *remote, *interface, *direction;
    char groups[LIST_LEN];
    int kind, json;
    struct castio_tunnel_options tunnel;
    struct castio_bridge_options bridge;
};

struct end {
    struct settings settings;
    struct castio_tunnel *tunnel;
    struct castio_bridge *bridge;
    struct castio_tunnel_info tunnel_info;
    struct castio_bridge_info bridge_info;
    unsigned asked_groups; /* as told last */
    int error;             /* the last of carrying; told when it changes */
};

/* options.c: the status for an option that asks for an end, or -1. */
int read_options(int argc, char **argv, struct settings *settings);

/* state.c */
void take_state(struct end *end);
void tell_start(const struct end *end);
void tell_counters_of(struct end *end);
void print_json(const struct end *end);

#endif
