//! Bridges, and the interfaces that are their ports: RTM_GETLINK.

use super::{LINK_BYTES, Message, Netlink, nested, u32_at};
use crate::error::{Errno, Result};

// <linux/if_link.h>
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_BR_MCAST_QUERIER: u16 = 25;
/// Since Linux 5.16.
const IFLA_BR_MCAST_QUERIER_STATE: u16 = 47;
/// Since Linux 6.7, and always there.
const IFLA_BR_FDB_N_LEARNED: u16 = 48;
// <linux/if_bridge.h>
const BRIDGE_QUERIER_IP_ADDRESS: u16 = 1;
const BRIDGE_QUERIER_IPV6_ADDRESS: u16 = 5;

/// What a bridge does with multicast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bridge {
    /// It listens to reports, and sends groups to where they were asked for alone.
    pub is_snooping: bool,
    /// It asks for reports itself.
    pub is_querier: bool,
    /// An IGMP querier has been heard. `None` on a kernel that doesn't tell.
    pub heard_ipv4: Option<bool>,
    /// An MLD querier has been heard. `None` on a kernel that doesn't tell.
    pub heard_ipv6: Option<bool>,
}

/// An interface's place among others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The index of the interface that it belongs to (bridge, bond, VRF), 0 if none.
    pub master: u32,
    /// Whether what arrives is the master's: of a bridge's, bond's or team's port, not of a VRF's.
    pub is_port: bool,
    /// If it is a bridge.
    pub bridge: Option<Bridge>,
}

impl Netlink {
    /// Where an interface stands. `ENODEV` if there is none of that index.
    pub fn place(&mut self, interface: u32) -> Result<Place> {
        let mut body = vec![0; 4];
        body.extend_from_slice(&interface.to_ne_bytes());
        body.resize(LINK_BYTES, 0);
        let mut found = None;
        self.request(libc::RTM_GETLINK, &body, |message| found = Some(message.place()))?;
        found.ok_or(Errno::ENODEV)
    }
}

impl Message<'_> {
    fn place(&self) -> Place {
        let master = self.attribute(LINK_BYTES, libc::IFLA_MASTER).and_then(|bytes| u32_at(bytes, 0));
        Place { master: master.unwrap_or(0), is_port: self.is_port(), bridge: self.bridge() }
    }

    fn is_port(&self) -> bool {
        let kind = self.attribute(LINK_BYTES, libc::IFLA_LINKINFO).and_then(|link| nested(link, IFLA_INFO_SLAVE_KIND));
        matches!(kind, Some(b"bridge\0" | b"bond\0" | b"team\0" | b"openvswitch\0"))
    }

    fn bridge(&self) -> Option<Bridge> {
        let link = self.attribute(LINK_BYTES, libc::IFLA_LINKINFO)?;
        if nested(link, libc::IFLA_INFO_KIND)? != b"bridge\0" {
            return None;
        }
        let data = nested(link, libc::IFLA_INFO_DATA)?;
        let is_on = |kind| nested(data, kind).and_then(|bytes| bytes.first()).is_some_and(|value| *value != 0);
        // Left out when there is nothing to tell, and by kernels that know no such thing.
        let heard = nested(data, IFLA_BR_MCAST_QUERIER_STATE);
        let tells = heard.is_some() || nested(data, IFLA_BR_FDB_N_LEARNED).is_some();
        let has = |kind| tells.then(|| heard.is_some_and(|state| nested(state, kind).is_some()));
        Some(Bridge {
            is_snooping: is_on(IFLA_BR_MCAST_SNOOPING),
            is_querier: is_on(IFLA_BR_MCAST_QUERIER),
            heard_ipv4: has(BRIDGE_QUERIER_IP_ADDRESS),
            heard_ipv6: has(BRIDGE_QUERIER_IPV6_ADDRESS),
        })
    }
}

#[cfg(test)]
pub(super) fn read(message: &Message<'_>) {
    let _ = message.place();
}
