//! Holding a source back, so that no more is under way than the far end has room for, and measuring what
//! arrives.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use crate::tally::Tally;

/// Long enough for what is under way to arrive: after that it is lost.
const PATIENCE: Duration = Duration::from_millis(20);
/// Left out at the start, while caches and queues fill.
const WARM_UP: Duration = Duration::from_millis(15);
const NAP: Duration = Duration::from_micros(10);
/// How often it looks before it sleeps.
const LOOKS: u32 = 50;

pub struct Window<'t> {
    tally: &'t Tally,
    /// The most that is under way.
    pub size: u64,
    sent: u64,
    lost: u64,
}

impl<'t> Window<'t> {
    pub fn new(tally: &'t Tally, size: u64) -> Window<'t> {
        // SAFETY: no memory involved: naps end when they should.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
        Window { tally, size, sent: 0, lost: 0 }
    }

    /// Waits until no more than so many are under way.
    fn wait(&mut self, most: u64) {
        let (mut seen, mut at, mut looks) = (self.tally.received.load(Acquire), Instant::now(), 0);
        while self.sent > seen + self.lost + most {
            let count = self.tally.received.load(Acquire);
            if count != seen {
                (seen, at) = (count, Instant::now());
            } else if at.elapsed() > PATIENCE {
                self.lost = self.sent.saturating_sub(seen);
            } else if looks > LOOKS {
                std::thread::sleep(NAP);
            } else {
                std::hint::spin_loop();
            }
            looks += 1;
        }
    }

    /// Sends for so long, `send` as many as it is told; it says how many it did.
    pub fn run(&mut self, time: Duration, batch: u64, mut send: impl FnMut(u64) -> u64) {
        let batch = batch.min(self.size);
        let warm = Instant::now() + WARM_UP;
        let mut begin: Option<(Instant, u64, u64)> = None;
        loop {
            let now = Instant::now();
            match begin {
                None if now >= warm && self.tally.received.load(Acquire) > 0 => {
                    begin = Some((now, self.tally.received.load(Acquire), self.tally.cpu_of_all()))
                }
                Some((start, packets, cpu)) if now >= start + time => {
                    self.tally.packets.store(self.tally.received.load(Acquire) - packets, Relaxed);
                    self.tally.cpu.store(self.tally.cpu_of_all() - cpu, Relaxed);
                    self.tally.ns.store(start.elapsed().as_nanos() as u64, Relaxed);
                    break;
                }
                _ => {}
            }
            self.wait(self.size - batch);
            self.sent += send(batch);
        }
        self.wait(0);
        self.tally.sent.store(self.sent, Relaxed);
        self.tally.lost.store(self.sent.saturating_sub(self.tally.received.load(Acquire)), Relaxed);
        self.tally.stop.store(1, Release);
    }
}
