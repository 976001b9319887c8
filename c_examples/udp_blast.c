/* Sends many datagrams, in batches: as fast as it goes or at a rate. udp_count tells what arrived. */
#define PROGRAM "udp_blast"
#include "example.h"
#include "udp_probe.h"

#define BATCH 512
#define LONGEST 65507

static void usage(void)
{
    puts("usage: udp_blast [options] ADDRESS PORT\n"
         "Sends numbered datagrams to an address: a host's, a group's, or a broadcast address.\n"
         "  -n, --count N         so many; 0: until Ctrl-C; default 10000\n"
         "  -s, --size BYTES      of each, 40 to 65507; default 1200\n"
         "  -r, --rate N          so many a second; default: as fast as it goes\n"
         "  -i, --interface NAME  out of this interface: a name, one of its addresses, its index\n"
         "  -t, --ttl HOPS        how many routers it may cross\n"
         "  -b, --broadcast       ADDRESS is a broadcast address\n"
         "  -S, --no-segmentation no UDP_SEGMENT\n"
         "  -j, --json            tells the result as JSON\n"
         "  -h, --help            this text\n"
         "Succeeds when all of them were sent.");
}

struct settings {
    const char *address, *port;
    uint64_t count, rate;
    size_t size;
    unsigned int ifindex;
    int ttl, broadcast, no_segmentation, json;
};

struct run {
    struct sockaddr_storage to;
    socklen_t to_len;
    int connected;
    uint32_t flow;
    uint64_t sent, refused, start_ns, shown_ns, shown;
};

static double seconds_since(uint64_t start_ns)
{
    double seconds = (double)(clock_ns(CLOCK_MONOTONIC) - start_ns) / 1e9;
    return seconds > 0 ? seconds : 1e-9;
}

/* On a terminal, once a second. */
static void show_progress(struct run *run, const struct settings *settings)
{
    double seconds = seconds_since(run->shown_ns);
    if (!isatty(STDERR_FILENO) || seconds < 1)
        return;
    double rate = (double)(run->sent - run->shown) / seconds;
    fprintf(stderr, "\r%" PRIu64 " sent, %.0f datagrams/s, %.1f Mbit/s   ", run->sent, rate,
            rate * (double)settings->size * 8 / 1e6);
    run->shown_ns = clock_ns(CLOCK_MONOTONIC);
    run->shown = run->sent;
}

static void show_result(const struct run *run, const struct settings *settings)
{
    double seconds = seconds_since(run->start_ns), rate = (double)run->sent / seconds;
    double megabits = rate * (double)settings->size * 8 / 1e6;
    if (isatty(STDERR_FILENO) && run->shown > 0)
        fputs("\r\033[K", stderr);
    if (settings->json)
        printf("{\"flow\": %" PRIu32 ", \"sent\": %" PRIu64 ", \"size\": %zu, \"refused\": %" PRIu64
               ", \"seconds\": %.6f, \"datagrams_per_second\": %.0f, \"megabits_per_second\": %.1f}\n",
               run->flow, run->sent, settings->size, run->refused, seconds, rate, megabits);
    else
        printf("sent %" PRIu64 " datagrams of %zu bytes to %s in %.3f s: %.0f/s, %.1f Mbit/s\n", run->sent,
               settings->size, address_text(&run->to, run->to_len), seconds, rate, megabits);
    if (!settings->json && run->refused > 0)
        printf("refused %" PRIu64 " times: nobody receives there\n", run->refused);
}

/* Each datagram is a head of its own and a tail that all share: nothing is copied. */
static struct castio_datagram list[BATCH];
static struct iovec pieces[BATCH][2];
static struct probe heads[BATCH];
static unsigned char tail[LONGEST];

static void prepare(const struct run *run, const struct settings *settings)
{
    for (size_t i = 0; i < settings->size - sizeof heads[0]; i++)
        tail[i] = (unsigned char)(i * 31);
    for (int i = 0; i < BATCH; i++) {
        pieces[i][0].iov_base = &heads[i];
        pieces[i][0].iov_len = sizeof heads[i];
        pieces[i][1].iov_base = tail;
        pieces[i][1].iov_len = settings->size - sizeof heads[i];
        list[i].struct_size = sizeof list[i];
        list[i].iov = pieces[i];
        list[i].iovcnt = 2;
        list[i].to = run->connected ? NULL : (const struct sockaddr *)&run->to;
        list[i].to_len = run->connected ? 0 : run->to_len;
        list[i].ifindex = settings->ifindex;
        list[i].flags = settings->ttl >= 0 ? CASTIO_DATAGRAM_TTL : 0;
        list[i].ttl = settings->ttl;
    }
}

static size_t fill(const struct run *run, const struct settings *settings)
{
    size_t count = BATCH;
    if (settings->count > 0 && settings->count - run->sent < BATCH)
        count = (size_t)(settings->count - run->sent);
    uint64_t now = clock_ns(CLOCK_REALTIME);
    uint32_t tail_sum = checksum(tail, settings->size - sizeof heads[0]);
    for (size_t i = 0; i < count; i++) {
        struct probe *head = &heads[i];
        head->magic = htonl(PROBE_MAGIC);
        head->checksum = 0;
        head->flow = htonl(run->flow);
        head->len = htonl((uint32_t)settings->size);
        put64(head->number, run->sent + i);
        put64(head->total, settings->count);
        put64(head->time, now);
        head->checksum = htonl(checksum(head, sizeof *head) + tail_sum);
    }
    return count;
}

static int blast(struct castio_sender *sender, struct run *run, const struct settings *settings)
{
    int status = EXIT_SUCCESS;
    prepare(run, settings);
    run->start_ns = run->shown_ns = clock_ns(CLOCK_MONOTONIC);
    while (!stopped && (settings->count == 0 || run->sent < settings->count)) {
        size_t done, count = fill(run, settings);
        /* Not for ever, so that Ctrl-C is heard at a low rate too. */
        ssize_t result = castio_send_datagrams(sender, list, count, 100, &done);
        run->sent += done;
        if (result == -ECONNREFUSED) {
            run->refused++;
        } else if (result < 0 && result != -ETIMEDOUT) {
            status = complain("sending to", settings->address, (int)result);
            break;
        }
        show_progress(run, settings);
        look_for_stop();
    }
    show_result(run, settings);
    return settings->count > 0 && run->sent < settings->count ? EXIT_FAILURE : status;
}

static int is_multicast(const struct sockaddr_storage *address)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
    if (address->ss_family == AF_INET)
        return IN_MULTICAST(ntohl(v4->sin_addr.s_addr));
    return IN6_IS_ADDR_MULTICAST(&v6->sin6_addr);
}

/* A socket for the address. One that is connected to a host hears whether it is refused there. */
static int open_socket(struct run *run, const struct settings *settings)
{
    struct addrinfo hints, *found;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_DGRAM;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    if (getaddrinfo(settings->address, settings->port, &hints, &found) != 0)
        return -EINVAL;
    memcpy(&run->to, found->ai_addr, found->ai_addrlen);
    run->to_len = found->ai_addrlen;
    freeaddrinfo(found);
    int fd = socket(run->to.ss_family, SOCK_DGRAM, 0);
    if (fd < 0)
        return -errno;
    int result = settings->broadcast ? castio_enable_broadcast(fd, 1) : 0;
    const struct sockaddr *to = (const struct sockaddr *)&run->to;
    if (result >= 0 && !settings->broadcast && settings->ifindex == 0 && !is_multicast(&run->to)) {
        run->connected = connect(fd, to, run->to_len) == 0;
        result = run->connected ? 0 : -errno;
    }
    if (result < 0)
        close(fd);
    return result < 0 ? result : fd;
}

static int run_all(const struct settings *settings)
{
    static struct run run;
    struct castio_sender *sender;
    struct castio_sender_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.bytes_per_second = settings->rate * settings->size;
    options.flags = settings->no_segmentation ? CASTIO_SENDER_NO_SEGMENTATION : 0;
    int fd = open_socket(&run, settings);
    if (fd < 0)
        return complain("opening a socket to", settings->address, fd);
    run.flow = (uint32_t)(clock_ns(CLOCK_REALTIME) / 1000) ^ (uint32_t)getpid() << 16;
    int result = castio_sender_open(fd, &options, &sender), status;
    if (result < 0) {
        status = complain("opening a sender to", settings->address, result);
    } else {
        catch_stop();
        status = blast(sender, &run, settings);
        castio_sender_close(sender);
    }
    close(fd);
    return status;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "count", required_argument, NULL, 'n' },
        { "size", required_argument, NULL, 's' },
        { "rate", required_argument, NULL, 'r' },
        { "interface", required_argument, NULL, 'i' },
        { "ttl", required_argument, NULL, 't' },
        { "broadcast", no_argument, NULL, 'b' },
        { "no-segmentation", no_argument, NULL, 'S' },
        { "json", no_argument, NULL, 'j' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    struct settings settings = { .count = 10000, .size = 1200, .ttl = -1 };
    const char *interface = NULL;
    int option;
    begin_program();
    while ((option = getopt_long(argc, argv, "n:s:r:i:t:bSjh", options, NULL)) != -1) {
        switch (option) {
        case 'n': settings.count = (uint64_t)number(optarg, 0, 2000000000); break;
        case 's': settings.size = (size_t)number(optarg, sizeof(struct probe), LONGEST); break;
        case 'r': settings.rate = (uint64_t)number(optarg, 1, 1000000000); break;
        case 'i': interface = optarg; break;
        case 't': settings.ttl = (int)number(optarg, 1, 255); break;
        case 'b': settings.broadcast = 1; break;
        case 'S': settings.no_segmentation = 1; break;
        case 'j': settings.json = 1; break;
        case 'h': usage(); return EXIT_SUCCESS;
        default: return EXIT_USAGE;
        }
    }
    if (argc - optind != 2)
        return usage_error("arguments", "ADDRESS PORT");
    settings.address = argv[optind];
    settings.port = argv[optind + 1];
    number(settings.port, 1, 65535);
    int result = interface ? castio_interface_index(interface, &settings.ifindex) : 0;
    if (result < 0)
        return complain("the interface", interface, result);
    return run_all(&settings);
}
