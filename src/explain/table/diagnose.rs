//! Why multicast doesn't arrive.

rows! {
    EINVAL: "diagnose_multicast[_addr]"
        => "group is no multicast address (224.0.0.0/4, ff00::/8) or names another interface than the one given, \
            source is no host's address or names another interface, interface is an empty text, a \
            sockaddr is too short, a flag isn't known, \
            struct_size is less than the struct has, or over SSIZE_MAX in all."
        => "Give a group and its interface once, CASTIO_DIAGNOSE_* flags only, and set out[0].struct_size to sizeof \
            out[0].";
    EAFNOSUPPORT: "diagnose_multicast[_addr]"
        => "fd is neither an IPv4 nor an IPv6 socket, source is of another family than group, or a sockaddr is neither \
            IPv4 nor IPv6."
        => "Give a UDP or raw socket, and a source of the group's family.";
    EFAULT: "diagnose_multicast[_addr]"
        => "group is NULL, or out is NULL or misaligned and capacity isn't 0."
        => "Give the group, and an array; NULL with capacity 0 asks for the number of findings alone.";
}
