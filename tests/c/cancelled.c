/* A thread is cancelled while it is inside a call that writes more than there is room for. The call
 * must go on to its end, and the thread be cancelled then: with an argument of the asynchronous type. */
#include <castio.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIZE ((size_t)8 << 20)

static char bytes[SIZE];
static int ends[2];
static int cleaned, is_asynchronous, through_stream;
static ssize_t result;

static void clean_up(void *unused)
{
    (void)unused;
    cleaned = 1;
}

static ssize_t write_all(void)
{
    FILE *in, *out;

    if (!through_stream)
        return castio_write_all(ends[0], bytes, SIZE, -1, NULL);
    if (castio_fdopen(dup(ends[0]), -1, &in, &out) != 0)
        return -1;
    return (ssize_t)fwrite(bytes, 1, SIZE, out);
}

static void *writer(void *unused)
{
    int before;

    if (is_asynchronous)
        pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before);
    pthread_cleanup_push(clean_up, NULL);
    result = write_all();
    pthread_testcancel();
    pthread_cleanup_pop(0);
    return unused;
}

static int run(void)
{
    static char buffer[65536];
    size_t count = 0;
    ssize_t got;
    pthread_t thread;
    void *end = NULL;

    cleaned = 0;
    result = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0 || pthread_create(&thread, NULL, writer, NULL) != 0)
        return 1;
    /* Its first bytes say that it is inside, and that the rest has no room yet. */
    got = read(ends[1], buffer, 1);
    pthread_cancel(thread);
    while (got > 0 && (count += (size_t)got) < SIZE)
        got = read(ends[1], buffer, sizeof buffer);
    pthread_join(thread, &end);
    close(ends[0]);
    close(ends[1]);
    printf("%zu of %zu bytes, %s, %s\n", count, SIZE, end == PTHREAD_CANCELED ? "cancelled" : "not cancelled",
           cleaned ? "cleaned up" : "not cleaned up");
    if (!is_asynchronous && result != (ssize_t)SIZE)
        return 1;
    /* What a thread of the asynchronous type ends with depends on glibc (2.36: not PTHREAD_CANCELED). */
    return count == SIZE && cleaned && (is_asynchronous || end == PTHREAD_CANCELED) ? 0 : 1;
}

int main(int argc, char **argv)
{
    is_asynchronous = argc > 1 && strcmp(argv[1], "asynchronous") == 0;
    through_stream = argc > 1 && strcmp(argv[1], "stream") == 0;
    return run();
}
