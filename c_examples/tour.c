/* A tour of castio: does everything that the library can, on loopback alone, and prints for each
 * what came out at the other end. */
#include "tour/tour.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const struct step *const rooms[] = {
    vectored_steps, nowait_steps,    peek_steps,     urgent_steps, multicast_steps,
    filter_steps,   broadcast_steps, datagram_steps, stdio_steps,  host_steps,
};
#define ROOMS (sizeof rooms / sizeof rooms[0])

/* What the step that runs now has to say. */
static char said[512];

#define SAY(outcome) \
    do { \
        va_list arguments; \
        va_start(arguments, format); \
        vsnprintf(said, sizeof said, format, arguments); \
        va_end(arguments); \
        return outcome; \
    } while (0)

enum outcome passed(const char *format, ...)
{
    SAY(PASSED);
}

enum outcome failed(const char *format, ...)
{
    SAY(FAILED);
}

enum outcome skipped(const char *format, ...)
{
    SAY(SKIPPED);
}

static enum outcome run_step(const struct step *step)
{
    static const char *const words[] = { "", "FAILED: ", "skipped: " };
    enum outcome outcome = step->run(step->kind);
    close_kept();
    printf("%-20s %-10s %s%s\n", step->capability, kind_name(step->kind), words[outcome], said);
    /* A child that is started later must not print it again. */
    fflush(stdout);
    return outcome;
}

/* Runs the steps whose capability starts with the wanted text; returns the exit status. */
static int run_tour(const char *wanted)
{
    int count[3] = { 0, 0, 0 };
    for (size_t i = 0; i < ROOMS; i++)
        for (const struct step *step = rooms[i]; step->capability; step++)
            if (strncmp(step->capability, wanted, strlen(wanted)) == 0)
                count[run_step(step)]++;
    printf("%d passed, %d failed, %d skipped\n", count[PASSED], count[FAILED], count[SKIPPED]);
    if (count[PASSED] + count[FAILED] + count[SKIPPED] == 0) {
        fprintf(stderr, "tour: no step starts with \"%s\"; try --list\n", wanted);
        return EXIT_FAILURE;
    }
    return count[FAILED] ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void list_steps(void)
{
    for (size_t i = 0; i < ROOMS; i++)
        for (const struct step *step = rooms[i]; step->capability; step++)
            printf("%-20s %s\n", step->capability, kind_name(step->kind));
}

static void usage(void)
{
    puts("usage: tour [options] [step]\n"
         "Does everything that castio can on loopback, and prints what came out at the other end.\n"
         "With the beginning of a step's name, only those.\n"
         "  -H, --here   on this host's own loopback; default is a network namespace of the tour's\n"
         "               own, where that is allowed, which has IPv6 multicast on loopback too\n"
         "  -l, --list   names the steps\n"
         "  -h, --help   this text\n"
         "Exit status: 0 when nothing failed (what the host can't do is skipped), else 1.");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "here", no_argument, NULL, 'H' },
        { "list", no_argument, NULL, 'l' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    int here = 0, option;
    while ((option = getopt_long(argc, argv, "Hlh", options, NULL)) != -1) {
        switch (option) {
        case 'H': here = 1; break;
        case 'l': list_steps(); return EXIT_SUCCESS;
        case 'h': usage(); return EXIT_SUCCESS;
        default: return 2;
        }
    }
    if (argc - optind > 1) {
        fprintf(stderr, "tour: %s: one step at most; try --help\n", argv[optind + 1]);
        return 2;
    }
    if (!here)
        enter_own_network();
    printf("castio %s on %s loopback\n", castio_version(), in_own_network() ? "its own" : "this host's");
    fflush(stdout);
    return run_tour(optind < argc ? argv[optind] : "");
}
