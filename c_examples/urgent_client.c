/* Sends text to a server, and urgent bytes in its middle. */
#define PROGRAM "urgent_client"
#include "example.h"

#define TIMEOUT_MS 30000
#define READY "ready\n"

static void usage(void)
{
    puts("usage: urgent_client [options] PORT [text...]\n"
         "Sends the texts. One that starts with \"!\" is sent as urgent: its last byte is out of band.\n"
         "Without any: \"before\", urgent \"now!\" and \"after\".\n"
         "  -a, --address ADDRESS  the server's, IPv4 or IPv6; default 127.0.0.1\n"
         "  -h, --help             this text");
}

/* The server greets when it is ready for SIGURG. */
static int wait_for_server(int fd)
{
    char greeting[sizeof READY - 1];
    ssize_t count = castio_read_all(fd, greeting, sizeof greeting, TIMEOUT_MS, NULL);
    if (count < 0)
        return complain("waiting for", "the server", (int)count);
    if (count != sizeof greeting || memcmp(greeting, READY, sizeof greeting) != 0)
        return complain("waiting for", "the server", EPROTO);
    return EXIT_SUCCESS;
}

static int send_text(int fd, const char *text)
{
    ssize_t sent;
    size_t done = 0;
    int urgent = text[0] == '!';
    text += urgent;
    if (urgent)
        sent = castio_send_oob(fd, text, strlen(text), TIMEOUT_MS, &done);
    else
        sent = castio_write_all(fd, text, strlen(text), TIMEOUT_MS, &done);
    if (sent < 0) {
        char what[64];
        snprintf(what, sizeof what, "%s text after %zu bytes", urgent ? "urgent" : "ordinary", done);
        return complain("sending", what, (int)sent);
    }
    printf("sent %zd bytes%s\n", sent, urgent ? ", the last one urgent" : "");
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "address", required_argument, NULL, 'a' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    static char *story[] = { "before", "!now!", "after" };
    const char *address = "127.0.0.1";
    int option, status = EXIT_SUCCESS;
    begin_program();
    while ((option = getopt_long(argc, argv, "a:h", options, NULL)) != -1) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'h': usage(); return EXIT_SUCCESS;
        default: return EXIT_USAGE;
        }
    }
    if (optind == argc)
        return usage_error("PORT", "is missing");
    number(argv[optind], 1, 65535);
    char **texts = optind + 1 < argc ? argv + optind + 1 : story;
    int count = optind + 1 < argc ? argc - optind - 1 : 3;
    int fd = tcp_socket(address, argv[optind], 0);
    if (fd < 0)
        return complain("connecting to", address, errno);
    status = wait_for_server(fd);
    for (int i = 0; i < count && status == EXIT_SUCCESS; i++)
        status = send_text(fd, texts[i]);
    close(fd);
    return status;
}
