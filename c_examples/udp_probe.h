/* The datagrams that udp_blast sends and udp_count counts. Include example.h before it. */
#ifndef UDP_PROBE_H
#define UDP_PROBE_H

#include <arpa/inet.h>
#include <inttypes.h>

#define PROBE_MAGIC 0x63447072u

/* At the start of each, in network byte order; what follows is filling. */
struct probe {
    uint32_t magic;
    uint32_t checksum; /* of the whole datagram, with 0 in its place */
    uint32_t flow;     /* one run of udp_blast */
    uint32_t len;      /* of the whole datagram */
    uint32_t number[2]; /* which one of the flow, from 0, high half first */
    uint32_t total[2]; /* how many the flow will have; 0 if that isn't known */
    uint32_t time[2];  /* when it was sent, in nanoseconds since 1970 */
};

static inline void put64(uint32_t place[2], uint64_t value)
{
    place[0] = htonl((uint32_t)(value >> 32));
    place[1] = htonl((uint32_t)value);
}

static inline uint64_t get64(const uint32_t place[2])
{
    return (uint64_t)ntohl(place[0]) << 32 | ntohl(place[1]);
}

/* The sum of 32-bit words in network byte order, the last one filled up with zeros. Sums of parts
 * whose lengths are multiples of 4 can be added. */
static inline uint32_t checksum(const void *data, size_t len)
{
    const unsigned char *at = data;
    uint32_t sum = 0, word = 0;
    for (; len >= sizeof word; at += sizeof word, len -= sizeof word) {
        memcpy(&word, at, sizeof word);
        sum += ntohl(word);
    }
    word = 0;
    memcpy(&word, at, len);
    return sum + ntohl(word);
}

/* Lets a signal in that waits to stop the program. */
static inline void look_for_stop(void)
{
    const struct timespec at_once = { 0, 0 };
    pselect(0, NULL, NULL, NULL, &at_once, &while_waiting);
}

#endif
