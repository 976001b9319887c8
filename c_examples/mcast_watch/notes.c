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

/* "12:03:04 239.1.2.3 port 5000 on eth0: lost: No such device (ENODEV)" */
void print_note(const struct note *note)
{
    char at[16], host[HOST_LEN], text[128];
    struct tm local;
    strftime(at, sizeof at, "%H:%M:%S", localtime_r(&note->time, &local));
    printf("%s ", at);
    if (note->group.ss_family == AF_UNSPEC)
        printf("port %u: ", note->port);
    else
        printf("%s port %u on %s: ", host_text(&note->group, host), note->port, note->interface);
    printf("%s", what_name(note->what));
    if (note->source.ss_family != AF_UNSPEC)
        printf(note->what == SOURCE_SEEN ? " from %s port %u" : ", source %s", host_text(&note->source, host),
               port_of(&note->source));
    if (note->error) {
        castio_strerror(note->error, text, sizeof text);
        printf(": %s (%s)", text, castio_error_name(note->error));
    }
}

void print_summary(const struct watch *watch)
{
    double seconds = (double)(clock_ns(CLOCK_MONOTONIC) - watch->start_ns) / 1e9;
    printf("in %.1f s:\n", seconds);
    for (int i = 0; i < watch->group_count; i++) {
        const struct group *group = &watch->groups[i];
        uint64_t lost;
        printf("%s: %" PRIu64 " packets, %" PRIu64 " bytes from %d%s source%s", group->text, group->packets,
               group->bytes, group->source_count, group->unlisted ? " and more" : "",
               group->source_count == 1 && !group->unlisted ? "" : "s");
        if (rtp_lost(group, &lost))
            printf(", %" PRIu64 " lost by RTP numbers", lost);
        putchar('\n');
    }
    for (int i = 0; i < watch->port_count; i++)
        if (watch->ports[i].dropped > 0)
            printf("port %u: %" PRIu64 " dropped by this host for want of room\n", watch->ports[i].number,
                   watch->ports[i].dropped);
}
