/* One end of a fixed tunnel with a multicast bridge on it. */
#define MAIN_FILE
#include "mcast_tunnel/tunnel.h"

#define TICK_MS 1000

static int wait_ms(const struct end *end, uint64_t tick_ns)
{
    uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    int due_ms = -1, tick_ms = now_ns < tick_ns ? (int)((tick_ns - now_ns) / 1000000) + 1 : 0;
    castio_bridge_timeout_ms(end->bridge, &due_ms);
    return due_ms >= 0 && due_ms < tick_ms ? due_ms : tick_ms;
}

static void carry(struct end *end)
{
    int result = castio_bridge_process(end->bridge), error = result < 0 ? result : 0;
    if (error < 0 && error != end->error)
        fail("carrying to", end->settings.remote, error, NULL);
    end->error = error;
}

static void tick(struct end *end)
{
    take_state(end);
    if (end->bridge_info.asked_groups != end->asked_groups)
        tell(LOG_INFO, "the other end asks for %u groups", end->bridge_info.asked_groups);
    end->asked_groups = end->bridge_info.asked_groups;
    if (end->settings.json)
        print_json(end);
}

static int serve(struct end *end)
{
    int fd = castio_bridge_fd(end->bridge);
    uint64_t tick_ns = clock_ns(CLOCK_MONOTONIC);
    while (!stopped && standard_output.error == 0) {
        if (wait_ready(fd, &standard_output, wait_ms(end, tick_ns)) < 0)
            return complain("waiting for", "packets", errno);
        drain(&standard_output);
        carry(end);
        if (was_asked())
            tell_counters_of(end);
        if (clock_ns(CLOCK_MONOTONIC) >= tick_ns) {
            tick(end);
            tick_ns += TICK_MS * 1000000ull;
        }
    }
    notify("STOPPING=1");
    tick(end);
    tell_counters_of(end);
    return EXIT_SUCCESS;
}

static const char *bridge_advice(int code)
{
    switch (code) {
    case -EINVAL: return "--ask doesn't go with --own-datagrams or --direction in";
    case -ENODEV: return "there is no such interface";
    case -EPERM: return "needs CAP_NET_RAW; without it groups with a port each, and --own-datagrams";
    default: return NULL;
    }
}

static const char *tunnel_advice(int code)
{
    switch (code) {
    case -EINVAL: return "a port goes with gre-udp and udp only; --key, --checksum and --sequence with gre and gre-udp only";
    case -EPERM: return "ipip and gre need CAP_NET_RAW; gre-udp and udp don't";
    case -EADDRNOTAVAIL: return "-l wants an address of this host";
    case -EADDRINUSE: return "a program has the UDP port";
    default: return NULL;
    }
}

static int open_bridge(struct end *end)
{
    struct settings *settings = &end->settings;
    struct castio_bridge_options *options = &settings->bridge;
    options->struct_size = sizeof *options;
    options->ingress = strcmp(settings->direction, "out") != 0 ? settings->interface : NULL;
    options->egress = strcmp(settings->direction, "in") != 0 ? settings->interface : NULL;
    options->groups = settings->groups[0] ? settings->groups : NULL;
    int result = castio_bridge_open(end->tunnel, options, &end->bridge);
    if (result < 0)
        return fail("carrying multicast of", settings->interface, result, bridge_advice(result));
    if (castio_bridge_fd(end->bridge) >= FD_SETSIZE)
        return cannot("opening", "a bridge", -EMFILE, "too many descriptors are open already");
    return EXIT_SUCCESS;
}

static int run(struct end *end)
{
    struct settings *settings = &end->settings;
    settings->tunnel.struct_size = sizeof settings->tunnel;
    int result = castio_tunnel_open(settings->kind, settings->local, settings->remote, &settings->tunnel, &end->tunnel);
    if (result < 0)
        return fail("opening a tunnel to", settings->remote, result, tunnel_advice(result));
    int status = open_bridge(end);
    if (status == EXIT_SUCCESS) {
        catch_signals();
        take_state(end);
        tell_start(end);
        notify("READY=1");
        status = serve(end);
    }
    castio_bridge_close(end->bridge);
    castio_tunnel_close(end->tunnel);
    return status;
}

int main(int argc, char **argv)
{
    static struct end end;
    begin_program();
    look_for_journal();
    int status = read_options(argc, argv, &end.settings);
    if (status >= 0)
        return status;
    return open_page() ? end_service(run(&end)) : cannot("starting", "a tunnel", -ENOMEM, NULL);
}
