/* FILE * over a socket. */
#define _GNU_SOURCE
#include "tour.h"

#include <stdio.h>
#include <stdlib.h>

static const char *why(void)
{
    return castio_error_name(errno);
}

/* fprintf and getline, with input still buffered when the answer goes out; then half closed. */
static enum outcome conversation(enum kind kind)
{
    int ends[2];
    FILE *in, *out;
    char *line = NULL, word[16] = "", came[64] = "";
    size_t room = 0;
    OPEN_ENDS(kind, ends);
    int mine = dup(ends[0]), peer = ends[1];
    drop(ends[0]);
    TRY(castio_fdopen(mine, PATIENCE_MS, &in, &out));
    TRY(castio_write_all(peer, "first line\nsecond line\nraw", 26, PATIENCE_MS, NULL));
    int lines = getline(&line, &room, in) == 11 && strcmp(line, "first line\n") == 0;
    fprintf(out, "%s %d\n", "reply", 1);
    fflush(out);
    lines += castio_read_all(peer, came, 8, PATIENCE_MS, NULL) == 8 && strcmp(came, "reply 1\n") == 0;
    lines += fgets(came, sizeof came, in) != NULL && strcmp(came, "second line\n") == 0;
    lines += fread(word, 1, 3, in) == 3 && strcmp(word, "raw") == 0;
    fputs("last words", out);
    int closed = fclose(out);
    ssize_t last = castio_read_all(peer, came, sizeof came, PATIENCE_MS, NULL);
    TRY(castio_write_all(peer, "after\n", 6, PATIENCE_MS, NULL));
    drop(peer);
    lines += getline(&line, &room, in) == 6 && strcmp(line, "after\n") == 0;
    lines += getline(&line, &room, in) == -1 && feof(in) && !ferror(in);
    fclose(in);
    free(line);
    CHECK(lines == 6);
    CHECK(closed == 0 && last == 10 && memcmp(came, "last words", 10) == 0);
    return passed("lines both ways; fclose(out) -> the peer sees the end, in reads on to its end");
}

static enum outcome idle(enum kind kind)
{
    int ends[2];
    FILE *in, *out;
    char line[64] = "";
    OPEN_ENDS(kind, ends);
    int mine = dup(ends[0]);
    drop(ends[0]);
    TRY(castio_fdopen(mine, 50, &in, &out));
    errno = 0;
    int late = fgets(line, sizeof line, in) == NULL && ferror(in) && errno == ETIMEDOUT;
    clearerr(in);
    int sent = castio_write_all(ends[1], "now\n", 4, PATIENCE_MS, NULL) == 4;
    int then = fgets(line, sizeof line, in) != NULL && strcmp(line, "now\n") == 0;
    fclose(out);
    fclose(in);
    CHECK(late && sent && then);
    return passed("50 ms of silence -> ETIMEDOUT; clearerr(), and the next line came");
}

static enum outcome gone(enum kind kind)
{
    int ends[2];
    FILE *in, *out;
    const char *error = "";
    OPEN_ENDS(kind, ends);
    int mine = dup(ends[0]);
    drop(ends[0]);
    TRY(castio_fdopen(mine, PATIENCE_MS, &in, &out));
    drop(ends[1]);
    int failures = 0;
    for (int i = 0; i < 100 && failures == 0; i++) {
        fputs("anybody?\n", out);
        if (fflush(out) != 0) {
            error = why();
            failures++;
        }
    }
    fclose(out);
    fclose(in);
    CHECK(failures == 1 && (strcmp(error, "EPIPE") == 0 || strcmp(error, "ECONNRESET") == 0));
    return passed("reader gone -> fflush() fails, %s, and no SIGPIPE", error);
}

const struct step stdio_steps[] = {
    { "fdopen", TCP4, conversation },
    { "fdopen", TCP6, conversation },
    { "fdopen", UNIX_STREAM, conversation },
    { "fdopen timeout", TCP4, idle },
    { "fdopen timeout", UNIX_STREAM, idle },
    { "fdopen no SIGPIPE", TCP4, gone },
    { "fdopen no SIGPIPE", UNIX_STREAM, gone },
    { NULL, NOWHERE, NULL },
};
