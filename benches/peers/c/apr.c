/* APR: apr_socket_sendto, apr_socket_recvfrom, apr_socket_sendv. */
#include "harness.h"

#include <apr_general.h>
#include <apr_network_io.h>
#include <apr_portable.h>
#include <arpa/inet.h>

static apr_pool_t *pool;
static apr_socket_t *stream, *sender, *receiver;
static apr_sockaddr_t *to[BATCH_MAX], *from;
static const struct load *load;
static char buffer[65536];

static void fine(apr_status_t status, const char *what)
{
    char text[128];
    if (status != APR_SUCCESS)
        fail(what, apr_strerror(status, text, sizeof text));
}

static apr_socket_t *adopt(int fd)
{
    apr_socket_t *socket = NULL;
    fine(apr_initialize(), "apr_initialize");
    fine(apr_pool_create(&pool, NULL), "apr_pool_create");
    fine(apr_os_sock_put(&socket, &fd, pool), "apr_os_sock_put");
    return socket;
}

static void open_stream(int fd)
{
    stream = adopt(fd);
}

static void write_pieces(struct iovec *pieces, int count)
{
    apr_size_t all = 0, sent;
    for (int i = 0; i < count; i++)
        all += pieces[i].iov_len;
    fine(apr_socket_sendv(stream, pieces, count, &sent), "apr_socket_sendv");
    check(sent == all, "apr_socket_sendv in full");
}

static void open_sender(int fd, const struct load *given)
{
    sender = adopt(fd);
    load = given;
    for (size_t i = 0; i < load->destinations; i++) {
        char text[INET_ADDRSTRLEN];
        inet_ntop(AF_INET, &load->to[i].sin_addr, text, sizeof text);
        fine(apr_sockaddr_info_get(&to[i], text, APR_INET, ntohs(load->to[i].sin_port), 0, pool),
             "apr_sockaddr_info_get");
    }
}

static void send_one(const char *payload, apr_sockaddr_t *where)
{
    apr_size_t len = load->size;
    fine(apr_socket_sendto(sender, where, 0, payload, &len), "apr_socket_sendto");
}

static void send_each(size_t count)
{
    for (size_t i = 0; i < count; i++)
        send_one(load->payload + i * load->size, to[0]);
}

static void fan_out(void)
{
    for (size_t i = 0; i < load->destinations; i++)
        send_one(load->payload, to[i]);
}

static void open_receiver(int fd, size_t size)
{
    (void)size;
    receiver = adopt(fd);
    fine(apr_socket_timeout_set(receiver, TICK_MS * 1000), "apr_socket_timeout_set");
    fine(apr_sockaddr_info_get(&from, NULL, APR_INET, 0, 0, pool), "apr_sockaddr_info_get");
}

static void receive(void)
{
    apr_size_t len = sizeof buffer;
    apr_status_t status = apr_socket_recvfrom(from, receiver, 0, buffer, &len);
    if (APR_STATUS_IS_TIMEUP(status))
        return;
    fine(status, "apr_socket_recvfrom");
    arrived(len);
}

const struct peer peer = { open_stream, write_pieces, open_sender, send_each, fan_out, open_receiver, receive };
