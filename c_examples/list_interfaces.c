/* Lists the host's interfaces with their addresses, as a table or as JSON. */
#define PROGRAM "list_interfaces"
#define _DEFAULT_SOURCE
#include "example.h"

#include <net/if.h>

static void usage(void)
{
    puts("usage: list_interfaces [options]\n"
         "Lists each address of each interface.\n"
         "  -j, --json  as JSON, an array with an object for each line\n"
         "  -h, --help  this text");
}

/* An address as text, "" for none. */
static void address_to(char *text, size_t len, const struct sockaddr_storage *address)
{
    socklen_t size = address->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    text[0] = '\0';
    if (address->ss_family != AF_UNSPEC)
        getnameinfo((const struct sockaddr *)address, size, text, (socklen_t)len, NULL, 0, NI_NUMERICHOST);
}

static void print_row(const struct castio_interface *one)
{
    char address[128], broadcast[64], network[160] = "-", name[80], shown[320];
    address_to(address, sizeof address, &one->address);
    address_to(broadcast, sizeof broadcast, &one->broadcast);
    if (address[0])
        snprintf(network, sizeof network, "%s/%u", address, one->prefix_length);
    /* Whoever made the interface chose its name, which an address may have as its scope. */
    printf("%5u  %-15s  %-4s  %-9s  %-39s  %s\n", one->index, printable(one->name, name, sizeof name),
           one->flags & IFF_UP ? "up" : "down", one->can_multicast ? "multicast" : "-",
           printable(network, shown, sizeof shown), broadcast[0] ? broadcast : "-");
}

static void print_object(const struct castio_interface *one)
{
    char address[128], netmask[64], broadcast[64];
    address_to(address, sizeof address, &one->address);
    address_to(netmask, sizeof netmask, &one->netmask);
    address_to(broadcast, sizeof broadcast, &one->broadcast);
    printf("  {\"index\": %u, ", one->index);
    print_json_member(stdout, "name", one->name);
    printf("\"flags\": %u, \"up\": %s, \"multicast\": %s, ", one->flags, one->flags & IFF_UP ? "true" : "false",
           one->can_multicast ? "true" : "false");
    print_json_member(stdout, "address", address);
    printf("\"prefix_length\": %u, ", one->prefix_length);
    print_json_member(stdout, "netmask", netmask);
    printf("\"broadcast\": ");
    print_json_text(stdout, broadcast);
    printf("}");
}

/* All of them, in an array to be freed. Asked twice: how many, and then for them; once more if
 * some came in between. */
static struct castio_interface *list(size_t *count, int *error)
{
    ssize_t found = castio_list_interfaces(NULL, 0);
    while (found >= 0) {
        size_t room = (size_t)found + 1;
        struct castio_interface *array = calloc(room, sizeof *array);
        if (!array) {
            found = -ENOMEM;
            break;
        }
        array[0].struct_size = sizeof array[0];
        found = castio_list_interfaces(array, room);
        *count = (size_t)found;
        if (found >= 0 && *count <= room)
            return array;
        free(array);
    }
    *error = (int)found;
    return NULL;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "json", no_argument, NULL, 'j' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    int json = 0, error = 0, option;
    size_t count = 0;
    begin_program();
    while ((option = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
        switch (option) {
        case 'j': json = 1; break;
        case 'h': usage(); return EXIT_SUCCESS;
        default: return EXIT_USAGE;
        }
    }
    if (optind < argc)
        return usage_error(argv[optind], "takes no such argument");
    struct castio_interface *interfaces = list(&count, &error);
    if (!interfaces)
        return complain("listing", "the interfaces", error);
    if (!json)
        printf("index  name             state  multicast  %-39s  broadcast\n", "address");
    for (size_t i = 0; i < count; i++) {
        if (json) {
            printf(i == 0 ? "[\n" : ",\n");
            print_object(&interfaces[i]);
        } else {
            print_row(&interfaces[i]);
        }
    }
    if (json)
        puts(count == 0 ? "[]" : "\n]");
    free(interfaces);
    return EXIT_SUCCESS;
}
