//! What a relay has done, and why it hasn't.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the relay began.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// All of them by name.
            pub fn each(&self, mut each: impl FnMut(&'static str, u64)) {
                $(each(stringify!($name), self.$name);)*
            }
        }
    };
}

counters! {
    /// Discoveries received.
    discoveries,
    /// Advertisements sent.
    advertisements,
    /// Requests received.
    requests,
    /// Queries sent.
    queries,
    /// Updates whose MAC was right.
    updates,
    /// Teardowns whose MAC was right.
    teardowns,
    /// Tunnels that began.
    opened,
    /// Tunnels that ended by a Teardown.
    closed,
    /// Tunnels whose gateway reported no more.
    expired,
    /// Destinations said to be unreachable by ICMP.
    unreachable,
    /// Messages dropped: not AMT, cut, or too long.
    dropped_malformed,
    /// Messages dropped: of a type that only a relay sends.
    dropped_unexpected,
    /// Updates and Teardowns dropped: a wrong MAC, or one that is too old.
    dropped_forged,
    /// Updates dropped: no good report in them.
    dropped_report,
    /// Discoveries and Requests not answered: too many from there, or from everywhere.
    dropped_throttled,
    /// Answers dropped: nobody fetched them.
    dropped_answer,
    /// Updates refused: no room for another tunnel.
    refused_tunnels,
    /// Records refused: no room for another group.
    refused_groups,
    /// Sources refused: no room for them, or they aren't any.
    refused_sources,
    /// Records refused: a group that doesn't leave its link, or one for joining by source wanted whole.
    refused_scope,
    /// Multicast packets that came in.
    packets,
    /// Their bytes.
    bytes,
    /// Packets dropped: no tunnel wants them.
    dropped_unwanted,
    /// Packets dropped: no good IP packet, or one that is no multicast.
    dropped_packet,
    /// Packets dropped: to a group that doesn't leave its link, or from a link-local address.
    dropped_scope,
    /// Packets dropped: the TTL or hop limit was used up.
    dropped_ttl,
    /// Packets dropped: too large for a tunnel, and not to be fragmented.
    dropped_too_large,
    /// Packets that were fragmented.
    fragmented,
    /// Packets dropped in the kernel, which had no room left.
    dropped_by_socket,
    /// Data messages sent.
    copies,
    /// Their bytes, AMT's header included.
    copied_bytes,
    /// Data messages dropped: over the tunnel's bytes per second.
    dropped_rate,
    /// Data messages dropped: the kernel had no room to send.
    dropped_no_room,
    /// Data messages dropped: the kernel refused to send them there.
    dropped_error,
    /// Sources that were told that a packet is too large.
    told_too_large,
    /// Records refused: their address has as many groups or sources as one may have.
    refused_address,
    /// Records dropped: too many in a second from their address.
    dropped_records,
}
