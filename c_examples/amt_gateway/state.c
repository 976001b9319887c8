/* How far the gateway is, and what it has done. */
#include "gateway.h"

#define AMT(member) COUNTER(castio_amt_info, member)
#define OWN(member) COUNTER(gateway, member)

static const struct counter counters[] = {
    AMT(groups), AMT(discoveries), AMT(advertisements), AMT(requests), AMT(queries), AMT(updates),
    AMT(teardowns), AMT(relay_changes), AMT(unreachable), AMT(delivered), AMT(delivered_bytes),
    AMT(reassembled), AMT(dropped_by_socket), AMT(dropped_malformed), AMT(dropped_stranger),
    AMT(dropped_unasked), AMT(dropped_packet), AMT(dropped_checksum), AMT(dropped_protocol),
    AMT(dropped_not_joined), AMT(dropped_filtered), AMT(dropped_congested), AMT(dropped_fragment),
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

/* Tells what has changed. */
void take_state(struct gateway *gateway)
{
    struct castio_amt_info now;
    now.struct_size = sizeof now;
    castio_amt_info(gateway->amt, &now);
    const struct castio_amt_info before = gateway->info;
    gateway->info = now;
    if (now.state == before.state && compare_addresses(&now.relay, &before.relay, 1) == 0)
        return;
    if (now.state == CASTIO_AMT_FAILED)
        tell(LOG_WARNING, "failed: no relay answers, or all are full; it goes on trying");
    else
        tell(LOG_INFO, "%s: %s", state_name(now.state), relay_text(&now));
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
