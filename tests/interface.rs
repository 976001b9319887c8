//! The host's interfaces: the list against what the system says itself.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, c_char};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;

use castio::ffi::interface::*;
use libc::{EFAULT, EINVAL, ENODEV, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage};

const SIZE: usize = size_of::<castio_interface>();

/// The whole list.
fn list() -> Vec<castio_interface> {
    // SAFETY: NULL with capacity 0 asks for the number.
    let count = usize::try_from(unsafe { castio_list_interfaces(ptr::null_mut(), 0) }).unwrap();
    // SAFETY: all zero is an element.
    let mut elements = vec![unsafe { std::mem::zeroed::<castio_interface>() }; count];
    elements[0].struct_size = SIZE;
    // SAFETY: an array of that many elements.
    assert_eq!(unsafe { castio_list_interfaces(elements.as_mut_ptr(), count) }, count as isize);
    elements
}

fn name(element: &castio_interface) -> String {
    // SAFETY: ends in a NUL, which the cast keeps.
    unsafe { CStr::from_ptr(element.name.as_ptr()) }.to_str().unwrap().to_owned()
}

fn ip(address: &sockaddr_storage) -> Option<IpAddr> {
    // SAFETY: a sockaddr_storage holds either.
    unsafe { ip_at((&raw const *address).cast()) }
}

/// # Safety
/// `address` is NULL or as long as its family says.
unsafe fn ip_at(address: *const sockaddr) -> Option<IpAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: as promised.
    unsafe {
        match i32::from((*address).sa_family) {
            libc::AF_INET => {
                Some(Ipv4Addr::from_bits(u32::from_be((*address.cast::<sockaddr_in>()).sin_addr.s_addr)).into())
            }
            libc::AF_INET6 => Some(Ipv6Addr::from((*address.cast::<sockaddr_in6>()).sin6_addr.s6_addr).into()),
            _ => None,
        }
    }
}

type Line = (String, u32, Option<(IpAddr, IpAddr)>);

/// What getifaddrs(3) says: name, flags, address and netmask.
fn system_lines() -> BTreeSet<Line> {
    let mut lines = BTreeSet::new();
    let mut links = BTreeMap::new();
    let mut first = ptr::null_mut();
    // SAFETY: the list is valid until it is freed.
    unsafe {
        assert_eq!(libc::getifaddrs(&raw mut first), 0);
        let mut node = first;
        while let Some(entry) = node.as_ref() {
            let label = CStr::from_ptr(entry.ifa_name).to_str().unwrap();
            let name = label.split(':').next().unwrap().to_owned();
            if let (Some(ip), Some(mask)) = (ip_at(entry.ifa_addr), ip_at(entry.ifa_netmask)) {
                lines.insert((name, entry.ifa_flags, Some((ip, mask))));
            } else {
                links.insert(name, entry.ifa_flags);
            }
            node = entry.ifa_next;
        }
        libc::freeifaddrs(first);
    }
    let with_address: BTreeSet<String> = lines.iter().map(|line| line.0.clone()).collect();
    lines.extend(
        links.into_iter().filter(|(name, _)| !with_address.contains(name)).map(|(name, flags)| (name, flags, None)),
    );
    lines
}

#[test]
fn the_list_is_what_the_system_says() {
    let lines: BTreeSet<Line> = list()
        .iter()
        .map(|element| (name(element), element.flags, ip(&element.address).zip(ip(&element.netmask))))
        .collect();
    assert_eq!(lines, system_lines());
    assert_eq!(list().len(), lines.len(), "none stands there twice");
}

#[test]
fn every_device_of_the_kernel_is_there_in_the_order_of_the_indices() {
    let devices: BTreeSet<String> = fs::read_to_string("/proc/net/dev")
        .unwrap()
        .lines()
        .skip(2)
        .map(|line| line.split(':').next().unwrap().trim().to_owned())
        .collect();
    assert_eq!(list().iter().map(name).collect::<BTreeSet<_>>(), devices);
    assert!(list().is_sorted_by_key(|element| element.index));
    for element in list() {
        let name = CString::new(name(&element)).unwrap();
        // SAFETY: the name ends in a NUL.
        assert_eq!(element.index, unsafe { libc::if_nametoindex(name.as_ptr()) });
    }
}

#[test]
fn every_ipv6_address_of_the_kernel_is_there_with_its_prefix() {
    // Address, index, prefix length, scope and flags in hexadecimal, name. Without IPv6 no file.
    let text = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let expected: BTreeSet<(IpAddr, u32, u32)> = text
        .lines()
        .map(|line| {
            let mut fields = line.split_whitespace();
            let mut number = || u128::from_str_radix(fields.next().unwrap(), 16).unwrap();
            (Ipv6Addr::from_bits(number()).into(), number() as u32, number() as u32)
        })
        .collect();
    let found: BTreeSet<(IpAddr, u32, u32)> = list()
        .iter()
        .filter_map(|element| Some((ip(&element.address)?, element.index, element.prefix_length)))
        .filter(|line| line.0.is_ipv6())
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn the_loopback_interface_is_as_everybody_knows_it() {
    let all = list();
    let lo = all.iter().find(|element| ip(&element.address) == Some(Ipv4Addr::LOCALHOST.into())).unwrap();
    assert_eq!((name(lo).as_str(), lo.prefix_length, lo.scope_id), ("lo", 8, 0));
    assert_eq!(ip(&lo.netmask), Some(Ipv4Addr::new(255, 0, 0, 0).into()));
    assert_ne!(lo.flags & libc::IFF_LOOPBACK as u32, 0);
    for element in &all {
        assert_eq!(element.struct_size, SIZE);
        assert_eq!(element.can_multicast, i32::from(element.flags & libc::IFF_MULTICAST as u32 != 0));
    }
}

#[test]
fn the_broadcast_address_is_the_network_with_all_ones() {
    for element in list() {
        let broadcast = ip(&element.broadcast);
        assert_eq!(element.can_broadcast, i32::from(broadcast.is_some()), "{}", name(&element));
        let (Some(IpAddr::V4(found)), Some(IpAddr::V4(own))) = (broadcast, ip(&element.address)) else {
            assert_eq!(broadcast, None, "{}", name(&element));
            continue;
        };
        assert!((1..31).contains(&element.prefix_length));
        assert_eq!(found.to_bits(), own.to_bits() | (u32::MAX >> element.prefix_length), "{}", name(&element));
    }
}

#[test]
fn larger_elements_of_a_later_header_keep_their_own_distance() {
    const STRIDE: usize = SIZE + 64;
    let expected = list();
    let mut memory = vec![0xEEu8; STRIDE * expected.len()].into_boxed_slice();
    let first: *mut castio_interface = memory.as_mut_ptr().cast();
    let mut aligned = vec![0u64; STRIDE * expected.len() / 8 + 1];
    let first = if first.is_aligned() { first } else { aligned.as_mut_ptr().cast() };
    // SAFETY: there is room for so many elements of that stride.
    unsafe {
        (&raw mut (*first).struct_size).write(STRIDE);
        assert_eq!(castio_list_interfaces(first, expected.len()), expected.len() as isize);
        for (index, expected) in expected.iter().enumerate() {
            let element = &*first.byte_add(index * STRIDE);
            assert_eq!((element.struct_size, element.index, name(element)), (STRIDE, expected.index, name(expected)));
            assert_eq!(ip(&element.address), ip(&expected.address));
        }
    }
}

#[test]
fn a_small_array_gets_the_first_ones_and_the_number_of_all() {
    let all = list();
    // SAFETY: all zero is an element.
    let mut two = [unsafe { std::mem::zeroed::<castio_interface>() }; 2];
    two[0].struct_size = SIZE;
    // SAFETY: room for one, and one behind it.
    assert_eq!(unsafe { castio_list_interfaces(two.as_mut_ptr(), 1) }, all.len() as isize);
    assert_eq!(two[0].index, all[0].index);
    assert_eq!((two[1].struct_size, two[1].index), (0, 0), "nothing behind the capacity");
}

#[test]
fn a_struct_that_is_too_small_is_refused_untouched() {
    // SAFETY: all zero is an element.
    let mut element = unsafe { std::mem::zeroed::<castio_interface>() };
    for size in [0, 8, SIZE - 1] {
        element.struct_size = size;
        // SAFETY: room for one.
        assert_eq!(unsafe { castio_list_interfaces(&raw mut element, 1) }, -EINVAL as isize);
        assert_eq!((element.struct_size, element.index), (size, 0));
    }
    // SAFETY: NULL is checked.
    assert_eq!(unsafe { castio_list_interfaces(ptr::null_mut(), 1) }, -EFAULT as isize);
}

fn index_of(text: &str) -> Result<u32, i32> {
    let text = CString::new(text).unwrap();
    let mut index = u32::MAX;
    // SAFETY: the text ends in a NUL.
    match unsafe { castio_interface_index(text.as_ptr(), &raw mut index) } {
        0 => Ok(index),
        error => {
            assert_eq!(index, u32::MAX, "unchanged");
            Err(error)
        }
    }
}

#[test]
fn a_name_an_address_and_an_index_mean_the_same_interface() {
    for element in list() {
        assert_eq!(index_of(&name(&element)), Ok(element.index));
        assert_eq!(index_of(&element.index.to_string()), Ok(element.index));
        match ip(&element.address) {
            // Two interfaces can have the same link-local address.
            Some(IpAddr::V6(v6)) if v6.is_unicast_link_local() => {}
            Some(ip) => assert_eq!(index_of(&ip.to_string()), Ok(element.index)),
            None => {}
        }
    }
}

#[test]
fn what_means_no_interface_is_an_error() {
    for text in
        ["no-such-if", "4000000000", "0", "-1", "+1", "192.0.2.99", "2001:db8::99", "a name far too long for any"]
    {
        assert_eq!(index_of(text), Err(-ENODEV), "{text}");
    }
    assert_eq!(index_of(""), Err(-EINVAL));
    let (mut index, nothing) = (0, ptr::null::<c_char>());
    // SAFETY: NULL is checked.
    unsafe {
        assert_eq!(castio_interface_index(nothing, &raw mut index), -EFAULT);
        assert_eq!(castio_interface_index(c"lo".as_ptr(), ptr::null_mut()), -EFAULT);
    }
}
