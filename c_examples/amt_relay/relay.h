/* The parts of amt_relay: what it serves with, and how it tells. */
#ifndef RELAY_H
#define RELAY_H

#define SEVERAL_FILES
#define PROGRAM "amt_relay"
#include "../example.h"
#include "../mcast_text.h"
#include "../service.h"

#define PORTS 256
#define LIST_LEN 1024
#define TICK_MS 1000

struct settings {
    char listen[LIST_LEN], advertise[LIST_LEN], upstream[LIST_LEN];
    uint16_t ports[PORTS];
    int packets, json, on_screen;
    struct castio_amt_relay_options options;
};

struct server {
    struct settings settings;
    struct castio_amt_relay *relay;
    struct castio_amt_relay_info now, before; /* at this tick and the last */
    uint64_t now_ns, before_ns;
    int error;        /* the last of processing; told when it changes */
    char *text;       /* the library's JSON */
    size_t text_room;
};

/* json.c: the state as JSON, or NULL for want of memory. */
const char *state_json(struct server *server);
void print_json(struct server *server);

/* counters.c */
extern const struct counter counters[];
extern const size_t counter_count;
void take_counters(struct server *server);
void tell_changes(const struct server *server);

/* table.c */
void redraw_table(struct server *server);

#endif
