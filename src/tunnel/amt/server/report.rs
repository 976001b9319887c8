//! A relay's state as JSON.

use super::Server;
use crate::diagnose::json::{Value, object};
use crate::tunnel::amt::mac::Capability;
use crate::tunnel::amt::relay::{Member, Tunnel};

impl Server {
    /// Counters, tunnels with their groups, and groups with how many tunnels want them.
    pub fn report(&self) -> Value {
        let mut counters = Vec::new();
        self.counters().each(|name, count| counters.push((name, number(count))));
        counters.push(("refused_joins", number(self.refused_joins())));
        let listen = self.listeners.iter().map(|listener| Value::from(listener.address.to_string()));
        let tunnels = self.relay.tunnels().map(|tunnel| self.tunnel(tunnel));
        let groups = self.relay.channels().map(|channel| {
            let tunnels = number(channel.members().len() as u64);
            object([("group", channel.group.to_string().into()), ("tunnels", tunnels)])
        });
        object([
            ("listen", Value::List(listen.collect())),
            ("counters", Value::Object(counters)),
            ("tunnels", Value::List(tunnels.collect())),
            ("groups", Value::List(groups.collect())),
        ])
    }

    fn tunnel(&self, tunnel: &Tunnel) -> Value {
        let groups = self.relay.groups_of(tunnel).map(|(group, member)| membership(group.to_string(), member));
        object([
            ("gateway", tunnel.endpoint.to_string().into()),
            ("ecn", (tunnel.capability == Capability::Ecn).into()),
            ("linux", (tunnel.capability == Capability::Linux).into()),
            ("groups", Value::List(groups.collect())),
        ])
    }
}

fn membership(group: String, member: &Member) -> Value {
    let filter = &member.filter;
    let included = filter.included().map(|source| Value::from(source.to_string())).collect();
    let excluded = filter.excluded().map(|source| Value::from(source.to_string())).collect();
    object([
        ("group", group.into()),
        ("all", filter.is_open().into()),
        ("sources", Value::List(included)),
        ("without", Value::List(excluded)),
    ])
}

fn number(count: u64) -> Value {
    Value::Number(count.into())
}
