/* What came, by source. */
#include "doctor.h"

static struct source *find_source(struct traffic *traffic, const struct sockaddr_storage *from)
{
    for (int i = 0; i < traffic->source_count; i++)
        if (compare_addresses(&traffic->sources[i].address, from, 1) == 0)
            return &traffic->sources[i];
    if (traffic->source_count == SOURCES)
        return NULL;
    struct source *fresh = &traffic->sources[traffic->source_count++];
    fresh->address = *from;
    return fresh;
}

void count_view(struct traffic *traffic, const struct castio_datagram_view *view)
{
    struct sockaddr_storage from;
    memset(&from, 0, sizeof from);
    memcpy(&from, view->from, view->from_len);
    traffic->packets++;
    traffic->bytes += view->true_len;
    traffic->dropped += view->drops;
    struct source *source = find_source(traffic, &from);
    if (!source) {
        traffic->unlisted++;
        return;
    }
    if (source->packets == 0 || view->ttl < source->least_ttl)
        source->least_ttl = view->ttl;
    if (source->packets == 0 || view->ttl > source->most_ttl)
        source->most_ttl = view->ttl;
    source->ifindex = view->ifindex;
    source->packets++;
    source->bytes += view->true_len;
    count_rtp(&source->rtp, view->data, view->len);
}

/* Of link or interface scope: 224.0.0.0/24, ffx1:: and ffx2::. No router passes it on anyway. */
static int stays_on_link(const char *group)
{
    if (strchr(group, ':'))
        return strspn(group, "fF") >= 2 && (group[3] == '1' || group[3] == '2');
    return strncmp(group, "224.0.0.", 8) == 0;
}

/* What a TTL tells by itself; NULL for nothing. */
const char *ttl_remark(const struct settings *settings, const struct source *source)
{
    if (source->least_ttl < 0)
        return NULL;
    if (source->least_ttl != source->most_ttl)
        return "it varies: several programs there, or several ways here";
    if (source->most_ttl <= 1 && !stays_on_link(settings->endpoint.group))
        return "no router passes it on from here";
    return NULL;
}
