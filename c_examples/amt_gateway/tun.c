/* Whole packets for a TUN device: the kernel takes them as received there. */
#include "gateway.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#define PROTOCOL_UDP 17

/* The request has the device's name. */
static int set_up(struct ifreq *request)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), result = fd < 0 ? -errno : 0;
    if (result == 0 && ioctl(fd, SIOCGIFFLAGS, request) < 0)
        result = -errno;
    request->ifr_flags |= IFF_UP;
    if (result == 0 && ioctl(fd, SIOCSIFFLAGS, request) < 0)
        result = -errno;
    if (fd >= 0)
        close(fd);
    return result;
}

/* A device that is gone when the descriptor is closed, or one that was made before to stay. */
int open_tun(const char *name)
{
    struct ifreq request;
    if (strlen(name) >= IFNAMSIZ)
        return -ENAMETOOLONG;
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    memset(&request, 0, sizeof request);
    strcpy(request.ifr_name, name);
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    int result = ioctl(fd, TUNSETIFF, &request) < 0 ? -errno : set_up(&request);
    if (result < 0) {
        close(fd);
        return result;
    }
    return fd;
}

static void put16(unsigned char *to, unsigned value)
{
    to[0] = (unsigned char)(value >> 8);
    to[1] = (unsigned char)value;
}

/* The sum of RFC 1071, not yet folded. */
static uint64_t sum(uint64_t sum, const void *data, size_t len)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i + 1 < len; i += 2)
        sum += (unsigned)bytes[i] << 8 | bytes[i + 1];
    return len % 2 ? sum + ((unsigned)bytes[len - 1] << 8) : sum;
}

static unsigned checksum(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return ~(unsigned)sum & 0xffff;
}

/* IPv4 by RFC 791, IPv6 by RFC 8200. Returns the length; the addresses are the last bytes of it. */
static size_t put_ip(unsigned char *to, const struct castio_datagram_view *view)
{
    static uint16_t identification;
    const struct sockaddr_in *from4 = (const struct sockaddr_in *)view->from, *to4 = (const struct sockaddr_in *)view->to;
    const struct sockaddr_in6 *from6 = (const struct sockaddr_in6 *)view->from,
                              *to6 = (const struct sockaddr_in6 *)view->to;
    unsigned class = view->traffic_class < 0 ? 0 : (unsigned)view->traffic_class;
    unsigned ttl = view->ttl < 1 ? 1 : (unsigned)view->ttl;
    if (view->to->sa_family == AF_INET6) {
        put16(to, 6u << 12 | class << 4);
        put16(to + 2, 0);
        put16(to + 4, (unsigned)view->len + 8);
        to[6] = PROTOCOL_UDP;
        to[7] = (unsigned char)ttl;
        memcpy(to + 8, &from6->sin6_addr, 16);
        memcpy(to + 24, &to6->sin6_addr, 16);
        return 40;
    }
    put16(to, 0x4500 | class);
    put16(to + 2, (unsigned)view->len + 28);
    put16(to + 4, ++identification);
    put16(to + 6, 0);
    put16(to + 8, ttl << 8 | PROTOCOL_UDP);
    put16(to + 10, 0);
    memcpy(to + 12, &from4->sin_addr, 4);
    memcpy(to + 16, &to4->sin_addr, 4);
    put16(to + 10, checksum(sum(0, to, 20)));
    return 20;
}

/* With the headers that it had before the tunnel. 0, or less for an error. */
ssize_t write_packet(int fd, const struct castio_datagram_view *view)
{
    unsigned char head[48];
    size_t ip_len = put_ip(head, view), addresses = view->to->sa_family == AF_INET6 ? 32 : 8;
    unsigned char *udp = head + ip_len;
    unsigned len = (unsigned)view->len + 8;
    put16(udp, port_of(address_of(view->from)));
    put16(udp + 2, port_of(address_of(view->to)));
    put16(udp + 4, len);
    put16(udp + 6, 0);
    uint64_t all = sum(sum(sum(PROTOCOL_UDP + len, udp - addresses, addresses), udp, 8), view->data, view->len);
    unsigned check = checksum(all);
    put16(udp + 6, check ? check : 0xffff);
    struct iovec parts[2] = { { head, ip_len + 8 }, { (void *)view->data, view->len } };
    return writev(fd, parts, 2) < 0 ? -errno : 0;
}
