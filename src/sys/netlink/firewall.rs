//! What nftables drops: its chains and rules, by nfnetlink (<linux/netfilter/nf_tables.h>).

use super::{Message, Netlink, attributes, nested, u32_at};
use crate::error::Result;

const SUBSYSTEM: u16 = 10 << 8;
const NFT_MSG_GETCHAIN: u16 = 4;
const NFT_MSG_GETRULE: u16 = 7;
/// struct nfgenmsg, which begins with the family.
const FIXED: usize = 4;

const TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_COUNTERS: u16 = 8;
const HOOK_NUMBER: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const COUNTER_PACKETS: u16 = 2;
const IMMEDIATE_DATA: u16 = 2;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const TARGET_NAME: u16 = 1;
const NF_DROP: u32 = 0;

/// A chain of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// NFPROTO_INET and others.
    pub family: u8,
    /// Its table's name.
    pub table: String,
    /// Its own name.
    pub name: String,
    /// Where in a packet's way it is asked (NF_INET_LOCAL_IN and others); `None` for one that others
    /// jump to.
    pub hook: Option<u32>,
    /// Whether it drops what no rule decides on.
    pub drops_the_rest: bool,
    /// How many packets the policy decided on, if it counts.
    pub packets: Option<u64>,
}

/// A rule that drops or rejects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropRule {
    /// NFPROTO_INET and others.
    pub family: u8,
    /// Its table's name.
    pub table: String,
    /// Its chain's name.
    pub chain: String,
    /// How many packets it dropped, if it counts.
    pub packets: Option<u64>,
    /// Whether it drops all that comes to it.
    pub is_unconditional: bool,
    /// What it compares with, as nfnetlink has it.
    pub expressions: Vec<u8>,
}

/// The chains, and the rules that drop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// All chains.
    pub chains: Vec<Chain>,
    /// Rules that drop or reject.
    pub drops: Vec<DropRule>,
}

/// All of nftables. `EPERM` without CAP_NET_ADMIN; `EPROTONOSUPPORT` or `EINVAL` where the kernel
/// has none.
pub fn rules() -> Result<Rules> {
    let mut netlink = Netlink::of_protocol(libc::NETLINK_NETFILTER, 0)?;
    let chains = netlink.dump(SUBSYSTEM | NFT_MSG_GETCHAIN, &[0; FIXED], |message| message.chain())?;
    let drops = netlink.dump(SUBSYSTEM | NFT_MSG_GETRULE, &[0; FIXED], |message| message.drop_rule())?;
    Ok(Rules { chains, drops })
}

impl Message<'_> {
    fn chain(&self) -> Option<Chain> {
        let hook = self.attribute(FIXED, CHAIN_HOOK).and_then(|hook| number(nested(hook, HOOK_NUMBER)?));
        let policy = self.attribute(FIXED, CHAIN_POLICY).and_then(number);
        let counters = self.attribute(FIXED, CHAIN_COUNTERS);
        Some(Chain {
            family: *self.body.first()?,
            table: text(self.attribute(FIXED, TABLE)?),
            name: text(self.attribute(FIXED, CHAIN_NAME)?),
            hook,
            drops_the_rest: policy == Some(NF_DROP),
            packets: counters.and_then(|counters| long_number(nested(counters, COUNTER_PACKETS)?)),
        })
    }

    fn drop_rule(&self) -> Option<DropRule> {
        let expressions = self.attribute(FIXED, RULE_EXPRESSIONS)?;
        let (mut packets, mut is_unconditional, mut drops) = (None, true, false);
        for (_, expression) in attributes(expressions) {
            let data = nested(expression, EXPRESSION_DATA).unwrap_or_default();
            match nested(expression, EXPRESSION_NAME)? {
                b"counter\0" => packets = nested(data, COUNTER_PACKETS).and_then(long_number),
                b"immediate\0" => drops |= verdict(data) == Some(NF_DROP),
                b"reject\0" => drops = true,
                b"target\0" => drops |= nested(data, TARGET_NAME).is_some_and(|name| text(name) == "REJECT"),
                // These load and look, without deciding.
                b"meta\0" | b"payload\0" | b"log\0" => {}
                _ => is_unconditional = false,
            }
        }
        drops.then_some(DropRule {
            family: *self.body.first()?,
            table: text(self.attribute(FIXED, TABLE)?),
            chain: text(self.attribute(FIXED, RULE_CHAIN)?),
            packets,
            is_unconditional,
            expressions: expressions.to_vec(),
        })
    }
}

fn verdict(immediate: &[u8]) -> Option<u32> {
    number(nested(nested(nested(immediate, IMMEDIATE_DATA)?, DATA_VERDICT)?, VERDICT_CODE)?)
}

/// Netfilter's numbers are in network order.
fn number(bytes: &[u8]) -> Option<u32> {
    u32_at(bytes, 0).map(u32::from_be)
}

fn long_number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

#[cfg(test)]
pub(super) fn read(message: &Message<'_>) {
    let _ = (message.chain(), message.drop_rule());
}
