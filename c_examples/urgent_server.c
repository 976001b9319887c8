/* Takes urgent data from one client: SIGURG tells of it the moment it arrives, the mark tells
 * where in the stream it belongs. */
#define PROGRAM "urgent_server"
#include "example.h"

#define TIMEOUT_MS 30000
#define READY "ready\n"

static volatile sig_atomic_t urgent_signals;

static void on_urgent(int signal_number)
{
    (void)signal_number;
    urgent_signals++;
}

static void usage(void)
{
    puts("usage: urgent_server [options]\n"
         "Accepts one client and prints what it sends, its urgent bytes apart from the stream.\n"
         "  -a, --address ADDRESS  listens there, IPv4 or IPv6; default 127.0.0.1\n"
         "  -p, --port PORT        default 0: any free port, which is printed\n"
         "  -i, --inline           leaves the urgent byte in the stream, in its place\n"
         "  -h, --help             this text");
}

/* At the mark: what stands there, by whichever way it comes. */
static int take_urgent(int fd, int in_line)
{
    char byte;
    int urgent;
    if (in_line) {
        ssize_t count = castio_read_all(fd, &byte, 1, TIMEOUT_MS, NULL);
        if (count <= 0)
            return complain("reading", "the urgent byte", count < 0 ? (int)count : -ECONNRESET);
        urgent = (unsigned char)byte;
    } else {
        /* Announced already, but its segment may still be on the way. */
        int result = castio_wait_oob(fd, TIMEOUT_MS);
        urgent = result < 0 ? result : castio_recv_oob(fd);
        if (urgent < 0)
            return complain("taking", "the urgent byte", urgent);
        /* The mark is behind us once something is read; what follows is read on from here. */
    }
    const char taken = (char)urgent;
    printf("urgent%s: ", in_line ? " (inline)" : "");
    print_text(stdout, &taken, 1);
    putchar('\n');
    return EXIT_SUCCESS;
}

static void print_data(const char *bytes, size_t len)
{
    printf("data: ");
    print_text(stdout, bytes, len);
    putchar('\n');
}

static int serve(int fd, int in_line)
{
    int taken = 0;
    for (;;) {
        char bytes[512];
        int at_mark = 0;
        ssize_t count;
        if (taken && castio_at_mark(fd) == 1)
            /* The byte at the mark has been taken: a plain read goes over it. */
            count = castio_read_all(fd, bytes, 1, TIMEOUT_MS, NULL);
        else
            count = castio_recv_to_mark(fd, bytes, sizeof bytes, TIMEOUT_MS, &at_mark);
        taken = 0;
        if (count < 0)
            return complain("reading from", "the client", (int)count);
        if (count > 0)
            print_data(bytes, (size_t)count);
        if (at_mark) {
            if (take_urgent(fd, in_line) != EXIT_SUCCESS)
                return EXIT_FAILURE;
            taken = !in_line;
        } else if (count == 0) {
            break;
        }
        if (flush_output() != EXIT_SUCCESS)
            return EXIT_CANNOT;
    }
    printf("end, SIGURG %s\n", urgent_signals > 0 ? "received" : "not received");
    return EXIT_SUCCESS;
}

static int accept_and_serve(int listener, int in_line)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_urgent;
    sigaction(SIGURG, &action, NULL);
    int fd = accept_client(listener);
    while (fd < 0 && errno == EINTR && !stopped)
        fd = accept_client(listener);
    if (fd < 0)
        return stopped ? EXIT_SUCCESS : complain("accepting", "a client", errno);
    int status;
    int result = castio_set_oob_owner(fd, getpid());
    if (result >= 0 && in_line)
        result = castio_set_oob_inline(fd, 1);
    /* What is urgent before we own the socket raises no signal: the client waits for this. */
    if (result >= 0)
        result = (int)castio_write_all(fd, READY, strlen(READY), TIMEOUT_MS, NULL);
    if (result < 0)
        status = complain("preparing", "the connection", result);
    else
        status = serve(fd, in_line);
    close(fd);
    return status;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "address", required_argument, NULL, 'a' },
        { "port", required_argument, NULL, 'p' },
        { "inline", no_argument, NULL, 'i' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    const char *address = "127.0.0.1", *port = "0";
    int in_line = 0, option;
    begin_program();
    while ((option = getopt_long(argc, argv, "a:p:ih", options, NULL)) != -1) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': number(port = optarg, 0, 65535); break;
        case 'i': in_line = 1; break;
        case 'h': usage(); return EXIT_SUCCESS;
        default: return EXIT_USAGE;
        }
    }
    if (optind < argc)
        return usage_error(argv[optind], "takes no such argument");
    int listener = listen_on(address, port);
    if (listener < 0)
        return EXIT_FAILURE;
    int status = accept_and_serve(listener, in_line);
    close(listener);
    return status;
}
