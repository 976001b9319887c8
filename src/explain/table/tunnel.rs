//! Tunnels between two ends, and multicast through them.

rows! {
    EPERM: "tunnel_open"
        => "this kind of tunnel takes raw sockets, and so CAP_NET_RAW."
        => "Give the program the privilege (setcap cap_net_raw+ep FILE), or take CASTIO_TUNNEL_GRE_UDP or \
            CASTIO_TUNNEL_UDP on both ends, which need none.";
    EINVAL: "tunnel_open"
        => "kind isn't one of CASTIO_TUNNEL_*, an end is no address of one host, or has a port with a kind that has \
            none, an option isn't one of this kind (key, checksum and sequence are GRE's), or a number is out of its \
            range."
        => "Set the options to zero and struct_size to their sizeof; then change one after the other to what castio.h \
            says of it.";
    EADDRINUSE: "tunnel_open"
        => "another socket has the port on this end: another tunnel, most likely."
        => "Give each tunnel over UDP a port of its own in local (\"192.0.2.1:4755\"), and the same in the other end's \
            remote; see ss -lunp.";
    EADDRNOTAVAIL: "tunnel_open"
        => "local isn't an address of this host."
        => "Give one that ip address shows, or NULL for any.";
    EAFNOSUPPORT: "tunnel_open"
        => "one end is IPv4 and the other IPv6, or this host has no IPv6."
        => "Give both ends in one family; what goes through may be of either.";
    ENODEV: "tunnel_open"
        => "an end names an interface behind its % that isn't there."
        => "Give one that ip link shows.";
    EFAULT: "tunnel_open"
        => "remote or out is NULL."
        => "Give the other end's address, and the address of a struct castio_tunnel * for out.";
    ENETUNREACH: "tunnel_open tunnel_info"
        => "there is no route to the other end."
        => "See ip route get ADDRESS, and add a route, or a default one.";
    ENETUNREACH: "tunnel_send"
        => "there is no route to the other end any more."
        => "See ip route get ADDRESS. The tunnel is as it was: send packet *done again when there is one.";
    EHOSTUNREACH: "tunnel_open tunnel_info"
        => "the route to the other end says that it can't be reached (unreachable)."
        => "See ip route get ADDRESS, and remove or change that route.";
    EHOSTUNREACH: "tunnel_send"
        => "the other end can't be reached: its route says so, or nobody on its link answers for its address."
        => "See ip route get ADDRESS and ip neighbour. The tunnel is as it was: send packet *done again later.";
    EACCES: "tunnel_open tunnel_info"
        => "the port is below 1024 and this process may not bind it, or the route to the other end prohibits it."
        => "Take another port, or give the program CAP_NET_BIND_SERVICE; see ip route get ADDRESS.";
    EACCES: "tunnel_send"
        => "the route to the other end prohibits it."
        => "See ip route get ADDRESS, and remove or change that route.";
    ENODEV: "tunnel_info"
        => "the interface that the other end's address names is gone."
        => "Close the tunnel and open it anew when the interface is back.";
    EAGAIN: "tunnel_open tunnel_info"
        => "every local UDP port is in use."
        => "Close sockets that are done with, or widen net.ipv4.ip_local_port_range.";
    EAFNOSUPPORT: "bridge_open"
        => "this process may not ask the kernel for its interfaces: sockets of AF_NETLINK are refused."
        => "Allow them where it is started: systemd's RestrictAddressFamilies, or the container's seccomp profile.";
    EMFILE: "tunnel_open bridge_open bridge_process bridge_run"
        => "this process has as many descriptors as it may."
        => "Close those that are done with, or raise the limit: ulimit -n, or setrlimit(RLIMIT_NOFILE).";
    ENFILE: "tunnel_open bridge_open bridge_process bridge_run"
        => "the whole system has as many open files as it may."
        => "Compare /proc/sys/fs/file-nr with the limit, and raise it: sysctl -w fs.file-max=NUMBER.";
    ENOMEM: "tunnel_open bridge_open bridge_process bridge_run"
        => "there isn't enough memory."
        => "Free some, or raise the limit that the process runs under: ulimit -v, or its control group's memory.max.";

    EBADMSG: "tunnel_send"
        => "packet *done isn't a whole IPv4 or IPv6 packet: its header is cut, its lengths or IPv4's \
            checksum are wrong, or its TTL or hop limit is 0."
        => "Send packets from their IP header on, without a link's header before it; go on behind *done to leave it out.";
    EMSGSIZE: "tunnel_send"
        => "packet *done is too big for the tunnel, and may not be cut."
        => "Send smaller ones: castio_tunnel_info tells what fits. Or open the tunnel with CASTIO_TUNNEL_FRAGMENT, if \
            the packet is IPv4 without DF.";
    EADDRNOTAVAIL: "tunnel_send"
        => "packet *done comes from a link-local address (169.254/16, fe80::/10), and goes beyond its link."
        => "Give the sender an address that is valid beyond its link; go on behind *done to leave the packet out.";
    ELOOP: "tunnel_send"
        => "packet *done comes from the tunnel's other end or goes to it, and would go in circles."
        => "Keep the tunnel's own packets out of what is sent through it; go on behind *done.";
    EAGAIN: "tunnel_send"
        => "timeout_ms is 0 and there is no room for any packet now."
        => "Wait by poll() for POLLOUT and send again, or give the call time.";
    EAGAIN: "tunnel_receive"
        => "timeout_ms is 0 and no packet is there."
        => "Wait by poll() for POLLIN on castio_tunnel_fd and ask again, or give the call time.";
    ETIMEDOUT: "tunnel_send"
        => "the time passed before all were out; *done packets are."
        => "Go on with packet *done.";
    ETIMEDOUT: "tunnel_receive"
        => "the time passed, and no packet came."
        => "Call it again. If some should come, look at what castio_tunnel_info counts as dropped, and whether a \
            firewall lets the kind through.";
    EFAULT: "tunnel_send"
        => "tunnel or packets is NULL, or a packet with a length is."
        => "Let packets point to count struct iovec, and each iov_base to a packet that stays as it is during the call.";
    EFAULT: "tunnel_receive"
        => "tunnel is NULL, or packets is and capacity isn't 0."
        => "Give the handle that castio_tunnel_open wrote, and an array of struct iovec.";
    EFAULT: "tunnel_fd"
        => "tunnel is NULL."
        => "Give the handle that castio_tunnel_open wrote, and look whether that call succeeded.";
    EFAULT: "tunnel_info"
        => "tunnel or info is NULL."
        => "Give the handle that castio_tunnel_open wrote, and the address of a struct castio_tunnel_info.";
    EINVAL: "tunnel_send"
        => "a packet's length, or count, is larger than any memory."
        => "Give the lengths in bytes, and in count how many packets there are.";
    EINVAL: "tunnel_receive"
        => "capacity is larger than any array."
        => "Give the number of struct iovec in packets.";
    EINVAL: "tunnel_info"
        => "info->struct_size is less than the struct has."
        => "Set it to sizeof(struct castio_tunnel_info) before the call.";
    EPERM: "tunnel_send"
        => "a firewall on this host has dropped it on its way out."
        => "Look at the rules for output: nft list ruleset, or iptables -L OUTPUT -v.";
    ENOBUFS: "tunnel_send"
        => "the kernel has no buffer for it, or an interface's queue is full."
        => "Send more slowly, and go on with packet *done.";
    ESHUTDOWN: "tunnel_receive bridge_process bridge_run"
        => "somebody has called shutdown(SHUT_RD) for the tunnel's descriptor, which belongs to the handle."
        => "Open the tunnel anew, and leave its descriptor to it: castio_tunnel_close ends it.";
    ENETDOWN: "tunnel_send tunnel_receive"
        => "the interface on the way to the other end has gone down."
        => "Call again when it is up; the tunnel stays as it is.";

    EADDRNOTAVAIL: "bridge_open"
        => "several interfaces have the address by which ingress or egress was named."
        => "Name it by its name (ip address shows them), or behind the address: fe80::1%eth0.";
    EPERM: "bridge_open"
        => "this takes packet sockets, and so CAP_NET_RAW: all groups, those asked for, a group without a port, or \
            CASTIO_BRIDGE_ASK."
        => "Give the program the privilege (setcap cap_net_raw+ep FILE), or list groups with their ports, \
            \"239.1.2.3:5000\".";
    EINVAL: "bridge_open"
        => "options names neither ingress nor egress, groups is no such list, CASTIO_BRIDGE_ASK is without egress or \
            with CASTIO_BRIDGE_OWN_DATAGRAMS, struct_size is too small, or a flag or number is out of its range."
        => "Set the options to zero and struct_size to their sizeof, name an interface, and give groups as \
            \"239.1.2.3 232.1.2.3@192.0.2.1\".";
    ENODEV: "bridge_open"
        => "there is no such interface in this network namespace."
        => "Take one that castio_list_interfaces or ip link shows.";
    EADDRINUSE: "bridge_open"
        => "a group is listed twice with one port, or whole and by source; or a port is another program's, which \
            doesn't share it."
        => "List each group once, whole or by source; see who has the port: ss -lunp.";
    EFAULT: "bridge_open"
        => "tunnel, options or out is NULL."
        => "Give an open tunnel, options with an interface, and the address of a struct castio_bridge * for out.";
    EFAULT: "bridge_fd bridge_process bridge_run"
        => "bridge is NULL."
        => "Give the handle that castio_bridge_open wrote, and look whether that call succeeded.";
    EFAULT: "bridge_timeout_ms"
        => "bridge or timeout_ms is NULL."
        => "Give the handle that castio_bridge_open wrote, and the address of an int.";
    EFAULT: "bridge_info"
        => "bridge or info is NULL."
        => "Give the handle that castio_bridge_open wrote, and the address of a struct castio_bridge_info.";
    EINVAL: "bridge_info"
        => "info->struct_size is less than the struct has."
        => "Set it to sizeof(struct castio_bridge_info) before the call.";
    ENOBUFS: "bridge_process bridge_run"
        => "the kernel had no room to tell what there is of interfaces and routes."
        => "Call it again: it looks at everything anew, and no group is lost.";
    ENETDOWN: "bridge_process bridge_run"
        => "the interface on the way to the tunnel's other end has gone down."
        => "Call it again; the bridge goes on when the interface is up.";
}
