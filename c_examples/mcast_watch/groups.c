/* What came to each group, from whom, how fast. */
#include "watch.h"

static int compare_groups(const void *a, const void *b)
{
    const struct group *const *one = a, *const *other = b;
    return compare_addresses(&(*one)->address, &(*other)->address, 1);
}

void sort_groups(struct watch *watch)
{
    for (int i = 0; i < watch->group_count; i++)
        watch->by_address[i] = &watch->groups[i];
    qsort(watch->by_address, (size_t)watch->group_count, sizeof *watch->by_address, compare_groups);
}

struct group *find_group(const struct watch *watch, const struct sockaddr_storage *address, uint16_t port)
{
    struct group wanted, *key = &wanted, **found;
    wanted.address = *address;
    if (address->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)&wanted.address)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)&wanted.address)->sin_port = htons(port);
    found = bsearch(&key, watch->by_address, (size_t)watch->group_count, sizeof key, compare_groups);
    return found ? *found : NULL;
}

static struct note *note_of(struct watch *watch, const struct group *group, int what)
{
    struct note *note = add_note(watch);
    note->what = what;
    note->port = group->endpoint.port;
    note->group = group->address;
    return note;
}

static void note_source(struct watch *watch, const struct group *group, const struct source *source,
                        unsigned ifindex)
{
    struct note *note = note_of(watch, group, SOURCE_SEEN);
    note->source = source->address;
    if_indextoname(ifindex, note->interface);
}

static struct source *find_source(struct watch *watch, struct group *group, const struct castio_datagram_view *view)
{
    struct sockaddr_storage from;
    memset(&from, 0, sizeof from);
    memcpy(&from, view->from, view->from_len);
    for (int i = 0; i < group->source_count; i++)
        if (compare_addresses(&group->sources[i].address, &from, 1) == 0)
            return &group->sources[i];
    if (group->source_count == SOURCES)
        return NULL;
    struct source *fresh = &group->sources[group->source_count++];
    fresh->address = from;
    note_source(watch, group, fresh, view->ifindex);
    return fresh;
}

void count_view(struct watch *watch, struct port *port, const struct castio_datagram_view *view)
{
    struct sockaddr_storage to;
    memset(&to, 0, sizeof to);
    port->dropped += view->drops;
    if (view->to_len == 0)
        return;
    memcpy(&to, view->to, view->to_len);
    struct group *group = find_group(watch, &to, port->number);
    if (!group)
        return; /* unicast to the port */
    group->packets++;
    group->bytes += view->true_len;
    group->last_ns = clock_ns(CLOCK_MONOTONIC);
    struct source *source = find_source(watch, group, view);
    if (!source) {
        group->unlisted++;
        return;
    }
    source->packets++;
    count_rtp(&source->rtp, view->data, view->len);
}

int lost_of(const struct group *group, uint64_t *lost)
{
    int is_rtp = 0;
    *lost = 0;
    for (int i = 0; i < group->source_count; i++) {
        is_rtp |= group->sources[i].rtp.valid;
        *lost += rtp_lost(&group->sources[i].rtp);
    }
    return is_rtp;
}

/* What was missing at the last look and still is: packets that are late have come by now. */
static void note_loss(struct watch *watch, struct group *group)
{
    uint64_t lost, before = group->past[WINDOW - 1].lost;
    if (!lost_of(group, &lost))
        return;
    if (lost > before)
        lost = before;
    if (lost > group->lost_told) {
        note_of(watch, group, PACKETS_LOST)->lost = lost - group->lost_told;
        group->lost_told = lost;
    }
}

static void note_silence(struct watch *watch, struct group *group, uint64_t now_ns)
{
    int is_silent = group->last_ns > 0 && now_ns - group->last_ns >= SILENCE_S * (uint64_t)1000000000;
    if (is_silent != group->is_silent)
        note_of(watch, group, is_silent ? SILENT : BACK);
    group->is_silent = is_silent;
}

/* Rates over the last WINDOW samples. */
void take_sample(struct watch *watch, struct group *group, uint64_t now_ns)
{
    note_loss(watch, group);
    note_silence(watch, group, now_ns);
    const struct sample *oldest = &group->past[0];
    double seconds = (double)(now_ns - oldest->time_ns) / 1e9;
    if (seconds > 0) {
        group->packets_per_second = (double)(group->packets - oldest->packets) / seconds;
        group->bits_per_second = (double)(group->bytes - oldest->bytes) * 8 / seconds;
    }
    memmove(&group->past[0], &group->past[1], sizeof group->past - sizeof group->past[0]);
    group->past[WINDOW - 1].time_ns = now_ns;
    group->past[WINDOW - 1].packets = group->packets;
    group->past[WINDOW - 1].bytes = group->bytes;
    lost_of(group, &group->past[WINDOW - 1].lost);
}
