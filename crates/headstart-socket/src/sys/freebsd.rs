//! FreeBSD 12 and later.

use std::ffi::c_int;
use std::io;
use std::time::Duration;

use socket2::{SockAddr, Socket};

use super::posix::retry_interrupted;
pub(crate) use super::posix::{PEEK_FLAGS, connect, set_reuse_address, set_reuse_port, socket};
use super::sockopt::{get_bytes, set_int};
pub(crate) use super::unowned::Operation;
use super::{not_here, sysctl, unsupported};
use crate::connect::{Mechanism, Progress};
use crate::errors::{ConnectError, NoFastOpen, Step};
use crate::info::TcpInfo;
use crate::status::{Counters, Switches};

// `<netinet/tcp.h>`, tcp(4).
const TCP_FASTOPEN: c_int = 1025;
// `<sys/socket.h>`: the backlog of a listener.
const SO_LISTENQLIMIT: c_int = 0x1011;

/// The option may be set before or after (tcp(4)).
pub(crate) const QUEUE_AFTER_LISTEN: bool = false;

/// What keeps listeners from Fast Open if [`switches`] says that servers have it off.
pub(crate) const SERVER_SWITCH: &str = "net.inet.tcp.fastopen.server_enable is 0 here";

/// Starts a handshake with the flight in its SYN, if the kernel has a cookie. If it has none, the
/// flight follows the handshake.
///
/// `sendto` with an address connects and sends in one. The kernel copies the whole flight into the
/// socket's send buffer whether or not it has a cookie.
pub(crate) fn connect_fast_open(
    socket: &Socket,
    addr: &SockAddr,
    mechanism: Option<Mechanism>,
    flight: &[u8],
) -> Result<(Progress, Operation), ConnectError> {
    if !matches!(mechanism, None | Some(Mechanism::SendTo)) {
        return Err(not_here());
    }
    let step = Step::Option("TCP_FASTOPEN");
    // Where only servers have it on, the option can be set, and the dial would be plain.
    if let Ok(Switches {
        client: Some(false),
        ..
    }) = switches()
    {
        return Err(ConnectError::no_fast_open_because(
            step,
            unsupported(),
            NoFastOpen::SwitchedOff,
        ));
    }
    set_int(socket, libc::IPPROTO_TCP, TCP_FASTOPEN, 1).map_err(|e| fast_open_error(step, e))?;
    // Whatever error this gives, the attempt is over, and nothing of the flight is sent.
    let sent = retry_interrupted(|| socket.send_to_with_flags(flight, addr, libc::MSG_NOSIGNAL))
        .map_err(|e| ConnectError::new(Step::Send, e))?;
    Ok((Progress::Taken { sent }, Operation))
}

/// Names the errors by which FreeBSD says that there is no Fast Open (tcp(4), setsockopt(2)).
fn fast_open_error(step: Step, error: io::Error) -> ConnectError {
    match error.raw_os_error() {
        // Both sides are switched off.
        Some(libc::EPERM) => {
            ConnectError::no_fast_open_because(step, error, NoFastOpen::SwitchedOff)
        }
        // Before 12, or a kernel without it.
        Some(libc::ENOPROTOOPT) => {
            ConnectError::no_fast_open_because(step, error, NoFastOpen::Kernel)
        }
        _ => ConnectError::new(step, error),
    }
}

/// There are no marks here.
pub(crate) fn set_mark(_socket: &Socket, _mark: u32) -> io::Result<()> {
    Err(unsupported())
}

/// How long this system tries is not asked here.
pub(crate) fn give_up_after(_socket: &Socket, _patience: Duration) -> io::Result<()> {
    Err(unsupported())
}

/// Nothing to do: the port is chosen when binding.
pub(crate) fn defer_port_choice(_socket: &Socket) {}

/// Switches Fast Open of a listener on or off; the length of the queue is the system's.
pub(crate) fn set_fast_open_queue(socket: &Socket, length: u32) -> io::Result<()> {
    let on = c_int::from(length > 0);
    set_int(socket, libc::IPPROTO_TCP, TCP_FASTOPEN, on).map_err(|error| {
        match error.raw_os_error() {
            Some(libc::EPERM) => io::Error::new(io::ErrorKind::PermissionDenied, SERVER_SWITCH),
            _ => error,
        }
    })
}

/// The Fast Open queue, if it is on: half the backlog (the head of `netinet/tcp_fastopen.c`).
pub(crate) fn fast_open_queue(socket: &Socket) -> io::Result<u32> {
    match read_int(socket, libc::IPPROTO_TCP, TCP_FASTOPEN)? {
        0 => Ok(0),
        _ => {
            let backlog = read_int(socket, libc::SOL_SOCKET, SO_LISTENQLIMIT)?;
            Ok(u32::try_from(backlog / 2).unwrap_or(0))
        }
    }
}

/// Listeners have no keys of their own: the jail's are set by `net.inet.tcp.fastopen.setkey`.
pub(crate) fn set_cookie_key(_socket: &Socket, _key: &[u8]) -> io::Result<()> {
    Err(unsupported())
}

/// `struct tcp_info` says here that Fast Open was asked for, not what became of the data.
pub(crate) fn tcp_info(_socket: &Socket) -> io::Result<TcpInfo> {
    Err(unsupported())
}

/// Whether an accepted connection came by Fast Open: its option says so (the head of
/// `netinet/tcp_fastopen.c`), also of one that fell back to an ordinary handshake.
pub(crate) fn came_by_fast_open(socket: &Socket) -> io::Result<bool> {
    read_int(socket, libc::IPPROTO_TCP, TCP_FASTOPEN).map(|on| on != 0)
}

/// The dialling side is not told.
pub(crate) fn syn_data_acked(_socket: &Socket) -> io::Result<bool> {
    Err(unsupported())
}

/// What the sysctls say of either side, in this jail if it has a network stack of its own.
pub(crate) fn switches() -> io::Result<Switches> {
    Ok(Switches {
        client: Some(sysctl::read(c"net.inet.tcp.fastopen.client_enable")? != 0),
        server: Some(sysctl::read(c"net.inet.tcp.fastopen.server_enable")? != 0),
    })
}

/// There is no such sysctl: see [`switches`].
pub(crate) fn tcp_fastopen() -> io::Result<u32> {
    Err(unsupported())
}

/// For how long Fast Open is off on a path that failed, in seconds.
pub(crate) fn blackhole_timeout() -> io::Result<u32> {
    sysctl::read(c"net.inet.tcp.fastopen.path_disable_time")
}

/// The limit of backlogs.
pub(crate) fn somaxconn() -> io::Result<u32> {
    sysctl::read(c"kern.ipc.soacceptqueue")
}

/// There are no counters of Fast Open.
pub(crate) fn counters() -> io::Result<Counters> {
    Err(unsupported())
}

fn read_int(socket: &Socket, level: c_int, name: c_int) -> io::Result<c_int> {
    let mut bytes = [0; size_of::<c_int>()];
    get_bytes(socket, level, name, &mut bytes)?;
    Ok(c_int::from_ne_bytes(bytes))
}
