/* One socket and one membership handle for each port and family. */
#include "watch.h"

#define VIEWS 256
#define BUFFER 4194304

/* Bound to the wildcard, since it is for many groups; shared, for the sockets that the handle adds. */
static int open_bound(const struct group *group)
{
    struct sockaddr_storage any;
    int on = 1, family = group->address.ss_family, fd = socket(family, SOCK_DGRAM, 0);
    if (fd < 0)
        return -errno;
    memset(&any, 0, sizeof any);
    any.ss_family = group->address.ss_family;
    if (family == AF_INET6)
        ((struct sockaddr_in6 *)&any)->sin6_port = htons(group->endpoint.port);
    else
        ((struct sockaddr_in *)&any)->sin_port = htons(group->endpoint.port);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0) ||
        bind(fd, (struct sockaddr *)&any, address_len(&any)) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    castio_set_receive_buffer(fd, BUFFER, NULL, NULL, 0); /* as much of it as there is */
    return fd;
}

static int open_membership(struct watch *watch, struct port *port)
{
    struct castio_membership_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.reannounce_s = watch->settings.reannounce_s;
    int result = castio_membership_open(port->fd, &options, &port->membership);
    if (result >= 0)
        result = port->ready_fd = castio_membership_receive_fd(port->membership);
    return result >= FD_SETSIZE ? -EMFILE : result;
}

static struct port *find_port(struct watch *watch, const struct group *group)
{
    for (int i = 0; i < watch->port_count; i++)
        if (watch->ports[i].number == group->endpoint.port && watch->ports[i].family == group->address.ss_family)
            return &watch->ports[i];
    return NULL;
}

int open_port(struct watch *watch, const struct group *group)
{
    if (find_port(watch, group))
        return 0;
    int fd = watch->port_count < PORTS ? open_bound(group) : -E2BIG;
    if (fd < 0)
        return fd;
    struct port *port = &watch->ports[watch->port_count++];
    port->number = group->endpoint.port;
    port->family = group->address.ss_family;
    port->fd = fd;
    return open_membership(watch, port);
}

/* A wish for each interface that was named; else for the one of the route. */
int add_group(struct watch *watch, const struct group *group)
{
    const struct settings *settings = &watch->settings;
    const struct port *port = find_port(watch, group);
    int result = 0;
    if (settings->interface_count == 0)
        return castio_membership_add(port->membership, group->endpoint.group, settings->source, NULL);
    for (int i = 0; i < settings->interface_count && result >= 0; i++)
        result = castio_membership_add(port->membership, group->endpoint.group, settings->source,
                                       settings->interfaces[i]);
    return result;
}

static void take_events(struct watch *watch, struct port *port)
{
    struct castio_membership_event events[32];
    ssize_t count;
    do {
        events[0].struct_size = sizeof events[0];
        count = castio_membership_events(port->membership, events, 32);
        for (ssize_t i = 0; i < count; i++) {
            struct note *note = add_note(watch);
            note->what = events[i].what;
            note->error = events[i].error;
            note->port = port->number;
            note->group = events[i].group;
            note->source = events[i].source;
            memcpy(note->interface, events[i].interface, sizeof note->interface);
        }
    } while (count == 32);
}

/* Joins, leaves, receives and tells what there is to, without waiting. That a group is joined is told before
 * what it brings. */
void service_port(struct watch *watch, struct port *port)
{
    static struct castio_datagram_view views[VIEWS];
    ssize_t count = castio_membership_process(port->membership);
    take_events(watch, port);
    for (int batch = 0; batch < 64 && count >= 0; batch++) {
        views[0].struct_size = sizeof views[0];
        count = castio_membership_receive(port->membership, views, VIEWS, 0);
        for (ssize_t i = 0; i < count; i++)
            count_view(watch, port, &views[i]);
    }
    port->error = count < 0 && count != -EAGAIN ? (int)count : 0;
    take_events(watch, port);
}

static int compare_states(const void *a, const void *b)
{
    const struct castio_membership_state *one = a, *other = b;
    int by_group = compare_addresses(&one->group, &other->group, 0);
    return by_group ? by_group : (int)one->ifindex - (int)other->ifindex;
}

/* Room for all; what came in between is there the next time. */
static void list_states(struct port *port)
{
    ssize_t count = castio_membership_list(port->membership, NULL, 0);
    if (count > (ssize_t)port->state_room) {
        void *larger = realloc(port->states, (size_t)count * sizeof *port->states);
        if (larger) {
            port->states = larger;
            port->state_room = (size_t)count;
        }
    }
    port->state_count = 0;
    if (port->state_room == 0)
        return;
    port->states[0].struct_size = sizeof port->states[0];
    count = castio_membership_list(port->membership, port->states, port->state_room);
    if (count > 0)
        port->state_count = (size_t)count < port->state_room ? (size_t)count : port->state_room;
    qsort(port->states, port->state_count, sizeof *port->states, compare_states);
}

void refresh_states(struct watch *watch)
{
    for (int i = 0; i < watch->group_count; i++)
        watch->groups[i].state_count = 0;
    for (int i = 0; i < watch->port_count; i++) {
        struct port *port = &watch->ports[i];
        list_states(port);
        for (size_t j = 0; j < port->state_count; j++) {
            struct group *group = find_group(watch, &port->states[j].group, port->number);
            if (group && group->state_count++ == 0)
                group->states = &port->states[j];
        }
    }
}

void close_ports(struct watch *watch)
{
    for (int i = 0; i < watch->port_count; i++) {
        castio_membership_close(watch->ports[i].membership);
        close(watch->ports[i].fd);
        free(watch->ports[i].states);
    }
}
