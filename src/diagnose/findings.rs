//! What can be found: codes, names, how bad each is and what cures it, in one table.

use std::ffi::CStr;

use super::facts::Facts;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It couldn't be checked.
    Unchecked = 0,
    /// It works now, and will surprise.
    Risk = 1,
    /// Most likely a reason.
    Likely = 2,
    /// Nothing can arrive, or leave, so long as this is so.
    Broken = 3,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// What was seen, with its figures.
    pub cause: String,
    /// What to do.
    pub cure: String,
}

impl Finding {
    /// As bad as the table says, and cured by what it says.
    pub fn new(code: Code, facts: &Facts, cause: String) -> Finding {
        let entry = code.entry();
        let cure = facts.fill_in(entry.map_or("", |entry| entry.cure));
        let severity = entry.map_or(Severity::Unchecked, |entry| entry.severity);
        Finding { code, severity, cause, cure }
    }

    /// Better or worse than the table says.
    pub fn but(self, severity: Severity) -> Finding {
        Finding { severity, ..self }
    }

    /// Cured otherwise than the table says.
    pub fn cured_by(self, facts: &Facts, cure: &str) -> Finding {
        Finding { cure: facts.fill_in(cure), ..self }
    }
}

struct Entry {
    code: Code,
    name: &'static CStr,
    severity: Severity,
    cure: &'static str,
}

impl Code {
    fn entry(self) -> Option<&'static Entry> {
        TABLE.iter().find(|entry| entry.code == self)
    }
}

/// The name of a code, "NOT_JOINED"; "UNKNOWN" for a number that is none.
pub fn name(code: i32) -> &'static CStr {
    TABLE.iter().find(|entry| entry.code as i32 == code).map_or(c"UNKNOWN", |entry| entry.name)
}

macro_rules! findings {
    ($($code:ident $number:literal $name:literal $severity:ident $cure:literal,)*) => {
        /// What is wrong.
        #[allow(missing_docs, reason = "the header says what each means")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code { $($code = $number,)* }

        static TABLE: &[Entry] = &[
            $(Entry { code: Code::$code, name: $name, severity: Severity::$severity, cure: $cure },)*
        ];
    };
}

// The words in braces are those of `Facts::fill_in`.
findings! {
    WrongFamily 1 c"WRONG_FAMILY" Broken "make the socket with socket(AF_INET6, SOCK_DGRAM, 0)",
    NotDatagram 2 c"NOT_DATAGRAM" Broken "make the socket with socket({domain}, SOCK_DGRAM, 0)",
    Ipv6Only 3 c"IPV6_ONLY" Broken
        "make the socket with socket(AF_INET, SOCK_DGRAM, 0), or set IPV6_V6ONLY to 0 before bind()",
    InterfaceMissing 4 c"INTERFACE_MISSING" Broken
        "name one of the interfaces that \"ip link\" lists, or make this one",
    InterfaceDown 5 c"INTERFACE_DOWN" Broken "ip link set {interface} up",
    Ipv6Disabled 6 c"IPV6_DISABLED" Broken "sysctl -w {disable_ipv6}",
    NoCarrier 7 c"NO_CARRIER" Broken "plug the cable in, or bring the other end of {interface} up",
    InterfaceNotMulticast 8 c"INTERFACE_NOT_MULTICAST" Risk "ip link set {interface} multicast on",
    NoAddress 9 c"NO_ADDRESS" Risk "ip address add ADDRESS/PREFIX dev {interface}",
    NotBound 10 c"NOT_BOUND" Broken "bind() the socket to {wildcard} and port {port}",
    PortMismatch 11 c"PORT_MISMATCH" Broken "bind() a new socket to {wildcard} and port {port}",
    BoundToUnicast 12 c"BOUND_TO_UNICAST" Broken
        "bind() a new socket to {wildcard} or to {group}, port {port}; castio_open_receiver() does",
    BoundToOtherGroup 13 c"BOUND_TO_OTHER_GROUP" Broken "bind() a new socket to {group} or to {wildcard}, port {port}",
    ConnectedToGroup 14 c"CONNECTED_TO_GROUP" Broken
        "receive on a socket that isn't connected, and send by another or with sendto()",
    ConnectedElsewhere 15 c"CONNECTED_ELSEWHERE" Broken
        "use a socket that isn't connected, or connect() with AF_UNSPEC and bind() anew",
    BoundToDevice 16 c"BOUND_TO_DEVICE" Broken
        "setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, {c_interface}, ...), or \"\" for all interfaces",
    ReuseMix 17 c"REUSE_MIX" Broken
        "set SO_REUSEADDR on every socket of the port, or SO_REUSEPORT on every one, before bind()",
    UnicastBalanced 18 c"UNICAST_BALANCED" Risk
        "bind() to the group {group}, or set SO_REUSEADDR without SO_REUSEPORT on every socket of the port",
    NotJoined 19 c"NOT_JOINED" Broken "castio_join_group(fd, \"{group}\", {c_interface})",
    JoinedElsewhere 20 c"JOINED_ELSEWHERE" Broken "castio_join_group(fd, \"{group}\", {c_interface})",
    JoinedByAnother 21 c"JOINED_BY_ANOTHER" Risk "castio_join_group(fd, \"{group}\", {c_interface})",
    SourceExcluded 22 c"SOURCE_EXCLUDED" Broken
        "castio_join_source(fd, \"{group}\", \"{source}\", {c_interface})",
    SsmRange 23 c"SSM_RANGE" Likely
        "leave the group, then castio_join_source(fd, \"{group}\", \"{source}\", {c_interface})",
    SourceOutsideSsm 24 c"SOURCE_OUTSIDE_SSM" Risk "use a group of {ssm} for source-specific multicast",
    MulticastAllLeak 25 c"MULTICAST_ALL_LEAK" Risk "castio_set_multicast_all(fd, 0)",
    GroupLimit 26 c"GROUP_LIMIT" Broken
        "sysctl -w net.ipv4.igmp_max_memberships=MORE, or join further groups by another socket",
    SourceLimit 27 c"SOURCE_LIMIT" Broken "sysctl -w {source_limit}=MORE, or join further sources by another socket",
    OptmemLimit 28 c"OPTMEM_LIMIT" Broken
        "sysctl -w net.core.optmem_max=MORE, or join further groups by another socket",
    ForcedIgmpVersion 29 c"FORCED_IGMP_VERSION" Risk "sysctl -w {forced_version}",
    SnoopingWithoutQuerier 30 c"SNOOPING_WITHOUT_QUERIER" Risk "ip link set {bridge} type bridge mcast_querier 1",
    NoRouteBack 31 c"NO_ROUTE_BACK" Broken
        "ip route add {source}/32 dev {interface}, or sysctl -w {rp_filter}",
    QueueFull 32 c"QUEUE_FULL" Broken "read the socket faster, or castio_set_receive_buffer(fd, MORE)",
    Drops 33 c"DROPS" Likely "read the socket faster, or castio_set_receive_buffer(fd, MORE)",
    TtlZero 34 c"TTL_ZERO" Broken "castio_set_ttl(fd, 1) for this link, more to cross routers",
    TtlOne 35 c"TTL_ONE" Risk "castio_set_ttl(fd, 32)",
    LoopOff 36 c"LOOP_OFF" Risk "castio_set_loop(fd, 1)",
    NoMulticastRoute 37 c"NO_MULTICAST_ROUTE" Broken
        "castio_set_multicast_interface(fd, \"INTERFACE\"), or ip route add {group_network} dev INTERFACE",
    WrongOutgoingInterface 38 c"WRONG_OUTGOING_INTERFACE" Broken
        "castio_set_multicast_interface(fd, {c_interface})",
    NoSourceAddress 39 c"NO_SOURCE_ADDRESS" Broken "ip address add ADDRESS/PREFIX dev {interface}",
    FirewallDrops 40 c"FIREWALL_DROPS" Likely "let {protocol} to {group} port {port} pass before that rule",
    FirewallUnchecked 41 c"FIREWALL_UNCHECKED" Unchecked "look at \"nft list ruleset\"",
    OtherNamespace 42 c"OTHER_NAMESPACE" Unchecked
        "diagnose from a thread in the socket's own network namespace (setns(2), ip netns exec)",
    ProcUnchecked 43 c"PROC_UNCHECKED" Unchecked "mount proc at /proc, and look again",
    SocketFilter 44 c"SOCKET_FILTER" Likely
        "int no = 0; setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &no, sizeof no), or let the filter pass {group}",
    PortOfMaster 45 c"PORT_OF_MASTER" Broken "castio_join_group(fd, \"{group}\", {master})",
    SourceAddressGone 46 c"SOURCE_ADDRESS_GONE" Broken
        "bind() a new socket to an address of this host, or to {wildcard}",
    ReuseportGroup 47 c"REUSEPORT_GROUP" Likely
        "bind() every socket of the port with SO_REUSEADDR and without SO_REUSEPORT",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_up_from_1_and_names_are_the_codes() {
        for (at, entry) in TABLE.iter().enumerate() {
            assert_eq!(entry.code as usize, at + 1);
            let name = entry.name.to_str().unwrap();
            assert_eq!(name.replace('_', "").to_lowercase(), format!("{:?}", entry.code).to_lowercase());
            assert!(!entry.cure.is_empty() && entry.cure.len() < 200);
        }
        assert_eq!(super::name(19), c"NOT_JOINED");
        for none in [0, -1, i32::MIN, i32::MAX, TABLE.len() as i32 + 1] {
            assert_eq!(super::name(none), c"UNKNOWN");
        }
    }
}
