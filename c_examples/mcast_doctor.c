/* Joins a multicast group, listens, and says what arrives and why the rest doesn't. */
#define MAIN_FILE
#include "mcast_doctor/doctor.h"

#define VIEWS 64

static void usage(void)
{
    puts("usage: mcast_doctor [options] GROUP:PORT\n"
         "Joins the group, listens for some seconds, tells what arrived from whom, and what is wrong on this\n"
         "host, worst first, each with its cure. An IPv6 group is written [ff15::7]:5000.\n"
         "  -s, --source ADDRESS  joins this source only, and looks at the way back to it\n"
         "  -i, --interface NAME  joins on this interface: a name, one of its addresses, its index\n"
         "  -t, --time S          listens for so many seconds; default 5\n"
         "  -S, --sender          looks at a socket that would send to the group; nothing is sent\n"
         "  -T, --ttl N           the sender's TTL; default 1\n"
         "  -j, --json            tells it as JSON, one object\n"
         "  -h, --help            this text\n"
         "Ctrl-C ends the listening. Ends with status 0 if the group is healthy here, 1 if it isn't, 2 if the\n"
         "program can't run. Colours: on a terminal, unless NO_COLOR is set.");
}

/* What the doctor looks at where a socket as it should be is refused: one that comes as near as it can. */
static int open_plain(const struct settings *settings)
{
    struct addrinfo hints, *found;
    char port[8];
    int on = 1;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_DGRAM;
    hints.ai_flags = AI_NUMERICSERV | AI_PASSIVE;
    hints.ai_family = strchr(settings->endpoint.group, ':') ? AF_INET6 : AF_INET;
    /* A sender needs any port for the kernel to say whether a datagram would find its way. */
    snprintf(port, sizeof port, "%u", settings->sender ? 0 : settings->endpoint.port);
    if (getaddrinfo(NULL, port, &hints, &found) != 0)
        return -EAFNOSUPPORT;
    int fd = socket(found->ai_family, SOCK_DGRAM, 0), result = fd < 0 ? -errno : 0;
    if (result >= 0 && settings->sender)
        result = castio_set_ttl(fd, settings->ttl);
    else if (result >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        result = -errno;
    if (result >= 0 && bind(fd, found->ai_addr, found->ai_addrlen) < 0)
        result = -errno;
    if (result >= 0 && !settings->sender)
        result = castio_set_multicast_all(fd, 0);
    freeaddrinfo(found);
    if (result < 0 && fd >= 0)
        close(fd);
    return result < 0 ? result : fd;
}

static const char *advice(int code)
{
    switch (code) {
    case -EINVAL: return "give a multicast group, 224.0.0.0/4 or ff00::/8, and a source of its family";
    case -EAFNOSUPPORT: return "give a group and a source of one family, which this host has";
    case -EADDRINUSE: return "a program has the port and doesn't share it; \"ss -lunp\" names it";
    case -EACCES: return "a port below 1024 needs CAP_NET_BIND_SERVICE; try as root";
    default: return NULL;
    }
}

static int open_socket(const struct settings *settings, struct diagnosis *diagnosis)
{
    const char *group = settings->endpoint.group;
    uint16_t port = settings->endpoint.port;
    int fd = settings->sender ? castio_open_sender(group, port, settings->interface, settings->ttl)
                              : castio_open_receiver(group, port, settings->source, settings->interface);
    if (fd >= 0 || advice(fd))
        return fd;
    diagnosis->refused = fd;
    return open_plain(settings);
}

/* On a terminal, while it listens, five times a second. */
static void show_progress(double left, const struct traffic *traffic, const struct diagnosis *diagnosis)
{
    static uint64_t shown_ns;
    uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    if (!is_screen(stderr) || now_ns - shown_ns < 200000000u)
        return;
    shown_ns = now_ns;
    fprintf(stderr, "\r\033[Klistening, %d s left: %" PRIu64 " packets from %d source%s", (int)left + 1,
            traffic->packets, traffic->source_count, traffic->source_count == 1 ? "" : "s");
    if (diagnosis->count > 0)
        fprintf(stderr, "; so far: %s", castio_finding_name(diagnosis->findings[0].code));
    fflush(stderr);
}

static int count_waiting(struct castio_receiver *receiver, struct traffic *traffic)
{
    static struct castio_datagram_view views[VIEWS];
    for (int batch = 0; batch < 64; batch++) {
        views[0].struct_size = sizeof views[0];
        ssize_t count = castio_receive_datagrams(receiver, views, VIEWS, 0);
        if (count < 0)
            return count == -EAGAIN ? 0 : (int)count;
        for (ssize_t i = 0; i < count; i++)
            count_view(traffic, &views[i]);
    }
    return 0;
}

static int listen_for_traffic(int fd, const struct settings *settings, struct traffic *traffic,
                              const struct diagnosis *diagnosis)
{
    struct castio_receiver *receiver;
    int result = castio_receiver_open(fd, NULL, &receiver);
    open_wire(&traffic->wire);
    uint64_t start_ns = clock_ns(CLOCK_MONOTONIC);
    while (result >= 0 && !stopped && traffic->seconds < settings->seconds) {
        double left = settings->seconds - traffic->seconds;
        show_progress(left, traffic, diagnosis);
        int ready = wait_readable(fd, left < 0.2 ? (int)(left * 1000) + 1 : 200);
        result = ready > 0 ? count_waiting(receiver, traffic) : ready < 0 ? -errno : 0;
        count_wire(&traffic->wire, settings);
        traffic->seconds = (double)(clock_ns(CLOCK_MONOTONIC) - start_ns) / 1e9;
    }
    if (is_screen(stderr))
        fprintf(stderr, "\r\033[K");
    close_wire(&traffic->wire);
    if (result >= 0)
        castio_receiver_close(receiver);
    return result;
}

/* Looks before, so that the progress can tell, and after, when the sources are known. */
static int run(const struct settings *settings)
{
    static struct traffic traffic;
    static struct diagnosis diagnosis;
    const char *group = settings->endpoint.group;
    catch_stop();
    int fd = open_socket(settings, &diagnosis);
    if (fd < 0)
        return cannot(settings->sender ? "sending to" : "joining", group, fd, advice(fd));
    int result = diagnose(fd, settings, &traffic, &diagnosis);
    if (result >= 0 && !settings->sender && !diagnosis.refused) {
        result = listen_for_traffic(fd, settings, &traffic, &diagnosis);
        if (result >= 0)
            result = diagnose(fd, settings, &traffic, &diagnosis);
    }
    close(fd);
    if (result < 0)
        return cannot("diagnosing", group, result, NULL);
    (settings->json ? print_json : print_report)(settings, &traffic, &diagnosis);
    return is_healthy(settings, &traffic, &diagnosis) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "source", required_argument, NULL, 's' },
        { "interface", required_argument, NULL, 'i' },
        { "time", required_argument, NULL, 't' },
        { "sender", no_argument, NULL, 'S' },
        { "ttl", required_argument, NULL, 'T' },
        { "json", no_argument, NULL, 'j' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    struct settings settings = { .seconds = 5, .ttl = 1 };
    int option;
    begin_program();
    while ((option = getopt_long(argc, argv, "s:i:t:ST:jh", options, NULL)) != -1) {
        switch (option) {
        case 's': settings.source = optarg; break;
        case 'i': settings.interface = optarg; break;
        case 't': settings.seconds = (int)number(optarg, 1, 86400); break;
        case 'S': settings.sender = 1; break;
        case 'T': settings.ttl = (int)number(optarg, 0, 255); break;
        case 'j': settings.json = 1; break;
        case 'h': usage(); return EXIT_SUCCESS;
        default: return EXIT_USAGE;
        }
    }
    if (argc - optind != 1)
        return usage_error("arguments", "one GROUP:PORT");
    if (!parse_endpoint(argv[optind], &settings.endpoint))
        return endpoint_error(argv[optind]);
    if (settings.interface && !settings.interface[0])
        return usage_error("-i", "an interface has a name, an address or an index");
    return run(&settings);
}
