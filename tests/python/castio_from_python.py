"""Drives libcastio.so from Python by ctypes alone. Each step prints one line with what came out at
the other end; a step that fails raises. Usage: castio_from_python.py path/to/libcastio.so"""

import ctypes
import errno
import os
import select
import socket
import struct
import sys

GROUP = "239.77.1.2"
IP_RECVTTL = getattr(socket, "IP_RECVTTL", 12)
PATIENCE = 10  # seconds


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class PeekInfo(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("available", ctypes.c_size_t),
        ("state", ctypes.c_int),
        ("error", ctypes.c_int),
    ]


def load(path):
    library = ctypes.CDLL(path, use_errno=True)
    library.castio_version.restype = ctypes.c_char_p
    library.castio_error_name.restype = ctypes.c_char_p
    for name in ("writev_all", "peek_available", "peek", "strerror"):
        getattr(library, "castio_" + name).restype = ctypes.c_ssize_t
    library.castio_strerror.restype = ctypes.c_int
    return library


def ok(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "castio: " + os.strerror(-result))
    return result


def gather(castio):
    here, there = socket.socketpair()
    parts = [b"gathered ", b"", b"from ", b"Python"]
    buffers = [ctypes.create_string_buffer(part, max(len(part), 1)) for part in parts]
    array = (Iovec * len(parts))(*[(ctypes.addressof(b), len(p)) for b, p in zip(buffers, parts)])
    done = ctypes.c_size_t(0)
    sent = ok(castio.castio_writev_all(here.fileno(), array, len(array), 1000, ctypes.byref(done)))
    here.close()
    received = there.makefile("rb").read()
    assert received == b"".join(parts), received
    assert sent == done.value == len(received), (sent, done.value)
    print(f"gather: {sent} bytes of {len(parts)} buffers arrived as {received.decode()!r}")


def peek(castio):
    here, there = socket.socketpair()
    here.sendall(b"HELLO rest")
    waiting = ok(castio.castio_peek_available(there.fileno()))
    head = ctypes.create_string_buffer(5)
    ok(castio.castio_peek(there.fileno(), head, ctypes.c_size_t(5)))
    info = PeekInfo(struct_size=ctypes.sizeof(PeekInfo))
    ok(castio.castio_peek_info(there.fileno(), ctypes.byref(info)))
    still = there.recv(100)
    assert (waiting, head.raw, info.available, still) == (10, b"HELLO", 10, b"HELLO rest")
    print(f"peek: {waiting} bytes wait, the first are {head.raw.decode()!r}, and recv still took {len(still)}")


def receive(receiver):
    readable, _, _ = select.select([receiver], [], [], PATIENCE)
    assert readable, "nothing arrived"
    return receiver.recvmsg(100, 100)


def join_and_ttl(castio):
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind((GROUP, 0))
    receiver.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ok(castio.castio_set_multicast_interface(sender.fileno(), b"lo"))
    ok(castio.castio_join_group(receiver.fileno(), GROUP.encode(), b"lo"))
    # On the loopback interface it goes nowhere else, whatever the TTL.
    ok(castio.castio_set_ttl(sender.fileno(), 7))
    sender.sendto(b"to the group", receiver.getsockname())
    data, control, _, _ = receive(receiver)
    assert data == b"to the group", data
    print(f"join: {GROUP} on lo received {data.decode()!r}")
    ttls = [struct.unpack("i", value)[0] for level, kind, value in control if (level, kind) == (0, socket.IP_TTL)]
    assert ttls == [7], control
    print(f"ttl: the receiver saw TTL {ttls[0]}")
    again = castio.castio_join_group(receiver.fileno(), GROUP.encode(), b"lo")
    assert again == -errno.EADDRINUSE, again
    ok(castio.castio_leave_group(receiver.fileno(), GROUP.encode(), b"lo"))


def error(castio):
    ctypes.set_errno(0)
    code = castio.castio_set_ttl(-1, 1)
    name = castio.castio_error_name(code).decode()
    text = ctypes.create_string_buffer(64)
    castio.castio_strerror(code, text, ctypes.c_size_t(64))
    assert (name, ctypes.get_errno()) == ("EBADF", errno.EBADF), (name, ctypes.get_errno())
    print(f"error: {code} is {name}, {text.value.decode()!r}, and errno is {ctypes.get_errno()}")


def main():
    castio = load(sys.argv[1])
    print(f"version: {castio.castio_version().decode()}")
    for step in (gather, peek, join_and_ttl, error):
        step(castio)


main()
