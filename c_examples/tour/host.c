/* What errors are called, and the host's interfaces. */
#define _GNU_SOURCE
#include "tour.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdlib.h>

static enum outcome errors(enum kind kind)
{
    (void)kind;
    char text[512];
    int named = 0;
    for (int number = 1; number <= 133; number++) {
        if (strcmp(castio_error_name(number), "EUNKNOWN") == 0)
            continue;
        named++;
        CHECK(strcmp(castio_error_name(number), castio_error_name(-number)) == 0);
        TRY(castio_strerror(number, text, sizeof text));
        CHECK(strcmp(text, strerror(number)) == 0);
    }
    CHECK(named == 131 && strcmp(castio_error_name(-EADDRINUSE), "EADDRINUSE") == 0);
    CHECK(strcmp(castio_error_name(41), "EUNKNOWN") == 0 && strcmp(castio_error_name(-4711), "EUNKNOWN") == 0);
    TRY(castio_strerror(4711, text, sizeof text));
    CHECK(strstr(text, "Unknown") && strstr(text, "4711"));
    int len = castio_explain(-EADDRNOTAVAIL, "castio_leave_group", text, sizeof text);
    TRY(len);
    CHECK((size_t)len == strlen(text) && strstr(text, "EADDRNOTAVAIL from castio_leave_group: ") == text);
    CHECK(castio_explain(-EADDRNOTAVAIL, "no_such_function", text, sizeof text) == -EINVAL);
    return passed("%d numbers have a name, and text as strerror()'s; 41 and 4711 are EUNKNOWN; one is explained",
                  named);
}

/* The element that holds an address, or NULL. */
static const struct castio_interface *find(const struct castio_interface *list, ssize_t count, const char *address)
{
    struct sockaddr_storage wanted;
    socklen_t len = to_address(address, 0, &wanted);
    for (ssize_t i = 0; i < count; i++)
        if (memcmp(&list[i].address, &wanted, len) == 0)
            return &list[i];
    return NULL;
}

static enum outcome interfaces(enum kind kind)
{
    (void)kind;
    struct castio_interface list[64];
    unsigned int index = 0;
    memset(list, 0, sizeof list);
    list[0].struct_size = sizeof list[0];
    ssize_t all = castio_list_interfaces(list, 64);
    TRY(all);
    ssize_t count = all < 64 ? all : 64;
    const struct castio_interface *lo = find(list, count, "127.0.0.1");
    CHECK(lo && strcmp(lo->name, "lo") == 0 && lo->prefix_length == 8);
    CHECK(lo->index == if_nametoindex("lo") && lo->flags & IFF_UP && lo->flags & IFF_LOOPBACK);
    TRY(castio_interface_index("127.0.0.1", &index));
    CHECK(index == lo->index);
    CHECK(castio_interface_index("no-such-one", &index) == -ENODEV);
    return passed("%zd addresses; lo is number %u with 127.0.0.1/%u%s", all, lo->index, lo->prefix_length,
                  find(list, count, "::1") ? " and ::1" : "");
}

const struct step host_steps[] = {
    { "errors", NOWHERE, errors },
    { "interfaces", NOWHERE, interfaces },
    { NULL, NOWHERE, NULL },
};
