/* The table, drawn in place. */
#include "watch.h"

#include <sys/ioctl.h>

#define NOTE_LINES 5
#define STATE_LEN 28

static const char *line_end = "\n";
static int colours;

static const char *state_colour(const struct group *group)
{
    int worst = CASTIO_MEMBERSHIP_LIVE;
    if (!colours)
        return "";
    for (size_t i = 0; i < group->state_count; i++)
        if (group->states[i].state != CASTIO_MEMBERSHIP_LIVE)
            worst = worst == CASTIO_MEMBERSHIP_FAILED ? worst : group->states[i].state;
    if (worst == CASTIO_MEMBERSHIP_LIVE)
        return GREEN;
    return worst == CASTIO_MEMBERSHIP_WAITING ? YELLOW : RED;
}

/* "live eth0, down eth1", cut to what fits. */
static void state_text(const struct group *group, char text[STATE_LEN])
{
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < group->state_count && len < STATE_LEN; i++) {
        const struct castio_membership_state *state = &group->states[i];
        const char *where = state->interface[0] ? state->interface : state->wished;
        int has_why = state->state == CASTIO_MEMBERSHIP_FAILED || state->state == CASTIO_MEMBERSHIP_DEAF;
        const char *why = has_why ? castio_error_name(state->error) : "";
        len += (size_t)snprintf(text + len, STATE_LEN - len, "%s%s%s%s%s%s", i > 0 ? ", " : "",
                                state_name(state->state), where[0] ? " " : "", where, why[0] ? " " : "", why);
    }
    if (len >= STATE_LEN)
        memcpy(text + STATE_LEN - 4, "...", 4);
}

static void sources_text(const struct group *group, char text[HOST_LEN])
{
    strcpy(text, "-");
    if (group->source_count == 1 && !group->unlisted)
        host_text(&group->sources[0].address, text);
    else if (group->source_count > 0)
        snprintf(text, HOST_LEN, "%d%s", group->source_count, group->unlisted ? " and more" : "");
}

static int group_width(const struct watch *watch)
{
    int width = 5;
    for (int i = 0; i < watch->group_count; i++)
        if ((int)strlen(watch->groups[i].text) > width)
            width = (int)strlen(watch->groups[i].text);
    return width;
}

static void print_row(const struct group *group, int width, uint64_t now_ns)
{
    char state[STATE_LEN], packets[16], bits[16], sources[HOST_LEN], lost_text[24] = "-", last[24] = "-";
    uint64_t lost;
    state_text(group, state);
    sources_text(group, sources);
    if (rtp_lost(group, &lost))
        snprintf(lost_text, sizeof lost_text, "%" PRIu64, lost);
    if (group->last_ns > 0)
        snprintf(last, sizeof last, "%.1f s ago", (double)(now_ns - group->last_ns) / 1e9);
    printf("%-*s  %s%-*s%s  %9s  %7s  %10" PRIu64 "  %-15s  %6s  %10s%s", width, group->text, state_colour(group),
           STATE_LEN - 1, state, colours ? PLAIN : "", short_number(group->packets_per_second, packets),
           short_number(group->bits_per_second, bits), group->packets, sources, lost_text, last, line_end);
}

/* A line for each port where something is wrong. Returns how many. */
static int print_ports(const struct watch *watch)
{
    int lines = 0;
    for (int i = 0; i < watch->port_count; i++) {
        const struct port *port = &watch->ports[i];
        if (port->dropped == 0 && port->error == 0)
            continue;
        printf("port %u: %" PRIu64 " dropped by this host for want of room", port->number, port->dropped);
        if (port->error)
            printf("; receiving fails: %s", castio_error_name(port->error));
        printf("%s", line_end);
        lines++;
    }
    return lines;
}

/* At most so many groups. Returns how many lines it took. */
static int print_groups(const struct watch *watch, int most)
{
    uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    int width = group_width(watch), shown = watch->group_count < most ? watch->group_count : most, lines = 1 + shown;
    printf("%s%-*s  %-*s  %9s  %7s  %10s  %-15s  %6s  %10s%s%s", colours ? FAINT : "", width, "GROUP", STATE_LEN - 1,
           "STATE", "PACKETS/S", "BIT/S", "PACKETS", "SOURCES", "LOST", "LAST SEEN", colours ? PLAIN : "", line_end);
    for (int i = 0; i < shown; i++)
        print_row(&watch->groups[i], width, now_ns);
    if (shown < watch->group_count) {
        printf("and %d groups more%s", watch->group_count - shown, line_end);
        lines++;
    }
    return lines + print_ports(watch);
}

/* The newest ones, oldest first. */
static int print_notes(const struct watch *watch)
{
    uint64_t count = watch->note_count < NOTE_LINES ? watch->note_count : NOTE_LINES;
    for (uint64_t i = watch->note_count - count; i < watch->note_count; i++) {
        print_note(&watch->notes[i % NOTES]);
        printf("%s", line_end);
    }
    return (int)count;
}

void print_table(const struct watch *watch)
{
    colours = has_colours(stdout);
    print_groups(watch, watch->group_count);
}

/* The height leaves out what doesn't fit. */
void redraw_table(const struct watch *watch)
{
    static int drawn;
    struct winsize size;
    int most = watch->group_count, others = NOTE_LINES + watch->port_count + 3;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && most > size.ws_row - others)
        most = size.ws_row > others ? size.ws_row - others : 1;
    colours = has_colours(stdout);
    line_end = "\033[K\n";
    begin_drawing(drawn);
    drawn = print_groups(watch, most);
    drawn += print_notes(watch);
    end_drawing();
    line_end = "\n";
}
