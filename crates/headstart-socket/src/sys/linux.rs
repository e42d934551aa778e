//! Linux and Android.

use std::ffi::c_int;
use std::fs;
use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::not_here;
pub(crate) use super::posix::{PEEK_FLAGS, connect, set_reuse_address, set_reuse_port};
use super::posix::{retry_interrupted, under_way};
use super::sockopt::{get_bytes, set_bytes, set_int};
pub(crate) use super::unowned::Operation;
use crate::connect::{Mechanism, Progress};
use crate::errors::{ConnectError, NoFastOpen, Step};
use crate::info::{FastOpenFailure, TcpInfo};
use crate::status::{Counters, FastOpenSysctl, Switches};

// From `linux/tcp.h`, `linux/socket.h` and `linux/in.h`; not all C libraries have all of them.
const TCP_FASTOPEN: c_int = 23;
const TCP_FASTOPEN_CONNECT: c_int = 30;
const TCP_FASTOPEN_KEY: c_int = 33;
const TCP_FASTOPEN_NO_COOKIE: c_int = 34;
const MSG_FASTOPEN: c_int = 0x2000_0000;
const IP_BIND_ADDRESS_NO_PORT: c_int = 24;

/// Room for the `tcp_info` of kernels to come; the kernel says how much of it it filled.
const TCP_INFO_MAX: usize = 512;

/// The first Linux whose `TCP_INFO` says why Fast Open sent no data.
const CLIENT_FAIL_SINCE: (u32, u32) = (5, 5);

/// The Fast Open queue is set before a listener listens, so that it never listens without.
pub(crate) const QUEUE_AFTER_LISTEN: bool = false;

/// What keeps listeners from Fast Open if [`switches`] says that servers have it off.
pub(crate) const SERVER_SWITCH: &str = "net.ipv4.tcp_fastopen lacks 0x2 in this network namespace";

/// Makes a nonblocking socket.
pub(crate) fn socket(domain: Domain) -> io::Result<Socket> {
    Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))
}

/// Starts a handshake with the flight in its SYN, if the kernel has a cookie.
pub(crate) fn connect_fast_open(
    socket: &Socket,
    addr: &SockAddr,
    mechanism: Option<Mechanism>,
    flight: &[u8],
) -> Result<(Progress, Operation), ConnectError> {
    let progress = match mechanism {
        Some(Mechanism::FastOpenConnect) => deferred_connect(socket, addr, flight),
        Some(Mechanism::MsgFastOpen) => send_with_address(socket, addr, flight),
        Some(_) => Err(not_here()),
        None => match deferred_connect(socket, addr, flight) {
            // Nothing was sent yet, so the socket is as good as new.
            Err(e) if e.no_fast_open() == Some(NoFastOpen::Kernel) => {
                send_with_address(socket, addr, flight)
            }
            result => result,
        },
    };
    progress.map(|progress| (progress, Operation))
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

/// `TCP_USER_TIMEOUT`; and for a SYN-ACK that is not acknowledged, which goes by a count of its
/// own, `TCP_SYNCNT`: it leaves again after 1, 3, 7 s and so on, and when it has left so often
/// the next time ends it.
pub(crate) fn give_up_after(socket: &Socket, patience: Duration) -> io::Result<()> {
    let seconds = patience.as_secs().saturating_add(1);
    let again = c_int::try_from(seconds.ilog2().saturating_sub(1)).unwrap_or(c_int::MAX);
    set_int(socket, libc::IPPROTO_TCP, libc::TCP_SYNCNT, again.max(1))?;
    socket.set_tcp_user_timeout(Some(patience))
}

/// Lets `connect` choose the port of a bound address. Kernels before 4.2 choose when binding.
pub(crate) fn defer_port_choice(socket: &Socket) {
    let _ = set_int(socket, libc::IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
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

/// The cookie keys that a listener has of its own: none, 16 bytes, or 32 with a backup.
pub(crate) fn cookie_key<'a>(socket: &Socket, room: &'a mut [u8; 32]) -> io::Result<&'a [u8]> {
    let filled = get_bytes(socket, libc::IPPROTO_TCP, TCP_FASTOPEN_KEY, room)?;
    Ok(room.get(..filled).unwrap_or_default())
}

/// Whether a listener accepts data in a SYN without a cookie.
pub(crate) fn accepts_without_cookie(socket: &Socket) -> io::Result<bool> {
    let mut bytes = [0; size_of::<c_int>()];
    get_bytes(
        socket,
        libc::IPPROTO_TCP,
        TCP_FASTOPEN_NO_COOKIE,
        &mut bytes,
    )?;
    Ok(c_int::from_ne_bytes(bytes) != 0)
}

/// Makes a listener accept data in a SYN without a cookie: to see that it is noticed.
#[cfg(test)]
pub(crate) fn accept_without_cookie(socket: &Socket) -> io::Result<()> {
    set_int(socket, libc::IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1)
}

/// Reads `TCP_INFO`.
pub(crate) fn tcp_info(socket: &Socket) -> io::Result<TcpInfo> {
    let mut buffer = [0; TCP_INFO_MAX];
    let filled = get_bytes(socket, libc::IPPROTO_TCP, libc::TCP_INFO, &mut buffer)?;
    TcpInfo::decode(buffer.get(..filled).unwrap_or(&buffer))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "TCP_INFO is too short"))
}

/// Whether an accepted connection brought data in its SYN.
pub(crate) fn came_by_fast_open(socket: &Socket) -> io::Result<bool> {
    tcp_info(socket).map(|info| info.syn_data_acked)
}

/// Whether the peer acknowledged data in the SYN.
pub(crate) fn syn_data_acked(socket: &Socket) -> io::Result<bool> {
    tcp_info(socket).map(|info| info.syn_data_acked)
}

/// What the sysctl says of either side, in this thread's network namespace.
pub(crate) fn switches() -> io::Result<Switches> {
    let sysctl = FastOpenSysctl::from_bits(tcp_fastopen()?);
    Ok(Switches {
        client: Some(sysctl.client()),
        server: Some(sysctl.server()),
    })
}

/// The bits of the sysctl.
pub(crate) fn tcp_fastopen() -> io::Result<u32> {
    read_number("net/ipv4/tcp_fastopen")
}

/// For how long Fast Open pauses when the kernel suspects a black hole, in seconds.
pub(crate) fn blackhole_timeout() -> io::Result<u32> {
    read_number("net/ipv4/tcp_fastopen_blackhole_timeout_sec")
}

/// The limit of backlogs and Fast Open queues.
pub(crate) fn somaxconn() -> io::Result<u32> {
    read_number("net/core/somaxconn")
}

/// Reads the extended counters of this thread's network namespace.
pub(crate) fn counters() -> io::Result<Counters> {
    let text = fs::read_to_string("/proc/thread-self/net/netstat")?;
    Counters::parse(&text).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "netstat counters are not in the known form",
        )
    })
}

/// Reads a sysctl of this thread's network namespace.
fn read_number(name: &str) -> io::Result<u32> {
    let text = fs::read_to_string(format!("/proc/sys/{name}"))?;
    text.trim().parse().map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("sysctl {name} is not a number"),
        )
    })
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
