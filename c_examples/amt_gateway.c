/* An AMT gateway (RFC 7450): receives multicast through a network that only carries unicast. */
#define MAIN_FILE
#include "amt_gateway/gateway.h"

#define TICK_MS 1000
#define DNS_MS 10000

static void usage(void)
{
    puts("usage: amt_gateway [options] GROUP[:PORT][@SOURCE]...\n"
         "Receives groups through a relay, by unicast, and gives the datagrams to standard output, or on.\n"
         "  -x, --exclude SOURCE    not from this source, where a group is named without one; may be repeated\n"
         "  -r, --relay ADDRESS     the relay; with a port other than 2268 192.0.2.1:99 or [2001:db8::1]:99; may be\n"
         "                          repeated: the next one when one doesn't answer; default: the nearest one,\n"
         "                          by the anycast addresses 192.52.193.1 and 2001:3::1\n"
         "  -D, --discover          asks the relays given for a relay (Discovery), as anycast addresses always;\n"
         "                          without --relay those that DNS tells for the first SOURCE (RFC 8777)\n"
         "  -s, --leave-silent      leaves a relay that brings nothing within 4 seconds for the next one\n"
         "  -t, --to ADDRESS:PORT   sends the payloads there by UDP\n"
         "  -T, --tun NAME          gives whole packets to this TUN device, which is made; join the groups there;\n"
         "                          needs CAP_NET_ADMIN\n"
         "  -l, --lines             each datagram as a line with its source and group\n"
         "  -L, --local ADDRESS     sends from this address; default: by the routes\n"
         "  -p, --port PORT         and from this port; default: any\n"
         "  -e, --ecn               asks the relay to show congestion marks on the outside\n"
         "  -n, --count N           ends after so many datagrams\n"
         "  -j, --json              tells state and counters, one object in a line each second: on standard\n"
         "                          output with --to and --tun, else on standard error\n"
         "      --syslog-prefix     priorities before the lines of the log, \"<6>\", as for the journal\n"
         "  -h, --help              this text\n"
         "An IPv6 group with a port is written [ff1e::7]:5000; without a port all are meant. Groups of 232.0.0.0/8 and\n"
         "ff3x::/32 need @SOURCE: relays refuse them without it, and don't say so. Changes of state go to stderr, and\n"
         "once that a group brings nothing. SIGUSR1 tells the counters; SIGINT (Ctrl-C) and SIGTERM end it, and the tunnel (Teardown). Under\n"
         "systemd: Type=notify, ready when a relay has taken the groups.");
}

/* As much as there is, at most some batches. Less than 0 for an error. */
static int receive_waiting(struct gateway *gateway)
{
    static struct castio_datagram_view views[VIEWS];
    for (int batch = 0; batch < 64 && standard_output.error == 0; batch++) {
        views[0].struct_size = sizeof views[0];
        ssize_t count = castio_amt_receive(gateway->amt, views, VIEWS, 0);
        if (count < 0)
            return count == -EAGAIN ? 0 : (int)count;
        forward(gateway, views, (size_t)count);
    }
    return 0;
}

static int wait_ms(const struct gateway *gateway, uint64_t tick_ns)
{
    uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    int due_ms = -1, tick_ms = now_ns < tick_ns ? (int)((tick_ns - now_ns) / 1000000) + 1 : 0;
    castio_amt_timeout_ms(gateway->amt, &due_ms);
    return due_ms >= 0 && due_ms < tick_ms ? due_ms : tick_ms;
}

static int is_done(const struct gateway *gateway)
{
    uint64_t limit = gateway->settings.count;
    return stopped || standard_output.error != 0 || (limit > 0 && gateway->forwarded >= limit);
}

static int serve(struct gateway *gateway)
{
    int fd = castio_amt_fd(gateway->amt), told = 0;
    uint64_t tick_ns = clock_ns(CLOCK_MONOTONIC);
    take_state(gateway);
    while (!is_done(gateway)) {
        if (wait_ready(fd, &standard_output, wait_ms(gateway, tick_ns)) < 0)
            return complain("waiting for", "datagrams", errno);
        drain(&standard_output);
        int result = receive_waiting(gateway);
        if (result < 0 && result != told)
            fail("receiving from", "the relay", result, NULL);
        told = result;
        take_state(gateway);
        if (was_asked())
            tell_state_counters(gateway);
        if (clock_ns(CLOCK_MONOTONIC) >= tick_ns) {
            if (gateway->settings.json)
                print_json(gateway);
            tick_ns += TICK_MS * 1000000ull;
        }
    }
    notify("STOPPING=1");
    take_state(gateway);
    if (gateway->settings.json)
        print_json(gateway);
    return EXIT_SUCCESS;
}

/* Those of the group's family. */
static int exclude(struct gateway *gateway, const char *group)
{
    const char *sources[EXCLUDED];
    size_t count = 0;
    for (int i = 0; i < gateway->settings.excluded_count; i++)
        if (!strchr(gateway->settings.excluded[i], ':') == !strchr(group, ':'))
            sources[count++] = gateway->settings.excluded[i];
    return castio_amt_set_source_filter(gateway->amt, group, CASTIO_FILTER_EXCLUDE, sources, count);
}

static const char *join_advice(int code)
{
    switch (code) {
    case -EINVAL: return "a group is of 224.0.0.0/4 or ff00::/8 and reaches beyond its link; a source is a host";
    case -EAFNOSUPPORT: return "group and source are of one family";
    case -EADDRINUSE: return "it is named twice, or once whole and once with a source";
    default: return NULL;
    }
}

static int join_all(struct gateway *gateway)
{
    for (int i = 0; i < gateway->wish_count; i++) {
        const struct wish *wish = &gateway->wishes[i];
        int result = castio_amt_join(gateway->amt, wish->group, wish->source[0] ? wish->source : NULL);
        if (result >= 0 && !wish->source[0] && gateway->settings.excluded_count > 0)
            result = exclude(gateway, wish->group);
        /* Another port of the same. */
        if (result == -EADDRINUSE && wish->port != 0)
            result = 0;
        if (result < 0) {
            return fail("joining", wish->text, result, join_advice(result));
        }
    }
    return EXIT_SUCCESS;
}

/* Adds the relays that DNS tells for the first source, if there is one. */
static int find_relays(struct gateway *gateway)
{
    struct settings *settings = &gateway->settings;
    const char *source = NULL;
    for (int i = 0; i < gateway->wish_count && !source; i++)
        if (gateway->wishes[i].source[0])
            source = gateway->wishes[i].source;
    if (!source)
        return EXIT_SUCCESS;
    ssize_t len = castio_amt_find_relays(source, DNS_MS, settings->relays, sizeof settings->relays);
    if (len < 0)
        return fail("asking DNS for the relays of", source, (int)len, "name one by --relay");
    if ((size_t)len >= sizeof settings->relays)
        return cannot("asking DNS for the relays of", source, -ENOBUFS, "name one by --relay");
    tell(LOG_INFO, "relays of %s: %s", source, settings->relays);
    return EXIT_SUCCESS;
}

static const char *open_advice(int code)
{
    switch (code) {
    case -EINVAL: return "at most 64 relays, each an address that isn't this host's own gateway";
    case -EADDRNOTAVAIL: return "-L wants an address of this host";
    case -EADDRINUSE: return "a program has the port of -p";
    case -EACCES: return "a port below 1024 needs CAP_NET_BIND_SERVICE";
    default: return NULL;
    }
}

static int run(struct gateway *gateway)
{
    struct settings *settings = &gateway->settings;
    if ((settings->flags & CASTIO_AMT_DISCOVER) && !settings->relays[0]) {
        int status = find_relays(gateway);
        if (status != EXIT_SUCCESS)
            return status;
    }
    const char *relays = settings->relays[0] ? settings->relays : NULL;
    struct castio_amt_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.local = settings->local;
    options.port = (uint16_t)settings->port;
    options.flags = settings->flags;
    int result = castio_amt_open(relays, &options, &gateway->amt);
    if (result < 0)
        return fail("opening a gateway to", relays ? relays : "any relay", result, open_advice(result));
    int status = join_all(gateway);
    if (status == EXIT_SUCCESS)
        status = open_output(gateway);
    if (status == EXIT_SUCCESS && castio_amt_fd(gateway->amt) >= FD_SETSIZE)
        status = cannot("opening", "a gateway", -EMFILE, "too many descriptors are open already");
    if (status == EXIT_SUCCESS) {
        catch_signals();
        status = serve(gateway);
    }
    castio_amt_close(gateway->amt);
    close_output(gateway);
    return status;
}

#define PREFIX 256

static const struct option options[] = {
    { "exclude", required_argument, NULL, 'x' },
    { "relay", required_argument, NULL, 'r' },
    { "discover", no_argument, NULL, 'D' },
    { "leave-silent", no_argument, NULL, 's' },
    { "to", required_argument, NULL, 't' },
    { "tun", required_argument, NULL, 'T' },
    { "lines", no_argument, NULL, 'l' },
    { "local", required_argument, NULL, 'L' },
    { "port", required_argument, NULL, 'p' },
    { "ecn", no_argument, NULL, 'e' },
    { "count", required_argument, NULL, 'n' },
    { "json", no_argument, NULL, 'j' },
    { "syslog-prefix", no_argument, NULL, PREFIX },
    { "help", no_argument, NULL, 'h' },
    { NULL, 0, NULL, 0 },
};

/* The status for an option that asks for an end, or -1. */
static int read_options(int argc, char **argv, struct settings *settings)
{
    int option;
    while ((option = getopt_long(argc, argv, "x:r:Dst:T:lL:p:en:jh", options, NULL)) != -1) {
        switch (option) {
        case 'x':
            if (settings->excluded_count == EXCLUDED)
                return usage_error(optarg, "too many sources");
            if (!is_host_address(optarg, 0))
                return usage_error(optarg, "-x wants a source's address");
            settings->excluded[settings->excluded_count++] = optarg;
            break;
        case 'r':
            if (!is_host_address(optarg, 1))
                return usage_error(optarg, "-r wants an address, such as 192.0.2.1 or [2001:db8::1]:2268");
            if (!add_to_list(settings->relays, LIST_LEN, optarg))
                return usage_error(optarg, "too many relays");
            break;
        case 'D': settings->flags |= CASTIO_AMT_DISCOVER; break;
        case 's': settings->flags |= CASTIO_AMT_LEAVE_SILENT; break;
        case 't': settings->to = optarg; break;
        case 'T': settings->tun = optarg; break;
        case 'l': settings->lines = 1; break;
        case 'L':
            if (!is_host_address(optarg, 0))
                return usage_error(optarg, "-L wants an address of this host");
            settings->local = optarg;
            break;
        case 'p': settings->port = (unsigned)number(optarg, 1, 65535); break;
        case 'e': settings->flags |= CASTIO_AMT_ECN; break;
        case 'n': settings->count = (uint64_t)number(optarg, 1, 1000000000); break;
        case 'j': settings->json = 1; break;
        case PREFIX: with_priorities = 1; break;
        case 'h': usage(); return EXIT_SUCCESS;
        default: return EXIT_USAGE;
        }
    }
    if (settings->to && settings->tun)
        return usage_error("--to, --tun", "one of them");
    return optind == argc ? usage_error("arguments", "GROUP[:PORT][@SOURCE]...") : -1;
}

int main(int argc, char **argv)
{
    static struct gateway gateway;
    begin_program();
    look_for_journal();
    gateway.fd = -1;
    int status = read_options(argc, argv, &gateway.settings);
    if (status >= 0)
        return status;
    gateway.wish_count = argc - optind;
    gateway.wishes = calloc((size_t)gateway.wish_count, sizeof *gateway.wishes);
    if (!gateway.wishes)
        return cannot("subscribing to", argv[optind], -ENOMEM, "name fewer groups");
    for (int i = 0; i < gateway.wish_count && status < 0; i++) {
        gateway.wishes[i].text = argv[optind + i];
        if (!parse_wish(&gateway.wishes[i]))
            status = usage_error(argv[optind + i], "not GROUP[:PORT][@SOURCE], such as 232.1.2.3:5000@10.0.0.1");
    }
    if (status < 0)
        status = open_page() ? run(&gateway) : cannot("starting", "a gateway", -ENOMEM, NULL);
    free(gateway.wishes);
    return end_service(status);
}
