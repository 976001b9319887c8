/* Sends datagrams to a multicast group. */
#define PROGRAM "mcast_send"
#include "example.h"

static void usage(void)
{
    puts("usage: mcast_send [options] GROUP PORT [text]\n"
         "Sends the text, \"hello\" by default, to a multicast group: 239.1.2.3, ff15::7.\n"
         "  -i, --interface NAME  out of this interface: a name, one of its addresses, its index\n"
         "  -t, --ttl HOPS        how many routers it may cross; default 1: stays on the link\n"
         "  -n, --count N         sends so many, numbered; default 1\n"
         "  -w, --wait MS         waits so long between two; default 100\n"
         "  -L, --no-loop         receivers on this host get nothing\n"
         "  -h, --help            this text");
}

struct settings {
    const char *group, *interface, *text;
    uint16_t port;
    int ttl, count, wait_ms, loop;
};

static int send_all(int fd, const struct settings *settings)
{
    for (int i = 1; i <= settings->count && !stopped; i++) {
        char number[16] = "";
        if (settings->count > 1)
            snprintf(number, sizeof number, " %d", i);
        struct iovec text[] = { { (char *)settings->text, strlen(settings->text) }, { number, strlen(number) } };
        ssize_t sent = castio_writev_all(fd, text, 2, -1, NULL);
        if (sent == -EMSGSIZE)
            return usage_error("text", "longer than a datagram can be, 65507 bytes by IPv4");
        if (sent < 0)
            return complain("sending to", settings->group, (int)sent);
        printf("sent %zd bytes to %s port %u, ttl %d\n", sent, settings->group, settings->port,
               castio_get_ttl(fd));
        if (flush_output() != EXIT_SUCCESS)
            return EXIT_CANNOT;
        struct timespec time = { settings->wait_ms / 1000, settings->wait_ms % 1000 * 1000000L };
        if (i < settings->count)
            pselect(0, NULL, NULL, NULL, &time, &while_waiting);
    }
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "interface", required_argument, NULL, 'i' },
        { "ttl", required_argument, NULL, 't' },
        { "count", required_argument, NULL, 'n' },
        { "wait", required_argument, NULL, 'w' },
        { "no-loop", no_argument, NULL, 'L' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    struct settings settings = { .text = "hello", .ttl = 1, .count = 1, .wait_ms = 100, .loop = 1 };
    int option;
    begin_program();
    while ((option = getopt_long(argc, argv, "i:t:n:w:Lh", options, NULL)) != -1) {
        switch (option) {
        case 'i': settings.interface = optarg; break;
        case 't': settings.ttl = (int)number(optarg, 0, 255); break;
        case 'n': settings.count = (int)number(optarg, 1, 1000000000); break;
        case 'w': settings.wait_ms = (int)number(optarg, 0, 3600000); break;
        case 'L': settings.loop = 0; break;
        case 'h': usage(); return EXIT_SUCCESS;
        default: return EXIT_USAGE;
        }
    }
    if (argc - optind < 2 || argc - optind > 3)
        return usage_error("arguments", "GROUP PORT [text]");
    settings.group = argv[optind];
    settings.port = (uint16_t)number(argv[optind + 1], 1, 65535);
    if (argc - optind == 3)
        settings.text = argv[optind + 2];
    int fd = castio_open_sender(settings.group, settings.port, settings.interface, settings.ttl);
    if (fd < 0)
        return complain("opening a sender to", settings.group, fd);
    int result = castio_set_loop(fd, settings.loop);
    catch_stop();
    int status = result < 0 ? complain("setting the loop of", settings.group, result) : send_all(fd, &settings);
    close(fd);
    return status;
}
