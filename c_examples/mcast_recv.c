/* Receives multicast: one group by castio_open_receiver, several by joining them on one socket. */
#define PROGRAM "mcast_recv"
#include "example.h"

#define MOST 64

static void usage(void)
{
    puts("usage: mcast_recv [options] GROUP... PORT\n"
         "Prints what comes to multicast groups, with its sender. Several groups are of one family.\n"
         "  -i, --interface NAME  joins on this interface: a name, one of its addresses, its index\n"
         "  -s, --source ADDRESS  from this source only; may be repeated\n"
         "  -n, --count N         ends after so many datagrams\n"
         "  -t, --timeout MS      fails when nothing comes for so long\n"
         "  -h, --help            this text\n"
         "PORT 0 is any free port, which is printed.");
}

struct settings {
    char **groups;
    const char *interface, *sources[MOST];
    int group_count, source_count, count, timeout_ms;
    uint16_t port;
};

static int join(int fd, const char *group, const struct settings *settings, int first_source)
{
    int result = 0;
    if (settings->source_count == 0)
        result = castio_join_group(fd, group, settings->interface);
    for (int i = first_source; i < settings->source_count && result >= 0; i++)
        result = castio_join_source(fd, group, settings->sources[i], settings->interface);
    return result;
}

/* One group: bound to it, nothing else can come in. */
static int open_one(const struct settings *settings)
{
    const char *group = settings->groups[0];
    int fd = castio_open_receiver(group, settings->port, settings->sources[0], settings->interface);
    if (fd < 0 || settings->source_count < 2)
        return fd;
    int result = join(fd, group, settings, 1);
    if (result < 0)
        close(fd);
    return result < 0 ? result : fd;
}

/* Several: bound to none of them, so what others on this host joined has to be kept out. */
static int open_several(const struct settings *settings)
{
    struct addrinfo hints, *any;
    char port[8];
    int on = 1, result = 0;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = strchr(settings->groups[0], ':') ? AF_INET6 : AF_INET;
    hints.ai_socktype = SOCK_DGRAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    snprintf(port, sizeof port, "%u", settings->port);
    if (getaddrinfo(NULL, port, &hints, &any) != 0)
        return -EAFNOSUPPORT;
    int fd = socket(any->ai_family, SOCK_DGRAM, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(fd, any->ai_addr, any->ai_addrlen) < 0)
        result = -errno;
    freeaddrinfo(any);
    if (result >= 0)
        result = castio_set_multicast_all(fd, 0);
    for (int i = 0; i < settings->group_count && result >= 0; i++)
        result = join(fd, settings->groups[i], settings, 0);
    if (result < 0 && fd >= 0)
        close(fd);
    return result < 0 ? result : fd;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "interface", required_argument, NULL, 'i' },
        { "source", required_argument, NULL, 's' },
        { "count", required_argument, NULL, 'n' },
        { "timeout", required_argument, NULL, 't' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    static struct settings settings = { .timeout_ms = -1 };
    int option;
    begin_program();
    while ((option = getopt_long(argc, argv, "i:s:n:t:h", options, NULL)) != -1) {
        switch (option) {
        case 'i': settings.interface = optarg; break;
        case 's':
            if (settings.source_count == MOST)
                return usage_error(optarg, "too many sources");
            settings.sources[settings.source_count++] = optarg;
            break;
        case 'n': settings.count = (int)number(optarg, 1, 1000000000); break;
        case 't': settings.timeout_ms = (int)number(optarg, 0, 3600000); break;
        case 'h': usage(); return EXIT_SUCCESS;
        default: return EXIT_USAGE;
        }
    }
    if (argc - optind < 2)
        return usage_error("arguments", "GROUP... PORT");
    settings.groups = argv + optind;
    settings.group_count = argc - optind - 1;
    settings.port = (uint16_t)number(argv[argc - 1], 0, 65535);
    int fd = settings.group_count == 1 ? open_one(&settings) : open_several(&settings);
    if (fd < 0)
        return complain("joining", settings.groups[0], fd);
    catch_stop();
    print_listening(fd);
    int status = print_datagrams(fd, settings.count, settings.timeout_ms, "receiving from", settings.groups[0]);
    close(fd);
    return status;
}
