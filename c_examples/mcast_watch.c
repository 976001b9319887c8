/* A live table of multicast groups: whether they are joined, what comes, from whom, what is missing. */
#define MAIN_FILE
#include "mcast_watch/watch.h"

static void usage(void)
{
    puts("usage: mcast_watch [options] GROUP:PORT...\n"
         "Joins the groups, keeps them joined whatever becomes of the interfaces, and shows what comes: on a\n"
         "terminal a table, else a line for each event and a summary. An IPv6 group is written [ff15::7]:5000.\n"
         "  -i, --interface NAME  joins on these: a name, a pattern \"eth*\", an address, an index, \"*\" for all\n"
         "                        that there are and will be; may be repeated; default: that of the route\n"
         "  -s, --source ADDRESS  from this source only\n"
         "  -r, --reannounce S    reports anew every so many seconds, for a switch with snooping but no querier\n"
         "  -t, --time S          ends after so many seconds\n"
         "  -1, --once            shows the table once, after a second or the time of -t, and ends\n"
         "  -j, --json            tells it as JSON, one object in a line each second\n"
         "  -h, --help            this text\n"
         "LOST: by the sequence numbers of RTP, where it looks like RTP. Ctrl-C ends it. With -t or -1 the status\n"
         "is 0 if each group brought something, 1 if not.");
}

static double seconds_since(uint64_t start_ns)
{
    return (double)(clock_ns(CLOCK_MONOTONIC) - start_ns) / 1e9;
}

/* Until something is there, a membership's timer is due, the time has passed, or it is time to stop. A port
 * whose receiving failed waits for the tick. */
static void wait_for_ports(const struct watch *watch, int timeout_ms)
{
    fd_set set, room;
    int highest = STDOUT_FILENO;
    FD_ZERO(&set);
    for (int i = 0; i < watch->port_count; i++) {
        int due_ms = -1, fd = watch->ports[i].ready_fd;
        if (watch->ports[i].error < 0)
            continue;
        castio_membership_timeout_ms(watch->ports[i].membership, &due_ms);
        if (due_ms >= 0 && due_ms < timeout_ms)
            timeout_ms = due_ms;
        FD_SET(fd, &set);
        highest = fd > highest ? fd : highest;
    }
    FD_ZERO(&room);
    if (standard_output.len > 0)
        FD_SET(STDOUT_FILENO, &room);
    struct timespec time = { timeout_ms / 1000, timeout_ms % 1000 * 1000000L };
    pselect(highest + 1, &set, &room, NULL, &time, &while_waiting);
    drain(&standard_output);
}

/* Notes that haven't been told yet, as lines. */
static void print_new_notes(struct watch *watch)
{
    uint64_t oldest = watch->note_count > NOTES ? watch->note_count - NOTES : 0;
    if (watch->notes_told < oldest) {
        fprintf(page, "%" PRIu64 " events are left out\n", oldest - watch->notes_told);
        watch->notes_told = oldest;
    }
    for (; watch->notes_told < watch->note_count; watch->notes_told++) {
        print_note(&watch->notes[watch->notes_told % NOTES]);
        putc('\n', page);
    }
    post(&standard_output);
}

/* What is told at the end, finish() tells. */
static void tick(struct watch *watch, uint64_t number)
{
    const struct settings *settings = &watch->settings;
    uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < watch->group_count; i++)
        take_sample(watch, &watch->groups[i], now_ns);
    refresh_states(watch);
    if (settings->once || number * TICK_MS == (uint64_t)settings->seconds * 1000)
        return;
    if (settings->on_screen)
        redraw_table(watch);
    else if (settings->json && number % (1000 / TICK_MS) == 0)
        print_json(watch);
}

static void watch_ports(struct watch *watch)
{
    const struct settings *settings = &watch->settings;
    uint64_t ticks = 0;
    while (!stopped && standard_output.error == 0 && (settings->seconds == 0 || seconds_since(watch->start_ns) < settings->seconds)) {
        double left = (double)(ticks + 1) * TICK_MS / 1000 - seconds_since(watch->start_ns);
        if (left > 0)
            wait_for_ports(watch, (int)(left * 1000) + 1);
        for (int i = 0; i < watch->port_count; i++)
            service_port(watch, &watch->ports[i]);
        if (!settings->json && !settings->on_screen && !settings->once)
            print_new_notes(watch);
        if (seconds_since(watch->start_ns) * 1000 >= (double)(ticks + 1) * TICK_MS)
            tick(watch, ++ticks);
    }
}

/* What came since the last tick, too. */
static void finish(struct watch *watch)
{
    const struct settings *settings = &watch->settings;
    refresh_states(watch);
    if (settings->json) {
        print_json(watch);
    } else if (settings->once) {
        print_table(watch);
    } else {
        if (settings->on_screen)
            redraw_table(watch);
        else
            print_new_notes(watch);
        print_summary(watch);
    }
    post(&standard_output);
}

static int resolve(struct group *group)
{
    struct addrinfo hints, *found;
    char port[8];
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_DGRAM;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    snprintf(port, sizeof port, "%u", group->endpoint.port);
    if (getaddrinfo(group->endpoint.group, port, &hints, &found) != 0)
        return -EINVAL;
    memcpy(&group->address, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return 0;
}

static const char *advice(int code)
{
    switch (code) {
    case -EINVAL: return "give a multicast group, 224.0.0.0/4 or ff00::/8, and a source of its family";
    case -EADDRINUSE: return "it is named twice, or a program has the port and doesn't share it";
    case -EACCES: return "a port below 1024 needs CAP_NET_BIND_SERVICE; try as root";
    case -EMFILE: return "too many descriptors are open; ulimit -n sets how many there may be";
    case -ENODEV: return "name an interface with -i";
    default: return NULL;
    }
}

static int run(struct watch *watch, char **endpoints)
{
    int result = 0, i;
    for (i = 0; i < watch->group_count; i++) {
        struct group *group = &watch->groups[i];
        group->text = endpoints[i];
        if (!parse_endpoint(group->text, &group->endpoint))
            return endpoint_error(group->text);
        result = resolve(group);
        if (result >= 0)
            result = open_port(watch, group);
        if (result == -E2BIG)
            return usage_error(group->text, "there are 64 other ports already, and no more at once");
        if (result < 0)
            return cannot("watching", group->text, result, advice(result));
    }
    for (i = 0; i < watch->group_count; i++) {
        result = add_group(watch, &watch->groups[i]);
        if (result < 0)
            return cannot("watching", watch->groups[i].text, result, advice(result));
    }
    sort_groups(watch);
    catch_stop();
    watch->start_ns = clock_ns(CLOCK_MONOTONIC);
    for (i = 0; i < watch->group_count; i++)
        watch->groups[i].past[0].time_ns = watch->groups[i].past[1].time_ns = watch->start_ns;
    for (i = 0; i < watch->settings.interface_count; i++)
        warn_of_interface(watch->settings.interfaces[i]);
    watch_ports(watch);
    finish(watch);
    return watch->settings.seconds == 0 || is_good(watch) ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* The status for an option that asks for an end, or -1. */
static int read_options(int argc, char **argv, struct settings *settings)
{
    static const struct option options[] = {
        { "interface", required_argument, NULL, 'i' },
        { "source", required_argument, NULL, 's' },
        { "reannounce", required_argument, NULL, 'r' },
        { "time", required_argument, NULL, 't' },
        { "once", no_argument, NULL, '1' },
        { "json", no_argument, NULL, 'j' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    int option;
    while ((option = getopt_long(argc, argv, "i:s:r:t:1jh", options, NULL)) != -1) {
        switch (option) {
        case 'i':
            if (settings->interface_count == INTERFACES)
                return usage_error(optarg, "too many interfaces");
            settings->interfaces[settings->interface_count++] = optarg;
            break;
        case 's': settings->source = optarg; break;
        case 'r': settings->reannounce_s = (unsigned)number(optarg, 1, 86400); break;
        case 't': settings->seconds = (int)number(optarg, 1, 1000000000); break;
        case '1': settings->once = 1; break;
        case 'j': settings->json = 1; break;
        case 'h': usage(); return EXIT_SUCCESS;
        default: return EXIT_USAGE;
        }
    }
    return optind == argc ? usage_error("arguments", "GROUP:PORT...") : -1;
}

int main(int argc, char **argv)
{
    static struct watch watch;
    begin_program();
    int status = read_options(argc, argv, &watch.settings);
    if (status >= 0)
        return status;
    watch.settings.on_screen = is_screen(stdout) && !watch.settings.json && !watch.settings.once;
    if (watch.settings.once && watch.settings.seconds == 0)
        watch.settings.seconds = 1;
    watch.group_count = argc - optind;
    watch.groups = calloc((size_t)watch.group_count, sizeof *watch.groups);
    watch.by_address = calloc((size_t)watch.group_count, sizeof *watch.by_address);
    if (!watch.groups || !watch.by_address || !open_page())
        status = cannot("watching", argv[optind], -ENOMEM, "name fewer groups");
    else
        status = run(&watch, argv + optind);
    close_ports(&watch);
    free(watch.by_address);
    free(watch.groups);
    int written = close_page();
    return written == EXIT_SUCCESS ? status : written;
}
