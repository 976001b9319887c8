/* Receives broadcasts: a socket bound to the wildcard address hears unicast too, one bound to a
 * broadcast address only that. */
#define PROGRAM "bcast_recv"
#define _DEFAULT_SOURCE
#include "example.h"

#include <arpa/inet.h>
#include <net/if.h>

static void usage(void)
{
    puts("usage: bcast_recv [options] PORT\n"
         "Prints the datagrams that come to a port, with their sender.\n"
         "  -i, --interface NAME  only broadcasts to this interface's network: a name, one of its\n"
         "                        addresses, its index\n"
         "  -l, --limited         only broadcasts to 255.255.255.255; with -i those that come by that interface\n"
         "  -c, --cidr NETWORK    only broadcasts to this network, 192.0.2.0/24\n"
         "  -n, --count N         ends after so many\n"
         "  -t, --timeout MS      fails when nothing comes for so long\n"
         "  -h, --help            this text\n"
         "PORT 0 is any free port, which is printed. Default: whatever comes, unicast too.");
}

/* With an interface's index (else 0) only what comes by it: a limited broadcast tells no network. */
static int open_socket(struct in_addr address, uint16_t port, unsigned ifindex)
{
    char name[IF_NAMESIZE] = "";
    struct sockaddr_in at;
    int on = 1;
    memset(&at, 0, sizeof at);
    at.sin_family = AF_INET;
    at.sin_addr = address;
    at.sin_port = htons(port);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        (ifindex > 0 && (!if_indextoname(ifindex, name) ||
                         setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, (socklen_t)strlen(name)) < 0)) ||
        bind(fd, (struct sockaddr *)&at, sizeof at) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "interface", required_argument, NULL, 'i' },
        { "limited", no_argument, NULL, 'l' },
        { "cidr", required_argument, NULL, 'c' },
        { "count", required_argument, NULL, 'n' },
        { "timeout", required_argument, NULL, 't' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    const char *interface = NULL, *network = NULL;
    unsigned ifindex = 0;
    int limited = 0, count = 0, timeout = -1, result = 0, option;
    begin_program();
    while ((option = getopt_long(argc, argv, "i:lc:n:t:h", options, NULL)) != -1) {
        switch (option) {
        case 'i': interface = optarg; break;
        case 'l': limited = 1; break;
        case 'c': network = optarg; break;
        case 'n': count = (int)number(optarg, 1, 1000000000); break;
        case 't': timeout = (int)number(optarg, 0, 3600000); break;
        case 'h': usage(); return EXIT_SUCCESS;
        default: return EXIT_USAGE;
        }
    }
    if (network && (interface || limited))
        return usage_error("--cidr", "doesn't go with --interface and --limited");
    if (argc - optind != 1)
        return usage_error("arguments", "PORT");
    uint16_t port = (uint16_t)number(argv[optind], 0, 65535);
    struct in_addr address = { htonl(limited ? INADDR_BROADCAST : INADDR_ANY) };
    if (interface && limited)
        result = castio_interface_index(interface, &ifindex);
    else if (interface)
        result = castio_broadcast_address(interface, &address);
    else if (network)
        result = castio_directed_broadcast(network, &address);
    if (result < 0)
        return complain("the broadcast address of", interface ? interface : network, result);
    int fd = open_socket(address, port, ifindex);
    if (fd < 0)
        return complain("listening on port", argv[optind], fd);
    catch_stop();
    print_listening(fd);
    int status = print_datagrams(fd, count, timeout, "receiving", "a broadcast");
    close(fd);
    return status;
}
