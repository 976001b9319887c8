/* An AMT relay (RFC 7450): takes multicast from this host's network to gateways that only unicast reaches. */
#define MAIN_FILE
#include "amt_relay/relay.h"

static void usage(void)
{
    puts("usage: amt_relay [options] -p PORT...   (no privilege needed)\n"
         "       amt_relay [options] --packets    (needs CAP_NET_RAW)\n"
         "Serves gateways, which tell by unicast which groups they want, and joins what any of them wants.\n"
         "  -p, --port PORT            forwards what is sent to this UDP port; may be repeated\n"
         "  -P, --packets              forwards whole packets, to every port and of any protocol\n"
         "  -i, --interface NAME       multicast comes from here: a name, a pattern \"eth*\", an address, an\n"
         "                             index, \"*\"; may be repeated; default: that of the route to each group\n"
         "  -l, --listen ADDRESS       serves at this address; may be repeated; default: at all\n"
         "      --amt-port PORT        serves at this UDP port; default: 2268\n"
         "  -a, --advertise ADDRESS    tells it to gateways that ask an anycast address; one of each family\n"
         "  -k, --keep-ttl             forwards also what comes with a TTL of 1, and takes nothing off it\n"
         "      --tunnels N            at most so many; default: 10000\n"
         "      --tunnels-from-one N   at most so many from one address or /64; default: 1024\n"
         "      --groups N             at most so many of a tunnel; default: 256\n"
         "      --sources N            at most so many of a group of a tunnel; default: 64\n"
         "      --groups-in-all N      at most so many of all tunnels; default: 65536\n"
         "      --entries N            at most so many groups and sources, counted for each tunnel; default: 262144\n"
         "      --groups-from-one N    at most so many of one address or /64; default: an eighth of --groups-in-all\n"
         "      --entries-from-one N   at most so many of one address or /64; default: an eighth of --entries\n"
         "      --records N            reports may tell of so many groups a second from one address; default: 1024\n"
         "      --rate BYTES           at most so many a second to a tunnel; default: any number\n"
         "      --answers N            at most so many a second to an address without a tunnel; default: 16\n"
         "      --answers-in-all N     at most so many a second to all of these; default: 10000\n"
         "      --mtu BYTES            of the networks to gateways; default: 1500\n"
         "      --query-interval S     gateways report so often; default: 125\n"
         "      --robustness N         so many reports in a row may be lost; default: 2\n"
         "  -j, --json                 tells tunnels, groups and counters, one object in a line each second\n"
         "      --syslog-prefix        priorities before the lines of the log, \"<6>\", as for the journal\n"
         "  -h, --help                 this text\n"
         "Groups for joining by source, 232.0.0.0/8 and ff3x::/32, are refused to gateways that name no source;\n"
         "groups of one link, 224.0.0.0/24 and ff02::, and what link-local addresses send aren't forwarded.\n"
         "The log goes to stderr; on a terminal a table is shown. SIGUSR1 tells the counters, SIGINT (Ctrl-C) and\n"
         "SIGTERM end it. Under systemd: Type=notify.");
}

static int wait_ms(const struct server *server, uint64_t tick_ns)
{
    uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    int due_ms = -1, tick_ms = now_ns < tick_ns ? (int)((tick_ns - now_ns) / 1000000) + 1 : 0;
    castio_amt_relay_timeout_ms(server->relay, &due_ms);
    return due_ms >= 0 && due_ms < tick_ms ? due_ms : tick_ms;
}

static void process(struct server *server)
{
    int result = castio_amt_relay_process(server->relay);
    int error = result < 0 ? result : 0;
    if (error < 0 && error != server->error)
        fail("serving", "gateways", error, NULL);
    server->error = error;
}

static void tick(struct server *server)
{
    take_counters(server);
    if (server->settings.on_screen)
        redraw_table(server);
    /* Not into the table. */
    if (!server->settings.on_screen || !isatty(STDERR_FILENO))
        tell_changes(server);
    if (server->settings.json)
        print_json(server);
}

static int serve(struct server *server)
{
    int fd = castio_amt_relay_fd(server->relay);
    uint64_t tick_ns = clock_ns(CLOCK_MONOTONIC);
    while (!stopped && standard_output.error == 0) {
        if (wait_ready(fd, &standard_output, wait_ms(server, tick_ns)) < 0)
            return complain("waiting for", "gateways", errno);
        drain(&standard_output);
        process(server);
        if (was_asked()) {
            take_counters(server);
            tell_counters(counters, counter_count, &server->now);
        }
        if (clock_ns(CLOCK_MONOTONIC) >= tick_ns) {
            tick(server);
            tick_ns += TICK_MS * 1000000ull;
        }
    }
    notify("STOPPING=1");
    tick(server);
    tell_counters(counters, counter_count, &server->now);
    return EXIT_SUCCESS;
}

static const char *or_null(const char *list)
{
    return list[0] ? list : NULL;
}

static const char *open_advice(int code)
{
    switch (code) {
    case -EINVAL: return "a link-local address of -l needs its interface, fe80::1%eth0; -a takes one address of each family";
    case -EADDRNOTAVAIL: return "-l wants an address of this host";
    case -EADDRINUSE: return "another program has the UDP port; see --amt-port";
    case -EPERM: return "--packets needs CAP_NET_RAW; without it name ports, -p";
    default: return NULL;
    }
}

static int run(struct server *server)
{
    struct settings *settings = &server->settings;
    struct castio_amt_relay_options *options = &settings->options;
    const char *where = settings->listen[0] ? settings->listen : "all addresses";
    options->struct_size = sizeof *options;
    options->listen = or_null(settings->listen);
    options->advertise = or_null(settings->advertise);
    options->upstream = or_null(settings->upstream);
    options->ports = settings->packets ? NULL : settings->ports;
    int result = castio_amt_relay_open(options, &server->relay);
    if (result < 0)
        return fail("opening a relay at", where, result, open_advice(result));
    int status = EXIT_FAILURE, fd = castio_amt_relay_fd(server->relay);
    if (fd >= FD_SETSIZE) {
        tell(LOG_ERR, "opening a relay: too many descriptors are open already");
    } else {
        catch_signals();
        tell(LOG_INFO, "listening at %s, port %u", where, options->port ? options->port : 2268);
        notify("READY=1");
        take_counters(server);
        status = serve(server);
    }
    castio_amt_relay_close(server->relay);
    free(server->text);
    return status;
}

enum long_option { AMT_PORT = 256, TUNNELS, TUNNELS_FROM_ONE, GROUPS, SOURCES, GROUPS_IN_ALL, ENTRIES, GROUPS_FROM_ONE,
                   ENTRIES_FROM_ONE, RECORDS, RATE, ANSWERS, ANSWERS_IN_ALL, MTU, INTERVAL, ROBUSTNESS, PREFIX };

static const struct option options[] = {
    { "port", required_argument, NULL, 'p' },
    { "packets", no_argument, NULL, 'P' },
    { "interface", required_argument, NULL, 'i' },
    { "listen", required_argument, NULL, 'l' },
    { "amt-port", required_argument, NULL, AMT_PORT },
    { "advertise", required_argument, NULL, 'a' },
    { "keep-ttl", no_argument, NULL, 'k' },
    { "tunnels", required_argument, NULL, TUNNELS },
    { "tunnels-from-one", required_argument, NULL, TUNNELS_FROM_ONE },
    { "groups", required_argument, NULL, GROUPS },
    { "sources", required_argument, NULL, SOURCES },
    { "groups-in-all", required_argument, NULL, GROUPS_IN_ALL },
    { "entries", required_argument, NULL, ENTRIES },
    { "groups-from-one", required_argument, NULL, GROUPS_FROM_ONE },
    { "entries-from-one", required_argument, NULL, ENTRIES_FROM_ONE },
    { "records", required_argument, NULL, RECORDS },
    { "rate", required_argument, NULL, RATE },
    { "answers", required_argument, NULL, ANSWERS },
    { "answers-in-all", required_argument, NULL, ANSWERS_IN_ALL },
    { "mtu", required_argument, NULL, MTU },
    { "query-interval", required_argument, NULL, INTERVAL },
    { "robustness", required_argument, NULL, ROBUSTNESS },
    { "json", no_argument, NULL, 'j' },
    { "syslog-prefix", no_argument, NULL, PREFIX },
    { "help", no_argument, NULL, 'h' },
    { NULL, 0, NULL, 0 },
};

/* Those that are numbers. */
static void read_limit(int option, struct castio_amt_relay_options *to)
{
    const long most = 1000000000;
    switch (option) {
    case AMT_PORT: to->port = (unsigned)number(optarg, 1, 65535); break;
    case TUNNELS: to->tunnels = (unsigned)number(optarg, 1, most); break;
    case TUNNELS_FROM_ONE: to->tunnels_per_address = (unsigned)number(optarg, 1, most); break;
    case GROUPS: to->groups = (unsigned)number(optarg, 1, most); break;
    case SOURCES: to->sources = (unsigned)number(optarg, 1, most); break;
    case GROUPS_IN_ALL: to->groups_in_all = (unsigned)number(optarg, 1, most); break;
    case ENTRIES: to->entries = (unsigned)number(optarg, 1, most); break;
    case GROUPS_FROM_ONE: to->groups_per_address = (unsigned)number(optarg, 1, most); break;
    case ENTRIES_FROM_ONE: to->entries_per_address = (unsigned)number(optarg, 1, most); break;
    case RECORDS: to->records_per_second = (unsigned)number(optarg, 1, most); break;
    case RATE: to->bytes_per_second = (uint64_t)number(optarg, 1, 2000000000); break;
    case ANSWERS: to->answers_per_second = (unsigned)number(optarg, 1, most); break;
    case ANSWERS_IN_ALL: to->answers_in_all = (unsigned)number(optarg, 1, most); break;
    case MTU: to->mtu = (unsigned)number(optarg, 1280, 65535); break;
    case INTERVAL: to->query_interval_s = (unsigned)number(optarg, 1, 31744); break;
    default: to->robustness = (unsigned)number(optarg, 1, 7); break;
    }
}

/* The status for an option that asks for an end, or -1. */
static int read_options(int argc, char **argv, struct settings *settings)
{
    struct castio_amt_relay_options *to = &settings->options;
    int option, room = 1;
    while (room && (option = getopt_long(argc, argv, "p:Pi:l:a:kjh", options, NULL)) != -1) {
        switch (option) {
        case 'p':
            if (to->port_count == PORTS)
                return usage_error(optarg, "too many ports");
            settings->ports[to->port_count++] = (uint16_t)number(optarg, 1, 65535);
            break;
        case 'P': settings->packets = 1; break;
        case 'i':
            if (!optarg[0])
                return usage_error("-i", "an interface has a name, an address or an index");
            warn_of_interface(optarg);
            room = add_to_list(settings->upstream, LIST_LEN, optarg);
            break;
        case 'l':
            if (!is_host_address(optarg, 0))
                return usage_error(optarg, "-l wants an address of this host; a link-local one with its interface,"
                                           " fe80::1%eth0");
            room = add_to_list(settings->listen, LIST_LEN, optarg);
            break;
        case 'a':
            if (!is_host_address(optarg, 0))
                return usage_error(optarg, "-a wants an address of this host");
            room = add_to_list(settings->advertise, LIST_LEN, optarg);
            break;
        case 'k': to->flags |= CASTIO_AMT_RELAY_KEEP_TTL; break;
        case 'j': settings->json = 1; break;
        case PREFIX: with_priorities = 1; break;
        case 'h': usage(); return EXIT_SUCCESS;
        case '?': return EXIT_USAGE;
        default: read_limit(option, to); break;
        }
    }
    if (!room)
        return usage_error(optarg, "too many of them");
    if (optind < argc)
        return usage_error(argv[optind], "not an option");
    if (settings->packets == (to->port_count > 0))
        return usage_error("arguments", "either ports with -p, or --packets");
    return -1;
}

int main(int argc, char **argv)
{
    static struct server server;
    begin_program();
    look_for_journal();
    int status = read_options(argc, argv, &server.settings);
    if (status >= 0)
        return status;
    server.settings.on_screen = is_screen(stdout) && !server.settings.json;
    return open_page() ? end_service(run(&server)) : cannot("starting", "a relay", -ENOMEM, NULL);
}
