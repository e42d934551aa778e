//! The platforms. Each offers the same functions; what one cannot do is an error of kind
//! [`Unsupported`](std::io::ErrorKind::Unsupported).
//!
//! To add a platform, write its file and name it here. `connect_fast_open` gets the flight together
//! with the address, so that systems whose first write starts the handshake fit in: `connectx`,
//! `sendto` with an address, `ConnectEx`. What such a system still needs while the handshake is
//! under way is its `Operation`.

use std::io;

use crate::errors::{ConnectError, NoFastOpen, Step};

#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "linux.rs"]
mod platform;

#[cfg(target_vendor = "apple")]
#[path = "apple.rs"]
mod platform;

#[cfg(target_os = "freebsd")]
#[path = "freebsd.rs"]
mod platform;

#[cfg(windows)]
#[path = "windows.rs"]
mod platform;

#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_vendor = "apple",
    windows
)))]
#[path = "plain.rs"]
mod platform;

#[cfg_attr(unix, path = "errno_unix.rs")]
#[cfg_attr(windows, path = "errno_windows.rs")]
pub(crate) mod errno;

#[cfg(any(target_vendor = "apple", test))]
mod apple_info;
#[cfg(windows)]
mod connect_ex;
#[cfg(unix)]
mod posix;
#[cfg(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_vendor = "apple"
))]
mod sockopt;
#[cfg(any(target_os = "freebsd", target_vendor = "apple"))]
mod sysctl;
#[cfg(unix)]
mod unowned;

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
pub(crate) use platform::accept_without_cookie;
pub(crate) use platform::{
    Operation, PEEK_FLAGS, QUEUE_AFTER_LISTEN, SERVER_SWITCH, blackhole_timeout, came_by_fast_open,
    connect, connect_fast_open, counters, defer_port_choice, fast_open_queue, give_up_after,
    set_cookie_key, set_fast_open_queue, set_mark, set_reuse_address, set_reuse_port, socket,
    somaxconn, switches, syn_data_acked, tcp_fastopen, tcp_info,
};
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use platform::{accepts_without_cookie, cookie_key};

/// What is asked for is another platform's.
fn unsupported() -> io::Error {
    io::ErrorKind::Unsupported.into()
}

/// There is no Fast Open here, or not by this mechanism.
fn not_here() -> ConnectError {
    ConnectError::no_fast_open_because(Step::Connect, unsupported(), NoFastOpen::Platform)
}
