//! Gathering and scattering, transfers that never block, looking at what waits, standard I/O.

rows! {
    EAGAIN: "writev_all write_all"
        => "timeout_ms is 0 and there is no room for the rest now; *done bytes are out."
        => "Wait by poll() for POLLOUT and go on behind those bytes (castio_iov_advance steps over them), or give \
            the call time.";
    EAGAIN: "readv_all read_all"
        => "timeout_ms is 0 and the rest isn't there yet; *done bytes are in the buffers."
        => "Wait by poll() for POLLIN and read on behind those bytes (castio_iov_advance steps over them), or give \
            the call time.";
    EAGAIN: "send_nowait writev_nowait"
        => "there is no room now, and nothing was sent."
        => "Wait by poll() for POLLOUT and send again.";
    EAGAIN: "recv_nowait readv_nowait peek_available peek"
        => "nothing is there yet."
        => "Wait by poll() for POLLIN and ask again.";
    EAGAIN: "peek_all"
        => "timeout_ms is 0 and fewer than len bytes wait."
        => "Ask again later, or give the call time. What waits is still there, and castio_peek shows it.";
    EAGAIN: "fdopen"
        => "(in errno, on one of its streams) timeout_ms was 0, and there was no data or no room."
        => "Reading goes on after clearerr(). Output is lost: fclose() both streams, and open them with a longer \
            timeout_ms.";

    ETIMEDOUT: "writev_all write_all"
        => "the time passed before all was out: the other end reads too slowly, or TCP got no answer from it; \
            *done bytes are out."
        => "Go on behind those bytes, or close the connection.";
    ETIMEDOUT: "readv_all read_all"
        => "the time passed before all was there, or TCP got no answer from the other end; *done bytes are in the \
            buffers and gone from the descriptor."
        => "Read on behind those bytes, or close the connection.";
    ETIMEDOUT: "peek_all"
        => "the time passed, and fewer than len bytes wait."
        => "Ask again, or read what came: it is still there. On a UNIX stream a len above the sender's SO_SNDBUF \
            never comes.";
    ETIMEDOUT: "fdopen"
        => "(in errno, on one of its streams) timeout_ms passed without data or room."
        => "Reading goes on after clearerr(); getline() gives the part of a line that came, fgets() doesn't. Output \
            is lost: fclose() both streams.";

    EPIPE: "fdopen"
        => "(in errno, on the writing stream) the peer has closed the connection."
        => "fclose() both streams and connect anew. There was no SIGPIPE.";
    ECONNRESET: "peek_available peek peek_all"
        => "the peer has broken the connection off, which is told once: looking has taken it away."
        => "Close the descriptor and connect anew.";
    ECONNRESET: "fdopen"
        => "(in errno, on one of its streams) the peer has broken the connection off."
        => "fclose() both streams and connect anew; what was sent last may not have been read.";
    ECONNREFUSED: "writev_all write_all send_nowait writev_nowait readv_all read_all recv_nowait readv_nowait"
        => "nobody listens at the other end: a datagram sent earlier, or connect(), was refused."
        => "Start the receiver. It is told once: a datagram can simply be sent again.";
    ECONNREFUSED: "peek_available peek peek_all"
        => "a datagram sent earlier was refused, which is told once: looking has taken it away."
        => "Start the receiver, and send again.";
    EHOSTUNREACH: "writev_all write_all send_nowait writev_nowait readv_all read_all recv_nowait readv_nowait send_oob \
                   recv_oob recv_to_mark"
        => "the other end can't be reached: its router, or the last one on the way, says so."
        => "Look for the way to it (ip route get ADDRESS, ip neighbour), and send or connect again.";
    ENETUNREACH: "writev_all write_all send_nowait writev_nowait readv_all read_all recv_nowait readv_nowait send_oob \
                  recv_oob recv_to_mark peek_available peek peek_all"
        => "no route leads to the other end."
        => "Add one (ip route get ADDRESS shows what there is), and send or connect again.";
    ENETDOWN: "writev_all write_all send_nowait writev_nowait"
        => "the interface that the data would leave by is down."
        => "Switch it on: ip link set INTERFACE up.";
    ETIMEDOUT: "send_nowait writev_nowait recv_nowait readv_nowait recv_oob peek_available peek"
        => "the other end gave TCP no answer in all its time, and the connection was given up."
        => "Close the descriptor and connect anew.";
    EDQUOT: "writev_all write_all send_nowait writev_nowait"
        => "the user's quota of disk space is used up."
        => "Free room (quota shows how much there is).";
    ENODATA: "writev_all write_all send_nowait writev_nowait"
        => "a netlink socket, and nothing to send: it has no empty messages."
        => "Give a message with a header, as netlink(7) has it.";
    ENXIO: "writev_all write_all send_nowait writev_nowait"
        => "a packet socket that is bound to no interface."
        => "Bind it to one, or send by sendto() with a sockaddr_ll.";
    EHOSTUNREACH: "peek_available peek peek_all"
        => "a host that was sent to can't be reached, which is told once: looking has taken it away."
        => "Look for the way to it (ip route get ADDRESS, ip neighbour), and send again.";
    EDESTADDRREQ: "writev_all write_all send_nowait writev_nowait"
        => "a datagram socket without a peer."
        => "connect() it, or make it by castio_open_sender; castio_send_datagrams takes an address for each datagram.";

    EMSGSIZE: "writev_all write_all send_nowait"
        => "a message has at most 1024 buffers, and at most as many bytes as its socket takes: 65,507 by UDP over \
            IPv4, no more than the MTU with IP_PMTUDISC_DO, SO_SNDBUF on a UNIX socket."
        => "Send less in one message, copy its buffers together, or raise SO_SNDBUF of a UNIX socket.";
    EMSGSIZE: "writev_nowait"
        => "more than 1024 buffers on a socket, or more bytes than one message of it may have: 65,507 by UDP over \
            IPv4, no more than the MTU with IP_PMTUDISC_DO, SO_SNDBUF on a UNIX socket."
        => "Send less at a time; on a stream castio_writev_all takes any number of buffers.";
    EMSGSIZE: "readv_all read_all"
        => "the message was longer than the buffers: its head is in them, its tail is gone. Or there were more than \
            1024 buffers, and nothing was taken."
        => "Ask for its length first with castio_peek_available, and bring enough room in at most 1024 buffers.";
    EMSGSIZE: "readv_nowait"
        => "more than 1024 buffers on a socket."
        => "Read with fewer at a time; on a stream castio_readv_all takes any number.";

    EINVAL: "writev_all readv_all iov_length"
        => "iovcnt is negative, or the lengths add up to more than SSIZE_MAX."
        => "Look for an iov_len that isn't initialised, or was a negative number.";
    EINVAL: "writev_nowait readv_nowait"
        => "iovcnt is negative, the lengths add up to more than SSIZE_MAX, or there are more than 1024 buffers and \
            fd isn't a socket."
        => "Give at most 1024 buffers, and look for an iov_len that isn't initialised.";
    EINVAL: "iov_advance"
        => "iovcnt is negative, the buffers have fewer bytes than that, or their lengths add up to more than SSIZE_MAX."
        => "Step over no more than a call said that it had done; castio_iov_length tells how many bytes there are.";
    EINVAL: "write_all read_all send_nowait recv_nowait peek peek_all"
        => "len is over SSIZE_MAX."
        => "Look for a negative number that became a size_t.";

    EIO: "writev_all write_all send_nowait writev_nowait"
        => "the device has failed or takes nothing, or the other side of the terminal is closed."
        => "Close the descriptor; for a disk, dmesg says more.";
    EIO: "readv_all read_all recv_nowait readv_nowait"
        => "the device has failed, the other side of the terminal is closed, or a background process reads from its \
            terminal."
        => "Take it for the end of a terminal; for a disk, dmesg says more.";
    ENOBUFS: "writev_all write_all send_nowait writev_nowait"
        => "the kernel has no buffer for it, or an interface's queue is full."
        => "Send it again a little later, and more slowly; tc -s qdisc shows what the queues drop.";
    ENOBUFS: "peek_all"
        => "the socket can't hold len bytes unread."
        => "Look at fewer bytes, or let it hold more: twice len as the third number of net.ipv4.tcp_rmem (sysctl), or \
            as SO_RCVBUF where that or SO_RCVLOWAT was set.";
    EIO: "peek_available"
        => "the other side of this pseudo-terminal is closed, and a read would say the same."
        => "Take it for the end.";
    ENOSPC: "writev_all write_all"
        => "the file system is full; the first *done bytes are written."
        => "Free room (df shows how much there is), and go on behind those bytes.";
    ENOSPC: "send_nowait writev_nowait"
        => "the file system or the device is full, and nothing was written."
        => "Free room (df shows how much there is), and write it again.";
    EPERM: "writev_all write_all send_nowait writev_nowait"
        => "the file is sealed against writing (F_SEAL_WRITE) or immutable, or a firewall rule on this host refuses \
            the datagram."
        => "Look at fcntl(F_GET_SEALS) and lsattr for a file, at nft list ruleset or iptables -S OUTPUT for a socket.";
    EFBIG: "writev_all write_all send_nowait writev_nowait"
        => "the file would become longer than the process (RLIMIT_FSIZE) or the file system lets it."
        => "Raise the limit (ulimit -f), or go on in another file.";
    EISDIR: "readv_all read_all recv_nowait readv_nowait peek_available peek_info"
        => "fd is a directory."
        => "Open a file in it; opendir() and readdir() list it.";
    ENOTTY: "peek_available peek_info"
        => "a descriptor of a kind that can't tell how much waits: an eventfd or its like, or a file in /proc or /sys."
        => "Read from it without looking: castio_recv_nowait never blocks.";
    EINVAL: "release_stream"
        => "it isn't a stream of castio_fdopen."
        => "Close other streams by fclose().";
    EFAULT: "release_stream"
        => "stream is NULL."
        => "Give in or out of castio_fdopen.";
    EPROTOTYPE: "fdopen"
        => "not a stream socket: stdio would run its messages together."
        => "Use a SOCK_STREAM socket; castio_writev_all and castio_readv_all carry messages.";
}
