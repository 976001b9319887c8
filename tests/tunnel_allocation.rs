//! Tunnels and bridges allocate nothing for what they carry: all of it was allocated with the handle.

mod support;

use std::ptr;

use castio::ffi::bridge::{castio_bridge_close, castio_bridge_open, castio_bridge_options, castio_bridge_process};
use castio::ffi::tunnel::*;
use libc::iovec;
use support::allocations::{Counting, allocations};
use support::bridges::Lans;
use support::hosts::{self, Host};
use support::tunnels::{Inner, OPTIONS, Path, Tunnel, as_iovec};
use support::udp::Family;

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(Box::new([0_u64; 8]))).1, 1);
}

#[test]
fn sending_and_receiving_through_a_tunnel_allocates_nothing() {
    hosts::test(|network| {
        let path = Path::new(network);
        for (kind, flags) in [
            (CASTIO_TUNNEL_IPIP, 0),
            (CASTIO_TUNNEL_GRE, CASTIO_TUNNEL_CHECKSUM | CASTIO_TUNNEL_SEQUENCE),
            (CASTIO_TUNNEL_GRE_UDP, CASTIO_TUNNEL_FRAGMENT),
            (CASTIO_TUNNEL_UDP, 0),
        ] {
            let (a, b) = path.tunnel(kind, Family::V4, &castio_tunnel_options { flags, ..OPTIONS });
            let packets: Vec<_> = (0..40).map(|number| Inner { number, ..Inner::new(Family::V4) }.packet()).collect();
            let list: Vec<iovec> = packets.iter().map(|packet| as_iovec(packet)).collect();
            let mut views = vec![as_iovec(&[]); 40];
            for _ in 0..3 {
                // SAFETY: a handle and an array of packets.
                let (sent, count) = allocations(|| unsafe {
                    castio_tunnel_send(a.raw(), list.as_ptr(), list.len(), 1000, ptr::null_mut())
                });
                assert_eq!((sent, count), (40, 0), "{kind}");
                let mut taken = 0;
                while taken < 40 {
                    // SAFETY: a handle and an array.
                    let (got, count) =
                        allocations(|| unsafe { castio_tunnel_receive(b.raw(), views.as_mut_ptr(), 40, 10_000) });
                    assert_eq!(count, 0, "{kind}");
                    taken += usize::try_from(got).unwrap();
                }
            }
        }
    });
}

/// A bridge that takes everything in from one interface, or puts on another what comes.
fn processed(host: &Host, tunnel: &Tunnel, ingress: bool, work: impl Fn(&dyn Fn() -> usize) + Sync) {
    let raw = tunnel.raw() as usize;
    host.run(|| {
        let (name, all) = (c"lan".as_ptr(), c"*".as_ptr());
        let options = castio_bridge_options {
            struct_size: size_of::<castio_bridge_options>(),
            ingress: if ingress { name } else { ptr::null() },
            groups: all,
            egress: if ingress { ptr::null() } else { name },
            flags: 0,
            least_ttl: 0,
            least_scope: 0,
        };
        let mut bridge = ptr::null_mut();
        // SAFETY: a handle, options, and a place; then a handle that is closed once.
        unsafe {
            assert_eq!(castio_bridge_open(raw as *mut _, &raw const options, &raw mut bridge), 0);
            work(&|| usize::try_from(castio_bridge_process(bridge)).unwrap());
            castio_bridge_close(bridge);
        }
    });
}

#[test]
fn a_bridge_allocates_nothing_once_it_runs() {
    hosts::test(|network| {
        let lans = Lans::new(network);
        let (a, b) = lans.path.tunnel(CASTIO_TUNNEL_UDP, Family::V4, &OPTIONS);
        let packets: Vec<_> = (0..40).map(|number| Inner { number, ..Inner::new(Family::V4) }.packet()).collect();
        processed(&lans.path.b, &b, false, |process| rounds(process, &|| a.send(&packets)));
        let sender = lans.sender(Family::V4, 9);
        let send = || (0..40).for_each(|number| sender.send(&format!("number {number}"), "239.1.2.3"));
        processed(&lans.path.a, &a, true, |process| rounds(process, &send));
    });
}

/// Carries what is sent, again and again. The first time it is found out how large batches are.
fn rounds(process: &dyn Fn() -> usize, send: &dyn Fn()) {
    for round in 0..4 {
        send();
        let mut done = 0;
        hosts::until("all are carried", || {
            let (count, allocated) = allocations(process);
            done += count;
            assert!(allocated == 0 || round == 0, "{allocated}");
            done == 40
        });
    }
}
