/* Events in one line each, and the summary at the end. */
#include "watch.h"

struct note *add_note(struct watch *watch)
{
    struct note *note = &watch->notes[watch->note_count++ % NOTES];
    memset(note, 0, sizeof *note);
    note->time = time(NULL);
    return note;
}

const char *what_name(int what)
{
    switch (what) {
    case CASTIO_MEMBERSHIP_JOINED: return "joined";
    case CASTIO_MEMBERSHIP_LOST: return "lost";
    case CASTIO_MEMBERSHIP_REJOINED: return "joined again";
    case CASTIO_MEMBERSHIP_REFUSED: return "refused";
    case CASTIO_MEMBERSHIP_DEAF: return "joined, but the socket can't hear it";
    case CASTIO_MEMBERSHIP_OVERFLOW: return "events were dropped";
    case SOURCE_SEEN: return "receiving";
    case PACKETS_LOST: return "packets lost by RTP numbers";
    case SILENT: return "silent";
    case BACK: return "receiving again";
    default: return "?";
    }
}

const char *state_name(int state)
{
    switch (state) {
    case CASTIO_MEMBERSHIP_WAITING: return "waiting";
    case CASTIO_MEMBERSHIP_LIVE: return "live";
    case CASTIO_MEMBERSHIP_DOWN: return "down";
    case CASTIO_MEMBERSHIP_FAILED: return "refused";
    case CASTIO_MEMBERSHIP_DEAF: return "deaf";
    default: return "?";
    }
}

/* "2026-11-28 12:03:04 239.1.2.3 port 5000 on eth0: lost: No such device (ENODEV)" */
void print_note(const struct note *note)
{
    char at[32], host[HOST_LEN], text[128];
    struct tm local;
    strftime(at, sizeof at, "%Y-%m-%d %H:%M:%S", localtime_r(&note->time, &local));
    fprintf(page, "%s ", at);
    if (note->group.ss_family == AF_UNSPEC)
        fprintf(page, "port %u", note->port);
    else
        fprintf(page, "%s port %u", host_text(&note->group, host), note->port);
    if (note->interface[0]) {
        fputs(" on ", page);
        print_string(page, note->interface);
    }
    fputs(": ", page);
    fprintf(page, "%s", what_name(note->what));
    if (note->lost > 0)
        fprintf(page, ": %" PRIu64, note->lost);
    if (note->what == SILENT)
        fprintf(page, ": nothing has come for %d s", SILENCE_S);
    if (note->source.ss_family != AF_UNSPEC)
        fprintf(page, note->what == SOURCE_SEEN ? " from %s port %u" : ", source %s", host_text(&note->source, host),
               port_of(&note->source));
    if (note->error) {
        castio_strerror(note->error, text, sizeof text);
        fprintf(page, ": %s (%s)", text, castio_error_name(note->error));
    }
}

int is_good(const struct watch *watch)
{
    for (int i = 0; i < watch->group_count; i++)
        if (watch->groups[i].packets == 0)
            return 0;
    return 1;
}

void print_summary(const struct watch *watch)
{
    double seconds = (double)(clock_ns(CLOCK_MONOTONIC) - watch->start_ns) / 1e9;
    fprintf(page, "in %.1f s:\n", seconds);
    for (int i = 0; i < watch->group_count; i++) {
        const struct group *group = &watch->groups[i];
        uint64_t lost;
        fprintf(page, "%s: %" PRIu64 " packets, %" PRIu64 " bytes from %d%s source%s", group->text, group->packets,
               group->bytes, group->source_count, group->unlisted ? " and more" : "",
               group->source_count == 1 && !group->unlisted ? "" : "s");
        if (lost_of(group, &lost))
            fprintf(page, ", %" PRIu64 " lost by RTP numbers", lost);
        putc('\n', page);
    }
    for (int i = 0; i < watch->port_count; i++)
        if (watch->ports[i].dropped > 0)
            fprintf(page, "port %u: %" PRIu64 " dropped by this host for want of room\n", watch->ports[i].number,
                   watch->ports[i].dropped);
}
