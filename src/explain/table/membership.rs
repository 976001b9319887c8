//! Memberships that are kept.

rows! {
    EINVAL: "membership_open"
        => "options->struct_size is less than the struct has."
        => "Set the options to zero and struct_size to their sizeof, or give NULL for the default.";

    EPERM: "membership_open"
        => "a sandbox lets this process learn of interfaces neither by rtnetlink nor by ioctl()."
        => "Allow sockets of AF_NETLINK (systemd: RestrictAddressFamilies), or ioctl() on sockets.";

    EADDRINUSE: "membership_add[_addr]"
        => "this is wished already; or the group is wished whole and now by source, or the reverse, on any interfaces."
        => "Let the wish stand, or take the group's other wishes back first by castio_membership_remove.";
    EADDRNOTAVAIL: "membership_remove[_addr]"
        => "there is no such wish: it is known by its group, its source and its interfaces as they were given."
        => "Give the same as to castio_membership_add, a name for a name; castio_membership_list shows each wish.";
    EINVAL: "membership_add[_addr] membership_remove[_addr]"
        => "group is no multicast address (224.0.0.0/4, ff00::/8) or names an interface besides the ones given, source \
            is no host's address or names another interface than interfaces, interfaces is empty or longer than \
            127 bytes, or a sockaddr is too short."
        => "Give a group, the address of one host or NULL, and the interfaces once, a pattern in interfaces only; \
            castio doesn't look up host names.";
    ENODEV: "membership_add[_addr] membership_remove[_addr]"
        => "no interfaces were named, and the group (ff01::, ff02::) means nothing without one; or the one behind \
            source's % isn't there."
        => "Name them: one, a pattern, or * for all that are up; and give source without a %.";
    EAFNOSUPPORT: "membership_add[_addr]"
        => "source is of another family than group, the group is IPv6 and the socket IPv4, or a sockaddr is neither \
            IPv4 nor IPv6."
        => "Use an IPv6 socket (it takes IPv4 groups too), and a source of the group's family.";
    EAFNOSUPPORT: "membership_remove[_addr]"
        => "source is of another family than group, or a sockaddr is neither IPv4 nor IPv6."
        => "Give the same as to castio_membership_add; castio_membership_list shows each wish.";

    ENOBUFS: "membership_add[_addr]"
        => "the kernel had no room to tell where the route to the group leads; nothing is wished."
        => "Call it again, or name the interfaces.";
    ENOMEM: "membership_add[_addr]"
        => "there isn't enough memory to ask where the route to the group leads; nothing is wished."
        => "Free some and call it again, or name the interfaces.";
    ENOBUFS: "membership_process membership_wait membership_receive"
        => "the kernel had no room to tell what there is of interfaces and routes."
        => "Call it again: it looks at everything anew, and no wish is lost.";
    ENOMEM: "membership_process membership_wait"
        => "there isn't enough memory to learn what there is of interfaces and routes."
        => "Free some and call it again: it looks at everything anew, and no wish is lost.";
    ENOMEM: "membership_receive"
        => "there isn't enough memory for its 64 slots of 65,536 bytes, or to learn what there is of interfaces and \
            routes."
        => "Free some and call it again: no wish is lost.";
    EAGAIN: "membership_wait"
        => "timeout_ms is 0 and there is no event."
        => "Wait by poll() on castio_membership_fd for POLLIN, no longer than castio_membership_timeout_ms says, or \
            give the call time.";
    EAGAIN: "membership_receive"
        => "timeout_ms is 0 and no datagram is there."
        => "Wait by poll() on castio_membership_receive_fd for POLLIN, no longer than castio_membership_timeout_ms \
            says, or give the call time.";
    ETIMEDOUT: "membership_wait"
        => "the time passed, and nothing has become of any membership."
        => "Call it again; castio_membership_list tells how each one is.";
    ETIMEDOUT: "membership_receive"
        => "the time passed, and no datagram came."
        => "Call it again. If some should come, see whether the group is CASTIO_MEMBERSHIP_LIVE in \
            castio_membership_list, and check the port and whether a firewall drops them.";
    ESHUTDOWN: "membership_receive"
        => "reading from your socket has been ended by shutdown(SHUT_RD), and nothing is queued any more."
        => "Close the membership and the socket: it is the end.";
    ECONNREFUSED: "membership_receive"
        => "a datagram that one of the sockets sent was refused: nobody has that port. It is told once, and nothing is \
            lost."
        => "Call it again.";

    EINVAL: "membership_events membership_list"
        => "struct_size is less than the struct has, misaligned, or over SSIZE_MAX in all."
        => "Set out[0].struct_size to sizeof out[0] before the call.";
    EINVAL: "membership_receive"
        => "struct_size is less than the struct has, misaligned, or over SSIZE_MAX in all."
        => "Set views[0].struct_size to sizeof views[0] before the call.";
    EINVAL: "membership_sockets"
        => "an array of capacity descriptors would be over SSIZE_MAX bytes."
        => "Look for a negative number that became a size_t.";

    EFAULT: "membership_add[_addr] membership_remove[_addr]"
        => "membership or group is NULL."
        => "Give the handle that castio_membership_open wrote, and a group; only the source and the interfaces may be \
            NULL.";
    EFAULT: "membership_fd membership_receive_fd membership_process membership_wait"
        => "membership is NULL."
        => "Give the handle that castio_membership_open wrote.";
    EFAULT: "membership_timeout_ms"
        => "membership or timeout_ms is NULL."
        => "Give the handle that castio_membership_open wrote, and the address of an int.";
    EFAULT: "membership_events"
        => "membership is NULL, or out is NULL or misaligned and capacity isn't 0."
        => "Give the handle that castio_membership_open wrote, and an array for the events.";
    EFAULT: "membership_list membership_sockets"
        => "membership is NULL, or out is NULL or misaligned and capacity isn't 0."
        => "Give the handle that castio_membership_open wrote, and an array; NULL with capacity 0 asks for the number \
            alone.";
    EFAULT: "membership_receive"
        => "membership is NULL, or views is NULL or misaligned and capacity isn't 0."
        => "Give the handle that castio_membership_open wrote, and an array for the views.";
}
