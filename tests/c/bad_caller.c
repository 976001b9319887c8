/* Does what a caller mustn't, for the checkers that have to notice it: gives the library a buffer
 * that is too short ("short") or freed already ("freed"), or loses memory and a descriptor that it
 * got ("leak"). Without an argument it does nothing. */
#include <castio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Told from the compiler, which would see through the mistake. */
static char *volatile hidden;

static int too_short(void)
{
    hidden = malloc(4);
    return castio_strerror(98, hidden, 64);
}

static int freed(void)
{
    int pair[2];
    char *data = calloc(1, 64);

    hidden = data;
    free(data);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        return 1;
    return (int)castio_write_all(pair[0], hidden, 64, 0, NULL);
}

static int leak(void)
{
    hidden = malloc(64);
    hidden = NULL;
    /* On the loopback interface, and nothing is sent. */
    return castio_open_sender("239.77.1.1", 9, "lo", 0);
}

int main(int argc, char **argv)
{
    const char *mistake = argc < 2 ? "none" : argv[1];
    int result = 0;

    if (strcmp(mistake, "short") == 0)
        result = too_short();
    if (strcmp(mistake, "freed") == 0)
        result = freed();
    if (strcmp(mistake, "leak") == 0)
        result = leak();
    printf("%s: %d\n", mistake, result);
    return 0;
}
