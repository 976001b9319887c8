/* Sends a broadcast: to an interface's network, to 255.255.255.255, or to a network in text. */
#define PROGRAM "bcast_send"
#include "example.h"

#include <arpa/inet.h>

static void usage(void)
{
    puts("usage: bcast_send [options] PORT [text]\n"
         "Broadcasts the text, \"hello\" by default.\n"
         "  -i, --interface NAME  out of this interface: a name, one of its addresses, its index\n"
         "  -A, --all             out of every interface that has broadcast\n"
         "  -l, --limited         to 255.255.255.255, instead of each network's own address\n"
         "  -c, --cidr NETWORK    to this network's own address, 192.0.2.0/24, by the routes\n"
         "  -h, --help            this text\n"
         "One of --interface, --all and --cidr has to be there.");
}

/* To the directed broadcast address of a network that is given as text. */
static int send_to_network(int fd, const char *network, const char *text, uint16_t port)
{
    struct sockaddr_in to;
    memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    int result = castio_directed_broadcast(network, &to.sin_addr);
    if (result < 0)
        return complain("the broadcast address of", network, result);
    if (sendto(fd, text, strlen(text), 0, (struct sockaddr *)&to, sizeof to) < 0)
        return complain("sending to", network, errno);
    printf("sent 1 datagram to %s\n", inet_ntoa(to.sin_addr));
    return EXIT_SUCCESS;
}

/* Out of an interface, or with NULL out of all of them. */
static int send_by_interface(int fd, const char *interface, int limited, const char *text, uint16_t port)
{
    struct in_addr address = { htonl(INADDR_BROADCAST) };
    size_t sent = 0;
    ssize_t result = limited ? castio_send_limited_broadcast(fd, text, strlen(text), port, interface, &sent)
                             : castio_send_broadcast(fd, text, strlen(text), port, interface, &sent);
    printf("sent %zu datagram%s", sent, sent == 1 ? "" : "s");
    if (interface && (limited || castio_broadcast_address(interface, &address) >= 0))
        printf(" to %s", inet_ntoa(address));
    putchar('\n');
    if (result < 0)
        return complain("broadcasting on", interface ? interface : "every interface", (int)result);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "interface", required_argument, NULL, 'i' },
        { "all", no_argument, NULL, 'A' },
        { "limited", no_argument, NULL, 'l' },
        { "cidr", required_argument, NULL, 'c' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    const char *interface = NULL, *network = NULL, *text = "hello";
    int all = 0, limited = 0, option, status;
    begin_program();
    while ((option = getopt_long(argc, argv, "i:Alc:h", options, NULL)) != -1) {
        switch (option) {
        case 'i': interface = optarg; break;
        case 'A': all = 1; break;
        case 'l': limited = 1; break;
        case 'c': network = optarg; break;
        case 'h': usage(); return EXIT_SUCCESS;
        default: return EXIT_USAGE;
        }
    }
    if ((interface != NULL) + all + (network != NULL) != 1)
        return usage_error("options", "exactly one of --interface, --all, --cidr");
    if (network && limited)
        return usage_error("--limited", "doesn't go with --cidr");
    if (argc - optind < 1 || argc - optind > 2)
        return usage_error("arguments", "PORT [text]");
    uint16_t port = (uint16_t)number(argv[optind], 1, 65535);
    if (argc - optind == 2)
        text = argv[optind + 1];
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0)
        return complain("making", "a socket", errno);
    int result = castio_enable_broadcast(fd, 1);
    if (result < 0)
        status = complain("enabling", "broadcast", result);
    else if (network)
        status = send_to_network(fd, network, text, port);
    else
        status = send_by_interface(fd, interface, limited, text, port);
    close(fd);
    return status;
}
