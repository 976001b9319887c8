/* No library: sendmmsg(2) and recvmmsg(2), a system call for each batch. */
#define _GNU_SOURCE
#include "harness.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#define SLOTS 64
#define SLOT_SIZE 2048

static int sender, receiver;
static const struct load *load;
static struct mmsghdr batch[BATCH_MAX], copies[BATCH_MAX], slots[SLOTS];
static struct iovec pieces[BATCH_MAX], buffers[SLOTS];
static struct sockaddr_in from[SLOTS];

static void message(struct mmsghdr *at, struct iovec *piece, struct sockaddr_in *address)
{
    at->msg_hdr.msg_name = address;
    at->msg_hdr.msg_namelen = sizeof *address;
    at->msg_hdr.msg_iov = piece;
    at->msg_hdr.msg_iovlen = 1;
}

static void open_sender(int fd, const struct load *given)
{
    sender = fd;
    load = given;
    for (size_t i = 0; i < load->count; i++) {
        pieces[i].iov_base = load->payload + i * load->size;
        pieces[i].iov_len = load->size;
        message(&batch[i], &pieces[i], load->to);
    }
    for (size_t i = 0; i < load->destinations; i++)
        message(&copies[i], &pieces[0], &load->to[i]);
}

static void send_all(struct mmsghdr *list, size_t count)
{
    for (size_t done = 0; done < count;) {
        int sent = sendmmsg(sender, list + done, (unsigned)(count - done), 0);
        check(sent > 0, "sendmmsg");
        done += (size_t)sent;
    }
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
    receiver = fd;
    for (size_t i = 0; i < SLOTS; i++) {
        buffers[i].iov_base = malloc(SLOT_SIZE);
        buffers[i].iov_len = SLOT_SIZE;
        message(&slots[i], &buffers[i], &from[i]);
    }
}

static void receive(void)
{
    int count = recvmmsg(receiver, slots, SLOTS, MSG_DONTWAIT, NULL);
    if (count < 0) {
        check(errno == EAGAIN, "recvmmsg");
        wait_for(receiver, POLLIN, TICK_MS);
        return;
    }
    for (int i = 0; i < count; i++) {
        arrived(slots[i].msg_len);
        slots[i].msg_hdr.msg_namelen = sizeof from[i];
    }
}

const struct peer peer = { NULL, NULL, open_sender, send_batch, fan_out, open_receiver, receive };
