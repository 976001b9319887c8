/* Receives what udp_blast sends, in batches, and counts what is missing, doubled or out of order. */
#define PROGRAM "udp_count"
#include "example.h"
#include "udp_probe.h"

#define VIEWS 1024
#define FLOWS 256
/* A datagram that is so far behind the newest of its flow isn't told from a doubled one. */
#define WINDOW 65536

static void usage(void)
{
    puts("usage: udp_count [options] [ADDRESS] PORT\n"
         "Counts the datagrams of udp_blast that come to an address of this host (default: to all), to a\n"
         "group, which it joins, or to a broadcast address.\n"
         "  -n, --count N         ends after so many\n"
         "  -d, --duration S      ends after so many seconds\n"
         "  -w, --wait MS         ends when nothing has come for so long\n"
         "  -i, --interface NAME  joins on this interface: a name, one of its addresses, its index\n"
         "  -b, --buffer BYTES    room for what was received and not yet read; default 4194304\n"
         "  -C, --no-coalescing   no UDP_GRO\n"
         "  -j, --json            tells the result as JSON\n"
         "  -h, --help            this text\n"
         "PORT 0 is any free port, which is printed, but not with --json. Succeeds when something came, and\n"
         "nothing was lost, doubled or damaged. Lost: between the first and the last one seen of a flow; how many\n"
         "it has before and after these is told beside. Dropped here: by this host's kernel, for want of room; of\n"
         "those that it had coalesced it counts a run as one.");
}

struct settings {
    const char *address, *interface;
    uint16_t port;
    uint64_t count, duration_s;
    int wait_ms, no_coalescing, json;
    size_t buffer;
};

/* One run of udp_blast. */
struct flow {
    uint32_t id;
    uint64_t total, lowest, highest, unique;
    unsigned char seen[WINDOW / 8];
};

struct counts {
    uint64_t received, bytes, duplicates, reordered, damaged, foreign, dropped;
    uint64_t first_ns, last_ns; /* the kernel's time of the first and the last */
};

static struct flow flows[FLOWS];
static int flow_count;
static struct counts counts;

static struct flow *find_flow(uint32_t id)
{
    for (int i = 0; i < flow_count; i++)
        if (flows[i].id == id)
            return &flows[i];
    if (flow_count == FLOWS)
        return NULL;
    flows[flow_count].id = id;
    return &flows[flow_count++];
}

/* Moves the window on to a new highest number, and forgets what leaves it. */
static void advance(struct flow *flow, uint64_t number)
{
    uint64_t first = flow->highest + 1;
    if (number - flow->highest > WINDOW)
        first = number - WINDOW + 1;
    for (uint64_t i = first; i <= number; i++)
        flow->seen[i % WINDOW / 8] &= (unsigned char)~(1u << i % 8);
    flow->highest = number;
}

static void count_number(struct flow *flow, uint64_t number)
{
    unsigned char bit = (unsigned char)(1u << number % 8), *seen = &flow->seen[number % WINDOW / 8];
    if (flow->unique == 0)
        flow->lowest = number;
    if (flow->unique == 0 || number > flow->highest)
        advance(flow, number);
    else if (flow->highest - number >= WINDOW || *seen & bit) {
        counts.duplicates++;
        return;
    } else {
        counts.reordered++;
        if (number < flow->lowest)
            flow->lowest = number;
    }
    *seen |= bit;
    flow->unique++;
}

static void count_view(const struct castio_datagram_view *view)
{
    struct probe head;
    counts.dropped += view->drops;
    if (view->len < sizeof head || memcmp(view->data, &(uint32_t){ htonl(PROBE_MAGIC) }, sizeof head.magic) != 0) {
        counts.foreign++;
        return;
    }
    memcpy(&head, view->data, sizeof head);
    uint32_t sum = checksum(view->data, view->len) - ntohl(head.checksum);
    if (view->len != ntohl(head.len) || sum != ntohl(head.checksum)) {
        counts.damaged++;
        return;
    }
    struct flow *flow = find_flow(ntohl(head.flow));
    if (!flow) {
        counts.foreign++;
        return;
    }
    if (counts.received++ == 0)
        counts.first_ns = view->time_ns;
    counts.last_ns = view->time_ns;
    counts.bytes += view->len;
    flow->total = get64(head.total);
    count_number(flow, get64(head.number));
}

/* Missing between the first and the last that were seen. What a sender sent before, and what it may still send,
 * nobody here can have lost. */
static uint64_t lost(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < flow_count; i++)
        sum += flows[i].highest - flows[i].lowest + 1 - flows[i].unique;
    return sum;
}

static uint64_t before_first(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < flow_count; i++)
        sum += flows[i].lowest;
    return sum;
}

/* As far as the senders have said how many there will be. */
static uint64_t after_last(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < flow_count; i++)
        sum += flows[i].total > flows[i].highest ? flows[i].total - flows[i].highest - 1 : 0;
    return sum;
}

static double seconds_since(uint64_t start_ns)
{
    double seconds = (double)(clock_ns(CLOCK_MONOTONIC) - start_ns) / 1e9;
    return seconds > 0 ? seconds : 1e-9;
}

/* On a terminal, once a second. What is lost shows when a flow's end is known. */
static void show_progress(uint64_t *shown_ns, struct counts *shown)
{
    double seconds = seconds_since(*shown_ns);
    if (!isatty(STDERR_FILENO) || seconds < 1)
        return;
    fprintf(stderr,
            "%.0f datagrams/s, %.1f Mbit/s, %" PRIu64 " doubled, %" PRIu64 " out of order, %" PRIu64 " dropped here\n",
            (double)(counts.received - shown->received) / seconds,
            (double)(counts.bytes - shown->bytes) * 8 / 1e6 / seconds, counts.duplicates - shown->duplicates,
            counts.reordered - shown->reordered, counts.dropped - shown->dropped);
    *shown_ns = clock_ns(CLOCK_MONOTONIC);
    *shown = counts;
}

static void show_result(const struct settings *settings)
{
    double seconds = counts.last_ns > counts.first_ns ? (double)(counts.last_ns - counts.first_ns) / 1e9 : 0;
    double rate = seconds > 0 ? (double)counts.received / seconds : 0;
    double megabits = seconds > 0 ? (double)counts.bytes * 8 / 1e6 / seconds : 0;
    printf(settings->json
               ? "{\"received\": %" PRIu64 ", \"flows\": %d, \"lost\": %" PRIu64 ", \"before_first\": %" PRIu64
                 ", \"after_last\": %" PRIu64 ", \"duplicates\": %" PRIu64 ", \"reordered\": %" PRIu64 ", \"damaged\": %" PRIu64 ", \"foreign\": %" PRIu64
                 ", \"dropped\": %" PRIu64 ", \"seconds\": %.6f, \"datagrams_per_second\": %.0f"
                 ", \"megabits_per_second\": %.1f}\n"
               : "received %" PRIu64 " datagrams of %d flows: %" PRIu64 " lost (%" PRIu64 " before the first, %" PRIu64
                 " after the last), %" PRIu64 " doubled, %" PRIu64 " out of order, %" PRIu64 " damaged, %" PRIu64 " of others, %" PRIu64
                 " dropped here; in %.3f s: %.0f/s, %.1f Mbit/s\n",
           counts.received, flow_count, lost(), before_first(), after_last(), counts.duplicates, counts.reordered, counts.damaged, counts.foreign,
           counts.dropped, seconds, rate, megabits);
}

/* Takes and counts what there is, at most some batches of it. Less than 0 for an error. */
static int count_waiting(struct castio_receiver *receiver)
{
    static struct castio_datagram_view views[VIEWS];
    for (int batch = 0; batch < 64; batch++) {
        views[0].struct_size = sizeof views[0];
        ssize_t count = castio_receive_datagrams(receiver, views, VIEWS, 0);
        if (count < 0)
            return count == -EAGAIN ? 0 : (int)count;
        for (ssize_t i = 0; i < count; i++)
            count_view(&views[i]);
    }
    return 0;
}

static int count_all(int fd, struct castio_receiver *receiver, const struct settings *settings)
{
    struct counts shown = { 0 };
    uint64_t start_ns = clock_ns(CLOCK_MONOTONIC), shown_ns = start_ns, last_ns = start_ns;
    while (!stopped && (settings->count == 0 || counts.received < settings->count)) {
        uint64_t before = counts.received;
        int ready = wait_readable(fd, 100), result = ready > 0 ? count_waiting(receiver) : 0;
        if (ready < 0 || result < 0)
            return complain("receiving at", settings->address, ready < 0 ? errno : result);
        uint64_t now = clock_ns(CLOCK_MONOTONIC);
        if (counts.received > before)
            last_ns = now;
        show_progress(&shown_ns, &shown);
        if (settings->duration_s > 0 && now - start_ns >= settings->duration_s * 1000000000u)
            break;
        if (settings->wait_ms >= 0 && now - last_ns >= (uint64_t)settings->wait_ms * 1000000u)
            break;
    }
    show_result(settings);
    int all = counts.received > 0 && lost() == 0 && counts.duplicates == 0 && counts.damaged == 0;
    return all ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Bound to an address of this host or to the wildcard, which takes both families. */
static int open_bound(const struct settings *settings, const char *address)
{
    struct addrinfo hints, *found;
    char port[8];
    int on = 1;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_DGRAM;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    snprintf(port, sizeof port, "%u", settings->port);
    if (getaddrinfo(address, port, &hints, &found) != 0)
        return -EINVAL;
    int fd = socket(found->ai_family, SOCK_DGRAM, 0), result = fd < 0 ? -errno : 0;
    if (result >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        result = -errno;
    if (result >= 0 && bind(fd, found->ai_addr, found->ai_addrlen) < 0)
        result = -errno;
    freeaddrinfo(found);
    if (result < 0 && fd >= 0)
        close(fd);
    return result < 0 ? result : fd;
}

static int run(const struct settings *settings)
{
    struct castio_receiver *receiver;
    struct castio_receiver_options options;
    char advice[256];
    /* What is no group says so. */
    int fd = castio_open_receiver(settings->address, settings->port, NULL, settings->interface);
    if (fd == -EINVAL)
        fd = open_bound(settings, settings->address);
    if (fd == -EAFNOSUPPORT && strcmp(settings->address, "::") == 0)
        fd = open_bound(settings, "0.0.0.0");
    if (fd < 0)
        return complain("opening a socket at", settings->address, fd);
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.flags = settings->no_coalescing ? 0 : CASTIO_RECEIVER_COALESCE;
    int result = castio_set_receive_buffer(fd, settings->buffer, NULL, advice, sizeof advice), status;
    if (result >= 0 && advice[0])
        fprintf(stderr, "%s: %s\n", PROGRAM, advice);
    if (result >= 0)
        result = castio_receiver_open(fd, &options, &receiver);
    if (result < 0) {
        status = complain("opening a receiver at", settings->address, result);
    } else {
        catch_stop();
        if (!settings->json)
            print_listening(fd);
        status = count_all(fd, receiver, settings);
        castio_receiver_close(receiver);
    }
    close(fd);
    return status;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "count", required_argument, NULL, 'n' },
        { "duration", required_argument, NULL, 'd' },
        { "wait", required_argument, NULL, 'w' },
        { "interface", required_argument, NULL, 'i' },
        { "buffer", required_argument, NULL, 'b' },
        { "no-coalescing", no_argument, NULL, 'C' },
        { "json", no_argument, NULL, 'j' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    struct settings settings = { .address = "::", .wait_ms = -1, .buffer = 4194304 };
    int option;
    begin_program();
    while ((option = getopt_long(argc, argv, "n:d:w:i:b:Cjh", options, NULL)) != -1) {
        switch (option) {
        case 'n': settings.count = (uint64_t)number(optarg, 1, 2000000000); break;
        case 'd': settings.duration_s = (uint64_t)number(optarg, 1, 1000000); break;
        case 'w': settings.wait_ms = (int)number(optarg, 0, 3600000); break;
        case 'i': settings.interface = optarg; break;
        case 'b': settings.buffer = (size_t)number(optarg, 1, 1000000000); break;
        case 'C': settings.no_coalescing = 1; break;
        case 'j': settings.json = 1; break;
        case 'h': usage(); return EXIT_SUCCESS;
        default: return EXIT_USAGE;
        }
    }
    if (argc - optind < 1 || argc - optind > 2)
        return usage_error("arguments", "[ADDRESS] PORT");
    if (argc - optind == 2)
        settings.address = argv[optind];
    settings.port = (uint16_t)number(argv[argc - 1], 0, 65535);
    return run(&settings);
}
