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

/* What a state says beside the interface: why a group is refused or waits. */
static const char *reason(const struct castio_membership_state *state)
{
    if (state->state == CASTIO_MEMBERSHIP_WAITING)
        return state->error == -ENETUNREACH ? "no route, name -i" : "no such interface";
    return state->error ? castio_error_name(state->error) : "";
}

/* "live eth0, down eth1", cut to what fits. */
static void state_text(const struct group *group, char *text, size_t room)
{
    char where[160];
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < group->state_count && len < room; i++) {
        const struct castio_membership_state *state = &group->states[i];
        const char *why = reason(state);
        printable(state->interface[0] ? state->interface : state->wished, where, sizeof where);
        len += (size_t)snprintf(text + len, room - len, "%s%s%s%s%s%s%s", i > 0 ? ", " : "", state_name(state->state),
                                where[0] ? " " : "", where, why[0] ? " (" : "", why, why[0] ? ")" : "");
    }
    if (len >= room)
        memcpy(text + room - 4, "...", 4);
}

static void sources_text(const struct group *group, char text[HOST_LEN])
{
    strcpy(text, "-");
    if (group->source_count == 1 && !group->unlisted)
        host_text(&group->sources[0].address, text);
    else if (group->source_count > 0)
        snprintf(text, HOST_LEN, "%d%s", group->source_count, group->unlisted ? " and more" : "");
}

/* The columns that a screen has room for. What is lost and when something came last are always there; how many
 * packets in all, from whom, and long states only where there is room. */
struct layout {
    int group, state, packets, sources;
};

#define SHORT_STATE 16
/* PACKETS/S, BIT/S, LOST, LAST SEEN, with two blanks before each. */
#define ALWAYS (11 + 9 + 8 + 12)

/* `columns` 0: as wide as it gets. */
static struct layout layout_for(const struct watch *watch, int columns)
{
    struct layout layout = { 5, STATE_LEN - 1, 12, 17 };
    for (int i = 0; i < watch->group_count; i++)
        if ((int)strlen(watch->groups[i].text) > layout.group)
            layout.group = (int)strlen(watch->groups[i].text);
    if (columns == 0)
        return layout;
    /* The last column stays free: erasing to the end of the line would take it away. */
    int room = columns - 1 - ALWAYS - 2;
    if (room < layout.group + SHORT_STATE + layout.packets + layout.sources)
        layout.packets = 0;
    if (room < layout.group + SHORT_STATE + layout.sources)
        layout.sources = 0;
    room -= layout.packets + layout.sources;
    if (layout.group > room - 8)
        layout.group = room > 15 ? room - 8 : 7;
    if (layout.state > room - layout.group)
        layout.state = room - layout.group > 4 ? room - layout.group : 4;
    return layout;
}

/* At most so wide, with dots where it is cut. */
static void print_column(const char *text, int width)
{
    int len = (int)strlen(text);
    if (len > width && width > 3)
        fprintf(page, "%.*s...", width - 3, text);
    else
        fprintf(page, "%-*.*s", width, width, text);
}

static void print_row(const struct group *group, const struct layout *layout, uint64_t now_ns)
{
    char state[STATE_LEN], packets[16], bits[16], sources[HOST_LEN], lost_text[24] = "-", last[24] = "-";
    uint64_t lost;
    state_text(group, state, (size_t)layout->state + 1);
    sources_text(group, sources);
    if (lost_of(group, &lost))
        snprintf(lost_text, sizeof lost_text, "%" PRIu64, lost);
    if (group->last_ns > 0)
        snprintf(last, sizeof last, "%.1f s ago", (double)(now_ns - group->last_ns) / 1e9);
    print_column(group->text, layout->group);
    fprintf(page, "  %s%-*s%s  %9s  %7s", state_colour(group), layout->state, state, colours ? PLAIN : "",
            short_number(group->packets_per_second, packets), short_number(group->bits_per_second, bits));
    if (layout->packets)
        fprintf(page, "  %10" PRIu64, group->packets);
    if (layout->sources)
        fprintf(page, "  %-15s", sources);
    fprintf(page, "  %6s  %10s%s", lost_text, last, line_end);
}

static void print_head(const struct layout *layout)
{
    fprintf(page, "%s%-*s  %-*s  %9s  %7s", colours ? FAINT : "", layout->group, "GROUP", layout->state, "STATE",
            "PACKETS/S", "BIT/S");
    if (layout->packets)
        fprintf(page, "  %10s", "PACKETS");
    if (layout->sources)
        fprintf(page, "  %-15s", "SOURCES");
    fprintf(page, "  %6s  %10s%s%s", "LOST", "LAST SEEN", colours ? PLAIN : "", line_end);
}

/* A line for each port where something is wrong. Returns how many. */
static int print_ports(const struct watch *watch)
{
    int lines = 0;
    for (int i = 0; i < watch->port_count; i++) {
        const struct port *port = &watch->ports[i];
        if (port->dropped == 0 && port->error == 0)
            continue;
        fprintf(page, "port %u: %" PRIu64 " dropped by this host for want of room", port->number, port->dropped);
        if (port->error)
            fprintf(page, "; receiving fails: %s", castio_error_name(port->error));
        fprintf(page, "%s", line_end);
        lines++;
    }
    return lines;
}

/* At most so many groups. Returns how many lines it took. */
static int print_groups(const struct watch *watch, int columns, int most)
{
    uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    struct layout layout = layout_for(watch, columns);
    int shown = watch->group_count < most ? watch->group_count : most, lines = 1 + shown;
    print_head(&layout);
    for (int i = 0; i < shown; i++)
        print_row(&watch->groups[i], &layout, now_ns);
    if (shown < watch->group_count) {
        fprintf(page, "and %d groups more%s", watch->group_count - shown, line_end);
        lines++;
    }
    return lines;
}

/* The newest ones, oldest first. */
static int print_notes(const struct watch *watch, int most)
{
    uint64_t count = watch->note_count < (uint64_t)most ? watch->note_count : (uint64_t)most;
    for (uint64_t i = watch->note_count - count; i < watch->note_count; i++) {
        print_note(&watch->notes[i % NOTES]);
        fprintf(page, "%s", line_end);
    }
    return (int)count;
}

void print_table(const struct watch *watch)
{
    colours = has_colours(stdout);
    print_groups(watch, 0, watch->group_count);
    print_ports(watch);
}

static int troubled_ports(const struct watch *watch)
{
    int count = 0;
    for (int i = 0; i < watch->port_count; i++)
        count += watch->ports[i].dropped > 0 || watch->ports[i].error != 0;
    return count;
}

/* The groups come first; the ports' troubles and the notes get the lines that are left. The last line of the screen
 * stays free for the cursor. A screen that changed its size has moved its lines about: it is drawn anew. */
void redraw_table(const struct watch *watch)
{
    static int drawn;
    static struct winsize before;
    struct winsize size = { .ws_row = 24, .ws_col = 80 };
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    int rows = size.ws_row > 2 ? size.ws_row - 1 : 2, others = NOTE_LINES + troubled_ports(watch);
    int most = rows - 1 - others > 4 ? rows - 1 - others : rows - 1 > 4 ? 4 : rows - 1;
    if (most < watch->group_count)
        most--;
    colours = has_colours(stdout);
    line_end = "\033[K\n";
    if (drawn > 0 && (size.ws_row != before.ws_row || size.ws_col != before.ws_col)) {
        fputs("\033[H\033[2J", page);
        drawn = 0;
    }
    begin_drawing(drawn);
    int lines = print_groups(watch, size.ws_col, most > 1 ? most : 1);
    if (lines + troubled_ports(watch) <= rows)
        lines += print_ports(watch);
    lines += print_notes(watch, rows - lines < NOTE_LINES ? rows > lines ? rows - lines : 0 : NOTE_LINES);
    if (end_drawing()) {
        drawn = lines;
        before = size;
    }
    line_end = "\n";
}
