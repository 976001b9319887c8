//! Multicast through a relay.

rows! {
    EINVAL: "amt_open"
        => "relays isn't a list of addresses or has more than 64; or in options struct_size is less than the struct \
            has, local isn't an address, there are more than 1024 slots, or a flag isn't known."
        => "Give relays as \"192.0.2.1\", \"[2001:db8::1]:2268\", several with commas between, or NULL; castio doesn't \
            look up host names. Set the options to zero and struct_size to their sizeof.";
    EINVAL: "subscribe[_addr]"
        => "group is no multicast address or never leaves its link or host, source is no host's address or names \
            another interface than interfaces, port is 0, interfaces is empty or longer than 47 bytes, or the options are wrong, those of \
            the gateway in them, or the \
            relays."
        => "Give a group that routers forward, the port that it is sent to, and options set to zero with struct_size \
            their sizeof; the relays as for castio_amt_open.";
    EADDRNOTAVAIL: "amt_open subscribe[_addr]"
        => "the gateway is to send from an address that this host doesn't have."
        => "Leave local NULL: the kernel chooses, and follows the routes as they change. Or look at: ip address.";
    EADDRINUSE: "amt_open"
        => "another socket has the port to send from."
        => "Leave port 0: any will do.";
    EADDRINUSE: "subscribe[_addr]"
        => "a socket that doesn't share it has the port, or another socket has the port that the gateway is to send from."
        => "Let the other program set SO_REUSEADDR before its bind(), and leave the gateway's port 0.";
    EACCES: "amt_open subscribe[_addr]"
        => "a port below 1024 is for programs with CAP_NET_BIND_SERVICE."
        => "Use another one, run with the capability, or lower net.ipv4.ip_unprivileged_port_start.";
    EAFNOSUPPORT: "amt_open"
        => "this host has no address family that any of the relays is of."
        => "Give a relay of a family that it has; the groups may be of either all the same.";
    EAFNOSUPPORT: "subscribe[_addr]"
        => "source is of another family than group, a sockaddr is neither IPv4 nor IPv6, or this host hasn't the \
            group's family or any relay's."
        => "Give a source of the group's family; where the host lacks that family castio_amt_join still receives it.";
    ENODEV: "subscribe[_addr]"
        => "the interface behind source's % isn't there; or interfaces is NULL, and the group (ff01::, ff02::) never \
            leaves its link or host."
        => "Give source without a %, and a group that routers forward.";
    EFAULT: "amt_open"
        => "out is NULL."
        => "Give the address of a pointer for the handle.";
    EFAULT: "subscribe[_addr]"
        => "group or out is NULL."
        => "Give a group, and the address of a pointer for the handle.";
    ENOMEM: "amt_open subscribe[_addr]"
        => "there isn't enough memory for the slots."
        => "Ask for fewer slots, each of which is 65,536 bytes.";

    EINVAL: "amt_find_relays"
        => "source isn't an address that a host can have, or names an interface."
        => "Give the address that the multicast is sent from; castio doesn't look up host names.";
    ENOENT: "amt_find_relays"
        => "whoever runs the source says by DNS that no relay is to be used for it."
        => "Receive it natively, or ask who runs the source for a relay and name that to castio_amt_open.";
    ETIMEDOUT: "amt_find_relays"
        => "no DNS server answered in time."
        => "Give it more time, or look at /etc/resolv.conf; castio_amt_open with NULL does without DNS.";
    EIO: "amt_find_relays"
        => "the DNS servers couldn't find out, or answered nonsense."
        => "Try later, or other servers in /etc/resolv.conf; castio_amt_open with NULL does without DNS.";
    ECONNREFUSED: "amt_find_relays"
        => "there is no DNS server where /etc/resolv.conf says."
        => "Start it, or name others there; castio_amt_open with NULL does without DNS.";
    ENETUNREACH: "amt_find_relays"
        => "this host has no route to the DNS servers."
        => "Look at: ip route, and at the nameserver lines of /etc/resolv.conf.";
    EHOSTUNREACH: "amt_find_relays"
        => "the DNS servers' host doesn't answer on its network."
        => "Look at: ip neighbour, and at the nameserver lines of /etc/resolv.conf.";
    EAFNOSUPPORT: "amt_find_relays"
        => "the name servers in /etc/resolv.conf are of an address family that this host doesn't have."
        => "Name one there that this host reaches.";
    EADDRINUSE: "amt_find_relays"
        => "every local UDP port is in use, so that no server can be asked."
        => "Close sockets that are done with, or widen net.ipv4.ip_local_port_range.";
    EACCES: "amt_find_relays"
        => "this program may not read /etc/resolv.conf."
        => "Make it readable for everybody: chmod a+r.";
    EFAULT: "amt_find_relays"
        => "source is NULL, or buf is NULL and len isn't 0."
        => "Give a source, and room for the text, or 0 for len.";
    ENOMEM: "amt_find_relays"
        => "there isn't enough memory for the answers."
        => "Free some and call it again.";

    EADDRINUSE: "amt_join[_addr]"
        => "this is joined already; or the group is joined whole and now by source, or the reverse."
        => "Let it stand, take the other back by castio_amt_leave, or say all at once by castio_amt_set_source_filter.";
    EADDRNOTAVAIL: "amt_leave[_addr]"
        => "this isn't joined: a group joined by source is left by source, one joined whole is left whole."
        => "Give the same as to castio_amt_join; castio_amt_set_source_filter with CASTIO_FILTER_INCLUDE and no source \
            leaves a group in any case.";
    EINVAL: "amt_join[_addr] amt_leave[_addr]"
        => "group is no multicast address or never leaves its link or host (224.0.0.0/24, ff01::, ff02::), source is \
            no host's address or names an interface, or a sockaddr is too short."
        => "Give a group that routers forward, and the address of one host or NULL; castio doesn't look up host names.";
    EINVAL: "amt_set_source_filter[_addr]"
        => "mode is neither CASTIO_FILTER_EXCLUDE nor CASTIO_FILTER_INCLUDE, group is no multicast address or never \
            leaves its link or host, or a source is no host's address or names an interface."
        => "Give a group that routers forward, and the addresses of hosts; castio doesn't look up host names.";
    EAFNOSUPPORT: "amt_join[_addr] amt_leave[_addr] amt_set_source_filter[_addr]"
        => "a source is of another family than group, or a sockaddr is neither IPv4 nor IPv6."
        => "Give a source of the group's family; the relay's may be the other.";
    ENODEV: "amt_open amt_find_relays amt_join[_addr] amt_leave[_addr] amt_set_source_filter[_addr]"
        => "an address names an interface behind % that isn't there."
        => "Give the address without a %: a tunnel has no interface.";
    EFAULT: "amt_join[_addr] amt_leave[_addr]"
        => "amt or group is NULL."
        => "Give the handle that castio_amt_open wrote, and a group; only the source may be NULL.";
    EFAULT: "amt_set_source_filter[_addr]"
        => "amt, group or one of the sources is NULL, or sources is NULL or misaligned and count isn't 0."
        => "Give the handle that castio_amt_open wrote, a group, and an array of count addresses.";

    EFAULT: "amt_fd amt_process"
        => "amt is NULL."
        => "Give the handle that castio_amt_open wrote.";
    EFAULT: "amt_timeout_ms"
        => "amt or timeout_ms is NULL."
        => "Give the handle that castio_amt_open wrote, and the address of an int.";
    EFAULT: "amt_info"
        => "amt or info is NULL."
        => "Give the handle that castio_amt_open wrote, and a struct castio_amt_info.";
    EFAULT: "amt_receive"
        => "amt is NULL, or views is NULL or misaligned and capacity isn't 0."
        => "Give the handle that castio_amt_open wrote, and an array for the views.";
    EFAULT: "subscription_fd subscription_process"
        => "subscription is NULL."
        => "Give the handle that castio_subscribe wrote.";
    EFAULT: "subscription_timeout_ms"
        => "subscription or timeout_ms is NULL."
        => "Give the handle that castio_subscribe wrote, and the address of an int.";
    EFAULT: "subscription_info"
        => "subscription or info is NULL."
        => "Give the handle that castio_subscribe wrote, and a struct castio_subscription_info.";
    EFAULT: "subscription_receive"
        => "subscription is NULL, or views is NULL or misaligned and capacity isn't 0."
        => "Give the handle that castio_subscribe wrote, and an array for the views.";
    EINVAL: "amt_info subscription_info"
        => "struct_size is less than the struct has."
        => "Set info->struct_size to sizeof *info before the call.";
    EINVAL: "amt_receive subscription_receive"
        => "struct_size is less than the struct has, misaligned, or over SSIZE_MAX in all."
        => "Set views[0].struct_size to sizeof views[0] before the call.";

    EAGAIN: "amt_receive"
        => "timeout_ms is 0 and no datagram is there."
        => "Wait by poll() on castio_amt_fd for POLLIN, no longer than castio_amt_timeout_ms says, or give the call \
            time.";
    ETIMEDOUT: "amt_receive"
        => "the time passed, and no datagram came."
        => "Call it again. If some should come, see by castio_amt_info whether the state is CASTIO_AMT_ACTIVE, and \
            which of its counters of drops grows.";
    EAGAIN: "subscription_receive"
        => "timeout_ms is 0 and no datagram is there."
        => "Wait by poll() on castio_subscription_fd for POLLIN, no longer than castio_subscription_timeout_ms says, or \
            give the call time.";
    ETIMEDOUT: "subscription_receive"
        => "the time passed, and no datagram came by either way."
        => "Call it again. If some should come, see by castio_subscription_info whether the tunnel is in use and \
            amt_state is CASTIO_AMT_ACTIVE; castio_diagnose_multicast tells what stands in the native way.";
    ENOMEM: "amt_process amt_receive subscription_process subscription_receive"
        => "there isn't enough memory."
        => "Free some and call it again: nothing that was joined is lost.";
    ENOBUFS: "amt_process amt_receive subscription_process subscription_receive"
        => "the kernel had no room to tell what there is."
        => "Call it again: nothing that was joined is lost.";
}
