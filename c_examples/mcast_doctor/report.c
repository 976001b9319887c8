/* The report for people: what came, the findings, the verdict. */
#include "doctor.h"

static int colours;

static const char *colour(const char *code)
{
    return colours ? code : "";
}

static void print_source(const struct settings *settings, const struct source *source)
{
    char host[HOST_LEN], interface[IF_NAMESIZE] = "?", shown[80];
    const char *remark = ttl_remark(settings, source);
    if_indextoname(source->ifindex, interface);
    printf("  %s port %u, by %s: %" PRIu64 " packets, %" PRIu64 " bytes", host_text(&source->address, host),
           port_of(&source->address), printable(interface, shown, sizeof shown), source->packets, source->bytes);
    if (source->least_ttl >= 0 && source->least_ttl == source->most_ttl)
        printf(", TTL %d", source->least_ttl);
    else if (source->least_ttl >= 0)
        printf(", TTL %d to %d", source->least_ttl, source->most_ttl);
    if (remark)
        printf(" (%s%s%s)", colour(YELLOW), remark, colour(PLAIN));
    else if (source->least_ttl >= 0)
        printf(" (%sok%s)", colour(GREEN), colour(PLAIN));
    if (source->rtp.valid && rtp_lost(&source->rtp) > 0)
        printf(", %slost%s by RTP numbers: %" PRIu64, colour(RED), colour(PLAIN), rtp_lost(&source->rtp));
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

/* The library tells programs what to call. For who has only the command line, what to do there. */
static const char *cure_of(const struct castio_finding *finding)
{
    switch (finding->code) {
    case CASTIO_FINDING_SSM_RANGE:
    case CASTIO_FINDING_SOURCE_OUTSIDE_SSM: return "name the source: -s ADDRESS";
    case CASTIO_FINDING_TTL_ZERO: return "-T 1 for this link, more to cross routers";
    case CASTIO_FINDING_TTL_ONE: return "-T 32, if routers are to pass it on";
    case CASTIO_FINDING_NO_MULTICAST_ROUTE: return "name an interface, -i NAME, or ip route add 224.0.0.0/4 dev NAME"
                                                   " (IPv6: ip -6 route add table local multicast ff00::/8 dev NAME)";
    case CASTIO_FINDING_WRONG_OUTGOING_INTERFACE: return "name the interface: -i NAME";
    case CASTIO_FINDING_QUEUE_FULL:
    case CASTIO_FINDING_DROPS: return "the program that receives must read faster, or have a larger receive buffer";
    default: return strstr(finding->cure, "castio_") ? "in the program that receives: see castio.h" : finding->cure;
    }
}

static void print_finding(const struct castio_finding *finding)
{
    printf("%s%-9s%s  %s: ", colour(severity_colour(finding->severity)), severity_name(finding->severity),
           colour(PLAIN), castio_finding_name(finding->code));
    print_string(stdout, finding->cause);
    const char *cure = cure_of(finding);
    if (cure[0]) {
        printf("\n           cure: ");
        print_string(stdout, cure);
    }
    putchar('\n');
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

static const char *name_of(unsigned ifindex, char name[IF_NAMESIZE], char shown[80])
{
    return printable(if_indextoname(ifindex, name) ? name : "an interface that is gone", shown, 80);
}

/* What the packets themselves tell where none came to the socket. 0 if they tell nothing. */
static int print_evidence(const struct settings *settings, const struct traffic *traffic)
{
    char name[IF_NAMESIZE], shown[80];
    unsigned ifindex = 0;
    const struct wire *wire = &traffic->wire;
    if (settings->interface)
        castio_interface_index(settings->interface, &ifindex);
    uint64_t here = wire_packets(wire, ifindex);
    unsigned other = ifindex ? busiest_other(wire, ifindex) : 0;
    if (here > 0) {
        printf("%" PRIu64 " packets reached this host%s%s, and it dropped them before the socket: ", here,
               ifindex ? " by " : "", ifindex ? name_of(ifindex, name, shown) : "");
        if (wire->rp_filter > 0)
            printf("by rp_filter, which dropped %" PRIu64 " packets meanwhile.\n", wire->rp_filter);
        else
            puts("look at the findings above, and at the firewall (nft list ruleset).");
        return 1;
    }
    if (other == 0)
        return 0;
    printf("%" PRIu64 " packets came by another interface, %s: ", wire_packets(wire, other), name_of(other, name, shown));
    printf("try -i %s.\n", shown);
    return 1;
}

/* The last words agree with what was found. Where nothing was, the reason lies elsewhere: say where to look. */
static void print_verdict(const struct settings *settings, const struct traffic *traffic,
                          const struct diagnosis *diagnosis)
{
    int healthy = is_healthy(settings, traffic, diagnosis);
    int worst = diagnosis->count > 0 ? diagnosis->findings[0].severity : CASTIO_SEVERITY_UNCHECKED;
    printf("%s%s%s\n", colour(healthy ? GREEN : RED), healthy ? "healthy" : "not healthy", colour(PLAIN));
    if (healthy || diagnosis->refused || settings->sender)
        return;
    if (traffic->packets == 0 && print_evidence(settings, traffic))
        return;
    if (worst >= CASTIO_SEVERITY_LIKELY)
        return;
    if (diagnosis->count > 0)
        puts("One of the findings above may explain it. If not, then nobody sends, or the network between doesn't\n"
             "forward: run mcast_doctor --sender where it is sent, and look at its TTL, the routers, and the switches'\n"
             "querier.");
    else
        puts("Nothing was found on this host that explains it: nobody sends, or the network between doesn't forward.\n"
             "Run mcast_doctor --sender where it is sent, and look at its TTL, the routers, and the switches' querier.");
}

void print_report(const struct settings *settings, const struct traffic *traffic, const struct diagnosis *diagnosis)
{
    colours = has_colours(stdout);
    printf("%s %s port %u, interface: ", settings->sender ? "sending to" : "receiving", settings->endpoint.group,
           settings->endpoint.port);
    print_string(stdout, settings->interface ? settings->interface : "by route");
    printf(settings->source ? ", source: %s\n" : "\n", settings->source);
    if (diagnosis->refused)
        print_refusal(settings, diagnosis->refused);
    else if (!settings->sender)
        print_traffic(settings, traffic);
    for (int i = 0; i < diagnosis->count; i++)
        print_finding(&diagnosis->findings[i]);
    print_verdict(settings, traffic, diagnosis);
}
