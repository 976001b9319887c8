/* What is subscribed to, from the command line. */
#include "gateway.h"

/* Copies a part of the text. 0 if it is empty or too long. */
static int part(char to[HOST_LEN], const char *first, const char *last)
{
    size_t len = (size_t)(last - first);
    if (last <= first || len >= HOST_LEN)
        return 0;
    memcpy(to, first, len);
    to[len] = '\0';
    return 1;
}

static int resolve(struct wish *wish)
{
    struct addrinfo hints, *found;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_DGRAM;
    hints.ai_flags = AI_NUMERICHOST;
    if (getaddrinfo(wish->group, NULL, &hints, &found) != 0)
        return 0;
    memcpy(&wish->address, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return 1;
}

/* "232.1.1.1", "232.1.1.1:5000", "232.1.1.1@10.0.0.1", "[ff3e::1]:5000@fd01::1". 0 if it isn't one. */
int parse_wish(struct wish *wish)
{
    const char *at = strchr(wish->text, '@'), *end = at ? at : wish->text + strlen(wish->text);
    struct endpoint endpoint;
    char group[HOST_LEN];
    if (!part(group, wish->text, end) || (at && !part(wish->source, at + 1, at + strlen(at))))
        return 0;
    /* Of an IPv6 address only what is behind brackets is a port. */
    const char *colon = strrchr(group, ':');
    if (colon && (strchr(group, ':') == colon || group[0] == '[')) {
        if (!parse_endpoint(group, &endpoint))
            return 0;
        memcpy(wish->group, endpoint.group, sizeof wish->group);
        wish->port = endpoint.port;
    } else {
        memcpy(wish->group, group, sizeof wish->group);
    }
    return resolve(wish);
}

/* The library joins groups; the ports are ours to look at. */
int is_wished(const struct gateway *gateway, const struct castio_datagram_view *view)
{
    const struct sockaddr_storage *to = address_of(view->to);
    for (int i = 0; i < gateway->wish_count; i++) {
        const struct wish *wish = &gateway->wishes[i];
        if ((wish->port == 0 || wish->port == port_of(to)) && compare_addresses(&wish->address, to, 0) == 0)
            return 1;
    }
    return 0;
}
