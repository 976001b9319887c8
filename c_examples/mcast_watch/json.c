/* One object in one line. */
#include "watch.h"

static void print_field(const char *key, const char *text)
{
    printf("\"%s\": ", key);
    print_json_text(text);
    printf(", ");
}

static void print_sources(const struct group *group)
{
    printf("\"sources\": [");
    for (int i = 0; i < group->source_count; i++) {
        char host[HOST_LEN];
        const struct source *source = &group->sources[i];
        printf(i > 0 ? ", {" : "{");
        print_field("address", host_text(&source->address, host));
        printf("\"port\": %u, \"packets\": %" PRIu64 ", \"rtp\": %s}", port_of(&source->address), source->packets,
               source->rtp.valid ? "true" : "false");
    }
    printf("], \"packets_of_other_sources\": %" PRIu64 ", ", group->unlisted);
}

static void print_states(const struct group *group)
{
    printf("\"memberships\": [");
    for (size_t i = 0; i < group->state_count; i++) {
        const struct castio_membership_state *state = &group->states[i];
        printf(i > 0 ? ", {" : "{");
        print_field("state", state_name(state->state));
        print_field("interface", state->interface);
        print_field("error", state->error ? castio_error_name(state->error) : NULL);
        printf("\"ifindex\": %u}", state->ifindex);
    }
    printf("]");
}

static void print_group(const struct group *group, uint64_t now_ns)
{
    uint64_t lost;
    putchar('{');
    print_field("group", group->endpoint.group);
    printf("\"port\": %u, \"packets\": %" PRIu64 ", \"bytes\": %" PRIu64
           ", \"packets_per_second\": %.1f, \"bits_per_second\": %.0f, ",
           group->endpoint.port, group->packets, group->bytes, group->packets_per_second, group->bits_per_second);
    if (rtp_lost(group, &lost))
        printf("\"rtp_lost\": %" PRIu64 ", ", lost);
    else
        printf("\"rtp_lost\": null, ");
    if (group->last_ns > 0)
        printf("\"seconds_since_last\": %.3f, ", (double)(now_ns - group->last_ns) / 1e9);
    else
        printf("\"seconds_since_last\": null, ");
    print_sources(group);
    print_states(group);
    putchar('}');
}

static void print_port(const struct port *port)
{
    printf("{\"port\": %u, \"family\": \"%s\", \"dropped\": %" PRIu64 ", \"error\": ", port->number,
           port->family == AF_INET6 ? "IPv6" : "IPv4", port->dropped);
    print_json_text(port->error ? castio_error_name(port->error) : NULL);
    putchar('}');
}

static void print_event(const struct note *note)
{
    char host[HOST_LEN];
    putchar('{');
    print_field("what", what_name(note->what));
    print_field("group", note->group.ss_family != AF_UNSPEC ? host_text(&note->group, host) : NULL);
    print_field("source", note->source.ss_family != AF_UNSPEC ? host_text(&note->source, host) : NULL);
    print_field("interface", note->interface);
    print_field("error", note->error ? castio_error_name(note->error) : NULL);
    printf("\"port\": %u, \"time\": %lld}", note->port, (long long)note->time);
}

/* Those since the last object. Of more than there is room for, the oldest are gone. */
static void print_events(struct watch *watch)
{
    uint64_t oldest = watch->note_count > NOTES ? watch->note_count - NOTES : 0;
    uint64_t first = watch->notes_told > oldest ? watch->notes_told : oldest;
    printf("\"events_left_out\": %" PRIu64 ", \"events\": [", first - watch->notes_told);
    for (uint64_t i = first; i < watch->note_count; i++) {
        printf(i > first ? ", " : "");
        print_event(&watch->notes[i % NOTES]);
    }
    watch->notes_told = watch->note_count;
    printf("]");
}

void print_json(struct watch *watch)
{
    uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    printf("{\"time\": %.3f, \"seconds\": %.3f, \"groups\": [", (double)clock_ns(CLOCK_REALTIME) / 1e9,
           (double)(now_ns - watch->start_ns) / 1e9);
    for (int i = 0; i < watch->group_count; i++) {
        printf(i > 0 ? ", " : "");
        print_group(&watch->groups[i], now_ns);
    }
    printf("], \"ports\": [");
    for (int i = 0; i < watch->port_count; i++) {
        printf(i > 0 ? ", " : "");
        print_port(&watch->ports[i]);
    }
    printf("], ");
    print_events(watch);
    puts("}");
    fflush(stdout);
}
