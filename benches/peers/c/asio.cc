/* Standalone asio: send_to, receive_from, and write with a sequence of buffers. */
#include "harness.h"

#include <asio.hpp>
#include <chrono>
#include <optional>
#include <vector>

using asio::ip::udp;
using stream_socket = asio::local::stream_protocol::socket;

static asio::io_context context;
static std::optional<stream_socket> stream;
static std::optional<udp::socket> sender, receiver;
static std::vector<udp::endpoint> to;
static const struct load *load;
static char buffer[65536];

static void open_stream(int fd)
{
    stream.emplace(context, asio::local::stream_protocol(), fd);
}

static void write_pieces(struct iovec *pieces, int count)
{
    static std::vector<asio::const_buffer> sequence;
    sequence.clear();
    for (int i = 0; i < count; i++)
        sequence.emplace_back(pieces[i].iov_base, pieces[i].iov_len);
    asio::write(*stream, sequence);
}

static void open_sender(int fd, const struct load *given)
{
    load = given;
    sender.emplace(context, udp::v4(), fd);
    for (size_t i = 0; i < load->destinations; i++)
        to.emplace_back(asio::ip::address_v4(ntohl(load->to[i].sin_addr.s_addr)), ntohs(load->to[i].sin_port));
}

static void send_each(size_t count)
{
    for (size_t i = 0; i < count; i++)
        sender->send_to(asio::buffer(load->payload + i * load->size, load->size), to[0]);
}

static void fan_out()
{
    for (const udp::endpoint &where : to)
        sender->send_to(asio::buffer(load->payload, load->size), where);
}

static void readable(const asio::error_code &error)
{
    if (error)
        fail("waiting", error.message().c_str());
    udp::endpoint from;
    asio::error_code ended;
    for (;;) {
        size_t len = receiver->receive_from(asio::buffer(buffer), from, 0, ended);
        if (ended)
            break;
        arrived(len);
    }
    if (ended != asio::error::would_block)
        fail("receive_from", ended.message().c_str());
    receiver->async_wait(udp::socket::wait_read, readable);
}

static void open_receiver(int fd, size_t)
{
    receiver.emplace(context, udp::v4(), fd);
    receiver->non_blocking(true);
    receiver->async_wait(udp::socket::wait_read, readable);
}

static void receive()
{
    context.run_one_for(std::chrono::milliseconds(TICK_MS));
}

extern "C" const struct peer peer = { open_stream, write_pieces, open_sender, send_each,
                                      fan_out,     open_receiver, receive };
