/* The part of each program that is the same: sockets, time, holding back, counting, the result.
 *
 * usage: PROGRAM SCENARIO [name=number]... [netns=FILE]
 * Prints one line of JSON: ns, the time that was measured; sent; expected and received, datagrams (or
 * whole writes) over all receivers; bytes, received. */
#define _GNU_SOURCE
#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RECEIVERS_MAX 16
#define RECEIVE_BUFFER (32 << 20)
/* A burst that was sent is waited for this long; what isn't there then is lost. */
#define PATIENCE_NS 250000000u
#define PAYLOAD_MAX 65536

struct result {
    uint64_t ns, sent, expected, received, bytes;
};

static struct {
    long ms, size, batch, pieces, receivers, destinations, group, trains, window;
    const char *netns;
} want = { 100, 1200, 256, 16, 1, 1000, 0, 1, 8192, NULL };

static struct tally own_tally;
struct tally *tally = &own_tally;
static struct load load;
static struct sockaddr_in to[BATCH_MAX];

void fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, why);
    exit(1);
}

void check(int is_fine, const char *what)
{
    if (!is_fine)
        fail(what, errno ? strerror(errno) : "not as it should be");
}

void wait_for(int fd, short events, int timeout_ms)
{
    struct pollfd wanted = { fd, events, 0 };
    check(poll(&wanted, 1, timeout_ms) >= 0 || errno == EINTR, "poll");
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t end_of_run(void)
{
    return now() + (uint64_t)want.ms * 1000000u;
}

/* Sockets ------------------------------------------------------------------------------------- */

static int option(int fd, int level, int name)
{
    int value = 0;
    socklen_t len = sizeof value;
    check(getsockopt(fd, level, name, &value, &len) == 0, "getsockopt");
    return value;
}

static void set_option(int fd, int level, int name, int value)
{
    check(setsockopt(fd, level, name, &value, sizeof value) == 0, "setsockopt");
}

static int udp_socket(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    check(fd >= 0, "socket");
    return fd;
}

static int receiving_socket(struct sockaddr_in *address)
{
    socklen_t len = sizeof *address;
    int fd = udp_socket(), room = RECEIVE_BUFFER;
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0)
        set_option(fd, SOL_SOCKET, SO_RCVBUF, room);
    check(bind(fd, (struct sockaddr *)address, len) == 0, "bind");
    check(getsockname(fd, (struct sockaddr *)address, &len) == 0, "getsockname");
    return fd;
}

/* How many datagrams a receiver has room for, by what the kernel counts for each at most. */
static size_t window(int fd, size_t most)
{
    size_t room = (size_t)option(fd, SOL_SOCKET, SO_RCVBUF) / (2 * (size_t)want.size + 1280);
    return room < most ? room : most;
}

static void make_load(size_t destinations)
{
    load.size = (size_t)want.size;
    load.count = BATCH_MAX;
    load.payload = malloc(load.size * load.count);
    load.to = to;
    load.destinations = destinations;
    check(load.payload != NULL, "malloc");
    memset(load.payload, 'x', load.size * load.count);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Takes what waits in a socket, in the cheapest way; counts datagrams of the load's size, and of
 * another size none. */
static void drain(int fd)
{
    enum { SLOTS = 16 };
    static char memory[SLOTS][65536];
    static struct iovec places[SLOTS];
    static struct mmsghdr slots[SLOTS];
    int got;
    for (int i = 0; i < SLOTS && !places[i].iov_base; i++) {
        places[i].iov_base = memory[i];
        places[i].iov_len = sizeof memory[i];
        slots[i].msg_hdr.msg_iov = &places[i];
        slots[i].msg_hdr.msg_iovlen = 1;
    }
    while ((got = recvmmsg(fd, slots, SLOTS, MSG_DONTWAIT, NULL)) > 0)
        for (int i = 0; i < got; i++)
            for (size_t left = slots[i].msg_len; left >= load.size; left -= load.size)
                arrived(load.size);
}

/* Until so many have arrived in all, or nothing comes any more. */
static void drain_until(int fd, uint64_t target)
{
    for (uint64_t limit = now() + PATIENCE_NS; now() < limit;) {
        drain(fd);
        if (tally->datagrams >= target)
            return;
        wait_for(fd, POLLIN, TICK_MS);
    }
}

/* Scenarios in one process: the call alone is measured, and its effect is counted afterwards. ---- */

/* Writing lists of pieces to a stream. */
static struct result gather(void)
{
    static char memory[1024 * 64], sink[1 << 18];
    static struct iovec pieces[1024];
    struct result result = { 0 };
    int pair[2], size = (int)want.pieces * 64, at_once = want.pieces > 64 ? 1 : 16;
    check(want.pieces <= 1024 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
    /* Room for all that is written at once, in however many parts. */
    set_option(pair[0], SOL_SOCKET, SO_SNDBUF, 1 << 20);
    for (long i = 0; i < want.pieces; i++)
        pieces[i] = (struct iovec){ memory + i * 64, 64 };
    peer.open_stream(pair[0]);
    for (uint64_t end = end_of_run(); now() < end;) {
        uint64_t start = now();
        for (int i = 0; i < at_once; i++)
            peer.write_pieces(pieces, (int)want.pieces);
        result.ns += now() - start;
        result.sent += (uint64_t)at_once;
        ssize_t got;
        while ((got = recv(pair[1], sink, sizeof sink, MSG_DONTWAIT)) > 0)
            result.bytes += (uint64_t)got;
    }
    result.expected = result.sent;
    result.received = result.bytes / (uint64_t)size;
    return result;
}

/* Sending to a socket that takes whole trains, emptied between the rounds. */
static struct result send_alone(void)
{
    struct result result = { 0 };
    to[0] = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = receiving_socket(&to[0]);
    set_option(fd, IPPROTO_UDP, UDP_GRO, 1);
    make_load(1);
    peer.open_sender(udp_socket(), &load);
    size_t round = window(fd, BATCH_MAX);
    for (uint64_t end = end_of_run(); now() < end;) {
        uint64_t target = tally->datagrams + round, start = now();
        for (size_t done = 0; done < round; done += (size_t)want.batch)
            peer.send(least((size_t)want.batch, round - done));
        result.ns += now() - start;
        result.sent += round;
        drain_until(fd, target);
    }
    result.expected = result.sent;
    result.received = tally->datagrams;
    result.bytes = tally->bytes;
    return result;
}

/* Fills a socket: in trains, or one by one. */
static void fill(int sender, size_t count)
{
    size_t most = want.trains ? least(64, 65507 / load.size) : 1;
    set_option(sender, IPPROTO_UDP, UDP_SEGMENT, want.trains ? (int)load.size : 0);
    for (size_t done = 0; done < count;) {
        size_t train = least(most, count - done);
        check(sendto(sender, load.payload, train * load.size, 0, (struct sockaddr *)to, sizeof to[0]) > 0, "sendto");
        done += train;
    }
}

/* Receiving what waits in a socket. */
static struct result receive_alone(void)
{
    struct result result = { 0 };
    to[0] = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = receiving_socket(&to[0]), sender = udp_socket();
    size_t round = window(fd, BATCH_MAX);
    make_load(1);
    peer.open_receiver(fd, load.size);
    for (uint64_t end = end_of_run(); now() < end;) {
        uint64_t target = tally->datagrams + round;
        fill(sender, round);
        uint64_t start = now(), limit = start + PATIENCE_NS;
        while (tally->datagrams < target && now() < limit)
            peer.receive();
        result.ns += now() - start;
        result.sent += round;
    }
    result.expected = result.sent;
    result.received = tally->datagrams;
    result.bytes = tally->bytes;
    return result;
}

/* One payload to many sockets. */
static struct result fan_out(void)
{
    enum { ROUNDS = 4 };
    struct result result = { 0 };
    size_t count = (size_t)want.destinations;
    int *fds = calloc(count, sizeof *fds);
    check(fds && count <= BATCH_MAX, "destinations");
    for (size_t i = 0; i < count; i++) {
        to[i] = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        fds[i] = receiving_socket(&to[i]);
    }
    make_load(count);
    peer.open_sender(udp_socket(), &load);
    for (uint64_t end = end_of_run(); now() < end;) {
        uint64_t start = now();
        for (int i = 0; i < ROUNDS; i++)
            peer.fan_out();
        result.ns += now() - start;
        result.sent += count * ROUNDS;
        for (size_t i = 0; i < count; i++)
            drain(fds[i]);
    }
    for (size_t i = 0; i < count; i++)
        drain(fds[i]);
    result.expected = result.sent;
    result.received = tally->datagrams;
    result.bytes = tally->bytes;
    return result;
}

/* End to end: a sender and one or more receivers, each a process. --------------------------------- */

struct slot {
    struct tally tally;
    int is_ready;
} __attribute__((aligned(128)));

static struct slot *slots;

/* The sender on one processor, receivers on the others, if there are enough. */
static void pin(int number)
{
    cpu_set_t all, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof all, &all) != 0 || want.receivers >= CPU_COUNT(&all))
        return;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all) && number-- == 0)
            CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

static void run_receiver(int number, int fd, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    pin(number + 1);
    tally = &slots[number].tally;
    peer.open_receiver(fd, load.size);
    __atomic_store_n(&slots[number].is_ready, 1, __ATOMIC_RELEASE);
    for (;;)
        peer.receive();
}

static void enter(int namespace_fd)
{
    check(setns(namespace_fd, CLONE_NEWNET) == 0, "setns");
}

/* In the other network namespace, if there is one: a socket stays where it was made. */
static void open_receivers(int *fds)
{
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), away = -1;
    if (want.netns) {
        check((away = open(want.netns, O_RDONLY | O_CLOEXEC)) >= 0, want.netns);
        enter(away);
    }
    to[0] = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (want.netns)
        inet_pton(AF_INET, "10.99.0.2", &to[0].sin_addr);
    if (want.group)
        inet_pton(AF_INET, "239.255.77.1", &to[0].sin_addr);
    for (long i = 0; i < want.receivers; i++) {
        fds[i] = receiving_socket(&to[0]);
        struct ip_mreqn membership = { to[0].sin_addr, { 0 }, (int)if_nametoindex("lo") };
        if (want.group)
            check(setsockopt(fds[i], IPPROTO_IP, IP_ADD_MEMBERSHIP, &membership, sizeof membership) == 0, "joining");
    }
    if (want.netns)
        enter(home);
}

/* What the receiver that is furthest behind has. */
static uint64_t least_arrived(void)
{
    uint64_t least = UINT64_MAX;
    for (long i = 0; i < want.receivers; i++) {
        uint64_t count = __atomic_load_n(&slots[i].tally.datagrams, __ATOMIC_ACQUIRE);
        least = count < least ? count : least;
    }
    return least;
}

static uint64_t sent, lost;

/* Waits until no more than so many are under way; when the last of them came. */
static uint64_t wait_until_under_way(uint64_t most)
{
    uint64_t seen = least_arrived(), at = now();
    for (int turn = 0; sent > seen + lost + most; turn++) {
        struct timespec moment = { 0, 10000 };
        uint64_t count = least_arrived();
        if (count != seen) {
            seen = count;
            at = now();
        } else if (now() - at > PATIENCE_NS) {
            lost = sent - seen;
        } else if (turn > 100) {
            nanosleep(&moment, NULL);
        }
    }
    return at;
}

static void send_until(uint64_t end, uint64_t most)
{
    while (now() < end) {
        size_t batch = least((size_t)want.batch, most);
        wait_until_under_way(most - batch);
        peer.send(batch);
        sent += batch;
    }
}

static struct result flow(void)
{
    struct result result = { 0 };
    int fds[RECEIVERS_MAX], sender;
    pid_t parent = getpid(), children[RECEIVERS_MAX];
    check(want.receivers <= RECEIVERS_MAX, "receivers");
    slots = mmap(NULL, sizeof *slots * RECEIVERS_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(slots != MAP_FAILED, "mmap");
    make_load(1);
    open_receivers(fds);
    sender = udp_socket();
    struct ip_mreqn interface = { { 0 }, { 0 }, (int)if_nametoindex("lo") };
    if (want.group)
        check(setsockopt(sender, IPPROTO_IP, IP_MULTICAST_IF, &interface, sizeof interface) == 0, "IP_MULTICAST_IF");
    for (int i = 0; i < want.receivers; i++) {
        check((children[i] = fork()) >= 0, "fork");
        if (children[i] == 0)
            run_receiver(i, fds[i], parent);
    }
    for (int i = 0; i < want.receivers; i++)
        while (!__atomic_load_n(&slots[i].is_ready, __ATOMIC_ACQUIRE))
            check(waitpid(children[i], NULL, WNOHANG) == 0, "a receiver"), poll(NULL, 0, 1);
    pin(0);
    prctl(PR_SET_TIMERSLACK, 1L);
    peer.open_sender(sender, &load);
    uint64_t most = window(fds[0], (size_t)want.window);
    send_until(now() + (uint64_t)want.ms * 200000u, most);
    wait_until_under_way(0);

    uint64_t sent_before = sent, start = now();
    struct tally before = { 0, 0 };
    for (int i = 0; i < want.receivers; i++) {
        before.datagrams += slots[i].tally.datagrams;
        before.bytes += slots[i].tally.bytes;
    }
    send_until(end_of_run(), most);
    result.ns = wait_until_under_way(0) - start;
    result.sent = sent - sent_before;
    result.expected = result.sent * (uint64_t)want.receivers;
    for (int i = 0; i < want.receivers; i++) {
        check(waitpid(children[i], NULL, WNOHANG) == 0, "a receiver");
        kill(children[i], SIGKILL);
        waitpid(children[i], NULL, 0);
        result.received += slots[i].tally.datagrams;
        result.bytes += slots[i].tally.bytes;
    }
    result.received -= before.datagrams;
    result.bytes -= before.bytes;
    return result;
}

/* --------------------------------------------------------------------------------------------- */

static void read_argument(char *argument)
{
    struct {
        const char *name;
        long *place;
    } numbers[] = { { "ms", &want.ms },           { "size", &want.size },
                    { "batch", &want.batch },     { "pieces", &want.pieces },
                    { "receivers", &want.receivers }, { "destinations", &want.destinations },
                    { "group", &want.group },     { "trains", &want.trains },
                    { "window", &want.window } };
    char *value = strchr(argument, '=');
    if (!value)
        fail(argument, "name=value wanted");
    *value++ = '\0';
    if (strcmp(argument, "netns") == 0) {
        want.netns = value;
        return;
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (strcmp(argument, numbers[i].name) == 0) {
            *numbers[i].place = strtol(value, NULL, 10);
            return;
        }
    fail(argument, "not known");
}

int main(int count, char **arguments)
{
    static const struct {
        const char *name;
        struct result (*run)(void);
    } scenarios[] = { { "gather", gather }, { "send", send_alone }, { "receive", receive_alone },
                      { "fan_out", fan_out }, { "flow", flow } };
    struct rlimit files;
    check(getrlimit(RLIMIT_NOFILE, &files) == 0, "getrlimit");
    files.rlim_cur = files.rlim_max;
    check(setrlimit(RLIMIT_NOFILE, &files) == 0, "setrlimit");
    for (int i = 2; i < count; i++)
        read_argument(arguments[i]);
    for (size_t i = 0; count > 1 && i < sizeof scenarios / sizeof *scenarios; i++) {
        if (strcmp(arguments[1], scenarios[i].name) != 0)
            continue;
        struct result got = scenarios[i].run();
        printf("{\"ns\":%llu,\"sent\":%llu,\"expected\":%llu,\"received\":%llu,\"bytes\":%llu}\n",
               (unsigned long long)got.ns, (unsigned long long)got.sent, (unsigned long long)got.expected,
               (unsigned long long)got.received, (unsigned long long)got.bytes);
        return 0;
    }
    fail("scenario", "gather, send, receive, fan_out or flow wanted");
}
