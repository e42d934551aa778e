//! Any platform without a file of its own: plain TCP, and no pretence of more.

use std::io;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::connect::{Mechanism, Progress};
use crate::errors::{ConnectError, NoFastOpen, Step};

/// Flags with which `recv` looks at a byte; sockets are nonblocking where a flag cannot say so.
#[cfg(unix)]
pub(crate) const PEEK_FLAGS: i32 = libc::MSG_PEEK | libc::MSG_DONTWAIT;
/// `MSG_PEEK` of `winsock2.h`.
#[cfg(windows)]
pub(crate) const PEEK_FLAGS: i32 = 2;

/// Makes a nonblocking socket.
pub(crate) fn socket(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Starts an ordinary handshake.
pub(crate) fn connect(socket: &Socket, addr: &SockAddr) -> Result<Progress, ConnectError> {
    match socket.connect(addr) {
        Ok(()) => Ok(Progress::Open),
        Err(e) if under_way(&e) => Ok(Progress::Handshake),
        Err(e) => Err(ConnectError::new(Step::Connect, e)),
    }
}

#[cfg(unix)]
fn under_way(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR))
}

#[cfg(windows)]
fn under_way(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// There is no Fast Open here.
pub(crate) fn connect_fast_open(
    _socket: &Socket,
    _addr: &SockAddr,
    _mechanism: Option<Mechanism>,
    _flight: &[u8],
) -> Result<Progress, ConnectError> {
    Err(ConnectError::no_fast_open_because(
        Step::Connect,
        unsupported(),
        NoFastOpen::Platform,
    ))
}

/// There are no marks here.
pub(crate) fn set_mark(_socket: &Socket, _mark: u32) -> io::Result<()> {
    Err(unsupported())
}

/// Nothing to do: the port is chosen when binding.
pub(crate) fn defer_port_choice(_socket: &Socket) {}

/// Lets a listener start while old connections of its port linger.
pub(crate) fn set_reuse_address(socket: &Socket) -> io::Result<()> {
    // On Windows the option would let another program take the port over.
    if cfg!(windows) {
        Ok(())
    } else {
        socket.set_reuse_address(true)
    }
}

/// Lets several listeners share a port.
#[cfg(all(
    unix,
    not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
))]
pub(crate) fn set_reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

/// There is no such option here.
#[cfg(not(all(
    unix,
    not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
)))]
pub(crate) fn set_reuse_port(_socket: &Socket) -> io::Result<()> {
    Err(unsupported())
}

/// There is no Fast Open here.
pub(crate) fn set_fast_open_queue(_socket: &Socket, _length: u32) -> io::Result<()> {
    Err(unsupported())
}

/// There is no Fast Open here.
pub(crate) fn fast_open_queue(_socket: &Socket) -> io::Result<u32> {
    Err(unsupported())
}

/// There is no Fast Open here.
pub(crate) fn set_cookie_key(_socket: &Socket, _key: &[u8]) -> io::Result<()> {
    Err(unsupported())
}

/// There is no `TCP_INFO` here that this crate knows to read.
pub(crate) fn tcp_info(_socket: &Socket, _buffer: &mut [u8]) -> io::Result<usize> {
    Err(unsupported())
}

/// There is no `/proc/sys` here.
pub(crate) fn sysctl(_name: &str) -> io::Result<String> {
    Err(unsupported())
}

/// There is no `/proc/net` here.
pub(crate) fn netstat() -> io::Result<String> {
    Err(unsupported())
}

fn unsupported() -> io::Error {
    io::ErrorKind::Unsupported.into()
}
