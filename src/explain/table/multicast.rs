//! Multicast: options, membership, filters, sockets for one group.

/// What joins, and so may find no room, no route, no interface.
macro_rules! joining {
    () => {
        "join_group[_addr] join_source[_addr] set_source_filter[_addr]"
    };
}

/// What changes a membership that is there.
macro_rules! changing {
    () => {
        "leave_group[_addr] leave_source[_addr] block_source[_addr] unblock_source[_addr]"
    };
}

rows! {
    EADDRNOTAVAIL: "set_multicast_interface set_multicast_interface_index interface_index diagnose_multicast[_addr] \
                    membership_add[_addr]"
        => "several interfaces have the address by which one was named."
        => "Name it by its name (ip address shows them), or behind the address: fe80::1%eth0.";
    EADDRNOTAVAIL: "join_group[_addr] join_source[_addr] open_receiver[_addr]"
        => "the group is IPv6, and the interface has no IPv6; or several interfaces have the address by which one was \
            named."
        => "Let it have IPv6 (sysctl -w net.ipv6.conf.INTERFACE.disable_ipv6=0, and an MTU of 1280 at least: ip link \
            set INTERFACE mtu 1500), or give its name.";
    EPERM: concat!(joining!(), " ", changing!(), " get_source_filter[_addr] open_receiver[_addr] open_sender[_addr] \
            set_multicast_interface set_multicast_interface_index broadcast_address send_broadcast \
            send_limited_broadcast list_interfaces interface_index diagnose_multicast[_addr]")
        => "this process may ask for interfaces neither by ioctl() nor by a netlink socket: its sandbox refuses both."
        => "Let the sandbox pass ioctl(), or AF_NETLINK (systemd: RestrictAddressFamilies=AF_NETLINK); functions that \
            end in _addr or _index take an index, which needs neither.";
    EOPNOTSUPP: "get_multicast_interface"
        => "an IPv4 socket, of which Linux doesn't tell the interface that was set."
        => "Remember it beside the socket, or use an IPv6 socket, which sends to IPv4 groups too (::ffff:239.1.2.3).";
    EAGAIN: "open_sender[_addr]"
        => "all ports of net.ipv4.ip_local_port_range are taken on this host."
        => "Close sockets that are done with, or widen the range by sysctl.";
    ENETDOWN: "open_sender[_addr]"
        => "the interface that was named is down."
        => "Switch it on: ip link set INTERFACE up.";
    EACCES: "open_sender[_addr]"
        => "the route to the group is a prohibit route."
        => "Delete it (ip route show type prohibit; with IPv6 ip -6 route), or name an interface.";
    EHOSTUNREACH: "open_sender[_addr]"
        => "the route to the group is an unreachable or a blackhole route."
        => "Delete it (ip route show type unreachable, type blackhole; with IPv6 ip -6 route), or name an interface.";

    EINVAL: "set_ttl"
        => "ttl isn't in 0..255, or fd is an IPv4 stream socket."
        => "Give 0 to 255 on a UDP or raw socket; 1 stays on this link.";
    EINVAL: "set_multicast_interface set_multicast_interface_index"
        => "interface is an empty text, fd is an IPv4 stream socket, or it is bound to another interface \
            (SO_BINDTODEVICE)."
        => "Name the interface that a UDP or raw socket is bound to, or any if it is bound to none.";
    ENOPROTOOPT: "set_ttl set_multicast_interface set_multicast_interface_index"
        => "fd is an IPv6 TCP socket or an MPTCP socket, which has no multicast."
        => "Use a UDP or raw socket: socket(AF_INET6, SOCK_DGRAM, 0).";
    ENOPROTOOPT: "get_ttl set_loop get_loop get_multicast_interface"
        => "fd is an MPTCP socket, which has no multicast."
        => "Use a UDP or raw socket: socket(AF_INET6, SOCK_DGRAM, 0).";
    ENOPROTOOPT: "set_multicast_all get_multicast_all"
        => "an IPv6 socket and a kernel before Linux 4.20, or an MPTCP socket, which has no multicast."
        => "Use a UDP or raw socket; on an old kernel compare each datagram's destination with the groups that are wanted: castio_receive_datagrams \
            tells it.";
    ENODEV: "set_multicast_interface set_multicast_interface_index"
        => "there is no such interface in this network namespace."
        => "Take one that castio_list_interfaces or ip link shows.";
    EAFNOSUPPORT: "set_ttl get_ttl set_loop get_loop set_multicast_interface set_multicast_interface_index \
                   get_multicast_interface set_multicast_all get_multicast_all membership_open"
        => "fd is neither an IPv4 nor an IPv6 socket."
        => "Make it by socket(AF_INET, SOCK_DGRAM, 0), or with AF_INET6.";

    EADDRINUSE: "join_group[_addr]"
        => "this socket has joined that group on that interface already, whole or by source."
        => "Leave it as it is; castio_set_source_filter with CASTIO_FILTER_EXCLUDE and no source makes it the whole \
            group in either case.";
    EADDRINUSE: "join_source[_addr]"
        => "this source is joined already; or the whole group is, and the kernel would cut it down to this source."
        => "Leave the group first with castio_leave_group, or keep it and shut others out with castio_block_source.";
    EADDRINUSE: "block_source[_addr]"
        => "this source is blocked already."
        => "Nothing is left to do; castio_get_source_filter lists what is blocked.";
    EADDRINUSE: "open_receiver[_addr]"
        => "another socket has the port and doesn't share it."
        => "Find it (ss -ulnp) and let it set SO_REUSEADDR before bind(), or take another port.";

    EADDRNOTAVAIL: "leave_group[_addr]"
        => "this socket has not joined that group on that interface, or several interfaces have the address by which \
            one was named."
        => "Join it first, or name the interface that it was joined on by its name.";
    EADDRNOTAVAIL: "leave_source[_addr]"
        => "this socket has not joined that source of that group on that interface, or several interfaces have the \
            address by which one was named."
        => "Join it first by castio_join_source, or name the interface that it was joined on by its name.";
    EADDRNOTAVAIL: "block_source[_addr]"
        => "this socket has not joined that group on that interface, or several interfaces have the address by which \
            one was named."
        => "Join it first by castio_join_group, or name the interface that it was joined on by its name.";
    EADDRNOTAVAIL: "unblock_source[_addr]"
        => "this source isn't blocked, or this socket has not joined that group on that interface; or several \
            interfaces have the address by which one was named."
        => "Look with castio_get_source_filter, and name the interface that the group was joined on by its name.";
    EADDRNOTAVAIL: "set_source_filter[_addr]"
        => "including no source means to leave, and this socket has not joined that group on that interface; the \
            group is IPv6, and the interface has no IPv6; or several interfaces have the address by which one was \
            named."
        => "Take it for done, or name the interface that the group was joined on by its name.";
    EADDRNOTAVAIL: "get_source_filter[_addr]"
        => "this socket has not joined that group on that interface, so there is no filter; or several interfaces \
            have the address by which one was named."
        => "Join it first, name the interface that it was joined on, or give NULL (index 0) for any.";
    EADDRNOTAVAIL: "open_sender[_addr]"
        => "there is no address to send from: with IPv6 on that interface, with IPv4 on this host; or several \
            interfaces have the address by which one was named."
        => "Give it one (ip address add ADDRESS/PREFIX dev INTERFACE), or name another interface, by its name.";

    ENOBUFS: "join_group[_addr]"
        => "this socket has joined as many IPv4 groups as it may: net.ipv4.igmp_max_memberships, 20 by default."
        => "Raise it (sysctl -w net.ipv4.igmp_max_memberships=NUMBER), or join the others on a second socket.";
    ENOBUFS: "join_source[_addr] set_source_filter[_addr]"
        => "more sources of one group than net.ipv4.igmp_max_msf (10) or net.ipv6.mld_max_msf (64) allows, or more \
            IPv4 groups than net.ipv4.igmp_max_memberships (20)."
        => "Raise that limit by sysctl -w (mld_max_msf in the host's first network namespace), or use a second socket.";
    ENOBUFS: "block_source[_addr]"
        => "more sources of one group are blocked than net.ipv4.igmp_max_msf (10) or net.ipv6.mld_max_msf (64) allows."
        => "Raise that limit by sysctl -w (mld_max_msf in the host's first network namespace), or sort the datagrams \
            by their sender.";
    ENOBUFS: "open_receiver[_addr]"
        => "this host lets a socket join no IPv4 group: net.ipv4.igmp_max_memberships is 0."
        => "Raise it: sysctl -w net.ipv4.igmp_max_memberships=20.";
    ENOMEM: "join_group[_addr] join_source[_addr] open_receiver[_addr]"
        => "the memory that a socket may use for its groups and sources is full: net.core.optmem_max."
        => "Raise it (sysctl -w net.core.optmem_max=BYTES), or join the others on a second socket.";
    ENOMEM: "set_source_filter[_addr]"
        => "the sources, 128 bytes each in the request, or the socket's groups take more than net.core.optmem_max."
        => "Raise it (sysctl -w net.core.optmem_max=BYTES).";
    ENOMEM: "block_source[_addr]"
        => "the memory that a socket may use for its groups and sources is full: net.core.optmem_max."
        => "Raise it (sysctl -w net.core.optmem_max=BYTES), or sort the datagrams by their sender.";

    EINVAL: "join_group[_addr] leave_group[_addr] get_source_filter[_addr]"
        => "group is no multicast address (224.0.0.0/4, ff00::/8) or names another interface than the one given, \
            interface is an empty text, or a sockaddr is too short."
        => "Give a group, and its interface once; castio doesn't look up host names.";
    EINVAL: "join_source[_addr] open_receiver[_addr]"
        => "group is no multicast address (224.0.0.0/4, ff00::/8) or names another interface than the one given, \
            source is no host's address or names another interface, interface is an \
            empty text, or a sockaddr is \
            too short."
        => "Give a group, the address of one host, and the interface once; castio doesn't look up host names.";
    EINVAL: "leave_source[_addr]"
        => "this socket has joined the whole group, not single sources; or group, source or interface isn't valid."
        => "Leave the group with castio_leave_group, or block the source. Otherwise check: group in 224.0.0.0/4 or \
            ff00::/8, source a host's address, the interface given once.";
    EINVAL: "block_source[_addr] unblock_source[_addr]"
        => "this socket has joined single sources, not the whole group; or group, source or interface isn't valid."
        => "Leave the source with castio_leave_source or join it again. Otherwise check: group in 224.0.0.0/4 or \
            ff00::/8, source a host's address, the interface given once.";
    EINVAL: "set_source_filter[_addr]"
        => "mode isn't one of CASTIO_FILTER_*, group is no multicast address (224.0.0.0/4, ff00::/8) or names another \
            interface than the one given, a source is no host's address or names another interface, interface is an empty text, or a sockaddr is \
            too short."
        => "Give CASTIO_FILTER_EXCLUDE or CASTIO_FILTER_INCLUDE, a group, addresses of hosts, the interface once.";
    EINVAL: "open_sender[_addr]"
        => "ttl isn't in 0..255, group is no multicast address (224.0.0.0/4, ff00::/8) or names another interface \
            than the one given, interface is an empty text, or a sockaddr is too short."
        => "Give a group, its interface once, and a ttl: 1 stays on this link.";

    ENODEV: concat!(joining!(), " ", changing!(), " open_receiver[_addr]")
        => "there is no such interface; or none was named, and no route leads to the group or it (ff01::, ff02::) \
            means nothing without one."
        => "Name one that castio_list_interfaces or ip link shows, or add a route: ip route add 224.0.0.0/4 dev \
            INTERFACE, for an IPv6 group ip -6 route add multicast ff00::/8 dev INTERFACE table local.";
    ENODEV: "get_source_filter[_addr] open_sender[_addr]"
        => "there is no such interface; or none was named, and the group (ff01::, ff02::) means nothing without one."
        => "Name one that castio_list_interfaces or ip link shows.";
    EAFNOSUPPORT: concat!(joining!(), " ", changing!(), " get_source_filter[_addr]")
        => "the group is IPv6 and the socket IPv4, a source is of another family than the group, or the socket or a \
            sockaddr is neither IPv4 nor IPv6."
        => "Use an IPv6 socket (it takes IPv4 groups too), and sources of the group's family.";
    EAFNOSUPPORT: "open_receiver[_addr]"
        => "source is of another family than group, a sockaddr is neither IPv4 nor IPv6, or this host has no IPv6."
        => "Give both addresses of one family that the host has (ip address).";
    EAFNOSUPPORT: "open_sender[_addr]"
        => "the sockaddr is neither IPv4 nor IPv6, or this host has no IPv6."
        => "Give a group of a family that the host has (ip address).";
    EPROTO: concat!(joining!(), " ", changing!(), " get_source_filter[_addr] membership_open")
        => "fd is a stream socket, which can't receive multicast, or a raw IPv6 socket, which has no IPv4 groups."
        => "Use a UDP or raw socket: socket(AF_INET, SOCK_DGRAM, 0).";

    EACCES: "open_receiver[_addr]"
        => "the port is a privileged one: below net.ipv4.ip_unprivileged_port_start, 1024 by default."
        => "Take a higher one, or let the program have it: setcap cap_net_bind_service+ep PROGRAM.";
    ENETUNREACH: "open_sender[_addr]"
        => "no interface was named and no route leads to the group; or IPv6, and the one named has no route \
            for it, as lo."
        => "Name an interface, or add a route: ip route add 224.0.0.0/4 dev INTERFACE, ip -6 route add multicast \
            ff00::/8 dev INTERFACE table local.";
}
