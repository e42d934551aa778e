//! What all Unix systems do alike.

use std::ffi::c_int;
use std::io;

use socket2::{SockAddr, Socket};

use crate::connect::Progress;
use crate::errors::{ConnectError, Step};

/// Flags with which `recv` looks at a byte without waiting.
pub(crate) const PEEK_FLAGS: c_int = libc::MSG_PEEK | libc::MSG_DONTWAIT;

/// Starts an ordinary handshake.
pub(crate) fn connect(socket: &Socket, addr: &SockAddr) -> Result<Progress, ConnectError> {
    match socket.connect(addr) {
        Ok(()) => Ok(Progress::Open),
        Err(e) if under_way(&e) => Ok(Progress::Handshake),
        Err(e) => Err(ConnectError::new(Step::Connect, e)),
    }
}

/// Whether an error of `connect` says that it goes on by itself: an interrupted one does, too
/// (connect(2)).
pub(super) fn under_way(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR))
}

/// Calls until no signal comes in between.
#[cfg(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_vendor = "apple"
))]
pub(super) fn retry_interrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Makes a nonblocking socket.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn socket(domain: socket2::Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Lets a listener start while old connections of its port linger.
pub(crate) fn set_reuse_address(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)
}

/// Lets several listeners share a port.
#[cfg(not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin")))]
pub(crate) fn set_reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

/// There is no such option here.
#[cfg(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))]
pub(crate) fn set_reuse_port(_socket: &Socket) -> io::Result<()> {
    Err(super::unsupported())
}
