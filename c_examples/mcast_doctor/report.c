/* The report for people: what came, the findings, the verdict. */
#include "doctor.h"

static int colours;

static const char *colour(const char *code)
{
    return colours ? code : "";
}

static void print_source(const struct settings *settings, const struct source *source)
{
    char host[HOST_LEN], interface[IF_NAMESIZE] = "?";
    const char *remark = ttl_remark(settings, source);
    if_indextoname(source->ifindex, interface);
    printf("  %s port %u, by %s: %" PRIu64 " packets, %" PRIu64 " bytes", host_text(&source->address, host),
           port_of(&source->address), interface, source->packets, source->bytes);
    if (source->least_ttl >= 0 && source->least_ttl == source->most_ttl)
        printf(", TTL %d", source->least_ttl);
    else if (source->least_ttl >= 0)
        printf(", TTL %d to %d", source->least_ttl, source->most_ttl);
    if (remark)
        printf(" (%s%s%s)", colour(YELLOW), remark, colour(PLAIN));
    else if (source->least_ttl >= 0)
        printf(" (%sok%s)", colour(GREEN), colour(PLAIN));
    putchar('\n');
}

static void print_traffic(const struct settings *settings, const struct traffic *traffic)
{
    if (traffic->packets == 0) {
        printf("arrived: nothing in %.1f s\n", traffic->seconds);
        return;
    }
    printf("arrived: %" PRIu64 " packets, %" PRIu64 " bytes in %.1f s (%.1f/s, %.3f Mbit/s), from %d source%s\n",
           traffic->packets, traffic->bytes, traffic->seconds, (double)traffic->packets / traffic->seconds,
           (double)traffic->bytes * 8 / 1e6 / traffic->seconds, traffic->source_count,
           traffic->source_count == 1 ? "" : "s");
    for (int i = 0; i < traffic->source_count; i++)
        print_source(settings, &traffic->sources[i]);
    if (traffic->unlisted > 0)
        printf("  further sources: %" PRIu64 " packets\n", traffic->unlisted);
    if (traffic->dropped > 0)
        printf("%sdropped%s by this host for want of room: %" PRIu64 "\n", colour(RED), colour(PLAIN), traffic->dropped);
}

static const char *severity_colour(int severity)
{
    switch (severity) {
    case CASTIO_SEVERITY_BROKEN: return RED;
    case CASTIO_SEVERITY_LIKELY: return YELLOW;
    case CASTIO_SEVERITY_RISK: return CYAN;
    default: return FAINT;
    }
}

static void print_finding(const struct castio_finding *finding)
{
    printf("%s%-9s%s  %s: %s\n", colour(severity_colour(finding->severity)), severity_name(finding->severity),
           colour(PLAIN), castio_finding_name(finding->code), finding->cause);
    if (finding->cure[0])
        printf("           cure: %s\n", finding->cure);
}

static void print_refusal(const struct settings *settings, int code)
{
    char text[128];
    castio_strerror(code, text, sizeof text);
    printf("%srefused%s    %s: %s (%s)\n", colour(RED), colour(PLAIN),
           settings->sender ? "opening a sending socket" : "joining", text, castio_error_name(code));
    if (!settings->interface)
        puts("           cure: name an interface with -i, or add a route to the group");
}

/* Where nothing is wrong on this host, the reason lies elsewhere: say where to look next. */
static void print_verdict(const struct settings *settings, const struct traffic *traffic,
                          const struct diagnosis *diagnosis)
{
    int healthy = is_healthy(settings, traffic, diagnosis);
    int worst = diagnosis->count > 0 ? diagnosis->findings[0].severity : CASTIO_SEVERITY_UNCHECKED;
    printf("%s%s%s\n", colour(healthy ? GREEN : RED), healthy ? "healthy" : "not healthy", colour(PLAIN));
    if (!healthy && !diagnosis->refused && worst < CASTIO_SEVERITY_LIKELY)
        puts("Nothing on this host explains it: nobody sends, or the network between doesn't forward. Run\n"
             "mcast_doctor --sender where it is sent, and look at its TTL, the routers, and the switches' querier.");
}

void print_report(const struct settings *settings, const struct traffic *traffic, const struct diagnosis *diagnosis)
{
    colours = has_colours(stdout);
    printf("%s %s port %u, interface: %s", settings->sender ? "sending to" : "receiving", settings->endpoint.group,
           settings->endpoint.port, settings->interface ? settings->interface : "by route");
    printf(settings->source ? ", source: %s\n" : "\n", settings->source);
    if (diagnosis->refused)
        print_refusal(settings, diagnosis->refused);
    else if (!settings->sender)
        print_traffic(settings, traffic);
    for (int i = 0; i < diagnosis->count; i++)
        print_finding(&diagnosis->findings[i]);
    print_verdict(settings, traffic, diagnosis);
}
