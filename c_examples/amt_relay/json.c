/* One object in one line. */
#include "relay.h"

/* It may grow between two calls: as long as it is cut. */
const char *state_json(struct server *server)
{
    for (;;) {
        int len = castio_amt_relay_json(server->relay, server->text, server->text_room);
        if (len < 0)
            return NULL;
        if ((size_t)len < server->text_room)
            return server->text;
        char *larger = realloc(server->text, (size_t)len + 4096);
        if (!larger)
            return NULL;
        server->text = larger;
        server->text_room = (size_t)len + 4096;
    }
}

void print_json(struct server *server)
{
    const char *text = state_json(server);
    if (!text) {
        tell(LOG_WARNING, "telling the state: out of memory");
        return;
    }
    /* The library's object, with the time before its members. */
    fprintf(page, "{\"time\": %.3f, %s\n", (double)clock_ns(CLOCK_REALTIME) / 1e9, text + 1);
    post(&standard_output);
}
