/* What is missing of an RTP stream, by its sequence numbers: RFC 3550, sections 5.1, A.1 and A.3. What isn't RTP
 * is told from it by its version and by an SSRC whose numbers go up in small steps. */
#ifndef RTP_H
#define RTP_H

#include <stdint.h>
#include <string.h>

#define RTP_HEADER_LEN 12
/* A gap larger than that, or a number further behind, is another start (MAX_DROPOUT, MAX_MISORDER). */
#define RTP_MOST_AHEAD 3000
#define RTP_MOST_BEHIND 100
/* So many packets of one SSRC in such steps are a stream. */
#define RTP_PROBATION 4

struct rtp {
    uint32_t ssrc;
    uint64_t first, highest;  /* the 16-bit numbers, counted on */
    uint64_t received;        /* different ones */
    uint64_t lost_before;     /* of earlier streams and starts */
    uint64_t duplicates, reordered;
    uint64_t seen[2];         /* bit n: highest - n was received */
    int packets, valid;
    uint32_t after_jump;      /* the number that would show that a jump is a new start; over 65535: none */
};

/* Version 2, and a payload type that RTCP doesn't use (RFC 5761, section 4). */
static inline int looks_like_rtp(const unsigned char *data, size_t len)
{
    return len >= RTP_HEADER_LEN && data[0] >> 6 == 2 && ((data[1] & 0x7f) < 64 || (data[1] & 0x7f) > 95);
}

static inline uint64_t rtp_missing(const struct rtp *rtp)
{
    return rtp->valid ? rtp->highest - rtp->first + 1 - rtp->received : 0;
}

static inline uint64_t rtp_lost(const struct rtp *rtp)
{
    return rtp->lost_before + rtp_missing(rtp);
}

/* The numbers begin at 2^16, so that late ones before the first don't go below 0. */
static inline void start_rtp(struct rtp *rtp, uint32_t ssrc, uint16_t number)
{
    rtp->lost_before += rtp_missing(rtp);
    rtp->ssrc = ssrc;
    rtp->first = rtp->highest = 65536u + number;
    rtp->received = 1;
    rtp->seen[0] = 1;
    rtp->seen[1] = 0;
    rtp->packets = 1;
    rtp->after_jump = 65536;
}

static inline void advance_rtp(struct rtp *rtp, unsigned step)
{
    rtp->highest += step;
    rtp->received++;
    if (step >= 64) {
        rtp->seen[1] = step >= 128 ? 0 : rtp->seen[0] << (step - 64);
        rtp->seen[0] = 0;
    } else {
        rtp->seen[1] = rtp->seen[1] << step | rtp->seen[0] >> (64 - step);
        rtp->seen[0] <<= step;
    }
    rtp->seen[0] |= 1;
}

/* One that comes behind the highest: late, or once more. */
static inline void count_late_rtp(struct rtp *rtp, unsigned behind)
{
    uint64_t *word = &rtp->seen[behind / 64], bit = (uint64_t)1 << behind % 64;
    if (*word & bit) {
        rtp->duplicates++;
        return;
    }
    *word |= bit;
    rtp->reordered++;
    rtp->received++;
    if (rtp->highest - behind < rtp->first)
        rtp->first = rtp->highest - behind;
}

static inline void count_rtp(struct rtp *rtp, const unsigned char *data, size_t len)
{
    if (!looks_like_rtp(data, len)) {
        if (!rtp->valid)
            rtp->packets = 0;
        return;
    }
    uint16_t number = (uint16_t)(data[2] << 8 | data[3]);
    uint32_t ssrc = (uint32_t)data[8] << 24 | (uint32_t)data[9] << 16 | (uint32_t)data[10] << 8 | data[11];
    unsigned step = (uint16_t)(number - (uint16_t)rtp->highest), behind = (65536 - step) % 65536;
    int is_jump = step > RTP_MOST_AHEAD && behind > RTP_MOST_BEHIND;
    if (rtp->packets == 0 || ssrc != rtp->ssrc || (is_jump && (!rtp->valid || number == rtp->after_jump))) {
        int is_another = ssrc != rtp->ssrc;
        start_rtp(rtp, ssrc, number);
        rtp->valid = rtp->valid && !is_another;
        return;
    }
    if (is_jump) {
        rtp->after_jump = (uint16_t)(number + 1);
        return;
    }
    rtp->after_jump = 65536;
    if (step > 0 && step <= RTP_MOST_AHEAD)
        advance_rtp(rtp, step);
    else
        count_late_rtp(rtp, behind);
    if (!rtp->valid)
        rtp->valid = ++rtp->packets >= RTP_PROBATION;
}

#endif
