/* No library: UDP_SEGMENT on send, recvmmsg(2) with UDP_GRO on receive. The limit of what the kernel
 * gives, and good for one thing alone: payloads of one size, in one piece of memory, to one place. */
#define _GNU_SOURCE
#include "harness.h"

#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 64
#define SLOT_SIZE 65536
#define TRAIN_BYTES 65507
/* Linux 6.9 and newer; 64 before. */
#define TRAIN_SEGMENTS 128

union control {
    struct cmsghdr align;
    char room[CMSG_SPACE(sizeof(int))];
};

static int sender, receiver;
static const struct load *load;
static struct mmsghdr slots[SLOTS];
static struct iovec buffers[SLOTS];
static struct sockaddr_in from[SLOTS];
static union control controls[SLOTS];

static void open_sender(int fd, const struct load *given)
{
    sender = fd;
    load = given;
}

static void send_train(size_t first, size_t count)
{
    struct iovec piece = { load->payload + first * load->size, count * load->size };
    char room[CMSG_SPACE(sizeof(uint16_t))] __attribute__((aligned(8))) = { 0 };
    struct msghdr message = { load->to, sizeof *load->to, &piece, 1, room, sizeof room, 0 };
    struct cmsghdr *control = CMSG_FIRSTHDR(&message);
    uint16_t size = (uint16_t)load->size;
    control->cmsg_level = IPPROTO_UDP;
    control->cmsg_type = UDP_SEGMENT;
    control->cmsg_len = CMSG_LEN(sizeof size);
    memcpy(CMSG_DATA(control), &size, sizeof size);
    check(sendmsg(sender, &message, 0) == (ssize_t)piece.iov_len, "sendmsg with UDP_SEGMENT");
}

static void send_trains(size_t count)
{
    size_t most = TRAIN_BYTES / load->size;
    if (most > TRAIN_SEGMENTS)
        most = TRAIN_SEGMENTS;
    for (size_t done = 0; done < count; done += most)
        send_train(done, count - done < most ? count - done : most);
}

static void open_receiver(int fd, size_t size)
{
    int on = 1;
    (void)size;
    receiver = fd;
    check(setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on) == 0, "UDP_GRO");
    for (size_t i = 0; i < SLOTS; i++) {
        struct msghdr *message = &slots[i].msg_hdr;
        buffers[i].iov_base = malloc(SLOT_SIZE);
        buffers[i].iov_len = SLOT_SIZE;
        message->msg_name = &from[i];
        message->msg_iov = &buffers[i];
        message->msg_iovlen = 1;
        message->msg_control = &controls[i];
    }
}

static size_t segment_size(struct msghdr *message, size_t len)
{
    struct cmsghdr *control = CMSG_FIRSTHDR(message);
    int size;
    if (!control || control->cmsg_level != IPPROTO_UDP || control->cmsg_type != UDP_GRO)
        return len;
    memcpy(&size, CMSG_DATA(control), sizeof size);
    return (size_t)size;
}

static void receive(void)
{
    for (size_t i = 0; i < SLOTS; i++) {
        slots[i].msg_hdr.msg_namelen = sizeof from[i];
        slots[i].msg_hdr.msg_controllen = sizeof controls[i];
    }
    int count = recvmmsg(receiver, slots, SLOTS, MSG_DONTWAIT, NULL);
    if (count < 0) {
        check(errno == EAGAIN, "recvmmsg");
        wait_for(receiver, POLLIN, TICK_MS);
        return;
    }
    for (int i = 0; i < count; i++) {
        size_t left = slots[i].msg_len, size = segment_size(&slots[i].msg_hdr, left);
        for (; left > size; left -= size)
            arrived(size);
        arrived(left);
    }
}

const struct peer peer = { NULL, NULL, open_sender, send_trains, NULL, open_receiver, receive };
