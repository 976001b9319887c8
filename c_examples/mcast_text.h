/* What the multicast tools share: "GROUP:PORT", addresses as text, JSON, colours, tables drawn in place.
 * Include example.h before it. */
#ifndef MCAST_TEXT_H
#define MCAST_TEXT_H

#include <arpa/inet.h>
#include <inttypes.h>
#include <net/if.h>
#include <netinet/in.h>

#define HOST_LEN 80

/* "239.1.2.3:5000", "[ff15::7]:5000", "[ff02::7%eth0]:5000", taken apart. */
struct endpoint {
    char group[HOST_LEN];
    uint16_t port;
};

/* 0 if it isn't of that form. Whether the group is one, the library says. */
static inline int parse_endpoint(const char *text, struct endpoint *endpoint)
{
    const char *colon = strrchr(text, ':'), *first = text, *last = colon;
    if (!colon || strspn(colon + 1, "0123456789") != strlen(colon + 1) || strlen(colon + 1) - 1 > 4)
        return 0;
    long port = strtol(colon + 1, NULL, 10);
    if (*text == '[') {
        first++;
        last--;
    }
    if (last <= first || (*text == '[') != (*last == ']') || last - first >= HOST_LEN || port < 1 || port > 65535)
        return 0;
    /* An IPv6 address without brackets could end in its port or not. */
    if (*text != '[' && memchr(first, ':', (size_t)(last - first)))
        return 0;
    memcpy(endpoint->group, first, (size_t)(last - first));
    endpoint->group[last - first] = '\0';
    endpoint->port = (uint16_t)port;
    return 1;
}

static inline int endpoint_error(const char *text)
{
    return usage_error(text, "not GROUP:PORT, such as 239.1.2.3:5000 or [ff15::7]:5000");
}

/* Without a port behind it: "192.0.2.1:99", "[fd00::1]:99". One ":" alone is a port's, of IPv6 what is in brackets
 * is the address. */
static inline void without_port(const char *text, char host[HOST_LEN])
{
    const char *colon = strchr(text, ':'), *end = text + strlen(text);
    if (*text == '[' && strchr(text, ']')) {
        end = strchr(text, ']');
        text++;
    } else if (colon && !strchr(colon + 1, ':') && strspn(colon + 1, "0123456789") == strlen(colon + 1)) {
        end = colon;
    }
    snprintf(host, HOST_LEN, "%.*s", (int)(end - text), text);
}

/* A numeric address of one host, "192.0.2.1", "fd00::1", "fe80::1%eth0", perhaps with a port. */
static inline int is_host_address(const char *text, int may_have_port)
{
    struct addrinfo hints, *found;
    char host[HOST_LEN];
    memset(&hints, 0, sizeof hints);
    hints.ai_flags = AI_NUMERICHOST;
    if (may_have_port)
        without_port(text, host);
    if (getaddrinfo(may_have_port ? host : text, NULL, &hints, &found) != 0)
        return 0;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)found->ai_addr;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)found->ai_addr;
    int is_one = found->ai_family == AF_INET6 ? !IN6_IS_ADDR_MULTICAST(&v6->sin6_addr)
                                              : !IN_MULTICAST(ntohl(v4->sin_addr.s_addr));
    freeaddrinfo(found);
    return is_one;
}

/* A multicast group by its number, without a port. */
static inline int is_group(const char *text)
{
    struct in_addr v4;
    struct in6_addr v6;
    char address[HOST_LEN];
    snprintf(address, sizeof address, "%.*s", (int)strcspn(text, "%"), text);
    if (inet_pton(AF_INET, address, &v4) == 1)
        return IN_MULTICAST(ntohl(v4.s_addr));
    return inet_pton(AF_INET6, address, &v6) == 1 && IN6_IS_ADDR_MULTICAST(&v6);
}

/* An interface that a program goes on without: it may come, or the name is a slip. */
static inline void warn_of_interface(const char *text)
{
    unsigned index;
    if (strpbrk(text, "*?") || castio_interface_index(text, &index) != -ENODEV)
        return;
    fprintf(stderr, "%s: -i ", PROGRAM);
    print_string(stderr, text);
    fputs(": there is no such interface now; it is joined when it comes\n", stderr);
}

/* complain() with what to do about it. */
static inline int cannot(const char *doing, const char *what, int code, const char *advice)
{
    char text[128];
    castio_strerror(code, text, sizeof text);
    fprintf(stderr, "%s: %s ", PROGRAM, doing);
    print_string(stderr, what);
    fprintf(stderr, ": %s (%s)%s%s\n", text, castio_error_name(code), advice ? "; " : "", advice ? advice : "");
    return EXIT_CANNOT;
}

static inline socklen_t address_len(const struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static inline unsigned port_of(const struct sockaddr_storage *address)
{
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
    return ntohs(address->ss_family == AF_INET6 ? v6->sin6_port : v4->sin_port);
}

/* An address without its port. */
static inline const char *host_text(const struct sockaddr_storage *address, char text[HOST_LEN])
{
    if (getnameinfo((const struct sockaddr *)address, address_len(address), text, HOST_LEN, NULL, 0, NI_NUMERICHOST))
        strcpy(text, "?");
    return text;
}

/* Less than, equal to or more than 0, by family and address; by port too, if it counts. */
static inline int compare_addresses(const struct sockaddr_storage *a, const struct sockaddr_storage *b, int with_port)
{
    if (a->ss_family != b->ss_family)
        return a->ss_family < b->ss_family ? -1 : 1;
    int result = a->ss_family == AF_INET6
                     ? memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr, &((const struct sockaddr_in6 *)b)->sin6_addr, 16)
                     : memcmp(&((const struct sockaddr_in *)a)->sin_addr, &((const struct sockaddr_in *)b)->sin_addr, 4);
    return result || !with_port ? result : (int)port_of(a) - (int)port_of(b);
}

/* A terminal that knows how to move its cursor. */
static inline int is_screen(FILE *stream)
{
    const char *kind = getenv("TERM");
    return isatty(fileno(stream)) && kind && strcmp(kind, "dumb") != 0;
}

/* See https://no-color.org. */
static inline int has_colours(FILE *stream)
{
    const char *unwanted = getenv("NO_COLOR");
    return is_screen(stream) && !(unwanted && unwanted[0]);
}

/* Drawing in place, over as many lines as were drawn before. Between two drawings the terminal is as it was
 * found, so nothing has to be put back, whatever ends the program. Nothing is wrapped: a narrow terminal
 * cuts the lines. */
static inline void begin_drawing(int drawn)
{
    fputs("\033[?25l\033[?7l", page);
    if (drawn > 0)
        fprintf(page, "\033[%dA\r", drawn);
}

/* 1 if it is on its way to the terminal. */
static inline int end_drawing(void)
{
    fputs("\033[J\033[?7h\033[?25h", page);
    return post(&standard_output);
}

/* "960", "12.3 k", "1.2 G" */
static inline const char *short_number(double value, char text[16])
{
    static const char *const units[] = { "", " k", " M", " G", " T" };
    size_t unit = 0;
    for (; value >= 999.5 && unit < 4; unit++)
        value /= 1000;
    snprintf(text, 16, unit == 0 || value >= 99.95 ? "%.0f%s" : "%.1f%s", value, units[unit]);
    return text;
}

#define RED "\033[1;31m"
#define YELLOW "\033[33m"
#define GREEN "\033[32m"
#define CYAN "\033[36m"
#define FAINT "\033[2m"
#define PLAIN "\033[0m"

#endif
