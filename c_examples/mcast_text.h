/* What the multicast tools share: "GROUP:PORT", addresses as text, JSON, colours, tables drawn in place.
 * Include example.h before it. */
#ifndef MCAST_TEXT_H
#define MCAST_TEXT_H

#include <arpa/inet.h>
#include <inttypes.h>
#include <net/if.h>
#include <netinet/in.h>

#define HOST_LEN 80
/* Beside EXIT_SUCCESS and EXIT_FAILURE, which are for what was found: the program can't run. */
#define EXIT_CANNOT 2

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

/* complain() with what to do about it. */
static inline int cannot(const char *doing, const char *what, int code, const char *advice)
{
    char text[128];
    castio_strerror(code, text, sizeof text);
    fprintf(stderr, "%s: %s %s: %s (%s)%s%s\n", PROGRAM, doing, what, text, castio_error_name(code),
            advice ? "; " : "", advice ? advice : "");
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

/* Text as JSON; null for none. */
static inline void print_json_text(const char *text)
{
    if (!text || !text[0]) {
        printf("null");
        return;
    }
    putchar('"');
    for (; *text; text++) {
        if ((unsigned char)*text < ' ')
            printf("\\u%04x", (unsigned)*text);
        else
            printf(*text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    }
    putchar('"');
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
    printf("\033[?25l\033[?7l");
    if (drawn > 0)
        printf("\033[%dA\r", drawn);
}

static inline void end_drawing(void)
{
    printf("\033[J\033[?7h\033[?25h");
    fflush(stdout);
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
