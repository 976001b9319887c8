/* Pairs of connected descriptors of every kind, and what goes through them. */
#define _GNU_SOURCE
#include "tour.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>

static int kept[256];
static int kept_count;

int keep(int fd)
{
    if (fd >= 0 && kept_count < (int)(sizeof kept / sizeof kept[0]))
        kept[kept_count++] = fd;
    return fd;
}

void drop(int fd)
{
    for (int i = 0; i < kept_count; i++) {
        if (kept[i] == fd) {
            kept[i] = kept[--kept_count];
            close(fd);
            return;
        }
    }
}

void close_kept(void)
{
    while (kept_count > 0)
        close(kept[--kept_count]);
}

const char *kind_name(enum kind kind)
{
    static const char *const names[] = {
        "", "tcp", "tcp6", "unix", "seqpacket", "udp", "udp6", "pipe", "file", "pty",
    };
    return names[kind];
}

socklen_t to_address(const char *text, uint16_t port, struct sockaddr_storage *out)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
        memcpy(out, &in, sizeof in);
        return sizeof in;
    }
    inet_pton(AF_INET6, text, &in6.sin6_addr);
    memcpy(out, &in6, sizeof in6);
    return sizeof in6;
}

uint16_t port_of(int fd)
{
    struct sockaddr_storage address;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    socklen_t len = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        return 0;
    memcpy(&in, &address, sizeof in);
    memcpy(&in6, &address, sizeof in6);
    return ntohs(address.ss_family == AF_INET ? in.sin_port : in6.sin6_port);
}

/* A socket of either family, bound; a port is shared with others that share it. */
static int bound_socket(const char *address, uint16_t port, int type)
{
    struct sockaddr_storage to;
    socklen_t len = to_address(address, port, &to);
    int on = 1;
    int fd = keep(socket(to.ss_family, type | SOCK_CLOEXEC, 0));
    if (fd < 0)
        return -1;
    /* A port that the kernel chooses must be nobody's: with SO_REUSEADDR it may be another's. */
    if (port && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        return -1;
    if (bind(fd, (struct sockaddr *)&to, len) < 0)
        return -1;
    return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ? -1 : fd;
}

int udp_socket(const char *address, uint16_t port)
{
    return bound_socket(address, port, SOCK_DGRAM);
}

static int connect_to(int fd, const char *address, uint16_t port)
{
    struct sockaddr_storage to;
    socklen_t len = to_address(address, port, &to);
    return connect(fd, (struct sockaddr *)&to, len);
}

static int open_tcp(const char *address, int ends[2])
{
    int listener = bound_socket(address, 0, SOCK_STREAM);
    if (listener < 0 || listen(listener, 1) < 0)
        return -1;
    ends[0] = keep(socket(strchr(address, ':') ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (ends[0] < 0 || connect_to(ends[0], address, port_of(listener)) < 0)
        return -1;
    ends[1] = keep(accept(listener, NULL, NULL));
    drop(listener);
    return ends[1] < 0 ? -1 : 0;
}

static int open_udp(const char *address, int ends[2])
{
    ends[0] = udp_socket(address, 0);
    ends[1] = udp_socket(address, 0);
    if (ends[0] < 0 || ends[1] < 0 || connect_to(ends[0], address, port_of(ends[1])) < 0)
        return -1;
    return connect_to(ends[1], address, port_of(ends[0]));
}

static int open_unix(int type, int ends[2])
{
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) < 0)
        return -1;
    keep(ends[0]);
    keep(ends[1]);
    return 0;
}

static int open_pipe(int ends[2])
{
    int made[2];
    if (pipe2(made, O_CLOEXEC) < 0)
        return -1;
    ends[0] = keep(made[1]);
    ends[1] = keep(made[0]);
    return 0;
}

/* A file that is gone when it is closed, opened twice: each end has its own place in it. */
static int open_file(int ends[2])
{
    const char *folder = getenv("TMPDIR");
    char path[256];
    snprintf(path, sizeof path, "%s/castio-tour-XXXXXX", folder ? folder : "/tmp");
    ends[0] = keep(mkostemp(path, O_CLOEXEC));
    if (ends[0] < 0)
        return -1;
    ends[1] = keep(open(path, O_RDONLY | O_CLOEXEC));
    unlink(path);
    return ends[1] < 0 ? -1 : 0;
}

/* A terminal that passes bytes as they are: written at its slave side, read at the master's. */
static int open_terminal(int ends[2])
{
    struct termios mode;
    ends[1] = keep(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (ends[1] < 0 || grantpt(ends[1]) < 0 || unlockpt(ends[1]) < 0)
        return -1;
    ends[0] = keep(open(ptsname(ends[1]), O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (ends[0] < 0 || tcgetattr(ends[0], &mode) < 0)
        return -1;
    cfmakeraw(&mode);
    return tcsetattr(ends[0], TCSANOW, &mode);
}

int open_ends(enum kind kind, int ends[2])
{
    switch (kind) {
    case TCP4: return open_tcp("127.0.0.1", ends);
    case TCP6: return open_tcp("::1", ends);
    case UNIX_STREAM: return open_unix(SOCK_STREAM, ends);
    case SEQPACKET: return open_unix(SOCK_SEQPACKET, ends);
    case UDP4: return open_udp("127.0.0.1", ends);
    case UDP6: return open_udp("::1", ends);
    case PIPE: return open_pipe(ends);
    case REGULAR: return open_file(ends);
    case PTY: return open_terminal(ends);
    case NOWHERE: break;
    }
    errno = EINVAL;
    return -1;
}

enum outcome no_ends(enum kind kind)
{
    const char *name = castio_error_name(errno);
    if (errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT)
        return skipped("this host has no %s on loopback: %s", kind_name(kind), name);
    return failed("two ends of %s: %s", kind_name(kind), name);
}

void fill_pattern(unsigned char *bytes, size_t len)
{
    uint32_t state = 2463534242u;
    for (size_t i = 0; i < len; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes[i] = (unsigned char)(state >> 11);
    }
}

/* FNV-1a. */
uint64_t digest(uint64_t sum, const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum = (sum ^ bytes[i]) * UINT64_C(1099511628211);
    return sum;
}

long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

pid_t start_child(int (*run)(void *), void *argument)
{
    pid_t child = fork();
    if (child == 0) {
        /* Not for ever, should the step fail before its end of the work. */
        signal(SIGALRM, SIG_DFL);
        alarm(PATIENCE_MS / 1000 * 2);
        int status = run(argument);
        close_kept();
        _exit(status);
    }
    return child;
}

int finish_child(pid_t child)
{
    int status = -1;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
