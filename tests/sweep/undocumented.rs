//! Errors that come out of functions whose documentation doesn't name them yet. One that is documented, or
//! comes no more, fails the sweep until it is taken out here.

/// By function.
const KNOWN: &[(&str, &[&str])] = &[
    ("castio_at_mark", &["ENOTTY"]),
    ("castio_get_loop", &["EOPNOTSUPP"]),
    ("castio_get_multicast_all", &["EOPNOTSUPP"]),
    ("castio_get_multicast_interface", &["EOPNOTSUPP"]),
    ("castio_get_source_filter", &["EPROTO"]),
    ("castio_get_source_filter_addr", &["EPROTO"]),
    ("castio_get_ttl", &["EOPNOTSUPP"]),
    ("castio_peek_available", &["EINVAL", "EIO"]),
    ("castio_recv_to_mark", &["ENOTTY"]),
    ("castio_send_nowait", &["EIO", "ENODATA", "ENOSPC", "ENXIO"]),
    ("castio_set_loop", &["ENOPROTOOPT"]),
    ("castio_write_all", &["ENODATA", "ENOTCONN", "ENXIO"]),
    ("castio_writev_all", &["ENODATA", "ENOTCONN", "ENXIO"]),
    ("castio_writev_nowait", &["EIO", "ENODATA", "ENOSPC", "ENXIO"]),
];

/// What is known of a function.
pub fn of(function: &str) -> &'static [&'static str] {
    KNOWN.iter().find(|(name, _)| *name == function).map_or(&[], |(_, errors)| errors)
}

/// Likewise of those that come when a system call fails, and of what is changed then.
const AFTER_A_FAULT: &[(&str, &[&str])] = &[
    ("castio_block_source", &["ENOENT"]),
    ("castio_bridge_open", &["ENOENT"]),
    ("castio_broadcast_address", &["EAFNOSUPPORT", "ENOENT"]),
    ("castio_diagnose_multicast", &["ENOENT"]),
    ("castio_get_source_filter", &["ENOENT"]),
    ("castio_interface_index", &["ENOENT"]),
    ("castio_join_group", &["ENOENT"]),
    ("castio_join_source", &["ENOENT"]),
    ("castio_leave_group", &["ENOENT"]),
    ("castio_leave_source", &["ENOENT"]),
    ("castio_list_interfaces", &["EAFNOSUPPORT"]),
    ("castio_open_receiver", &["ENOENT"]),
    ("castio_open_sender", &["EAGAIN", "EHOSTUNREACH", "ENOENT"]),
    ("castio_open_sender_addr", &["EAGAIN", "EHOSTUNREACH"]),
    ("castio_peek", &["ENETUNREACH", "ETIMEDOUT"]),
    ("castio_peek_all", &["changes options", "ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "ENOSPC"]),
    ("castio_peek_available", &["ENETUNREACH", "ETIMEDOUT"]),
    ("castio_read_all", &["EHOSTUNREACH", "ENETUNREACH"]),
    ("castio_readv_all", &["EHOSTUNREACH", "ENETUNREACH"]),
    ("castio_readv_nowait", &["EHOSTUNREACH", "EINTR", "ENETUNREACH", "ETIMEDOUT"]),
    ("castio_recv_nowait", &["EHOSTUNREACH", "EINTR", "ENETUNREACH", "ETIMEDOUT"]),
    ("castio_recv_oob", &["ECONNRESET", "EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT"]),
    ("castio_recv_to_mark", &["EHOSTUNREACH", "ENETUNREACH"]),
    ("castio_send_broadcast", &["ENOENT"]),
    ("castio_send_limited_broadcast", &["ENOENT"]),
    (
        "castio_send_nowait",
        &["EDQUOT", "EFBIG", "EHOSTUNREACH", "EINTR", "EIO", "ENETDOWN", "ENETUNREACH", "ENOSPC", "ETIMEDOUT"],
    ),
    ("castio_send_oob", &["EHOSTUNREACH", "ENETUNREACH"]),
    ("castio_set_multicast_interface", &["ENOENT"]),
    ("castio_set_source_filter", &["ENOENT"]),
    ("castio_unblock_source", &["ENOENT"]),
    ("castio_write_all", &["EDQUOT", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH"]),
    ("castio_writev_all", &["EDQUOT", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH"]),
    (
        "castio_writev_nowait",
        &["EDQUOT", "EFBIG", "EHOSTUNREACH", "EINTR", "EIO", "ENETDOWN", "ENETUNREACH", "ENOSPC", "ETIMEDOUT"],
    ),
];

/// What is known of a function, when a system call of it fails.
pub fn after_a_fault(function: &str) -> &'static [&'static str] {
    AFTER_A_FAULT.iter().find(|(name, _)| *name == function).map_or(&[], |(_, errors)| errors)
}
