/* One object in one line. */
#include "watch.h"

static void print_sources(const struct group *group)
{
    fprintf(page, "\"sources\": [");
    for (int i = 0; i < group->source_count; i++) {
        char host[HOST_LEN];
        const struct source *source = &group->sources[i];
        fprintf(page, i > 0 ? ", {" : "{");
        print_json_member(page, "address", host_text(&source->address, host));
        fprintf(page, "\"port\": %u, \"packets\": %" PRIu64 ", \"rtp\": %s}", port_of(&source->address), source->packets,
               source->rtp.valid ? "true" : "false");
    }
    fprintf(page, "], \"packets_of_other_sources\": %" PRIu64 ", ", group->unlisted);
}

static void print_states(const struct group *group)
{
    fprintf(page, "\"memberships\": [");
    for (size_t i = 0; i < group->state_count; i++) {
        const struct castio_membership_state *state = &group->states[i];
        fprintf(page, i > 0 ? ", {" : "{");
        print_json_member(page, "state", state_name(state->state));
        print_json_member(page, "interface", state->interface);
        print_json_member(page, "error", state->error ? castio_error_name(state->error) : NULL);
        fprintf(page, "\"ifindex\": %u}", state->ifindex);
    }
    fprintf(page, "]");
}

static void print_group(const struct group *group, uint64_t now_ns)
{
    uint64_t lost;
    putc('{', page);
    print_json_member(page, "group", group->endpoint.group);
    fprintf(page, "\"port\": %u, \"packets\": %" PRIu64 ", \"bytes\": %" PRIu64
           ", \"packets_per_second\": %.1f, \"bits_per_second\": %.0f, ",
           group->endpoint.port, group->packets, group->bytes, group->packets_per_second, group->bits_per_second);
    if (lost_of(group, &lost))
        fprintf(page, "\"rtp_lost\": %" PRIu64 ", ", lost);
    else
        fprintf(page, "\"rtp_lost\": null, ");
    if (group->last_ns > 0)
        fprintf(page, "\"seconds_since_last\": %.3f, ", (double)(now_ns - group->last_ns) / 1e9);
    else
        fprintf(page, "\"seconds_since_last\": null, ");
    print_sources(group);
    print_states(group);
    putc('}', page);
}

static void print_port(const struct port *port)
{
    fprintf(page, "{\"port\": %u, \"family\": \"%s\", \"dropped\": %" PRIu64 ", \"error\": ", port->number,
           port->family == AF_INET6 ? "IPv6" : "IPv4", port->dropped);
    print_json_text(page, port->error ? castio_error_name(port->error) : NULL);
    putc('}', page);
}

static void print_event(const struct note *note)
{
    char host[HOST_LEN];
    putc('{', page);
    print_json_member(page, "what", what_name(note->what));
    print_json_member(page, "group", note->group.ss_family != AF_UNSPEC ? host_text(&note->group, host) : NULL);
    print_json_member(page, "source", note->source.ss_family != AF_UNSPEC ? host_text(&note->source, host) : NULL);
    print_json_member(page, "interface", note->interface);
    print_json_member(page, "error", note->error ? castio_error_name(note->error) : NULL);
    if (note->lost > 0)
        fprintf(page, "\"lost\": %" PRIu64 ", ", note->lost);
    fprintf(page, "\"port\": %u, \"time\": %lld}", note->port, (long long)note->time);
}

/* Those since the last object. Of more than there is room for, the oldest are gone. */
static void print_events(struct watch *watch)
{
    uint64_t oldest = watch->note_count > NOTES ? watch->note_count - NOTES : 0;
    uint64_t first = watch->notes_told > oldest ? watch->notes_told : oldest;
    fprintf(page, "\"events_left_out\": %" PRIu64 ", \"events\": [", first - watch->notes_told);
    for (uint64_t i = first; i < watch->note_count; i++) {
        fprintf(page, i > first ? ", " : "");
        print_event(&watch->notes[i % NOTES]);
    }
    watch->notes_told = watch->note_count;
    fprintf(page, "]");
}

void print_json(struct watch *watch)
{
    uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    fprintf(page, "{\"time\": %.3f, \"seconds\": %.3f, \"groups\": [", (double)clock_ns(CLOCK_REALTIME) / 1e9,
           (double)(now_ns - watch->start_ns) / 1e9);
    for (int i = 0; i < watch->group_count; i++) {
        fprintf(page, i > 0 ? ", " : "");
        print_group(&watch->groups[i], now_ns);
    }
    fprintf(page, "], \"ports\": [");
    for (int i = 0; i < watch->port_count; i++) {
        fprintf(page, i > 0 ? ", " : "");
        print_port(&watch->ports[i]);
    }
    fprintf(page, "], ");
    print_events(watch);
    fputs("}\n", page);
    post(&standard_output);
}
