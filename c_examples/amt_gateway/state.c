/* How far the gateway is, and what it has done. */
#include "gateway.h"

#define AMT(member) COUNTER(castio_amt_info, member)
#define SILENCE_NS 10000000000ull
#define OWN(member) COUNTER(gateway, member)

static const struct counter counters[] = {
    AMT(groups), AMT(discoveries), AMT(advertisements), AMT(requests), AMT(queries), AMT(updates),
    AMT(teardowns), AMT(relay_changes), AMT(unreachable), AMT(delivered), AMT(delivered_bytes),
    AMT(reassembled), AMT(dropped_by_socket), AMT(dropped_malformed), AMT(dropped_stranger),
    AMT(dropped_unasked), AMT(dropped_packet), AMT(dropped_checksum), AMT(dropped_protocol),
    AMT(dropped_not_joined), AMT(dropped_filtered), AMT(dropped_congested), AMT(dropped_fragment),
    AMT(silent_groups),
};

static const struct counter own_counters[] = { OWN(forwarded), OWN(other_ports), OWN(lost) };

static const char *state_name(int state)
{
    switch (state) {
    case CASTIO_AMT_IDLE: return "idle";
    case CASTIO_AMT_DISCOVERING: return "discovering";
    case CASTIO_AMT_REQUESTING: return "requesting";
    case CASTIO_AMT_ACTIVE: return "active";
    case CASTIO_AMT_FAILED: return "failed";
    default: return "?";
    }
}

static const char *relay_text(const struct castio_amt_info *info)
{
    return info->relay.ss_family == AF_UNSPEC ? "no relay" : address_text(&info->relay, address_len(&info->relay));
}

/* A relay refuses without a word: what it was told of, and has never brought, is told once. */
static void tell_silence(struct gateway *gateway)
{
    if (gateway->active_ns == 0 || clock_ns(CLOCK_MONOTONIC) < gateway->active_ns + SILENCE_NS)
        return;
    gateway->active_ns = 0;
    if (gateway->info.silent_groups > 0)
        tell(LOG_WARNING, "the relay was told of %llu groups, nothing has come of %llu: nobody sends, or it takes no more, "
             "or they need a source (232.0.0.0/8, ff3x::/32)",
             (unsigned long long)gateway->info.groups, (unsigned long long)gateway->info.silent_groups);
}

/* Tells what has changed. */
void take_state(struct gateway *gateway)
{
    struct castio_amt_info now;
    now.struct_size = sizeof now;
    castio_amt_info(gateway->amt, &now);
    const struct castio_amt_info before = gateway->info;
    gateway->info = now;
    tell_silence(gateway);
    if (now.state == before.state && compare_addresses(&now.relay, &before.relay, 1) == 0)
        return;
    if (now.state == CASTIO_AMT_FAILED)
        tell(LOG_WARNING, "failed: no relay answers, or all are full; it goes on trying");
    else
        tell(LOG_INFO, "%s: %s", state_name(now.state), relay_text(&now));
    gateway->active_ns = now.state == CASTIO_AMT_ACTIVE ? clock_ns(CLOCK_MONOTONIC) : 0;
    if (now.state == CASTIO_AMT_ACTIVE)
        notify("READY=1");
}

void tell_state_counters(struct gateway *gateway)
{
    char text[1024], own[256];
    take_state(gateway);
    tell(LOG_INFO, "counters: %s; %s", counters_text(counters, COUNT_OF(counters), &gateway->info, text, sizeof text),
         counters_text(own_counters, COUNT_OF(own_counters), gateway, own, sizeof own));
}

/* Beside the datagrams, not among them. */
void print_json(struct gateway *gateway)
{
    char relay[HOST_LEN] = "";
    const struct sockaddr_storage *address = &gateway->info.relay;
    if (address->ss_family != AF_UNSPEC)
        host_text(address, relay);
    fprintf(page, "{\"time\": %.3f, \"state\": \"%s\", ", (double)clock_ns(CLOCK_REALTIME) / 1e9,
            state_name(gateway->info.state));
    fprintf(page, relay[0] ? "\"relay\": \"%s\", " : "\"relay\": null, ", relay);
    fprintf(page, "\"relay_port\": %u, ", relay[0] ? port_of(address) : 0);
    print_counters(counters, COUNT_OF(counters), &gateway->info);
    fprintf(page, ", ");
    print_counters(own_counters, COUNT_OF(own_counters), gateway);
    fputs("}\n", page);
    post(gateway->settings.to || gateway->settings.tun ? &standard_output : &log_output);
}
