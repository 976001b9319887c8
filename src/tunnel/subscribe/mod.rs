//! A group wherever it comes from: native multicast first, AMT where there is none, and back.
//!
//! The native membership stands all the time, so that native traffic is noticed when it comes. While the
//! tunnel is in use both ways run side by side, and each datagram is handed out once.

pub mod duplicates;
pub mod switch;

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use super::amt::client::{Client, Delivered, Settings, groups};
use super::amt::gateway::State;
use crate::datagram::receive::View;
use crate::deadline::Deadline;
use crate::error::{Errno, Result};
use crate::multicast::manager::Manager;
use crate::multicast::manager::selector::Selector;
use crate::multicast::manager::wish::Key;
use crate::sys::descriptor::Descriptor;
use crate::sys::epoll::Readable;
use crate::sys::random;
use crate::sys::sockaddr::SocketAddress;
use duplicates::{Duplicates, Path};
use switch::{Action, Switch};

/// The numbers of the two ways' descriptors.
const NATIVE: u64 = 0;
const TUNNEL: u64 = 1;

/// A datagram, and how it came.
pub enum Arrival<'a> {
    /// As multicast.
    Native(View<'a>),
    /// Through the tunnel.
    Tunnel(&'a Delivered<'a>),
}

/// What was handed out and dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Came natively, first.
    pub native: u64,
    /// Came through the tunnel, first.
    pub tunnel: u64,
    /// Came once more by the other way.
    pub duplicates: u64,
    /// How often the tunnel was joined.
    pub fallbacks: u64,
}

/// One group, or one source of it, on one port.
pub struct Subscription<'fd> {
    key: Key,
    manager: Manager<'fd>,
    client: Client,
    switch: Switch,
    duplicates: Duplicates,
    readable: Readable,
    to: SocketAddress,
    counters: Counters,
    /// Which way is read first; in turn, so that neither takes all the room.
    is_tunnels_turn: bool,
}

impl<'fd> Subscription<'fd> {
    /// Joins natively on a socket that is bound to the group and the port. `EINVAL` for a group that no
    /// relay carries.
    pub fn open(
        socket: impl Into<Descriptor<'fd>>,
        key: Key,
        port: u16,
        selector: Selector,
        settings: Settings,
        wait: Duration,
    ) -> Result<Subscription<'fd>> {
        groups::check(key.group, key.source)?;
        let client = Client::open(settings)?;
        let mut manager = Manager::open(socket, None, 0)?;
        manager.add(key, selector)?;
        let mut readable = Readable::new(2)?;
        readable.add(manager.receive_descriptor()?, NATIVE)?;
        readable.add(client.fd(), TUNNEL)?;
        Ok(Subscription {
            key,
            manager,
            client,
            switch: Switch::new(Instant::now(), wait),
            duplicates: Duplicates::new(u64::from_ne_bytes(random::bytes())),
            readable,
            to: SocketAddr::new(key.group, port).into(),
            counters: Counters::default(),
            is_tunnels_turn: false,
        })
    }

    /// The group and the port: where everything is sent that comes.
    pub fn to(&self) -> &SocketAddress {
        &self.to
    }

    /// Waits until there is a datagram, keeping everything up meanwhile, then calls `each` for at most
    /// `limit`; how many. Their memory stays as it is until the next call.
    pub fn receive(
        &mut self,
        limit: usize,
        mut deadline: Deadline,
        mut each: impl FnMut(Arrival<'_>),
    ) -> Result<usize> {
        if limit == 0 {
            return Ok(0);
        }
        loop {
            let count = self.take(limit, &mut each)?;
            self.decide();
            if count > 0 {
                return Ok(count);
            }
            deadline.wait_or_due(self.readable.fd(), self.timer())?;
        }
    }

    /// What has come, by both ways: where both have something, the first gets half of the room at most.
    fn take(&mut self, limit: usize, each: &mut impl FnMut(Arrival<'_>)) -> Result<usize> {
        let (is_native, is_tunnel) = self.ready()?;
        match (is_native, is_tunnel) {
            (true, true) => {}
            (true, false) => return self.take_native(limit, each),
            (false, true) => return self.take_tunnel(limit, each),
            (false, false) => return Ok(0),
        }
        let half = limit.div_ceil(2);
        self.is_tunnels_turn = !self.is_tunnels_turn;
        if self.is_tunnels_turn {
            let tunnel = self.take_tunnel(half, each)?;
            Ok(tunnel + self.take_native(limit - tunnel, each)?)
        } else {
            let native = self.take_native(half, each)?;
            Ok(native + self.take_tunnel(limit - native, each)?)
        }
    }

    /// Which of the two has something to do.
    fn ready(&mut self) -> Result<(bool, bool)> {
        let is_due = |timer: Option<Instant>| timer.is_some_and(|at| at <= Instant::now());
        let native = self.manager.holds_datagrams() || is_due(self.manager.timer());
        let mut ready = (native, is_due(self.client.timer()));
        for number in self.readable.take()? {
            match number {
                NATIVE => ready.0 = true,
                _ => ready.1 = true,
            }
        }
        if !self.duplicates.is_empty() {
            let now = Instant::now();
            for path in [(ready.0, Path::Native), (ready.1, Path::Tunnel)] {
                if let (false, path) = path {
                    self.duplicates.drained(now, path);
                }
            }
        }
        Ok(ready)
    }

    /// What has come natively.
    fn take_native(&mut self, limit: usize, each: &mut impl FnMut(Arrival<'_>)) -> Result<usize> {
        if limit == 0 {
            return Ok(0);
        }
        let (now, mut count) = (Instant::now(), 0);
        // Without a tunnel, now or just before, nothing can come twice.
        let is_watching = self.switch.is_tunnel() || !self.duplicates.is_empty();
        let (switch, duplicates, counters) = (&mut self.switch, &mut self.duplicates, &mut self.counters);
        let result = self.manager.receive(limit, Deadline::Now, |view| {
            if let Some(from) = view.source() {
                switch.arrived(now, Path::Native, from.ip());
                if is_watching && !duplicates.is_new(now, Path::Native, from, view.bytes()) {
                    counters.duplicates += 1;
                    return;
                }
            }
            counters.native += 1;
            count += 1;
            each(Arrival::Native(view));
        });
        match result {
            Ok(_) | Err(Errno::EAGAIN) => Ok(count),
            Err(error) => Err(error),
        }
    }

    /// What has come through the tunnel.
    fn take_tunnel(&mut self, limit: usize, each: &mut impl FnMut(Arrival<'_>)) -> Result<usize> {
        if limit == 0 {
            // The relay is answered all the same.
            return self.client.process().map(|_| 0);
        }
        let (now, mut count) = (Instant::now(), 0);
        let (switch, duplicates, counters) = (&mut self.switch, &mut self.duplicates, &mut self.counters);
        let port = self.to.internet().map_or(0, |to| to.port());
        self.client.take(limit, &mut |delivered: &Delivered<'_>| {
            let (from, to) = delivered.ends;
            // A tunnel has no ports: the group's others come, too.
            if to.port() != port {
                return;
            }
            switch.arrived(now, Path::Tunnel, from.ip());
            if duplicates.is_new(now, Path::Tunnel, from, delivered.payload) {
                counters.tunnel += 1;
                count += 1;
                each(Arrival::Tunnel(delivered));
            } else {
                counters.duplicates += 1;
            }
        })?;
        Ok(count)
    }

    /// Does what there is to do, without waiting.
    pub fn process(&mut self) -> Result<()> {
        self.manager.process()?;
        self.client.process()?;
        self.decide();
        Ok(())
    }

    /// Joins through the tunnel, or leaves there.
    fn decide(&mut self) {
        let (now, Key { group, source }) = (Instant::now(), self.key);
        self.duplicates.expire();
        if self.client.state() == State::Active {
            self.switch.stands(now);
        }
        // The group was checked, and is joined and left in turn: neither can fail.
        match self.switch.handle_timeout(now) {
            None => {}
            Some(Action::Join) => {
                self.counters.fallbacks += 1;
                let _ = self.client.join(group, source);
            }
            Some(Action::Leave) => {
                self.duplicates.tunnel_ends();
                let _ = self.client.leave(group, source);
            }
        }
    }

    /// When there is something to do by time.
    pub fn timer(&self) -> Option<Instant> {
        let held = self.manager.holds_datagrams().then(Instant::now);
        [held, self.manager.timer(), self.client.timer(), self.switch.timeout()].into_iter().flatten().min()
    }

    /// To wait on.
    pub fn raw_fd(&self) -> i32 {
        self.readable.fd().as_raw_fd()
    }

    /// The ways that are in use: natively, through the tunnel.
    pub fn paths(&self) -> (bool, bool) {
        (self.switch.is_native(Instant::now()), self.switch.is_tunnel())
    }

    /// The tunnel's end.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What was handed out and dropped.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
