//! What filters: nftables, as far as it tells, and the older iptables, which doesn't.

use std::net::IpAddr;

use super::facts::Facts;
use super::findings::{Code, Finding};
use super::host::Firewall;
use crate::sys::netlink::firewall::{Chain, DropRule, Rules};

// <linux/netfilter.h>
const INET: u8 = 1;
const IPV4: u8 = 2;
const NETDEV: u8 = 5;
const BRIDGE: u8 = 7;
const IPV6: u8 = 10;
const PREROUTING: u32 = 0;
const LOCAL_IN: u32 = 1;
const LOCAL_OUT: u32 = 3;
const POSTROUTING: u32 = 4;
/// NF_INET_INGRESS
const INGRESS: u32 = 5;

/// Where a datagram passes.
struct Path<'f> {
    rules: &'f Rules,
    group: IpAddr,
    port: u16,
    sends: bool,
}

impl<'f> Path<'f> {
    fn new(facts: &'f Facts, sends: bool) -> Option<Path<'f>> {
        match &facts.firewall {
            Firewall::Rules(rules, _) => Some(Path { rules, group: facts.question.group, port: facts.port(), sends }),
            _ => None,
        }
    }

    fn passes_family(&self, family: u8) -> bool {
        match family {
            INET | NETDEV | BRIDGE => true,
            IPV4 => self.group.is_ipv4(),
            IPV6 => self.group.is_ipv6(),
            _ => false,
        }
    }

    /// One that others jump to may be anywhere.
    fn passes(&self, chain: &Chain) -> bool {
        let is_on_the_way = match (chain.hook, self.sends) {
            (None, _) => true,
            // Ingress is 0 there, and egress 1.
            (Some(hook), sends) if chain.family == NETDEV => hook == u32::from(sends),
            (Some(hook), true) => [LOCAL_OUT, POSTROUTING].contains(&hook),
            (Some(hook), false) => [PREROUTING, LOCAL_IN, INGRESS].contains(&hook),
        };
        self.passes_family(chain.family) && is_on_the_way
    }

    fn chains(&self) -> impl Iterator<Item = &'f Chain> {
        self.rules.chains.iter().filter(|chain| self.passes(chain))
    }

    fn drops(&self) -> impl Iterator<Item = &'f DropRule> {
        let is_of = |rule: &DropRule, chain: &Chain| {
            (rule.family, &rule.table, &rule.chain) == (chain.family, &chain.table, &chain.name)
        };
        self.rules.drops.iter().filter(move |rule| self.chains().any(|chain| is_of(rule, chain)))
    }

    /// Whether it is about all, or about this group or this port.
    fn is_meant(&self, rule: &DropRule) -> bool {
        let has = |bytes: &[u8]| rule.expressions.windows(bytes.len()).any(|window| window == bytes);
        let names_group = match self.group {
            IpAddr::V4(v4) => has(&v4.octets()),
            IpAddr::V6(v6) => has(&v6.octets()),
        };
        // As a value of its own: a length of 6, NFTA_DATA_VALUE, the port.
        let [high, low] = self.port.to_be_bytes();
        let [[length, zero], [kind, none]] = [6_u16.to_ne_bytes(), 1_u16.to_ne_bytes()];
        rule.is_unconditional || names_group || has(&[length, zero, kind, none, high, low])
    }

    /// Rules and policies that have dropped something that this group's may have been among.
    fn counted(&self) -> Option<String> {
        let meant = self.drops().filter(|rule| self.is_meant(rule));
        let by_rule = meant.filter_map(|rule| Some((rule.packets.filter(|packets| *packets > 0)?, rule)));
        if let Some((packets, rule)) = by_rule.max_by_key(|(packets, _)| *packets) {
            let where_ = format!("table {} {}, chain {}", family(rule.family), rule.table, rule.chain);
            return Some(format!("a rule of nftables ({where_}) has dropped {packets} packets so far"));
        }
        let policies = self.chains().filter(|chain| chain.drops_the_rest);
        let by_policy = policies.filter_map(|chain| Some((chain.packets.filter(|packets| *packets > 0)?, chain)));
        let (packets, chain) = by_policy.max_by_key(|(packets, _)| *packets)?;
        let where_ = format!("table {} {}, chain {}", family(chain.family), chain.table, chain.name);
        Some(format!("the policy of nftables ({where_}) has dropped {packets} packets so far"))
    }

    /// How many rules and policies may drop, without anything that says whether they did.
    fn uncounted(&self) -> usize {
        self.drops().filter(|rule| rule.packets != Some(0)).count()
            + self.chains().filter(|chain| chain.drops_the_rest && chain.packets != Some(0)).count()
    }
}

fn family(number: u8) -> &'static str {
    match number {
        INET => "inet",
        IPV4 => "ip",
        NETDEV => "netdev",
        BRIDGE => "bridge",
        IPV6 => "ip6",
        _ => "of another family",
    }
}

fn drops(facts: &Facts, sends: bool) -> Option<Finding> {
    let cause = Path::new(facts, sends)?.counted()?;
    Some(Finding::new(Code::FirewallDrops, facts, cause))
}

fn unchecked(facts: &Facts, sends: bool) -> Option<Finding> {
    if drops(facts, sends).is_some() {
        return None;
    }
    let cause = match &facts.firewall {
        Firewall::Nothing => return None,
        Firewall::Unreadable(error) => {
            format!("nftables' rules can't be read ({error:?}; it takes CAP_NET_ADMIN): a firewall may drop")
        }
        Firewall::Rules(_, legacy) if !legacy.is_empty() => {
            format!("iptables-legacy is in use ({}), and its rules weren't looked at", legacy.join(", "))
        }
        Firewall::Rules(..) => match Path::new(facts, sends)?.uncounted() {
            0 => return None,
            count => format!(
                "{count} rules or policies of nftables drop packets on the way; whether the group's can't be told"
            ),
        },
    };
    let finding = Finding::new(Code::FirewallUnchecked, facts, cause);
    let is_legacy = matches!(&facts.firewall, Firewall::Rules(_, legacy) if !legacy.is_empty());
    Some(if is_legacy {
        finding.cured_by(facts, "look at \"iptables-legacy -L -v -n\" and \"ip6tables-legacy -L -v -n\"")
    } else {
        finding
    })
}

/// On the way in.
pub fn drops_received(facts: &Facts) -> Option<Finding> {
    drops(facts, false)
}

/// On the way out.
pub fn drops_sent(facts: &Facts) -> Option<Finding> {
    drops(facts, true)
}

/// On the way in.
pub fn unchecked_received(facts: &Facts) -> Option<Finding> {
    unchecked(facts, false)
}

/// On the way out.
pub fn unchecked_sent(facts: &Facts) -> Option<Finding> {
    unchecked(facts, true)
}
