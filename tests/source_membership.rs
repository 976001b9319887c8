//! Sources of a group: joined, left, blocked, seen by who is heard.

mod support;

use castio::Errno;
use castio::ffi::multicast::filter::CASTIO_FILTER_INCLUDE;
use support::face::{BLOCK_SOURCE, Form, JOIN_SOURCE, LEAVE_SOURCE, UNBLOCK_SOURCE};
use support::hosts;
use support::link::{Kind, Watch};
use support::sources::{Lan, limit};
use support::udp::FAMILIES;

#[test]
fn only_the_sources_that_were_joined_are_heard() {
    hosts::test(|network| {
        Lan::new(network).each(|listener| {
            assert_eq!(listener.source(JOIN_SOURCE, 2), Ok(0));
            assert_eq!(listener.hears(), [2]);
            assert_eq!(listener.source(JOIN_SOURCE, 3), Ok(0));
            assert_eq!(listener.hears(), [2, 3]);
            assert_eq!(listener.source(JOIN_SOURCE, 3), Err(Errno::EADDRINUSE));
            assert_eq!(listener.source(LEAVE_SOURCE, 2), Ok(0));
            assert_eq!(listener.hears(), [3]);
            assert_eq!(listener.source(LEAVE_SOURCE, 2), Err(Errno::EADDRNOTAVAIL));
            assert_eq!(listener.hears(), [3]);
            // The last one leaves the group.
            assert_eq!(listener.source(LEAVE_SOURCE, 3), Ok(0));
            assert_eq!(listener.hears(), [0; 0]);
            assert_eq!(listener.leave(), Err(Errno::EADDRNOTAVAIL));
        });
    });
}

#[test]
fn leaving_a_group_leaves_all_its_sources() {
    hosts::test(|network| {
        Lan::new(network).each(|listener| {
            listener.source(JOIN_SOURCE, 1).unwrap();
            listener.source(JOIN_SOURCE, 2).unwrap();
            assert_eq!(listener.leave(), Ok(0));
            assert_eq!(listener.hears(), [0; 0]);
            assert_eq!(listener.filter(), Err(Errno::EADDRNOTAVAIL));
        });
    });
}

#[test]
fn a_blocked_source_is_not_heard_until_it_is_unblocked() {
    hosts::test(|network| {
        Lan::new(network).each(|listener| {
            listener.join().unwrap();
            assert_eq!(listener.hears(), [1, 2, 3]);
            assert_eq!(listener.source(BLOCK_SOURCE, 2), Ok(0));
            assert_eq!(listener.hears(), [1, 3]);
            assert_eq!(listener.source(BLOCK_SOURCE, 2), Err(Errno::EADDRINUSE));
            assert_eq!(listener.source(UNBLOCK_SOURCE, 3), Err(Errno::EADDRNOTAVAIL));
            assert_eq!(listener.source(BLOCK_SOURCE, 1), Ok(0));
            assert_eq!(listener.hears(), [3]);
            assert_eq!(listener.source(UNBLOCK_SOURCE, 2), Ok(0));
            assert_eq!(listener.hears(), [2, 3]);
        });
    });
}

#[test]
fn joining_a_source_does_not_cut_a_whole_group_down() {
    hosts::test(|network| {
        Lan::new(network).each(|listener| {
            listener.join().unwrap();
            assert_eq!(listener.source(JOIN_SOURCE, 2), Err(Errno::EADDRINUSE));
            let without_interface = listener.host.run(|| {
                listener.form.source(JOIN_SOURCE, &listener.socket, &listener.group, &listener.family.host(2), None)
            });
            assert_eq!(without_interface, Err(Errno::EADDRINUSE));
            assert_eq!(listener.hears(), [1, 2, 3]);
            // Nor is it cut down by way of a source that is blocked.
            listener.source(BLOCK_SOURCE, 3).unwrap();
            assert_eq!(listener.source(JOIN_SOURCE, 2), Err(Errno::EADDRINUSE));
            assert_eq!(listener.hears(), [1, 2]);
            assert_eq!(listener.source(LEAVE_SOURCE, 2), Err(Errno::EINVAL));
            assert_eq!(listener.hears(), [1, 2]);
        });
    });
}

#[test]
fn leaving_a_source_does_not_mute_a_whole_group() {
    hosts::test(|network| {
        Lan::new(network).each(|listener| {
            listener.join().unwrap();
            assert_eq!(listener.source(LEAVE_SOURCE, 2), Err(Errno::EINVAL));
            assert_eq!(listener.hears(), [1, 2, 3]);
            let without_interface = listener.host.run(|| {
                listener.form.source(LEAVE_SOURCE, &listener.socket, &listener.group, &listener.family.host(2), None)
            });
            assert_eq!(without_interface, Err(Errno::EINVAL));
            assert_eq!(listener.hears(), [1, 2, 3]);
        });
    });
}

#[test]
fn joining_the_group_does_not_widen_it_when_it_is_joined_by_source() {
    hosts::test(|network| {
        Lan::new(network).each(|listener| {
            listener.source(JOIN_SOURCE, 2).unwrap();
            assert_eq!(listener.join(), Err(Errno::EADDRINUSE));
            for call in [BLOCK_SOURCE, UNBLOCK_SOURCE] {
                assert_eq!(listener.source(call, 2), Err(Errno::EINVAL));
                assert_eq!(listener.source(call, 3), Err(Errno::EINVAL));
            }
            assert_eq!(listener.hears(), [2]);
        });
    });
}

#[test]
fn sources_are_reported_to_the_neighbours() {
    hosts::test(|network| {
        let lan = Lan::new(network);
        let watch = Watch::new(&lan.senders[0], "eth0");
        for family in FAMILIES {
            let listener = lan.listener(family, Form::Text);
            let sees = |kinds: &[Kind], number| watch.sees(kinds, &listener.group, Some(&family.host(number)));
            listener.source(JOIN_SOURCE, 1).unwrap();
            sees(&[Kind::AllowNewSources], 1);
            listener.source(JOIN_SOURCE, 2).unwrap();
            sees(&[Kind::AllowNewSources], 2);
            listener.source(LEAVE_SOURCE, 1).unwrap();
            sees(&[Kind::BlockOldSources], 1);
            listener.leave().unwrap();
            listener.join().unwrap();
            listener.source(BLOCK_SOURCE, 3).unwrap();
            // While the join itself is still being reported, its record names the source.
            sees(&[Kind::BlockOldSources, Kind::ChangeToExclude], 3);
        }
    });
}

#[test]
fn more_sources_than_the_kernel_takes_are_refused_and_the_others_stay() {
    hosts::test(|network| {
        Lan::new(network).each(|listener| {
            let limit = limit(listener.family);
            for number in 1..=limit {
                assert_eq!(listener.source(JOIN_SOURCE, number), Ok(0), "{number}");
            }
            assert_eq!(listener.source(JOIN_SOURCE, limit + 1), Err(Errno::ENOBUFS));
            let (mode, sources) = listener.filter().unwrap();
            assert_eq!((mode, sources.len()), (CASTIO_FILTER_INCLUDE, limit));
            assert_eq!(listener.hears(), [1, 2, 3]);
            assert_eq!(listener.source(LEAVE_SOURCE, 2), Ok(0));
            assert_eq!(listener.source(JOIN_SOURCE, limit + 1), Ok(0));
            assert_eq!(listener.hears(), [1, 3]);
        });
    });
}

#[test]
fn more_blocked_sources_than_the_kernel_takes_are_refused_and_the_others_stay() {
    hosts::test(|network| {
        Lan::new(network).each(|listener| {
            let limit = limit(listener.family);
            listener.join().unwrap();
            for number in 2..=limit + 1 {
                assert_eq!(listener.source(BLOCK_SOURCE, number), Ok(0), "{number}");
            }
            assert_eq!(listener.source(BLOCK_SOURCE, 1), Err(Errno::ENOBUFS));
            assert_eq!(listener.hears(), [1]);
            assert_eq!(listener.source(UNBLOCK_SOURCE, 2), Ok(0));
            assert_eq!(listener.source(BLOCK_SOURCE, 1), Ok(0));
            assert_eq!(listener.hears(), [2]);
        });
    });
}
