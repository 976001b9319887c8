/* GLib: g_socket_send_messages and g_socket_receive_messages, which use sendmmsg and recvmmsg. */
#include "harness.h"

#include <gio/gio.h>
#include <unistd.h>

#define SLOTS 64
#define SLOT_SIZE 2048

static GSocket *stream, *sender, *receiver;
static const struct load *load;
static GOutputVector pieces[BATCH_MAX];
static GOutputMessage batch[BATCH_MAX], copies[BATCH_MAX];
static GInputVector buffers[SLOTS];
static GInputMessage slots[SLOTS];
static GSocketAddress *from[SLOTS];

static void fine(gboolean is_fine, const char *what, GError *error)
{
    if (!is_fine)
        fail(what, error ? error->message : "not in full");
}

static GSocket *adopt(int fd)
{
    GError *error = NULL;
    GSocket *socket = g_socket_new_from_fd(fd, &error);
    fine(socket != NULL, "g_socket_new_from_fd", error);
    return socket;
}

static void open_stream(int fd)
{
    stream = adopt(fd);
}

static void write_pieces(struct iovec *list, int count)
{
    /* GOutputVector is laid out as struct iovec on UNIX. */
    GError *error = NULL;
    gssize all = 0, sent;
    for (int i = 0; i < count; i++)
        all += (gssize)list[i].iov_len;
    sent = g_socket_send_message(stream, NULL, (GOutputVector *)list, count, NULL, 0, 0, NULL, &error);
    fine(sent == all, "g_socket_send_message", error);
}

static GOutputMessage message(struct sockaddr_in *to, GOutputVector *piece)
{
    GSocketAddress *address = g_socket_address_new_from_native(to, sizeof *to);
    GOutputMessage made = { address, piece, 1, 0, NULL, 0 };
    return made;
}

static void open_sender(int fd, const struct load *given)
{
    sender = adopt(fd);
    load = given;
    for (size_t i = 0; i < load->count; i++) {
        pieces[i].buffer = load->payload + i * load->size;
        pieces[i].size = load->size;
        batch[i] = message(load->to, &pieces[i]);
        /* GLib keeps the native form of the address that it had last: one object for all. */
        batch[i].address = batch[0].address;
    }
    for (size_t i = 0; i < load->destinations; i++)
        copies[i] = message(&load->to[i], &pieces[0]);
}

static void send_all(GOutputMessage *list, size_t count)
{
    GError *error = NULL;
    int sent = g_socket_send_messages(sender, list, (guint)count, 0, NULL, &error);
    fine(sent == (int)count, "g_socket_send_messages", error);
}

static void send_batch(size_t count)
{
    send_all(batch, count);
}

static void fan_out(void)
{
    send_all(copies, load->destinations);
}

static void open_receiver(int fd, size_t size)
{
    (void)size;
    receiver = adopt(fd);
    g_socket_set_blocking(receiver, FALSE);
    for (size_t i = 0; i < SLOTS; i++) {
        buffers[i].buffer = g_malloc(SLOT_SIZE);
        buffers[i].size = SLOT_SIZE;
        slots[i].address = &from[i];
        slots[i].vectors = &buffers[i];
        slots[i].num_vectors = 1;
    }
}

static void receive(void)
{
    GError *error = NULL;
    int count = g_socket_receive_messages(receiver, slots, SLOTS, 0, NULL, &error);
    if (count < 0) {
        fine(g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK), "g_socket_receive_messages", error);
        g_clear_error(&error);
        g_socket_condition_timed_wait(receiver, G_IO_IN, TICK_MS * 1000, NULL, NULL);
        return;
    }
    for (int i = 0; i < count; i++) {
        arrived(slots[i].bytes_received);
        g_clear_object(&from[i]);
    }
}

const struct peer peer = { open_stream, write_pieces, open_sender, send_batch, fan_out, open_receiver, receive };
