//! What a gateway has done, and why it dropped what it dropped.

/// Why something that arrived was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// It isn't an AMT message.
    Malformed,
    /// It isn't from the relay, or the address asked.
    Stranger,
    /// It answers what wasn't asked: another nonce, or a second answer.
    Unasked,
    /// The packet inside is none, or its lengths or its IP checksum are wrong.
    Packet,
    /// The UDP checksum inside is wrong.
    Checksum,
    /// The packet inside isn't UDP.
    Protocol,
    /// Its destination isn't a group that is joined.
    NotJoined,
    /// Its source isn't one that is listened to.
    Filtered,
    /// It was marked congested on the way, and its sender doesn't understand marks (RFC 6040).
    Congested,
    /// A fragment of a packet that didn't come together: a part is missing, parts overlap, or there
    /// are too many such packets.
    Fragment,
}

/// How often each thing happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each counts what its name says")]
pub struct Counters {
    pub discoveries: u64,
    pub advertisements: u64,
    pub requests: u64,
    pub queries: u64,
    pub updates: u64,
    pub teardowns: u64,
    /// How often one relay was left for another.
    pub relay_changes: u64,
    /// Errors of the network (ICMP) for what was sent.
    pub unreachable: u64,
    /// Datagrams for the application.
    pub delivered: u64,
    pub delivered_bytes: u64,
    /// Packets that came in parts and were put together.
    pub reassembled: u64,
    pub malformed: u64,
    pub stranger: u64,
    pub unasked: u64,
    pub packet: u64,
    pub checksum: u64,
    pub protocol: u64,
    pub not_joined: u64,
    pub filtered: u64,
    pub congested: u64,
    pub fragment: u64,
}

impl Counters {
    pub(super) fn drop(&mut self, why: Dropped) {
        *match why {
            Dropped::Malformed => &mut self.malformed,
            Dropped::Stranger => &mut self.stranger,
            Dropped::Unasked => &mut self.unasked,
            Dropped::Packet => &mut self.packet,
            Dropped::Checksum => &mut self.checksum,
            Dropped::Protocol => &mut self.protocol,
            Dropped::NotJoined => &mut self.not_joined,
            Dropped::Filtered => &mut self.filtered,
            Dropped::Congested => &mut self.congested,
            Dropped::Fragment => &mut self.fragment,
        } += 1;
    }
}
