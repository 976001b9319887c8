//! What the numbers of socket(2) are called: address families, types and protocols.

/// A function from a number to its name.
macro_rules! names {
    ($(#[$doc:meta])* $function:ident: $($name:ident)*) => {
        $(#[$doc])*
        pub fn $function(number: i32) -> Option<&'static str> {
            match number {
                $(libc::$name => Some(stringify!($name)),)*
                _ => None,
            }
        }
    };
}

names! {
    /// address_families(7)
    family: AF_UNSPEC AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET AF_VSOCK AF_BLUETOOTH AF_CAN AF_ALG AF_TIPC AF_XDP
}

names! {
    /// socket(2)
    socket_type: SOCK_STREAM SOCK_DGRAM SOCK_SEQPACKET SOCK_RAW SOCK_RDM
}

names! {
    /// Those of Internet sockets: protocols(5).
    protocol: IPPROTO_IP IPPROTO_ICMP IPPROTO_IGMP IPPROTO_IPIP IPPROTO_TCP IPPROTO_UDP IPPROTO_IPV6 IPPROTO_GRE
        IPPROTO_ICMPV6 IPPROTO_SCTP IPPROTO_UDPLITE IPPROTO_RAW IPPROTO_MPTCP
}
