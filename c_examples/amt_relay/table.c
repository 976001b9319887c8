/* The table, drawn in place. */
#include "relay.h"

#include <sys/ioctl.h>

static const char *const line_end = "\033[K\n";

static void print_rates(const char *name, uint64_t packets, uint64_t bytes, uint64_t total, double seconds)
{
    char each[16], bits[16];
    fprintf(page, "%-8s %12s %12s %14" PRIu64 "%s", name, short_number((double)packets / seconds, each),
           short_number((double)bytes * 8 / seconds, bits), total, line_end);
}

/* Groups with how many tunnels want them, as far as there is room: {"group":"232.1.1.1","tunnels":2}. */
static int print_groups(const char *json, int most)
{
    char group[HOST_LEN];
    unsigned tunnels;
    int lines = 0;
    for (const char *at = json ? strstr(json, "\"group\"") : NULL; at && lines < most; at = strstr(at + 1, "\"group\"")) {
        if (sscanf(at, "\"group\" : \"%79[^\"]\" , \"tunnels\" : %u", group, &tunnels) != 2)
            continue;
        fprintf(page, "%-39s %9u%s", group, tunnels, line_end);
        lines++;
    }
    return lines;
}

static int print_body(struct server *server, int most)
{
    const struct castio_amt_relay_info *now = &server->now, *before = &server->before;
    const int colours = has_colours(stdout);
    const char *faint = colours ? FAINT : "", *plain = colours ? PLAIN : "";
    double seconds = (double)(server->now_ns - server->before_ns) / 1e9;
    char others[512];
    seconds = seconds > 0.001 ? seconds : 0.001;
    fprintf(page, "%s%" PRIu64 " tunnels, %" PRIu64 " groups%s%s", colours ? GREEN : "", now->tunnels, now->groups, plain,
           line_end);
    fprintf(page, "%s%-8s %12s %12s %14s%s%s", faint, "", "PACKETS/S", "BIT/S", "PACKETS", plain, line_end);
    print_rates("in", now->packets - before->packets, now->bytes - before->bytes, now->packets, seconds);
    print_rates("out", now->copies - before->copies, now->copied_bytes - before->copied_bytes, now->copies, seconds);
    fprintf(page, "%s%s%s%s", faint, counters_text(counters, counter_count, now, others, sizeof others), plain, line_end);
    fprintf(page, "%s%-39s %9s%s%s", faint, "GROUP", "TUNNELS", plain, line_end);
    return 6 + print_groups(state_json(server), most);
}

/* The height leaves out what doesn't fit. */
void redraw_table(struct server *server)
{
    static int drawn;
    struct winsize size;
    int most = 16;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0)
        most = size.ws_row > 8 ? size.ws_row - 8 : 1;
    begin_drawing(drawn);
    int lines = print_body(server, most);
    if (end_drawing())
        drawn = lines;
}
