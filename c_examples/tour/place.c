/* Where the tour takes place: a network namespace with nothing but loopback, so that nothing can
 * leave this host, and interfaces made for one step. */
#define _GNU_SOURCE
#include "tour.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/route.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>

static int own_network;

int in_own_network(void)
{
    return own_network;
}

static int write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t written = write(fd, text, strlen(text));
    close(fd);
    return written == (ssize_t)strlen(text) ? 0 : -1;
}

/* Root may have a network namespace as it is; others get one together with a user namespace in
 * which they count as root. */
static int unshare_network(void)
{
    char map[64];
    if (unshare(CLONE_NEWNET) == 0)
        return 0;
    snprintf(map, sizeof map, "0 %u 1", (unsigned)geteuid());
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return -1;
    return write_text("/proc/self/uid_map", map);
}

static int bring_up(int control, const char *name)
{
    struct ifreq request = { .ifr_flags = 0 };
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(control, SIOCGIFFLAGS, &request) < 0)
        return -1;
    request.ifr_flags |= IFF_UP;
    return ioctl(control, SIOCSIFFLAGS, &request);
}

/* ff00::/8 by way of loopback. The kernel makes this route on every interface but that one, where
 * any that isn't RTF_LOCAL means "unreachable". */
static void add_multicast_route(void)
{
    /* The request is the same for both families: checkers look at all of the larger one. */
    union {
        struct in6_rtmsg v6;
        struct rtentry v4;
    } route;
    memset(&route, 0, sizeof route);
    route.v6.rtmsg_dst.s6_addr[0] = 0xff;
    route.v6.rtmsg_dst_len = 8;
    route.v6.rtmsg_metric = 256;
    route.v6.rtmsg_flags = RTF_UP | RTF_LOCAL;
    route.v6.rtmsg_ifindex = (int)if_nametoindex("lo");
    int control = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (control < 0)
        return;
    /* Without IPv6 the steps that need it say so themselves. */
    (void)ioctl(control, SIOCADDRT, &route);
    close(control);
}

int enter_own_network(void)
{
    if (unshare_network() < 0)
        return -1;
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (control < 0)
        return -1;
    int result = bring_up(control, "lo");
    close(control);
    add_multicast_route();
    own_network = result == 0;
    return result;
}

static int set_ipv4(int control, const char *name, unsigned long what, const char *address)
{
    struct ifreq request = { .ifr_flags = 0 };
    struct sockaddr_in in = { .sin_family = AF_INET };
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    inet_pton(AF_INET, address, &in.sin_addr);
    memcpy(&request.ifr_addr, &in, sizeof in);
    return ioctl(control, what, &request);
}

static int configure(const char *name)
{
    char path[80];
    /* The link-local address is usable at once: nobody else is here to have it. */
    snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/accept_dad", name);
    (void)write_text(path, "0");
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (control < 0)
        return -1;
    int result = set_ipv4(control, name, SIOCSIFADDR, "10.77.0.1");
    if (result == 0)
        result = set_ipv4(control, name, SIOCSIFNETMASK, "255.255.255.0");
    if (result == 0)
        result = bring_up(control, name);
    close(control);
    return result;
}

int make_interface(const char *name)
{
    struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };
    int tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (tap < 0)
        return -1;
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(tap, TUNSETIFF, &request) < 0 || configure(name) < 0) {
        close(tap);
        return -1;
    }
    return keep(tap);
}
