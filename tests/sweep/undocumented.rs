//! Errors that come out of functions whose documentation doesn't name them yet. One that is documented, or
//! comes no more, fails the sweep until it is taken out here.

/// By function.
const KNOWN: [(&str, &[&str]); 14] = [
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
