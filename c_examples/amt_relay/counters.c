/* Counters by name, and what has changed in them. */
#include "relay.h"

#define RELAY(member) COUNTER(castio_amt_relay_info, member)

const struct counter counters[] = {
    RELAY(tunnels), RELAY(groups), RELAY(refused_joins), RELAY(discoveries), RELAY(advertisements),
    RELAY(requests), RELAY(queries), RELAY(updates), RELAY(teardowns), RELAY(opened), RELAY(closed),
    RELAY(expired), RELAY(unreachable), RELAY(dropped_malformed), RELAY(dropped_unexpected),
    RELAY(dropped_forged), RELAY(dropped_report), RELAY(dropped_throttled), RELAY(dropped_answer),
    RELAY(refused_tunnels), RELAY(refused_groups), RELAY(refused_sources), RELAY(refused_scope),
    RELAY(packets), RELAY(bytes), RELAY(dropped_unwanted), RELAY(dropped_packet), RELAY(dropped_scope),
    RELAY(dropped_ttl), RELAY(dropped_too_large), RELAY(fragmented), RELAY(dropped_by_socket),
    RELAY(copies), RELAY(copied_bytes), RELAY(dropped_rate), RELAY(dropped_no_room), RELAY(dropped_error),
    RELAY(told_too_large), RELAY(refused_address), RELAY(dropped_records),
};
const size_t counter_count = COUNT_OF(counters);

void take_counters(struct server *server)
{
    server->before = server->now;
    server->before_ns = server->now_ns;
    server->now.struct_size = sizeof server->now;
    castio_amt_relay_info(server->relay, &server->now);
    server->now_ns = clock_ns(CLOCK_MONOTONIC);
}

/* A cause with what to do about it, once for all that it cost since the last tick. */
static void warn_of(uint64_t now, uint64_t before, const char *what)
{
    if (now > before)
        tell(LOG_WARNING, "%" PRIu64 " %s", now - before, what);
}

void tell_changes(const struct server *server)
{
    const struct castio_amt_relay_info *now = &server->now, *before = &server->before;
    char status[96];
    if (now->tunnels != before->tunnels || now->groups != before->groups) {
        snprintf(status, sizeof status, "STATUS=%" PRIu64 " tunnels, %" PRIu64 " groups", now->tunnels, now->groups);
        tell(LOG_INFO, "%s", status + strlen("STATUS="));
        notify(status);
    }
    warn_of(now->refused_joins, before->refused_joins,
            "joins were refused upstream; see -i, and /proc/sys/net/ipv4/igmp_max_memberships");
    warn_of(now->refused_tunnels, before->refused_tunnels, "tunnels were refused; see --tunnels and --tunnels-from-one");
    warn_of(now->refused_groups, before->refused_groups, "groups were refused; see --groups, --groups-in-all");
    warn_of(now->dropped_by_socket, before->dropped_by_socket, "packets were lost in the kernel: this host is too slow for what comes");
    warn_of(now->dropped_too_large, before->dropped_too_large, "packets were too large for a tunnel; see --mtu");
    warn_of(now->dropped_ttl, before->dropped_ttl, "packets came with a TTL of 1; see --keep-ttl");
}
