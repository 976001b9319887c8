/* What is missing of a stream, by its sequence numbers, if it looks like RTP. */
#include "watch.h"

#define HEADER_LEN 12
/* What was sent so much later may still come; what is so far ahead is another start. RFC 3550, A.1. */
#define LATE 100
#define AHEAD 3000
#define PROBATION 4

/* Version 2, and a payload type that RTCP doesn't use (RFC 5761 section 4). */
static int looks_like_rtp(const unsigned char *data, size_t len)
{
    return len >= HEADER_LEN && data[0] >> 6 == 2 && ((data[1] & 0x7f) < 64 || (data[1] & 0x7f) > 95);
}

static uint64_t missing(const struct rtp *rtp)
{
    uint64_t expected = rtp->highest - rtp->first + 1;
    /* Late ones from before the first, and late ones doubled, are more than were expected. */
    return rtp->valid && expected > rtp->received ? expected - rtp->received : 0;
}

static void start(struct rtp *rtp, uint32_t stream, uint16_t number)
{
    rtp->lost_before += missing(rtp);
    rtp->stream = stream;
    rtp->in_order = 1;
    rtp->received = 1;
    rtp->first = rtp->highest = number;
}

void count_rtp(struct rtp *rtp, const unsigned char *data, size_t len)
{
    if (!looks_like_rtp(data, len)) {
        if (!rtp->valid)
            rtp->in_order = 0;
        return;
    }
    uint16_t number = (uint16_t)(data[2] << 8 | data[3]);
    uint32_t stream = (uint32_t)data[8] << 24 | (uint32_t)data[9] << 16 | (uint32_t)data[10] << 8 | data[11];
    uint16_t step = (uint16_t)(number - (uint16_t)rtp->highest);
    if (rtp->in_order == 0 || stream != rtp->stream || (!rtp->valid && step != 1)) {
        start(rtp, stream, number);
        return;
    }
    if (step > AHEAD && step < 65536 - LATE) {
        start(rtp, stream, number);
        return;
    }
    if (step == 0)
        return; /* doubled */
    rtp->received++;
    if (step > AHEAD)
        return; /* late */
    rtp->highest += step;
    if (!rtp->valid)
        rtp->valid = ++rtp->in_order >= PROBATION;
}

/* 0 if nothing of it is RTP. */
int rtp_lost(const struct group *group, uint64_t *lost)
{
    int is_rtp = 0;
    *lost = 0;
    for (int i = 0; i < group->source_count; i++) {
        const struct rtp *rtp = &group->sources[i].rtp;
        is_rtp |= rtp->valid;
        *lost += rtp->lost_before + missing(rtp);
    }
    return is_rtp;
}
