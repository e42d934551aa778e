//! Linux and Android.

use std::ffi::c_int;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::connect::{Mechanism, Progress};
use crate::errors::{ConnectError, NoFastOpen, Step};
use crate::info::{FastOpenFailure, TcpInfo};

// From `linux/tcp.h`, `linux/socket.h` and `linux/in.h`; not all C libraries have all of them.
const TCP_FASTOPEN: c_int = 23;
const TCP_FASTOPEN_CONNECT: c_int = 30;
const TCP_FASTOPEN_KEY: c_int = 33;
const MSG_FASTOPEN: c_int = 0x2000_0000;
const IP_BIND_ADDRESS_NO_PORT: c_int = 24;

/// The first Linux whose `TCP_INFO` says why Fast Open sent no data.
const CLIENT_FAIL_SINCE: (u32, u32) = (5, 5);

/// Flags with which `recv` looks at a byte without waiting.
pub(crate) const PEEK_FLAGS: c_int = libc::MSG_PEEK | libc::MSG_DONTWAIT;

/// Makes a nonblocking socket.
pub(crate) fn socket(domain: Domain) -> io::Result<Socket> {
    Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))
}

/// Starts an ordinary handshake.
pub(crate) fn connect(socket: &Socket, addr: &SockAddr) -> Result<Progress, ConnectError> {
    match socket.connect(addr) {
        Ok(()) => Ok(Progress::Open),
        Err(e) if under_way(&e) => Ok(Progress::Handshake),
        Err(e) => Err(ConnectError::new(Step::Connect, e)),
    }
}

/// Starts a handshake with the flight in its SYN, if the kernel has a cookie.
pub(crate) fn connect_fast_open(
    socket: &Socket,
    addr: &SockAddr,
    mechanism: Option<Mechanism>,
    flight: &[u8],
) -> Result<Progress, ConnectError> {
    match mechanism {
        Some(Mechanism::FastOpenConnect) => deferred_connect(socket, addr, flight),
        Some(Mechanism::MsgFastOpen) => send_with_address(socket, addr, flight),
        None => match deferred_connect(socket, addr, flight) {
            // Nothing was sent yet, so the socket is as good as new.
            Err(e) if e.no_fast_open() == Some(NoFastOpen::Kernel) => {
                send_with_address(socket, addr, flight)
            }
            result => result,
        },
    }
}

/// `TCP_FASTOPEN_CONNECT`: with a cookie `connect` returns 0 and sends nothing, and the first
/// `send` puts data into the SYN.
fn deferred_connect(
    socket: &Socket,
    addr: &SockAddr,
    flight: &[u8],
) -> Result<Progress, ConnectError> {
    set_int(socket, libc::IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
        .map_err(|e| fast_open_error(Step::Option("TCP_FASTOPEN_CONNECT"), e))?;
    match socket.connect(addr) {
        Ok(()) => {}
        Err(e) if under_way(&e) => return Ok(without_data(socket)),
        Err(e) => return Err(ConnectError::new(Step::Connect, e)),
    }
    match retry_interrupted(|| socket.send_with_flags(flight, libc::MSG_NOSIGNAL)) {
        Ok(sent) => Ok(Progress::DataInSyn { sent }),
        // The cookie went away between the two calls.
        Err(e) if under_way(&e) => Ok(without_data(socket)),
        Err(e) => Err(ConnectError::new(Step::Send, e)),
    }
}

/// `MSG_FASTOPEN`: connects and sends in one. Without a cookie it only connects: nonblocking, it
/// does not queue the data.
fn send_with_address(
    socket: &Socket,
    addr: &SockAddr,
    flight: &[u8],
) -> Result<Progress, ConnectError> {
    let flags = MSG_FASTOPEN | libc::MSG_NOSIGNAL;
    match retry_interrupted(|| socket.send_to_with_flags(flight, addr, flags)) {
        Ok(sent) => Ok(Progress::DataInSyn { sent }),
        Err(e) if under_way(&e) => Ok(without_data(socket)),
        Err(e) => Err(fast_open_error(Step::Send, e)),
    }
}

fn under_way(error: &io::Error) -> bool {
    // An interrupted `connect` goes on by itself (connect(2)).
    matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR))
}

fn retry_interrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Tells a handshake that asks for a cookie from one that does not: the kernel notes a missing
/// cookie, but not that it has paused Fast Open (`tcp_fastopen_cookie_check`).
fn without_data(socket: &Socket) -> Progress {
    let noted =
        TcpInfo::of(socket).is_ok_and(|i| i.fast_open_failure == Some(FastOpenFailure::NoCookie));
    if noted || !kernel_notes_failures() {
        Progress::CookieRequest
    } else {
        Progress::Paused
    }
}

fn kernel_notes_failures() -> bool {
    static NOTES: OnceLock<bool> = OnceLock::new();
    *NOTES.get_or_init(|| {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        version(&release).is_some_and(|version| version >= CLIENT_FAIL_SINCE)
    })
}

/// Major and minor number of a release such as `5.15.0-91-generic`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Names the errors by which Linux says that there is no Fast Open.
fn fast_open_error(step: Step, error: io::Error) -> ConnectError {
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP) => {
            ConnectError::no_fast_open_because(step, error, NoFastOpen::SwitchedOff)
        }
        // The option is unknown; or, for `sendto`, the flag is, and the socket is not connected.
        Some(libc::ENOPROTOOPT | libc::EPIPE | libc::ENOTCONN) => {
            ConnectError::no_fast_open_because(step, error, NoFastOpen::Kernel)
        }
        _ => ConnectError::new(step, error),
    }
}

/// `SO_MARK`.
pub(crate) fn set_mark(socket: &Socket, mark: u32) -> io::Result<()> {
    socket.set_mark(mark)
}

/// Lets `connect` choose the port of a bound address. Kernels before 4.2 choose when binding.
pub(crate) fn defer_port_choice(socket: &Socket) {
    let _ = set_int(socket, libc::IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
}

/// Lets a listener start while old connections of its port linger.
pub(crate) fn set_reuse_address(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)
}

/// Lets several listeners share a port.
pub(crate) fn set_reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

/// Sets the Fast Open queue of a listener, before or after it listens.
pub(crate) fn set_fast_open_queue(socket: &Socket, length: u32) -> io::Result<()> {
    let length = c_int::try_from(length).unwrap_or(c_int::MAX);
    set_int(socket, libc::IPPROTO_TCP, TCP_FASTOPEN, length)
}

/// The Fast Open queue as the kernel has cut it down.
pub(crate) fn fast_open_queue(socket: &Socket) -> io::Result<u32> {
    let mut bytes = [0; size_of::<u32>()];
    get_bytes(socket, libc::IPPROTO_TCP, TCP_FASTOPEN, &mut bytes)?;
    Ok(u32::from_ne_bytes(bytes))
}

/// Sets the cookie key of a listener: 16 bytes, or 32 with a backup.
pub(crate) fn set_cookie_key(socket: &Socket, key: &[u8]) -> io::Result<()> {
    set_bytes(socket, libc::IPPROTO_TCP, TCP_FASTOPEN_KEY, key)
}

/// Reads `TCP_INFO`; how many bytes the kernel filled.
pub(crate) fn tcp_info(socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    get_bytes(socket, libc::IPPROTO_TCP, libc::TCP_INFO, buffer)
}

/// Reads a sysctl of this thread's network namespace.
pub(crate) fn sysctl(name: &str) -> io::Result<String> {
    fs::read_to_string(format!("/proc/sys/{name}"))
}

/// Reads the extended counters of this thread's network namespace.
pub(crate) fn netstat() -> io::Result<String> {
    fs::read_to_string("/proc/thread-self/net/netstat")
}

fn set_int(socket: &Socket, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    set_bytes(socket, level, name, &value.to_ne_bytes())
}

fn set_bytes(socket: &Socket, level: c_int, name: c_int, value: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and the kernel reads
    // `length` bytes from `value`, which is that long.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn get_bytes(socket: &Socket, level: c_int, name: c_int, value: &mut [u8]) -> io::Result<usize> {
    let mut length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and the kernel writes at
    // most `length` bytes to `value`, which is that long, and their number to `length`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            &mut length,
        )
    };
    if result == 0 {
        Ok(length as usize)
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_told_apart() {
        assert_eq!(version("5.15.0-91-generic\n"), Some((5, 15)));
        assert_eq!(version("6.18.44"), Some((6, 18)));
        assert_eq!(version("4.4"), Some((4, 4)));
        for odd in ["", "6", "v6.1", "6.x", "99999999999.1"] {
            assert_eq!(version(odd), None, "{odd:?}");
        }
        assert!(version("5.4.0") < Some(CLIENT_FAIL_SINCE));
    }
}
