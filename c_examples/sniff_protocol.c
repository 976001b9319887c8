/* Tells what a client speaks by peeking at its first bytes. Nothing is consumed: whoever reads the
 * connection afterwards gets all of it. */
#define PROGRAM "sniff_protocol"
#include "example.h"

static void usage(void)
{
    puts("usage: sniff_protocol [options]\n"
         "Accepts connections and tells TLS, HTTP and SSH apart before anything is read.\n"
         "  -a, --address ADDRESS  listens there; default 127.0.0.1\n"
         "  -p, --port PORT        default 0: any free port, which is printed\n"
         "  -t, --timeout MS       waits so long for the first bytes; default 5000\n"
         "  -o, --once             ends after one connection\n"
         "  -h, --help             this text");
}

/* By the first bytes: RFC 8446 section 5.1, RFC 9112 section 3, RFC 4253 section 4.2. */
static const char *verdict(const unsigned char *head, size_t len)
{
    static const char *const methods[] = { "GET ", "HEAD", "POST", "PUT ", "DELE", "OPTI", "PATC", "CONN", "PRI " };
    if (len >= 3 && head[0] == 22 && head[1] == 3)
        return "TLS";
    if (len >= 4 && memcmp(head, "SSH-", 4) == 0)
        return "SSH";
    for (size_t i = 0; len >= 4 && i < sizeof methods / sizeof methods[0]; i++)
        if (memcmp(head, methods[i], 4) == 0)
            return "HTTP";
    return len == 0 ? "nothing" : "something else";
}

static const char *state_text(const struct castio_peek_info *info)
{
    static char text[64];
    switch (info->state) {
    case CASTIO_PEEK_NOTHING: return "nothing yet";
    case CASTIO_PEEK_DATA: snprintf(text, sizeof text, "%zu bytes", info->available); return text;
    case CASTIO_PEEK_EMPTY_MESSAGE: return "an empty message";
    case CASTIO_PEEK_END: return "the end";
    default: return castio_error_name(info->error);
    }
}

/* Reads as if nobody had looked: up to the end of line, of the data at hand, or of the room. */
static int read_line(int fd)
{
    unsigned char line[512];
    size_t len = 0;
    while (len < sizeof line) {
        ssize_t count = castio_recv_nowait(fd, line + len, 1);
        if (count == 0 || count == -EAGAIN || (count == 1 && line[len] == '\n'))
            break;
        if (count < 0)
            return complain("reading", "the first line", (int)count);
        len++;
    }
    printf("read: ");
    print_text(stdout, line, len);
    putchar('\n');
    return EXIT_SUCCESS;
}

static int look(int fd, int timeout_ms)
{
    struct castio_peek_info info;
    unsigned char head[4] = { 0 };
    ssize_t seen = castio_peek_all(fd, head, sizeof head, timeout_ms);
    /* Less than four bytes in time: what there is has to do. */
    if (seen == -ETIMEDOUT)
        seen = castio_peek(fd, head, sizeof head);
    if (seen < 0 && seen != -EAGAIN)
        return complain("peeking at", "the connection", (int)seen);
    info.struct_size = sizeof info;
    int result = castio_peek_info(fd, &info);
    if (result < 0)
        return complain("peeking at", "the connection", result);
    printf("protocol: %s\nwaiting: %s\n", verdict(head, seen < 0 ? 0 : (size_t)seen), state_text(&info));
    int status = read_line(fd);
    return status == EXIT_SUCCESS ? flush_output() : status;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "address", required_argument, NULL, 'a' },
        { "port", required_argument, NULL, 'p' },
        { "timeout", required_argument, NULL, 't' },
        { "once", no_argument, NULL, 'o' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    const char *address = "127.0.0.1", *port = "0";
    int once = 0, timeout = 5000, option, status = EXIT_SUCCESS;
    begin_program();
    while ((option = getopt_long(argc, argv, "a:p:t:oh", options, NULL)) != -1) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': number(port = optarg, 0, 65535); break;
        case 't': timeout = (int)number(optarg, 0, 3600000); break;
        case 'o': once = 1; break;
        case 'h': usage(); return EXIT_SUCCESS;
        default: return EXIT_USAGE;
        }
    }
    if (optind < argc)
        return usage_error(argv[optind], "takes no such argument");
    int listener = listen_on(address, port);
    if (listener < 0)
        return EXIT_FAILURE;
    do {
        int client = accept_client(listener);
        if (client < 0) {
            if (errno != EINTR)
                status = complain("accepting on", address, errno);
            break;
        }
        status = look(client, timeout);
        close(client);
    } while (!once);
    close(listener);
    return stopped ? EXIT_SUCCESS : status;
}
