//! The platforms. Each offers the same functions; what one cannot do is an error of kind
//! [`Unsupported`](std::io::ErrorKind::Unsupported).
//!
//! To add a platform, write its file and name it here. `connect_fast_open` gets the flight together
//! with the address, so that systems whose first write starts the handshake fit in: `connectx`,
//! `sendto` with an address, `ConnectEx`.

#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "linux.rs"]
mod platform;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "plain.rs"]
mod platform;

#[cfg_attr(unix, path = "errno_unix.rs")]
#[cfg_attr(windows, path = "errno_windows.rs")]
pub(crate) mod errno;

pub(crate) use platform::{
    PEEK_FLAGS, connect, connect_fast_open, defer_port_choice, fast_open_queue, netstat,
    set_cookie_key, set_fast_open_queue, set_mark, set_reuse_address, set_reuse_port, socket,
    sysctl, tcp_info,
};
