//! A forwarder between an AMT gateway and a relay that loses and reorders what it gets, by a seed.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::hosts::Host;

/// What it did.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// Messages other than Data that it lost, and that it let through.
    pub control_lost: usize,
    pub control_passed: usize,
    /// Data that it lost, and messages that it held back until the next.
    pub data_lost: usize,
    pub held: usize,
    /// The Data that it let through, in this order.
    pub data: Vec<Vec<u8>>,
}

/// Stopped when dropped.
pub struct Lossy {
    done: Arc<Mutex<Done>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// RFC 7450, section 5.1.6.
const DATA: u8 = 6;

/// Numbers by a seed (xorshift).
struct Random(u64);

impl Random {
    /// One below the limit.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

impl Lossy {
    /// On a host, at an address that a gateway takes for the relay's: of ten messages each way it loses two
    /// and lets another two be overtaken.
    pub fn new(host: &Host, at: SocketAddr, relay: SocketAddr, seed: u64) -> Lossy {
        let [front, back] = host.run(|| {
            let back = UdpSocket::bind(if relay.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
            back.connect(relay).unwrap();
            [UdpSocket::bind(at).unwrap(), back]
        });
        for socket in [&front, &back] {
            socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        }
        let (done, stop) = (Arc::new(Mutex::new(Done::default())), Arc::new(AtomicBool::new(false)));
        let gateway = Arc::new(Mutex::new(None));
        let to_relay = {
            let (front, back, gateway) = (front.try_clone().unwrap(), back.try_clone().unwrap(), Arc::clone(&gateway));
            let take = move |bytes: &mut [u8]| {
                let (len, from) = front.recv_from(bytes).ok()?;
                *gateway.lock().unwrap() = Some(from);
                Some(len)
            };
            // Nobody there, for a while: lost.
            (Box::new(take) as Take, Box::new(move |bytes: &[u8]| _ = back.send(bytes)) as Give)
        };
        let give = move |bytes: &[u8]| {
            if let Some(gateway) = *gateway.lock().unwrap() {
                front.send_to(bytes, gateway).unwrap();
            }
        };
        let to_gateway = (Box::new(move |bytes: &mut [u8]| back.recv(bytes).ok()) as Take, Box::new(give) as Give);
        let threads = [to_relay, to_gateway].into_iter().zip(seed..).map(|((take, give), seed)| {
            let (done, stop) = (Arc::clone(&done), Arc::clone(&stop));
            thread::spawn(move || {
                forward(take, give, Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1), &done, &stop)
            })
        });
        Lossy { threads: threads.collect(), done, stop }
    }

    /// What it did so far.
    pub fn done(&self) -> Done {
        self.done.lock().unwrap().clone()
    }
}

type Take = Box<dyn FnMut(&mut [u8]) -> Option<usize> + Send>;
type Give = Box<dyn FnMut(&[u8]) + Send>;

fn forward(mut take: Take, mut give: Give, mut random: Random, done: &Mutex<Done>, stop: &AtomicBool) {
    let mut bytes = vec![0; 65_536];
    let mut held: Option<Vec<u8>> = None;
    while !stop.load(Ordering::Relaxed) {
        let came = take(&mut bytes).map(|len| bytes[..len].to_vec());
        let mut pass = |message: Vec<u8>, done: &mut Done| {
            give(&message);
            if message[0] == DATA { done.data.push(message) } else { done.control_passed += 1 }
        };
        let mut done = done.lock().unwrap();
        let chance = random.below(10);
        match came {
            Some(message) if chance < 2 => {
                *(if message[0] == DATA { &mut done.data_lost } else { &mut done.control_lost }) += 1;
            }
            Some(message) if chance < 4 && held.is_none() => {
                done.held += 1;
                held = Some(message);
            }
            Some(message) => {
                pass(message, &mut done);
                held.take().into_iter().for_each(|message| pass(message, &mut done));
            }
            // Nothing follows that could overtake it.
            None => held.take().into_iter().for_each(|message| pass(message, &mut done)),
        }
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| _ = thread.join());
    }
}
