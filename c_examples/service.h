/* What programs that run for long share: a log on stderr, counters by name, SIGUSR1, and a word to the
 * service manager. Include example.h before it. */
#ifndef SERVICE_H
#define SERVICE_H

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>

/* Each line begins with its priority, "<6>", as the journal takes it. */
SHARED int with_priorities;

/* Where stderr is the journal, it says so by JOURNAL_STREAM, "device:inode". See systemd.exec(5). */
static inline void look_for_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat status;
    if (stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &status) == 0 &&
        status.st_dev == device && status.st_ino == inode)
        with_priorities = 1;
}

SHARED struct outlet log_output INITIALLY({ .fd = STDERR_FILENO, .most = 65536 });

static inline void put_log_line(int priority, const char *text)
{
    char *line = NULL;
    size_t len;
    FILE *stream = open_memstream(&line, &len);
    if (!stream)
        return;
    if (with_priorities)
        fprintf(stream, "<%d>", priority);
    else
        fputs(PROGRAM ": ", stream);
    print_string(stream, text);
    putc('\n', stream);
    if (fclose(stream) == 0)
        put(&log_output, line, len);
    free(line);
}

/* A line of the log; LOG_INFO and others. It never waits for whoever reads the log: lines for which there is no
 * room are left out, and the next line that fits is preceded by how many. */
static inline void tell(int priority, const char *format, ...)
{
    char text[2048], gap[64];
    uint64_t left_out = log_output.left_out;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    drain(&log_output);
    if (left_out > 0 && log_output.len == 0) {
        log_output.left_out = 0;
        snprintf(gap, sizeof gap, "%" PRIu64 " lines of the log are left out here", left_out);
        put_log_line(LOG_WARNING, gap);
    }
    put_log_line(priority, text);
}

/* Why it failed and what to do about it (NULL: nothing is known), in one line. Returns the exit status. */
static inline int fail(const char *doing, const char *what, int code, const char *advice)
{
    char text[128];
    castio_strerror(code, text, sizeof text);
    tell(LOG_ERR, "%s %s: %s (%s)%s%s", doing, what, text, castio_error_name(code), advice ? "; " : "",
         advice ? advice : "");
    return EXIT_CANNOT;
}

/* A service ends with its status, unless its output can't be written. */
static inline int end_service(int status)
{
    int written = close_page();
    close_outlet(&log_output);
    return written == EXIT_SUCCESS ? status : written;
}

/* SIGUSR1 asks for the counters. As catch_stop(), which it does too. */
SHARED volatile sig_atomic_t asked;

static inline void ask(int signal_number)
{
    asked = signal_number;
}

static inline void catch_signals(void)
{
    struct sigaction action;
    sigset_t blocked;
    catch_stop();
    memset(&action, 0, sizeof action);
    action.sa_handler = ask;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    sigaction(SIGUSR1, &action, NULL);
}

/* 1 once after SIGUSR1. */
static inline int was_asked(void)
{
    int was = asked != 0;
    asked = 0;
    return was;
}

/* "READY=1" and others, to the service manager that waits for it. See sd_notify(3). */
static inline void notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address;
    size_t len = path ? strlen(path) : 0;
    if (len < 2 || len > sizeof address.sun_path || (*path != '/' && *path != '@'))
        return;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path, len);
    if (*path == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
                         (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
        tell(LOG_WARNING, "telling %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
}

/* The counters of one of the library's structs. */
struct counter {
    const char *name;
    size_t offset;
};

#define COUNTER(type, member) { #member, offsetof(struct type, member) }
#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static inline uint64_t value_of(const struct counter *counter, const void *info)
{
    uint64_t value;
    memcpy(&value, (const char *)info + counter->offset, sizeof value);
    return value;
}

/* Those that aren't 0: "tunnels 2, groups 1". Cut to what fits. */
static inline const char *counters_text(const struct counter *counters, size_t count, const void *info, char *text,
                                        size_t room)
{
    size_t len = 0;
    snprintf(text, room, "all 0");
    for (size_t i = 0; i < count && len < room; i++)
        if (value_of(&counters[i], info) > 0)
            len += (size_t)snprintf(text + len, room - len, "%s%s %" PRIu64, len > 0 ? ", " : "", counters[i].name,
                                    value_of(&counters[i], info));
    return text;
}

static inline void tell_counters(const struct counter *counters, size_t count, const void *info)
{
    char text[1536];
    tell(LOG_INFO, "counters: %s", counters_text(counters, count, info, text, sizeof text));
}

/* As members of an object, without its braces. */
static inline void print_counters(const struct counter *counters, size_t count, const void *info)
{
    for (size_t i = 0; i < count; i++)
        fprintf(page, "%s\"%s\": %" PRIu64, i > 0 ? ", " : "", counters[i].name, value_of(&counters[i], info));
}

/* Adds to a list as the library takes it, "one, other". 0 if there is no room. */
static inline int add_to_list(char *list, size_t room, const char *text)
{
    size_t len = strlen(list);
    return (size_t)snprintf(list + len, room - len, "%s%s", len > 0 ? ", " : "", text) < room - len;
}

#endif
