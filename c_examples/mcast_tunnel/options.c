/* The command line. */
#include "tunnel.h"

#include <limits.h>

/* 32 bits, as far as a long holds them. */
#define KEY_MOST (LONG_MAX < UINT32_MAX ? LONG_MAX : (long)UINT32_MAX)

static void usage(void)
{
    puts("usage: mcast_tunnel -k KIND -r REMOTE -i INTERFACE [options]\n"
         "One end of a tunnel that carries multicast between two networks, through one that only carries unicast.\n"
         "  -k, --kind KIND          ipip, gre (both need CAP_NET_RAW), gre-udp, udp\n"
         "  -r, --remote ADDRESS     the other end; with gre-udp and udp also 192.0.2.1:99 or [2001:db8::1]:99\n"
         "  -l, --local ADDRESS      this end, likewise; default: any address of this host\n"
         "  -i, --interface NAME     the network: a name, one of its addresses, its index\n"
         "  -d, --direction WHICH    in: from the network into the tunnel; out: from the tunnel onto the network;\n"
         "                           default: both\n"
         "  -g, --group GROUP        carries into the tunnel: \"239.1.2.3\", one port of it \"239.1.2.3:5000\", one\n"
         "                           source \"232.1.2.3@192.0.2.1\", IPv6 \"[ff15::7]:5000\", all \"*\"; may be\n"
         "                           repeated; default: what the other end asks for (--ask)\n"
         "  -a, --ask                asks the hosts on the network what they listen to, and passes it on\n"
         "  -o, --own-datagrams      what comes out gets this host's address and a port of its own as source\n"
         "  -t, --ttl-threshold N    carries what arrives with a TTL of at least N; default: 2\n"
         "  -s, --scope N            carries groups of at least this scope: 5 site, 9 more than an organization's,\n"
         "                           14 global; default: 3, all but those that stay on their link\n"
         "  -K, --key N              the GRE key; both ends have the same\n"
         "      --checksum, --sequence   GRE checksums, numbers; both ends have the same\n"
         "  -f, --fragment           what is too large goes in outer fragments, where it may\n"
         "      --no-ecn             for a far end that doesn't know congestion marks\n"
         "      --outer-ttl N        TTL of the outer packets; default: 64\n"
         "      --mtu BYTES          the largest packet inside; default: what fits\n"
         "  -j, --json               tells counters, one object in a line each second\n"
         "      --syslog-prefix      priorities before the lines of the log, \"<6>\", as for the journal\n"
         "  -h, --help               this text\n"
         "Without CAP_NET_RAW: kinds over UDP, groups with a port each, and --own-datagrams. The log goes to stderr.\n"
         "SIGUSR1 tells the counters; SIGINT (Ctrl-C) and SIGTERM end it. Under systemd: Type=notify.");
}

enum long_option { CHECKSUM = 256, SEQUENCE, NO_ECN, OUTER_TTL, MTU, PREFIX };

static const struct option options[] = {
    { "kind", required_argument, NULL, 'k' },
    { "remote", required_argument, NULL, 'r' },
    { "local", required_argument, NULL, 'l' },
    { "interface", required_argument, NULL, 'i' },
    { "direction", required_argument, NULL, 'd' },
    { "group", required_argument, NULL, 'g' },
    { "ask", no_argument, NULL, 'a' },
    { "own-datagrams", no_argument, NULL, 'o' },
    { "ttl-threshold", required_argument, NULL, 't' },
    { "scope", required_argument, NULL, 's' },
    { "key", required_argument, NULL, 'K' },
    { "checksum", no_argument, NULL, CHECKSUM },
    { "sequence", no_argument, NULL, SEQUENCE },
    { "fragment", no_argument, NULL, 'f' },
    { "no-ecn", no_argument, NULL, NO_ECN },
    { "outer-ttl", required_argument, NULL, OUTER_TTL },
    { "mtu", required_argument, NULL, MTU },
    { "json", no_argument, NULL, 'j' },
    { "syslog-prefix", no_argument, NULL, PREFIX },
    { "help", no_argument, NULL, 'h' },
    { NULL, 0, NULL, 0 },
};

static int kind_of(const char *name)
{
    static const char *const names[] = { "ipip", "gre", "gre-udp", "udp" };
    static const int kinds[] = { CASTIO_TUNNEL_IPIP, CASTIO_TUNNEL_GRE, CASTIO_TUNNEL_GRE_UDP, CASTIO_TUNNEL_UDP };
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (strcmp(name, names[i]) == 0)
            return kinds[i];
    return 0;
}

/* What the tunnel is like. */
static void read_tunnel_option(int option, struct castio_tunnel_options *to)
{
    switch (option) {
    case 'K':
        to->flags |= CASTIO_TUNNEL_KEY;
        to->key = (uint32_t)number(optarg, 0, KEY_MOST);
        break;
    case CHECKSUM: to->flags |= CASTIO_TUNNEL_CHECKSUM; break;
    case SEQUENCE: to->flags |= CASTIO_TUNNEL_SEQUENCE; break;
    case 'f': to->flags |= CASTIO_TUNNEL_FRAGMENT; break;
    case NO_ECN: to->flags |= CASTIO_TUNNEL_NO_ECN; break;
    case OUTER_TTL: to->ttl = (unsigned)number(optarg, 1, 255); break;
    case MTU: to->mtu = (size_t)number(optarg, 576, 65535); break;
    default: break;
    }
}

/* "*", GROUP, GROUP:PORT, GROUP@SOURCE. */
static int is_group_wish(const char *text)
{
    struct endpoint endpoint;
    char group[HOST_LEN];
    const char *at = strchr(text, '@');
    if (strcmp(text, "*") == 0)
        return 1;
    snprintf(group, sizeof group, "%.*s", (int)(at ? at - text : (long)strlen(text)), text);
    return is_group(parse_endpoint(group, &endpoint) ? endpoint.group : group) && (!at || is_host_address(at + 1, 0));
}

/* What one kind of tunnel has and another hasn't. */
static int fits_kind(const struct settings *settings)
{
    const int is_gre = settings->kind == CASTIO_TUNNEL_GRE || settings->kind == CASTIO_TUNNEL_GRE_UDP;
    const int is_udp = settings->kind == CASTIO_TUNNEL_UDP || settings->kind == CASTIO_TUNNEL_GRE_UDP;
    if (!is_gre && (settings->tunnel.flags & CASTIO_TUNNEL_KEY))
        return usage_error("--key", "goes with gre and gre-udp only");
    if (!is_gre && (settings->tunnel.flags & (CASTIO_TUNNEL_CHECKSUM | CASTIO_TUNNEL_SEQUENCE)))
        return usage_error("--checksum, --sequence", "go with gre and gre-udp only");
    if (!is_host_address(settings->remote, is_udp))
        return usage_error(settings->remote, is_udp ? "-r wants an address, perhaps with a port" : "-r wants an address without a port");
    if (settings->local && !is_host_address(settings->local, is_udp))
        return usage_error(settings->local, "-l wants an address of this host");
    return -1;
}

static int complete(const struct settings *settings)
{
    const char *way = settings->direction;
    if (!settings->kind_name || !settings->remote || !settings->interface)
        return usage_error("arguments", "-k KIND, -r REMOTE and -i INTERFACE");
    if (!settings->kind)
        return usage_error(settings->kind_name, "not ipip, gre, gre-udp or udp");
    if (strcmp(way, "in") != 0 && strcmp(way, "out") != 0 && strcmp(way, "both") != 0)
        return usage_error(way, "not in, out or both");
    if (strcmp(way, "out") == 0 && settings->groups[0])
        return usage_error("--group", "for what goes into the tunnel, not with --direction out");
    return fits_kind(settings);
}

int read_options(int argc, char **argv, struct settings *settings)
{
    int option;
    settings->direction = "both";
    while ((option = getopt_long(argc, argv, "k:r:l:i:d:g:aot:s:K:fjh", options, NULL)) != -1) {
        switch (option) {
        case 'k':
            settings->kind_name = optarg;
            settings->kind = kind_of(optarg);
            break;
        case 'r': settings->remote = optarg; break;
        case 'l': settings->local = optarg; break;
        case 'i': settings->interface = optarg; break;
        case 'd': settings->direction = optarg; break;
        case 'g':
            if (!is_group_wish(optarg))
                return usage_error(optarg, "-g wants a multicast group: 239.1.2.3, 239.1.2.3:5000, [ff15::7]:5000,"
                                           " 232.1.2.3@192.0.2.1, *");
            if (!add_to_list(settings->groups, LIST_LEN, optarg))
                return usage_error(optarg, "too many groups");
            break;
        case 'a': settings->bridge.flags |= CASTIO_BRIDGE_ASK; break;
        case 'o': settings->bridge.flags |= CASTIO_BRIDGE_OWN_DATAGRAMS; break;
        case 't': settings->bridge.least_ttl = (unsigned)number(optarg, 2, 255); break;
        case 's': settings->bridge.least_scope = (unsigned)number(optarg, 3, 15); break;
        case 'j': settings->json = 1; break;
        case PREFIX: with_priorities = 1; break;
        case 'h': usage(); return EXIT_SUCCESS;
        case '?': return EXIT_USAGE;
        default: read_tunnel_option(option, &settings->tunnel); break;
        }
    }
    return optind < argc ? usage_error(argv[optind], "not an option") : complete(settings);
}
