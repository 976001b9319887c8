//! A list of relays for a source, as [`client`](super::client) takes it.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::PORT;
use super::client::text;
use super::driad::ANYCAST_RELAYS;
use super::resolver::{Candidate, Candidates, resolve};
use crate::error::{Errno, Result};

/// Where this host's DNS servers are told: resolv.conf(5).
const SERVERS: &str = "/etc/resolv.conf";

/// The text of [`find`], by this host's DNS servers.
pub fn find_here(source: IpAddr, timeout: Duration) -> Result<String> {
    find(source, timeout, &servers()?)
}

/// No file is an empty one (man page).
fn servers() -> Result<String> {
    match fs::read(SERVERS) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)),
    }
}

/// The relays that DNS tells for a source, with commas between, behind them the anycast addresses: a relay
/// that is near may carry the source too. (RFC 8777, section 3.1.2, would have these first. They are tried
/// one after the other, though, and hardly a network has such a relay.)
///
/// `EINVAL` for a source that no host can be; `ENOENT` if DNS says that no relay is to be used;
/// otherwise the errors of [`Resolver::relays_of`](super::resolver::Resolver::relays_of), but for a name
/// that isn't there.
pub fn find(source: IpAddr, timeout: Duration, resolv_conf: &str) -> Result<String> {
    if source.is_unspecified() || source.is_multicast() {
        return Err(Errno::EINVAL);
    }
    let found = match resolve(source, timeout, resolv_conf) {
        Err(Errno::ENOENT) => Candidates::default(),
        result => result?,
    };
    let list = list(&found);
    if list.is_empty() { Err(Errno::ENOENT) } else { Ok(list.join(",")) }
}

fn list(found: &Candidates) -> Vec<String> {
    let anycast = ANYCAST_RELAYS.map(|ip| SocketAddr::new(ip, PORT));
    let others = if found.no_others { [].as_slice() } else { &anycast };
    let all = found.relays.iter().map(|Candidate { endpoint, .. }| endpoint).chain(others);
    // Whatever a record says: one that nobody can have would spoil the list.
    let mut usable: Vec<SocketAddr> = Vec::new();
    for address in all.filter_map(|address| text::check(*address).ok()) {
        if !usable.contains(&address) {
            usable.push(address);
        }
    }
    usable.iter().map(shown).collect()
}

fn shown(address: &SocketAddr) -> String {
    if address.port() == PORT { address.ip().to_string() } else { address.to_string() }
}
