/* A line server over FILE *: answers each line in upper case, by getline and fprintf over two
 * streams of one socket. */
#define PROGRAM "line_server"
#include "example.h"

#include <ctype.h>
#include <sys/wait.h>

static void usage(void)
{
    puts("usage: line_server [options]\n"
         "Sends every line back in upper case. A client that has sent its last line and closed its\n"
         "side still gets all the answers, and then the end.\n"
         "  -a, --address ADDRESS  listens there, IPv4 or IPv6; default 127.0.0.1\n"
         "  -p, --port PORT        default 0: any free port, which is printed\n"
         "  -t, --timeout MS       drops a client that is silent for so long; default 60000\n"
         "  -o, --once             serves one client and ends; default one process for each client\n"
         "  -h, --help             this text");
}

static void upper_case(char *line, ssize_t len)
{
    for (ssize_t i = 0; i < len; i++)
        line[i] = (char)toupper((unsigned char)line[i]);
}

/* Until the client's end. Both streams are closed afterwards, and with them the socket. */
static int serve(FILE *in, FILE *out)
{
    char *line = NULL;
    size_t room = 0;
    unsigned long lines = 0;
    ssize_t len;
    int error = 0;
    errno = 0;
    /* getline() gives back what there is of a line that an error cut short: that is none. */
    while ((len = getline(&line, &room, in)) > 0 && !ferror(in)) {
        upper_case(line, len);
        if (fwrite(line, 1, (size_t)len, out) != (size_t)len || fflush(out) != 0)
            break;
        lines++;
        errno = 0;
    }
    if (ferror(in) || ferror(out))
        error = errno;
    free(line);
    fclose(out);
    fclose(in);
    printf("%lu lines\n", lines);
    flush_output();
    return error ? complain("serving", "a client", error) : EXIT_SUCCESS;
}

static int serve_client(int fd, int timeout_ms)
{
    FILE *in, *out;
    /* Ctrl-C ends a conversation where it is. */
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    sigprocmask(SIG_SETMASK, &while_waiting, NULL);
    int result = castio_fdopen(fd, timeout_ms, &in, &out);
    if (result < 0) {
        close(fd);
        return complain("opening", "streams", result);
    }
    return serve(in, out);
}

/* A process for each client. */
static int serve_in_child(int listener, int fd, int timeout_ms)
{
    pid_t child = fork();
    if (child == 0) {
        close(listener);
        exit(serve_client(fd, timeout_ms));
    }
    int error = errno;
    close(fd);
    if (child < 0)
        return complain("starting", "a process", error);
    /* Those that have ended since. */
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
    return EXIT_SUCCESS;
}

static int serve_all(int listener, int once, int timeout_ms)
{
    for (;;) {
        int fd = accept_client(listener);
        if (fd < 0 && stopped)
            return EXIT_SUCCESS;
        if (fd < 0 && errno == EINTR)
            continue;
        if (fd < 0)
            return complain("accepting", "a client", errno);
        int status = once ? serve_client(fd, timeout_ms) : serve_in_child(listener, fd, timeout_ms);
        if (once || status != EXIT_SUCCESS)
            return status;
    }
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
    int once = 0, timeout = 60000, option;
    begin_program();
    while ((option = getopt_long(argc, argv, "a:p:t:oh", options, NULL)) != -1) {
        switch (option) {
        case 'a': address = optarg; break;
        case 'p': number(port = optarg, 0, 65535); break;
        case 't': timeout = (int)number(optarg, 1, 3600000); break;
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
    int status = serve_all(listener, once, timeout);
    close(listener);
    return status;
}
