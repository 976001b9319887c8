//! The AMT relay.

rows! {
    EPERM: "amt_relay_open"
        => "no ports are given, so that whole packets are to be read from packet sockets, which takes CAP_NET_RAW."
        => "Give the UDP ports to forward in options->ports, or the program the privilege: setcap cap_net_raw+ep FILE.";
    EADDRINUSE: "amt_relay_open"
        => "another socket has the port at one of the addresses, or one of options->ports without sharing it."
        => "See who has it (ss -lunp), or give other addresses in options->listen or another port.";
    EADDRNOTAVAIL: "amt_relay_open"
        => "an address of options->listen isn't one of this host's."
        => "Give addresses that ip address shows, or NULL for all.";
    EACCES: "amt_relay_open"
        => "the port, or one of options->ports, is below 1024 and this process may not bind it."
        => "Take another, or give the program CAP_NET_BIND_SERVICE.";
    EINVAL: "amt_relay_open"
        => "options->struct_size is less than the struct has, an option is no address or no interface, or a number is \
            out of its range."
        => "Set the options to zero and struct_size to their sizeof; then change one after the other to what castio.h \
            says of it.";
    ENODEV: "amt_relay_open"
        => "an address of options->listen names an interface behind its % that isn't there."
        => "Give one that ip link shows.";
    EFAULT: "amt_relay_open"
        => "out is NULL, or options->ports is NULL and port_count isn't 0."
        => "Give the address of a struct castio_amt_relay * for out, and ports with their number.";
    EAFNOSUPPORT: "amt_relay_open"
        => "options->listen has an IPv6 address and this host has no IPv6."
        => "Leave it out, or switch IPv6 on.";
    EMFILE: "amt_relay_open amt_relay_process amt_relay_run"
        => "this process has as many descriptors as it may."
        => "Close those that are done with, or raise the limit: ulimit -n, or setrlimit(RLIMIT_NOFILE).";
    ENFILE: "amt_relay_open amt_relay_process amt_relay_run"
        => "the whole system has as many open files as it may."
        => "Compare /proc/sys/fs/file-nr with the limit, and raise it: sysctl -w fs.file-max=NUMBER.";
    ENOMEM: "amt_relay_open amt_relay_process amt_relay_run"
        => "there isn't enough memory."
        => "Free some, or raise the limit that the process runs under: ulimit -v, or its control group's memory.max.";
    ENOBUFS: "amt_relay_process amt_relay_run"
        => "the kernel had no room to tell what there is of interfaces and routes."
        => "Call it again: it looks at everything anew, and no group is lost.";
    EFAULT: "amt_relay_fd amt_relay_process amt_relay_run"
        => "relay is NULL."
        => "Give the handle that castio_amt_relay_open wrote, and look whether that call succeeded.";
    EFAULT: "amt_relay_timeout_ms"
        => "relay or timeout_ms is NULL."
        => "Give the handle that castio_amt_relay_open wrote, and the address of an int.";
    EFAULT: "amt_relay_info"
        => "relay or info is NULL."
        => "Give the handle that castio_amt_relay_open wrote, and the address of a struct castio_amt_relay_info.";
    EINVAL: "amt_relay_info"
        => "info->struct_size is less than the struct has."
        => "Set it to sizeof(struct castio_amt_relay_info) before the call.";
    EFAULT: "amt_relay_json"
        => "relay is NULL, or buf is NULL and len isn't 0."
        => "Give the handle and a buffer with its size, or NULL and 0 to learn the length that it needs.";
    EOVERFLOW: "amt_relay_json"
        => "the text is longer than an int can tell: 2 GiB."
        => "Ask castio_amt_relay_info for the counters alone.";
}
