//! Broadcast, and the host's interfaces.

rows! {
    EADDRNOTAVAIL: "broadcast_address send_broadcast"
        => "there is no broadcast address: no IPv4 address, or only a /31 or /32; or several interfaces have the address \
            by which one was named."
        => "Name an interface for which castio_list_interfaces says can_broadcast, or use multicast.";
    EADDRNOTAVAIL: "directed_broadcast"
        => "a /31 or a /32 has no broadcast address (RFC 3021)."
        => "Send to its one or two hosts themselves.";
    EADDRNOTAVAIL: "send_limited_broadcast"
        => "none was named, and no interface is up and has broadcast; or several have the address by which one was named."
        => "Switch one on (ip link set INTERFACE up), or name one by its name.";
    ENODEV: "broadcast_address send_broadcast send_limited_broadcast interface_index"
        => "no interface of this network namespace has that name, address or index."
        => "Take one that castio_list_interfaces or ip address shows.";
    EINVAL: "broadcast_address interface_index"
        => "interface is an empty text."
        => "Give a name, one of its addresses, or its index in digits.";
    EINVAL: "directed_broadcast"
        => "cidr isn't an IPv4 address with a slash and a prefix length (0 to 32) or a netmask behind it."
        => "Write it as 192.12.34.7/24 or 192.12.34.7/255.255.255.0.";
    EINVAL: "list_interfaces"
        => "struct_size is less than the struct has, or capacity times struct_size is over SSIZE_MAX."
        => "Set out[0].struct_size to sizeof out[0] before the call.";
    EINVAL: "send_broadcast send_limited_broadcast"
        => "port is 0, interface is an empty text, len is over SSIZE_MAX, or fd is bound or connected to 127.0.0.1 and \
            the interface isn't loopback."
        => "Give the receivers' port, and bind to the wildcard address or to one of that interface.";

    EACCES: "send_broadcast send_limited_broadcast"
        => "this socket may not send broadcasts."
        => "Call castio_enable_broadcast(fd, 1) first.";
    EMSGSIZE: "send_broadcast send_limited_broadcast"
        => "more than a datagram may have (65,507 bytes), or than the interface's MTU where IP_MTU_DISCOVER is \
            IP_PMTUDISC_DO."
        => "Send less at a time, or let it be fragmented: IP_PMTUDISC_DONT.";
    EAGAIN: "send_broadcast send_limited_broadcast"
        => "the socket is non-blocking and has no room now; *sent datagrams are out."
        => "Wait by poll() for POLLOUT, and send again to the interfaces that got none.";
    ECONNREFUSED: "send_broadcast send_limited_broadcast"
        => "what this socket sent before was refused: nobody has that port. It is told once."
        => "Call it again, or use a socket that isn't connected.";
    EHOSTUNREACH: "send_broadcast send_limited_broadcast"
        => "what this socket sent before didn't reach its host, as ICMP told; or a route to the interface's network is \
            one of type unreachable."
        => "Call it again; if it stays so, look at ip route get ADDRESS with the broadcast address.";
    ENETDOWN: "send_broadcast send_limited_broadcast"
        => "the interface is down."
        => "Switch it on: ip link set INTERFACE up.";
    ENETUNREACH: "send_broadcast send_limited_broadcast"
        => "the interface is down, so that no route leads to its network."
        => "Switch it on: ip link set INTERFACE up.";
    EAFNOSUPPORT: "send_broadcast send_limited_broadcast"
        => "not an IPv4 socket, and only IPv4 has broadcast."
        => "Use socket(AF_INET, SOCK_DGRAM, 0); with IPv6 send to the group of all hosts on a link, ff02::1.";
    EPROTOTYPE: "send_broadcast send_limited_broadcast"
        => "fd is a stream socket, which sends to one peer alone."
        => "Use socket(AF_INET, SOCK_DGRAM, 0).";
}
