/* Where the datagrams go: standard output, a UDP address, or a TUN device. */
#include "gateway.h"

static int usage_of(const char *what)
{
    return usage_error(what, "not ADDRESS:PORT, such as 127.0.0.1:5000 or [::1]:5000");
}

/* A connected socket, which hears whether it is refused there, and a sender on it, which sends batches. */
static int open_udp(struct gateway *gateway)
{
    struct endpoint to;
    struct addrinfo hints, *found;
    char port[8];
    if (!parse_endpoint(gateway->settings.to, &to))
        return usage_of(gateway->settings.to);
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_DGRAM;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    snprintf(port, sizeof port, "%u", to.port);
    if (getaddrinfo(to.group, port, &hints, &found) != 0)
        return usage_of(gateway->settings.to);
    gateway->fd = socket(found->ai_family, SOCK_DGRAM, 0);
    int result = gateway->fd < 0 || connect(gateway->fd, found->ai_addr, found->ai_addrlen) < 0 ? -errno : 0;
    freeaddrinfo(found);
    if (result < 0)
        return complain("opening a socket to", gateway->settings.to, result);
    result = castio_sender_open(gateway->fd, NULL, &gateway->sender);
    return result < 0 ? fail("sending to", gateway->settings.to, result, NULL) : 0;
}

int open_output(struct gateway *gateway)
{
    const char *tun = gateway->settings.tun;
    if (gateway->settings.to)
        return open_udp(gateway);
    if (!tun)
        return 0;
    gateway->fd = open_tun(tun);
    if (gateway->fd == -EPERM || gateway->fd == -EACCES)
        return cannot("opening", tun, gateway->fd, "a TUN device takes CAP_NET_ADMIN; try as root, or --to");
    if (gateway->fd == -EBUSY)
        return cannot("opening", tun, gateway->fd, "another program has it; name another one");
    return gateway->fd < 0 ? cannot("opening", tun, gateway->fd, "is /dev/net/tun there? modprobe tun") : 0;
}

void close_output(struct gateway *gateway)
{
    castio_sender_close(gateway->sender);
    if (gateway->fd >= 0)
        close(gateway->fd);
}

/* What the receiver isn't there for, or has no room for, is lost, as on any network. */
static void note_loss(struct gateway *gateway, uint64_t count, int error)
{
    gateway->lost += count;
    if (error < 0 && error != gateway->error)
        fail("forwarding to", gateway->settings.to ? gateway->settings.to : gateway->settings.tun, error, NULL);
    gateway->error = error;
}

static void send_all(struct gateway *gateway, const struct castio_datagram_view *const *views, size_t count)
{
    static struct castio_datagram list[VIEWS];
    static struct iovec parts[VIEWS];
    size_t done, sent = 0;
    int refused = 0;
    for (size_t i = 0; i < count; i++) {
        parts[i].iov_base = (void *)views[i]->data;
        parts[i].iov_len = views[i]->len;
        list[i].struct_size = sizeof list[i];
        list[i].iov = &parts[i];
        list[i].iovcnt = 1;
    }
    while (sent < count) {
        ssize_t result = castio_send_datagrams(gateway->sender, list + sent, count - sent, 0, &done);
        sent += done;
        gateway->forwarded += done;
        if (sent == count)
            break;
        note_loss(gateway, 1, result < 0 ? (int)result : -EAGAIN);
        /* Refused was an earlier one. */
        if (result != -ECONNREFUSED || (refused && done == 0))
            sent++;
        refused = result == -ECONNREFUSED;
    }
}

static void write_all(struct gateway *gateway, const struct castio_datagram_view *const *views, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ssize_t result = write_packet(gateway->fd, views[i]);
        if (result < 0)
            note_loss(gateway, 1, (int)result);
        else
            gateway->forwarded++;
    }
}

static void print_line(const struct castio_datagram_view *view)
{
    char from[HOST_LEN], to[HOST_LEN];
    const struct sockaddr_storage *source = address_of(view->from), *group = address_of(view->to);
    fprintf(page, "%s port %u > %s port %u: ", host_text(source, from), port_of(source), host_text(group, to),
            port_of(group));
    print_text(page, view->data, view->len);
    putc('\n', page);
}

/* A reader that doesn't keep up loses datagrams, whole ones; the tunnel goes on. One that has gone away ends the
 * program. */
static void print_all(struct gateway *gateway, const struct castio_datagram_view *const *views, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int is_whole = 1;
        if (gateway->settings.lines)
            print_line(views[i]);
        else
            is_whole = put(&standard_output, views[i]->data, views[i]->len);
        if (gateway->settings.lines)
            is_whole = post(&standard_output);
        gateway->forwarded += is_whole;
        gateway->lost += !is_whole;
    }
}

void forward(struct gateway *gateway, const struct castio_datagram_view *views, size_t count)
{
    const struct castio_datagram_view *wished[VIEWS];
    uint64_t limit = gateway->settings.count;
    size_t wished_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_wished(gateway, &views[i]))
            gateway->other_ports++;
        else if (limit == 0 || gateway->forwarded + wished_count < limit)
            wished[wished_count++] = &views[i];
    }
    if (gateway->settings.to)
        send_all(gateway, wished, wished_count);
    else if (gateway->settings.tun)
        write_all(gateway, wished, wished_count);
    else if (wished_count > 0)
        print_all(gateway, wished, wished_count);
}
