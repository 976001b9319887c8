/* What is wrong, asked once for each source. */
#include "doctor.h"

static int is_known(const struct diagnosis *diagnosis, const struct castio_finding *finding)
{
    for (int i = 0; i < diagnosis->count; i++)
        if (diagnosis->findings[i].code == finding->code && strcmp(diagnosis->findings[i].cause, finding->cause) == 0)
            return 1;
    return 0;
}

/* Behind those that are as bad. That nothing is joined, a refusal has said. */
static void insert(struct diagnosis *diagnosis, const struct castio_finding *finding)
{
    if (diagnosis->refused && finding->code == CASTIO_FINDING_NOT_JOINED)
        return;
    if (diagnosis->count == FINDINGS || is_known(diagnosis, finding))
        return;
    int at = diagnosis->count++;
    for (; at > 0 && diagnosis->findings[at - 1].severity < finding->severity; at--)
        diagnosis->findings[at] = diagnosis->findings[at - 1];
    diagnosis->findings[at] = *finding;
}

static int ask(int fd, const struct settings *settings, const char *source, struct diagnosis *diagnosis)
{
    static struct castio_finding found[FINDINGS];
    unsigned role = settings->sender ? CASTIO_DIAGNOSE_SENDER : CASTIO_DIAGNOSE_RECEIVER;
    found[0].struct_size = sizeof found[0];
    ssize_t count = castio_diagnose_multicast(fd, settings->endpoint.group, settings->endpoint.port, source,
                                              settings->interface, role, found, FINDINGS);
    for (ssize_t i = 0; i < count && i < FINDINGS; i++)
        insert(diagnosis, &found[i]);
    return count < 0 ? (int)count : 0;
}

/* Whether one before it has the same address. */
static int is_repeated(const struct traffic *traffic, int source)
{
    for (int i = 0; i < source; i++)
        if (compare_addresses(&traffic->sources[i].address, &traffic->sources[source].address, 0) == 0)
            return 1;
    return 0;
}

int diagnose(int fd, const struct settings *settings, const struct traffic *traffic, struct diagnosis *diagnosis)
{
    int result = 0;
    diagnosis->count = 0;
    if (settings->source || traffic->source_count == 0)
        return ask(fd, settings, settings->source, diagnosis);
    for (int i = 0; i < traffic->source_count && result >= 0; i++) {
        char text[HOST_LEN];
        if (!is_repeated(traffic, i))
            result = ask(fd, settings, host_text(&traffic->sources[i].address, text), diagnosis);
    }
    return result;
}

const char *severity_name(int severity)
{
    switch (severity) {
    case CASTIO_SEVERITY_BROKEN: return "broken";
    case CASTIO_SEVERITY_LIKELY: return "likely";
    case CASTIO_SEVERITY_RISK: return "risk";
    default: return "unchecked";
    }
}

int is_healthy(const struct settings *settings, const struct traffic *traffic, const struct diagnosis *diagnosis)
{
    if (diagnosis->refused || (diagnosis->count > 0 && diagnosis->findings[0].severity >= CASTIO_SEVERITY_LIKELY))
        return 0;
    return settings->sender || traffic->packets > 0;
}
