//! Datagrams in batches.

rows! {
    EPROTOTYPE: "sender_open receiver_open"
        => "fd is a stream socket, which has no datagrams."
        => "Use a UDP, raw or UNIX datagram socket; streams have castio_writev_all and castio_readv_all.";
    EBUSY: "sender_open"
        => "CASTIO_SENDER_ZEROCOPY takes what is on the error queue, which the program wants for itself: IP_RECVERR or \
            IPV6_RECVERR is on."
        => "Switch those off, or open the sender without that flag.";
    EOPNOTSUPP: "sender_open"
        => "CASTIO_SENDER_ZEROCOPY, and this socket can't send without copying; UDP can."
        => "Open the sender without that flag.";
    EINVAL: "sender_open"
        => "options->struct_size is less than the struct has, or a flag isn't known."
        => "Set the options to zero, struct_size to their sizeof, and flags to CASTIO_SENDER_* only.";
    EINVAL: "receiver_open"
        => "options->struct_size is less than the struct has, slots is over 1024, or a flag isn't known."
        => "Set the options to zero, struct_size to their sizeof, and flags to CASTIO_RECEIVER_* only.";
    ENOMEM: "receiver_open"
        => "there isn't memory for slots times slot_size bytes."
        => "Ask for fewer slots or shorter ones; 64 of 65,536 bytes are the default.";

    EAGAIN: "send_datagrams send_to_many"
        => "timeout_ms is 0 and there is no room for any datagram now."
        => "Wait by poll() for POLLOUT and send again, or give the call time.";
    EAGAIN: "receive_datagrams receive_copies"
        => "timeout_ms is 0 and no datagram is there."
        => "Wait by poll() for POLLIN and ask again, or give the call time.";
    EPIPE: "receive_datagrams receive_copies"
        => "the peer of a SOCK_SEQPACKET socket has closed it or shut it down, and everything it sent was received."
        => "Close the receiver and the socket.";
    EAGAIN: "sender_wait"
        => "timeout_ms is 0, and the kernel still reads memory that was sent."
        => "Leave that memory as it is, and ask again later or give the call time.";
    ETIMEDOUT: "send_datagrams send_to_many"
        => "the time passed before all were out; *done datagrams are."
        => "Go on with datagram *done, or raise bytes_per_second where a limit was set.";
    ETIMEDOUT: "receive_datagrams receive_copies"
        => "the time passed, and no datagram came."
        => "Call it again. If some should come, check the port, the group and whether a firewall drops them.";
    ESHUTDOWN: "receive_datagrams receive_copies"
        => "reading from this socket has been ended by shutdown(SHUT_RD), and nothing is queued any more."
        => "Close the receiver and the socket: it is the end.";
    ETIMEDOUT: "sender_wait"
        => "the time passed, and the kernel still reads memory that was sent."
        => "Leave that memory as it is, and call it again.";

    EMSGSIZE: "send_datagrams send_to_many"
        => "datagram *done is too long (65,507 bytes by UDP over IPv4, or the MTU with IP_PMTUDISC_DO), or it has more \
            than 1024 buffers."
        => "Send it in several, or copy its buffers together; go on behind it.";
    EINVAL: "send_datagrams"
        => "struct_size is wrong; or something in datagram *done: a negative iovcnt, an address that is too short or \
            has port 0, an unknown flag, an IPv6 from on an IPv4 socket, a ttl outside of 1..255 (IPv6: 0..255), a \
            traffic_class outside of 0..255."
        => "Set all members to zero first and list[0].struct_size to sizeof list[0], then what is wanted.";
    EINVAL: "send_to_many"
        => "iovcnt is negative, the lengths add up to more than SSIZE_MAX, or destination *done isn't valid: port 0, or \
            an IP address and a UNIX socket."
        => "Give each destination its port in network byte order: htons().";
    EINVAL: "receive_datagrams receive_copies"
        => "struct_size is less than the struct has, misaligned, or over SSIZE_MAX in all."
        => "Set views[0].struct_size to sizeof views[0] before the call.";
    EINVAL: "sender_wait"
        => "castio_sender_token never gave this token for this sender."
        => "Give one that it wrote, of the same handle.";
    EINVAL: "set_receive_buffer"
        => "bytes is over INT_MAX / 2."
        => "Ask for less: net.core.rmem_max is the limit that counts.";
    EFAULT: "send_datagrams"
        => "sender or list is NULL, or a buffer of datagram *done can't be read."
        => "Give the handle that castio_sender_open wrote, and buffers that stay valid during the call.";
    EFAULT: "send_to_many"
        => "sender, iov or to is NULL, or a buffer can't be read."
        => "Give the handle that castio_sender_open wrote, and memory that stays valid during the call.";
    EFAULT: "receive_datagrams"
        => "receiver is NULL, or views is though capacity isn't 0."
        => "Give the handle that castio_receiver_open wrote, and an array for the views.";
    EFAULT: "receive_copies"
        => "receiver, views or buffers is NULL, or a buffer is and has a length; nothing was taken."
        => "Give the handle that castio_receiver_open wrote, an array for the views, and as many buffers.";
    EFAULT: "sender_token"
        => "sender or token is NULL."
        => "Give the handle that castio_sender_open wrote, and the address of a uint64_t.";
    EFAULT: "sender_wait"
        => "sender is NULL."
        => "Give the handle that castio_sender_open wrote.";

    ECONNREFUSED: "send_datagrams send_to_many"
        => "an earlier datagram was refused: nobody has that port. Nothing of datagram *done went out."
        => "Start the receiver, and send again from datagram *done: it is told once.";
    ECONNREFUSED: "receive_datagrams receive_copies"
        => "a datagram that this socket sent was refused: nobody has that port. It is told once, and nothing is lost."
        => "Call it again.";
    EHOSTUNREACH: "send_datagrams send_to_many"
        => "the host can't be reached, as an earlier datagram or the route told. Nothing of datagram *done went out."
        => "Look for the way to it (ip route get ADDRESS, ip neighbour), and send again from datagram *done.";
    ENETUNREACH: "send_datagrams send_to_many"
        => "no route leads to the destination of datagram *done."
        => "Add one (ip route get ADDRESS shows what there is); multicast goes without when its ifindex or \
            castio_set_multicast_interface names an interface.";
    EADDRNOTAVAIL: "send_datagrams"
        => "from of datagram *done isn't an address of this host."
        => "Give one that ip address shows, or NULL for the kernel's choice.";
    ENODEV: "send_datagrams"
        => "ifindex of datagram *done is no interface's: it was deleted, or has another index since it was made anew."
        => "Ask castio_interface_index for the index anew, or give 0 for the routes' choice.";
    EACCES: "send_datagrams send_to_many"
        => "the destination is a broadcast address and the socket may not send there, or a route prohibits it."
        => "Call castio_enable_broadcast(fd, 1) first, or look at ip route get ADDRESS.";
    EPERM: "send_datagrams send_to_many"
        => "this host's own firewall has dropped it on its way out."
        => "Look at the rules for output: nft list ruleset, or iptables -L OUTPUT -v.";
    ENOBUFS: "send_datagrams send_to_many"
        => "the kernel has no buffer for it, or an interface's queue is full."
        => "Send more slowly (bytes_per_second in castio_sender_options), and go on with datagram *done.";
    EDESTADDRREQ: "send_datagrams"
        => "datagram *done has no destination, and the socket isn't connected."
        => "Give it a to, or connect() the socket to the one peer.";
    EAFNOSUPPORT: "send_datagrams"
        => "from of datagram *done is neither IPv4 nor IPv6, or to is of a family that the socket can't send to."
        => "Give addresses of the socket's family; an IPv6 socket sends to IPv4 addresses too.";
    EAFNOSUPPORT: "send_to_many"
        => "destination *done is neither IPv4 nor IPv6, or of a family that the socket can't send to."
        => "Set ss_family, and give addresses of the socket's family; an IPv6 socket sends to IPv4 addresses too.";
}
