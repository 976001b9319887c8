//! What comes through a tunnel is handed out without allocating anything.

mod support;

use std::net::UdpSocket;
use std::ptr;
use std::time::Duration;

use castio::ffi::amt::*;
use castio::ffi::amt_receive::*;
use support::allocations::{Counting, allocations};
use support::amt::{OPTIONS, packet};
use support::datagrams::{empty_view, payload_of};
use support::face::{call, text};
use support::hosts;

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn receiving_allocates_nothing() {
    let relay = UdpSocket::bind("127.0.0.1:0").unwrap();
    relay.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (relays, group) = (text(&relay.local_addr().unwrap().to_string()), text("232.1.2.3"));
    let (mut handle, options) = (ptr::null_mut(), OPTIONS);
    // SAFETY: text, options with their size, a place; and the handle in it.
    unsafe {
        call(|| castio_amt_open(relays.as_ptr(), &raw const options, &raw mut handle)).unwrap();
        call(|| castio_amt_join(handle, group.as_ptr(), ptr::null())).unwrap();
    }
    // The Request tells where the gateway is; a relay that doesn't answer may send all the same.
    let (_, gateway) = relay.recv_from(&mut [0; 64]).unwrap();
    let mut views = vec![empty_view(); 64];
    for round in 0..3 {
        for number in 0..40 {
            let source = format!("192.0.2.{}", number % 3 + 1);
            let packet = packet(&source, "232.1.2.3", 5000, &"x".repeat(30 * number));
            relay.send_to(&[&[6, 0], packet.as_slice()].concat(), gateway).unwrap();
        }
        let mut count = 0;
        hosts::until("all 40", || {
            // SAFETY: a handle and an array.
            let call = || unsafe { castio_amt_receive(handle, views.as_mut_ptr(), views.len(), 1000) };
            let (got, allocated) = allocations(call);
            assert_eq!(allocated, 0, "in round {round}");
            for view in &views[..usize::try_from(got).unwrap_or(0)] {
                assert_eq!(payload_of(view).len(), 30 * count);
                count += 1;
            }
            count == 40
        });
    }
    // SAFETY: a handle, for the last time.
    unsafe { castio_amt_close(handle) };
}
