/* Answers HTTP requests: status line, headers and body lie where they are in memory and go out in
 * one castio_writev_all, without being copied together first. */
#define PROGRAM "gather_response"
#include "example.h"

#define TIMEOUT_MS 10000

static void usage(void)
{
    puts("usage: gather_response [options] [text...]\n"
         "Answers each HTTP request with the texts, one a line, gathered from where they lie.\n"
         "  -a, --address ADDRESS  listens there; default 127.0.0.1\n"
         "  -p, --port PORT        default 0: any free port, which is printed\n"
         "  -o, --once             ends after one request\n"
         "  -h, --help             this text");
}

/* Reads a request up to its empty line. 0, or less than 0. */
static int read_request(int fd)
{
    char request[8192];
    size_t len = 0;
    while (len < sizeof request - 1) {
        ssize_t count = castio_read_all(fd, request + len, 1, TIMEOUT_MS, NULL);
        if (count < 0)
            return (int)count;
        if (count == 0)
            return -ECONNRESET;
        request[++len] = '\0';
        if (len >= 4 && strcmp(request + len - 4, "\r\n\r\n") == 0)
            return 0;
    }
    return -EMSGSIZE;
}

static struct iovec piece(const char *text)
{
    struct iovec piece = { (void *)text, strlen(text) };
    return piece;
}

/* The whole response as a list of pieces: two for each text, and three before them. */
static ssize_t respond(int fd, char **texts, int count, size_t *done)
{
    char length[64];
    struct iovec *list = calloc((size_t)count * 2 + 3, sizeof *list);
    if (!list)
        return -ENOMEM;
    for (int i = 0; i < count; i++) {
        list[3 + 2 * i] = piece(texts[i]);
        list[4 + 2 * i] = piece("\n");
    }
    snprintf(length, sizeof length, "Content-Length: %zd\r\n\r\n", castio_iov_length(list + 3, 2 * count));
    list[0] = piece("HTTP/1.1 200 OK\r\n");
    list[1] = piece("Content-Type: text/plain\r\nConnection: close\r\n");
    list[2] = piece(length);
    ssize_t sent = castio_writev_all(fd, list, 2 * count + 3, TIMEOUT_MS, done);
    free(list);
    return sent;
}

static int serve(int fd, char **texts, int count)
{
    size_t done = 0;
    int result = read_request(fd);
    if (result < 0)
        return complain("reading", "the request", result);
    ssize_t sent = respond(fd, texts, count, &done);
    if (sent < 0) {
        char what[64];
        snprintf(what, sizeof what, "the response after %zu bytes", done);
        return complain("sending", what, (int)sent);
    }
    printf("sent %zd bytes, gathered from %d pieces\n", sent, 2 * count + 3);
    flush_output();
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "address", required_argument, NULL, 'a' },
        { "port", required_argument, NULL, 'p' },
        { "once", no_argument, NULL, 'o' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    static char *hello[] = { "Hello from castio." };
    const char *address = "127.0.0.1", *port = "0";
    int once = 0, option, status = EXIT_SUCCESS;
    begin_program();
    while ((option = getopt_long(argc, argv, "a:p:oh", options, NULL)) != -1) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': number(port = optarg, 0, 65535); break;
        case 'o': once = 1; break;
        case 'h': usage(); return EXIT_SUCCESS;
        default: return EXIT_USAGE;
        }
    }
    char **texts = optind < argc ? argv + optind : hello;
    int count = optind < argc ? argc - optind : 1;
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
        status = serve(client, texts, count);
        close(client);
    } while (!once);
    close(listener);
    return stopped ? EXIT_SUCCESS : status;
}
