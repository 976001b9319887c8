/* What all programs print through: descriptors 0 to 2 are open, every write is checked, text from strangers
 * can't steer a terminal, JSON is valid UTF-8, and a service never waits for its reader. Include castio.h
 * and define PROGRAM before it. */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In a program of several files (its header defines SEVERAL_FILES) what they share is defined in one of them,
 * the one that defines MAIN_FILE. */
#if defined SEVERAL_FILES && !defined MAIN_FILE
#define SHARED extern
#define INITIALLY(...)
#else
#define SHARED
#define INITIALLY(...) = __VA_ARGS__
#endif

/* The program can't do its work: wrong arguments, no permission, output that can't be written. */
#define EXIT_CANNOT 2

/* A socket that got the number of a closed standard stream would be sent the program's own messages. What
 * stands there instead refuses to be used: reading standard input fails, and so does writing the others. */
static inline void occupy_standard_descriptors(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
                _exit(EXIT_CANNOT);
}

/* 0, or EXIT_CANNOT after a message: the disk is full, standard output is closed, the reader has gone. */
static inline int flush_output(void)
{
    static int is_told;
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_SUCCESS;
    if (!is_told)
        fprintf(stderr, "%s: writing to standard output: %s\n", PROGRAM, errno ? strerror(errno) : "a write failed");
    is_told = 1;
    return EXIT_CANNOT;
}

static inline void check_output_at_exit(void)
{
    if (flush_output() != EXIT_SUCCESS)
        _exit(EXIT_CANNOT);
}

/* Each program calls it first. */
static inline void begin_program(void)
{
    occupy_standard_descriptors();
    atexit(check_output_at_exit);
}

/* The length of the UTF-8 character at `text`, and its code point; 0 if it isn't one. RFC 3629. */
static inline size_t utf8_character(const unsigned char *text, size_t len, uint32_t *point)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t size = text[0] < 0x80 ? 1 : text[0] < 0xc0 ? 0 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : text[0] < 0xf8 ? 4 : 0;
    if (size == 0 || size > len)
        return 0;
    *point = size == 1 ? text[0] : text[0] & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if (text[i] >> 6 != 2)
            return 0;
        *point = *point << 6 | (text[i] & 0x3fu);
    }
    return *point < least[size] || *point > 0x10ffff || (*point >= 0xd800 && *point < 0xe000) ? 0 : size;
}

/* Controls of ISO 6429 and Unicode's marks of direction and line ends: what could forge a line. */
static inline int is_control(uint32_t point)
{
    return point < ' ' || (point >= 0x7f && point < 0xa0) || (point >= 0x200e && point <= 0x200f) ||
           (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069) || point == 0xfeff;
}

/* The next piece of bytes that somebody else chose, for a terminal or a log: a character, or what isn't printable
 * as "\x1b". The backslash, too, so that it can be read back. Returns how many bytes it stands for. */
static inline size_t printable_piece(const unsigned char *at, size_t len, char piece[8])
{
    uint32_t point = 0;
    size_t size = utf8_character(at, len, &point);
    if (size > 0 && !is_control(point) && point != '\\') {
        memcpy(piece, at, size);
        piece[size] = '\0';
        return size;
    }
    snprintf(piece, 8, "\\x%02x", *at);
    return 1;
}

static inline void print_text(FILE *out, const void *bytes, size_t len)
{
    char piece[8];
    for (size_t at = 0; at < len;) {
        at += printable_piece((const unsigned char *)bytes + at, len - at, piece);
        fputs(piece, out);
    }
}

/* The same into a buffer, as far as it fits. */
static inline const char *printable(const char *text, char *to, size_t room)
{
    size_t len = strlen(text), used = 0;
    char piece[8];
    for (size_t at = 0; at < len;) {
        at += printable_piece((const unsigned char *)text + at, len - at, piece);
        if (used + strlen(piece) >= room)
            break;
        memcpy(to + used, piece, strlen(piece));
        used += strlen(piece);
    }
    to[used] = '\0';
    return to;
}

static inline void print_string(FILE *out, const char *text)
{
    print_text(out, text, strlen(text));
}

/* Text as JSON; null for none. A byte that isn't UTF-8 becomes U+FFFD: JSON has no other way (RFC 8259, 8.1). */
static inline void print_json_text(FILE *out, const char *text)
{
    if (!text || !text[0]) {
        fputs("null", out);
        return;
    }
    const unsigned char *at = (const unsigned char *)text, *end = at + strlen(text);
    putc('"', out);
    while (at < end) {
        uint32_t point = 0;
        size_t size = utf8_character(at, (size_t)(end - at), &point);
        if (size == 0)
            fputs("\\ufffd", out);
        else if (is_control(point))
            fprintf(out, "\\u%04x", (unsigned)point);
        else if (point == '"' || point == '\\')
            fprintf(out, "\\%c", (int)point);
        else
            fwrite(at, 1, size, out);
        at += size > 0 ? size : 1;
    }
    putc('"', out);
}

/* "key": "text", and a comma. */
static inline void print_json_member(FILE *out, const char *key, const char *text)
{
    fprintf(out, "\"%s\": ", key);
    print_json_text(out, text);
    fputs(", ", out);
}

/* A descriptor that a service writes to without waiting for its reader: what the descriptor has no room for is
 * kept, up to `most` bytes, and what comes after that is left out and counted. */
struct outlet {
    int fd, error; /* the first error, a negative errno: nothing is written after it */
    char *kept;
    size_t start, len, room, most;
    uint64_t left_out; /* pieces */
};

/* Writes what is kept, as far as there is room. */
static inline void drain(struct outlet *outlet)
{
    while (outlet->len > 0 && outlet->error == 0) {
        ssize_t count = castio_send_nowait(outlet->fd, outlet->kept + outlet->start, outlet->len);
        if (count == -EAGAIN || count == 0)
            return;
        if (count < 0) {
            outlet->error = (int)count;
            return;
        }
        outlet->start += (size_t)count;
        outlet->len -= (size_t)count;
    }
    outlet->start = 0;
}

/* 0 if there is no room for so many bytes more. */
static inline int make_room(struct outlet *outlet, size_t len)
{
    if (len > outlet->most - outlet->len)
        return 0;
    if (outlet->start > 0) {
        memmove(outlet->kept, outlet->kept + outlet->start, outlet->len);
        outlet->start = 0;
    }
    if (outlet->len + len <= outlet->room)
        return 1;
    char *larger = realloc(outlet->kept, outlet->len + len);
    if (!larger)
        return 0;
    outlet->kept = larger;
    outlet->room = outlet->len + len;
    return 1;
}

/* A whole piece, or nothing of it: 1, or 0 if it is left out. */
static inline int put(struct outlet *outlet, const void *bytes, size_t len)
{
    size_t done = 0;
    drain(outlet);
    if (outlet->error)
        return 0;
    if (outlet->len == 0 && len > 0) {
        ssize_t count = castio_send_nowait(outlet->fd, bytes, len);
        if (count < 0 && count != -EAGAIN) {
            outlet->error = (int)count;
            return 0;
        }
        done = count > 0 ? (size_t)count : 0;
    }
    if (done == len)
        return 1;
    /* What has begun is always finished, so that no reader sees half a line. */
    if (done > 0 && outlet->most < outlet->len + len - done)
        outlet->most = outlet->len + len - done;
    if (!make_room(outlet, len - done)) {
        outlet->left_out++;
        return 0;
    }
    memcpy(outlet->kept + outlet->len, (const char *)bytes + done, len - done);
    outlet->len += len - done;
    return 1;
}

/* At the end: gives the reader a moment for what is kept. */
static inline void close_outlet(struct outlet *outlet)
{
    if (outlet->len > 0 && outlet->error == 0)
        castio_write_all(outlet->fd, outlet->kept + outlet->start, outlet->len, 200, NULL);
    free(outlet->kept);
    outlet->kept = NULL;
    outlet->len = outlet->room = 0;
}

/* What a service prints is composed here, and goes out whole by post(). */
SHARED FILE *page;
SHARED char *page_text;
SHARED size_t page_len;
SHARED struct outlet standard_output INITIALLY({ .fd = STDOUT_FILENO, .most = 1 << 20 });

/* 0 if there is no memory for it. */
static inline int open_page(void)
{
    page = open_memstream(&page_text, &page_len);
    return page != NULL;
}

/* 1, or 0 if there was no room for it, or writing fails. */
static inline int post(struct outlet *outlet)
{
    int is_whole = fflush(page) == 0 && put(outlet, page_text, page_len);
    rewind(page);
    return is_whole;
}

/* EXIT_SUCCESS, or EXIT_CANNOT after a message. A reader that has gone away only ends the program. */
static inline int close_page(void)
{
    int error = standard_output.error;
    close_outlet(&standard_output);
    if (page)
        fclose(page);
    free(page_text);
    page = NULL;
    if (error == 0 || error == -EPIPE)
        return EXIT_SUCCESS;
    fprintf(stderr, "%s: writing to standard output: %s\n", PROGRAM, strerror(-error));
    return EXIT_CANNOT;
}

#endif
