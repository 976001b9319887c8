/* Reads the console by castio_recv_nowait while it does something else: the reading never blocks,
 * whether standard input is a terminal, a pipe or a file, and its mode, which it may share with
 * the shell, isn't touched. */
#define PROGRAM "nowait_console"
#include "example.h"

static void usage(void)
{
    puts("usage: nowait_console [options]\n"
         "Counts while it waits for lines on standard input, and says for each how far it had come.\n"
         "Ends at the end of the input.\n"
         "  -i, --interval MS  works so long between two looks at the input; default 20\n"
         "  -q, --quiet        no progress on standard error\n"
         "  -h, --help         this text");
}

/* A line that grows as its pieces come in. */
struct line {
    char text[4096];
    size_t len;
    unsigned long count;
};

static void print_line(struct line *line, unsigned long ticks)
{
    printf("line %lu, at tick %lu: ", ++line->count, ticks);
    print_text(stdout, line->text, line->len);
    putchar('\n');
    flush_output();
    line->len = 0;
}

static void take(struct line *line, const char *bytes, size_t count, unsigned long ticks)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] != '\n')
            line->text[line->len++] = bytes[i];
        if (bytes[i] == '\n' || line->len == sizeof line->text)
            print_line(line, ticks);
    }
}

/* The something else: here it only takes time, and Ctrl-C ends it early. */
static void work(int interval_ms)
{
    struct timespec time = { interval_ms / 1000, interval_ms % 1000 * 1000000L };
    pselect(0, NULL, NULL, NULL, &time, &while_waiting);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "interval", required_argument, NULL, 'i' },
        { "quiet", no_argument, NULL, 'q' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    static struct line line;
    unsigned long ticks = 0;
    int interval = 20, quiet = 0, option;
    begin_program();
    while ((option = getopt_long(argc, argv, "i:qh", options, NULL)) != -1) {
        switch (option) {
        case 'i': interval = (int)number(optarg, 0, 60000); break;
        case 'q': quiet = 1; break;
        case 'h': usage(); return EXIT_SUCCESS;
        default: return EXIT_USAGE;
        }
    }
    if (optind < argc)
        return usage_error(argv[optind], "takes no such argument");
    catch_stop();
    while (!stopped) {
        char bytes[1024];
        ssize_t count = castio_recv_nowait(STDIN_FILENO, bytes, sizeof bytes);
        if (count > 0) {
            take(&line, bytes, (size_t)count, ticks);
        } else if (count == 0) {
            break;
        } else if (count == -EAGAIN) {
            work(interval);
            ticks++;
            if (!quiet)
                fprintf(stderr, "\r%lu ", ticks);
        } else {
            return complain("reading", "standard input", (int)count);
        }
    }
    if (line.len > 0)
        print_line(&line, ticks);
    printf("%s after %lu lines and %lu ticks\n", stopped ? "stopped" : "end of input", line.count, ticks);
    return EXIT_SUCCESS;
}
