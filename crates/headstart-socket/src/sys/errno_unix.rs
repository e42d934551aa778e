//! Error numbers by what they mean, on Unix.

/// Something is used up on this machine.
pub(crate) const NO_RESOURCES: &[i32] = &[
    libc::EMFILE,
    libc::ENFILE,
    libc::ENOBUFS,
    libc::ENOMEM,
    // A runtime that registers a socket is out of watches (Linux,
    // `fs.epoll.max_user_watches`).
    libc::ENOSPC,
    libc::EADDRNOTAVAIL,
    // Also what binding to port 0 gives when no port is free.
    libc::EADDRINUSE,
];

/// A permission or a policy.
pub(crate) const NOT_PERMITTED: &[i32] = &[libc::EPERM, libc::EACCES];

/// Not there, or switched off.
pub(crate) const UNSUPPORTED: &[i32] = &[
    libc::ENOPROTOOPT,
    libc::EOPNOTSUPP,
    libc::EAFNOSUPPORT,
    libc::EPROTONOSUPPORT,
    libc::ENOSYS,
];

/// The peer, or the path.
pub(crate) const NETWORK: &[i32] = &[
    libc::ECONNREFUSED,
    libc::ECONNRESET,
    libc::ECONNABORTED,
    libc::ENETUNREACH,
    libc::EHOSTUNREACH,
    libc::ETIMEDOUT,
    libc::ENETDOWN,
    libc::EHOSTDOWN,
];

/// Further errors of the new connection that `accept` hands out.
pub(crate) const ACCEPT_RETRY: &[i32] = &[
    libc::EPROTO,
    // "Machine is not on the network", a name only Linux has.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    libc::ENONET,
];
