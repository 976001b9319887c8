/* The report for programs: one object in one line. */
#include "doctor.h"

static void print_source(const struct settings *settings, const struct source *source)
{
    char host[HOST_LEN], interface[IF_NAMESIZE] = "";
    if_indextoname(source->ifindex, interface);
    putchar('{');
    print_json_member(stdout, "address", host_text(&source->address, host));
    print_json_member(stdout, "interface", interface);
    print_json_member(stdout, "ttl_remark", ttl_remark(settings, source));
    printf("\"port\": %u, \"packets\": %" PRIu64 ", \"bytes\": %" PRIu64, port_of(&source->address), source->packets,
           source->bytes);
    if (source->rtp.valid)
        printf(", \"rtp_lost\": %" PRIu64, rtp_lost(&source->rtp));
    else
        printf(", \"rtp_lost\": null");
    if (source->least_ttl >= 0)
        printf(", \"least_ttl\": %d, \"most_ttl\": %d}", source->least_ttl, source->most_ttl);
    else
        printf(", \"least_ttl\": null, \"most_ttl\": null}");
}

/* null where the packets can't be seen before they are filtered. */
static void print_wire(const struct wire *wire)
{
    printf(wire->fd < 0 ? "null, " : "[");
    for (int i = 0; i < wire->count; i++) {
        char interface[IF_NAMESIZE] = "";
        if_indextoname(wire->seen[i].ifindex, interface);
        printf(i > 0 ? ", {" : "{");
        print_json_member(stdout, "interface", interface);
        printf("\"packets\": %" PRIu64 "}", wire->seen[i].packets);
    }
    if (wire->fd >= 0)
        printf("], ");
}

static void print_traffic(const struct settings *settings, const struct traffic *traffic)
{
    double seconds = traffic->seconds > 0 ? traffic->seconds : 1;
    printf("\"seconds\": %.3f, \"packets\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"packets_per_second\": %.1f"
           ", \"bits_per_second\": %.0f, \"dropped\": %" PRIu64 ", \"sources\": [",
           traffic->seconds, traffic->packets, traffic->bytes, (double)traffic->packets / seconds,
           (double)traffic->bytes * 8 / seconds, traffic->dropped);
    for (int i = 0; i < traffic->source_count; i++) {
        printf(i > 0 ? ", " : "");
        print_source(settings, &traffic->sources[i]);
    }
    printf("], \"packets_of_other_sources\": %" PRIu64 ", \"on_the_wire\": ", traffic->unlisted);
    print_wire(&traffic->wire);
}

static void print_finding(const struct castio_finding *finding)
{
    putchar('{');
    print_json_member(stdout, "code", castio_finding_name(finding->code));
    print_json_member(stdout, "severity", severity_name(finding->severity));
    print_json_member(stdout, "cause", finding->cause);
    printf("\"cure\": ");
    print_json_text(stdout, finding->cure);
    putchar('}');
}

void print_json(const struct settings *settings, const struct traffic *traffic, const struct diagnosis *diagnosis)
{
    putchar('{');
    print_json_member(stdout, "role", settings->sender ? "sender" : "receiver");
    print_json_member(stdout, "group", settings->endpoint.group);
    printf("\"port\": %u, ", settings->endpoint.port);
    print_json_member(stdout, "interface", settings->interface);
    print_json_member(stdout, "source", settings->source);
    print_json_member(stdout, "refused", diagnosis->refused ? castio_error_name(diagnosis->refused) : NULL);
    if (!settings->sender)
        print_traffic(settings, traffic);
    printf("\"findings\": [");
    for (int i = 0; i < diagnosis->count; i++) {
        printf(i > 0 ? ", " : "");
        print_finding(&diagnosis->findings[i]);
    }
    printf("], \"healthy\": %s}\n", is_healthy(settings, traffic, diagnosis) ? "true" : "false");
}
