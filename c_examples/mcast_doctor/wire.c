/* What reaches this host's interfaces for the group, whatever then becomes of it here. */
#include "doctor.h"

#include <linux/if_packet.h>
#include <net/ethernet.h>

/* The third number of the line "TcpExt: ..." that has the name's place. 0 where /proc isn't there. */
static uint64_t reverse_path_drops(void)
{
    char names[8192], values[8192];
    FILE *file = fopen("/proc/net/netstat", "r");
    uint64_t found = 0;
    while (file && fgets(names, sizeof names, file) && fgets(values, sizeof values, file)) {
        char *name_at, *value_at;
        char *name = strtok_r(names, " \n", &name_at), *value = strtok_r(values, " \n", &value_at);
        for (; name && value; name = strtok_r(NULL, " \n", &name_at), value = strtok_r(NULL, " \n", &value_at))
            if (strcmp(name, "IPReversePathFilter") == 0)
                found = strtoull(value, NULL, 10);
    }
    if (file)
        fclose(file);
    return found;
}

/* It hears every interface, but no more than the network sends here: no card is made promiscuous. */
void open_wire(struct wire *wire)
{
    wire->rp_filter_before = reverse_path_drops();
    wire->fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));
}

/* Where an UDP packet goes to: 1 if it is the group and port. A later fragment has no port. */
static int is_for(const struct settings *settings, const unsigned char *packet, size_t len)
{
    char text[INET6_ADDRSTRLEN] = "", group[HOST_LEN];
    uint16_t port = 0;
    snprintf(group, sizeof group, "%.*s", (int)strcspn(settings->endpoint.group, "%"), settings->endpoint.group);
    if (len >= 20 && packet[0] >> 4 == 4) {
        size_t head = (packet[0] & 15u) * 4u;
        if (packet[9] != IPPROTO_UDP || len < head + 4 || ((packet[6] & 0x1f) | packet[7]) != 0)
            return 0;
        inet_ntop(AF_INET, packet + 16, text, sizeof text);
        port = (uint16_t)(packet[head + 2] << 8 | packet[head + 3]);
    } else if (len >= 44 && packet[0] >> 4 == 6 && packet[6] == IPPROTO_UDP) {
        inet_ntop(AF_INET6, packet + 24, text, sizeof text);
        port = (uint16_t)(packet[42] << 8 | packet[43]);
    }
    struct in6_addr one, other;
    if (port != settings->endpoint.port)
        return 0;
    if (inet_pton(AF_INET6, text, &one) == 1 && inet_pton(AF_INET6, group, &other) == 1)
        return memcmp(&one, &other, sizeof one) == 0;
    return strcmp(text, group) == 0;
}

static void count_packet(struct wire *wire, unsigned ifindex)
{
    for (int i = 0; i < wire->count; i++)
        if (wire->seen[i].ifindex == ifindex) {
            wire->seen[i].packets++;
            return;
        }
    if (wire->count < WIRE_INTERFACES) {
        wire->seen[wire->count].ifindex = ifindex;
        wire->seen[wire->count++].packets = 1;
    }
}

void count_wire(struct wire *wire, const struct settings *settings)
{
    unsigned char packet[128];
    struct sockaddr_ll from;
    for (int i = 0; i < 4096 && wire->fd >= 0; i++) {
        socklen_t from_len = sizeof from;
        ssize_t len = recvfrom(wire->fd, packet, sizeof packet, 0, (struct sockaddr *)&from, &from_len);
        if (len < 0)
            break;
        if (from.sll_pkttype != PACKET_OUTGOING && is_for(settings, packet, (size_t)len))
            count_packet(wire, (unsigned)from.sll_ifindex);
    }
    wire->rp_filter = reverse_path_drops() - wire->rp_filter_before;
}

void close_wire(struct wire *wire)
{
    if (wire->fd >= 0)
        close(wire->fd);
}

/* By one interface, or by all of them: 0. */
uint64_t wire_packets(const struct wire *wire, unsigned ifindex)
{
    uint64_t sum = 0;
    for (int i = 0; i < wire->count; i++)
        if (ifindex == 0 || wire->seen[i].ifindex == ifindex)
            sum += wire->seen[i].packets;
    return sum;
}

/* 0 if it came by no other interface. */
unsigned busiest_other(const struct wire *wire, unsigned ifindex)
{
    unsigned found = 0;
    for (int i = 0; i < wire->count; i++)
        if (wire->seen[i].ifindex != ifindex && (!found || wire->seen[i].packets > wire_packets(wire, found)))
            found = wire->seen[i].ifindex;
    return found;
}
