/* What the tunnel and its bridge have carried, and what not. */
#include "tunnel.h"

#define BRIDGE(member) COUNTER(castio_bridge_info, member)
#define TUNNEL(member) COUNTER(castio_tunnel_info, member)

/* The names are those of the header; both have packets_in and packets_out, in opposite senses. */
static const struct counter bridge_counters[] = {
    BRIDGE(packets_in), BRIDGE(bytes_in), BRIDGE(packets_out), BRIDGE(bytes_out), BRIDGE(not_multicast),
    BRIDGE(scope), BRIDGE(ttl), BRIDGE(back), BRIDGE(unwanted), BRIDGE(malformed), BRIDGE(too_big),
    BRIDGE(cut), BRIDGE(not_udp), BRIDGE(no_room), BRIDGE(failed), BRIDGE(buffer), BRIDGE(reports),
    BRIDGE(queries), BRIDGE(refused_joins), BRIDGE(told_too_big), BRIDGE(link_local),
};

static const struct counter tunnel_counters[] = {
    TUNNEL(packets_out), TUNNEL(bytes_out), TUNNEL(packets_in), TUNNEL(bytes_in), TUNNEL(out_malformed),
    TUNNEL(out_too_big), TUNNEL(out_loop), TUNNEL(unreachable), TUNNEL(in_stranger), TUNNEL(in_malformed),
    TUNNEL(in_protocol), TUNNEL(in_key), TUNNEL(in_checksum), TUNNEL(in_sequence), TUNNEL(in_inner),
    TUNNEL(in_congestion), TUNNEL(in_ttl), TUNNEL(in_buffer), TUNNEL(out_link_local),
    TUNNEL(in_link_local),
};

/* A tunnel without a route says what it said before. */
void take_state(struct end *end)
{
    end->bridge_info.struct_size = sizeof end->bridge_info;
    castio_bridge_info(end->bridge, &end->bridge_info);
    end->tunnel_info.struct_size = sizeof end->tunnel_info;
    castio_tunnel_info(end->tunnel, &end->tunnel_info);
}

void tell_start(const struct end *end)
{
    const struct settings *settings = &end->settings;
    tell(LOG_INFO, "%s to %s, %s, direction %s; packets of %zu bytes fit, UDP payloads of %zu (IPv4) or %zu (IPv6)",
         settings->kind_name, settings->remote, settings->interface, settings->direction, end->tunnel_info.whole,
         end->tunnel_info.payload_v4, end->tunnel_info.payload_v6);
    if (!end->bridge_info.keeps_source && strcmp(settings->direction, "in") != 0)
        tell(LOG_INFO, "what comes out has this host's address as its source");
}

void tell_counters_of(struct end *end)
{
    char carried[768], tunnelled[768];
    take_state(end);
    tell(LOG_INFO, "counters: bridge: %s; tunnel: %s",
         counters_text(bridge_counters, COUNT_OF(bridge_counters), &end->bridge_info, carried, sizeof carried),
         counters_text(tunnel_counters, COUNT_OF(tunnel_counters), &end->tunnel_info, tunnelled, sizeof tunnelled));
}

void print_json(const struct end *end)
{
    const struct castio_tunnel_info *info = &end->tunnel_info;
    fprintf(page, "{\"time\": %.3f, \"mtu\": %zu, \"whole\": %zu, \"payload_v4\": %zu, \"payload_v6\": %zu, "
           "\"overhead\": %zu, \"path_mtu\": %zu, \"keeps_source\": %s, \"asked_groups\": %u, \"bridge\": {",
           (double)clock_ns(CLOCK_REALTIME) / 1e9, info->mtu, info->whole, info->payload_v4, info->payload_v6,
           info->overhead, info->path_mtu, end->bridge_info.keeps_source ? "true" : "false",
           end->bridge_info.asked_groups);
    print_counters(bridge_counters, COUNT_OF(bridge_counters), &end->bridge_info);
    fprintf(page, "}, \"tunnel\": {");
    print_counters(tunnel_counters, COUNT_OF(tunnel_counters), info);
    fputs("}}\n", page);
    post(&standard_output);
}
