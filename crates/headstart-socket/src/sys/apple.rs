//! macOS, iOS and their kin.

use std::ffi::c_int;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr;
use std::time::Duration;

use socket2::{SockAddr, Socket};

use super::apple_info;
pub(crate) use super::posix::{PEEK_FLAGS, connect, set_reuse_address, set_reuse_port, socket};
use super::posix::{retry_interrupted, under_way};
use super::sockopt::{get_bytes, set_int};
pub(crate) use super::unowned::Operation;
use super::{not_here, sysctl, unsupported};
use crate::connect::{Mechanism, Progress};
use crate::errors::{ConnectError, NoFastOpen, Step};
use crate::info::TcpInfo;
use crate::status::{Counters, FastOpenSysctl, Switches};

// `<netinet/tcp.h>`: for listening sockets only, and 0 or 1.
const TCP_FASTOPEN: c_int = 0x105;
// `<netinet/tcp.h>`: reads `struct tcp_connection_info`.
const TCP_CONNECTION_INFO: c_int = 0x106;
// `<sys/socket.h>`, connectx(2): the first read or write sends the SYN.
const CONNECT_RESUME_ON_READ_WRITE: libc::c_uint = 0x1;
// `<sys/socket.h>`, connectx(2): the data may arrive twice, so it may go into the SYN.
const CONNECT_DATA_IDEMPOTENT: libc::c_uint = 0x2;
// `<sys/socket.h>`: TCP has one connection for each socket.
const SAE_ASSOCID_ANY: libc::sae_associd_t = 0;

/// The kernel lets only listening sockets have the option (`EINVAL` before).
pub(crate) const QUEUE_AFTER_LISTEN: bool = true;

/// What keeps listeners from Fast Open if [`switches`] says that servers have it off.
pub(crate) const SERVER_SWITCH: &str = "net.inet.tcp.fastopen lacks 0x2";

/// Starts a handshake with the flight in its SYN, if the kernel has a cookie. If it has none, the
/// flight follows the handshake.
///
/// `connectx` only prepares; the write that follows it sends the SYN. The kernel copies the whole
/// flight into the socket's send buffer whether or not it has a cookie.
pub(crate) fn connect_fast_open(
    socket: &Socket,
    addr: &SockAddr,
    mechanism: Option<Mechanism>,
    flight: &[u8],
) -> Result<(Progress, Operation), ConnectError> {
    if !matches!(mechanism, None | Some(Mechanism::ConnectX)) {
        return Err(not_here());
    }
    // Without the client's bit the kernel would dial plainly, and not say so.
    if let Ok(Switches {
        client: Some(false),
        ..
    }) = switches()
    {
        return Err(ConnectError::no_fast_open_because(
            Step::Connect,
            unsupported(),
            NoFastOpen::SwitchedOff,
        ));
    }
    match connectx(socket, addr) {
        Ok(()) => {}
        Err(e) if under_way(&e) => {}
        Err(e) => return Err(ConnectError::new(Step::Connect, e)),
    }
    // An error of this first write leaves nothing in the send buffer that would still be sent:
    // the attempt is over.
    let sent =
        retry_interrupted(|| socket.send(flight)).map_err(|e| ConnectError::new(Step::Send, e))?;
    Ok((Progress::Taken { sent }, Operation))
}

fn connectx(socket: &Socket, addr: &SockAddr) -> io::Result<()> {
    let endpoints = libc::sa_endpoints_t {
        sae_srcif: 0,
        sae_srcaddr: ptr::null(),
        sae_srcaddrlen: 0,
        sae_dstaddr: addr.as_ptr().cast(),
        sae_dstaddrlen: addr.len(),
    };
    // SAFETY: the descriptor is open for as long as `socket` is borrowed; the kernel reads
    // `endpoints` and the address in it, which live as long as the call; what may be null is null.
    let result = unsafe {
        libc::connectx(
            socket.as_raw_fd(),
            &endpoints,
            SAE_ASSOCID_ANY,
            CONNECT_RESUME_ON_READ_WRITE | CONNECT_DATA_IDEMPOTENT,
            ptr::null(),
            0,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
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

/// Switches Fast Open of a listener on or off, once it listens; the length of the queue is the
/// system's.
pub(crate) fn set_fast_open_queue(socket: &Socket, length: u32) -> io::Result<()> {
    let on = c_int::from(length > 0);
    set_int(socket, libc::IPPROTO_TCP, TCP_FASTOPEN, on).map_err(|error| {
        match error.raw_os_error() {
            // What the kernel says where the server's bit is missing.
            Some(libc::ENOTSUP) => io::Error::new(io::ErrorKind::Unsupported, SERVER_SWITCH),
            _ => error,
        }
    })
}

/// The Fast Open queue: the system's, which all listeners share, if it is on.
pub(crate) fn fast_open_queue(socket: &Socket) -> io::Result<u32> {
    let mut on = [0; size_of::<c_int>()];
    get_bytes(socket, libc::IPPROTO_TCP, TCP_FASTOPEN, &mut on)?;
    match c_int::from_ne_bytes(on) {
        0 => Ok(0),
        _ => sysctl::read(c"net.inet.tcp.fastopen_backlog"),
    }
}

/// Listeners have no keys of their own: the system's is set by `net.inet.tcp.fastopen_key`.
pub(crate) fn set_cookie_key(_socket: &Socket, _key: &[u8]) -> io::Result<()> {
    Err(unsupported())
}

/// Reads `TCP_CONNECTION_INFO`.
pub(crate) fn tcp_info(socket: &Socket) -> io::Result<TcpInfo> {
    let mut buffer = [0; apple_info::LENGTH_MAX];
    let filled = get_bytes(socket, libc::IPPROTO_TCP, TCP_CONNECTION_INFO, &mut buffer)?;
    apple_info::decode(buffer.get(..filled).unwrap_or(&buffer)).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "TCP_CONNECTION_INFO is too short",
        )
    })
}

/// Whether an accepted connection brought data in its SYN.
pub(crate) fn came_by_fast_open(socket: &Socket) -> io::Result<bool> {
    tcp_info(socket).map(|info| info.syn_data_acked)
}

/// Whether the peer acknowledged data in the SYN.
pub(crate) fn syn_data_acked(socket: &Socket) -> io::Result<bool> {
    tcp_info(socket).map(|info| info.syn_data_acked)
}

/// What the sysctl says of either side.
pub(crate) fn switches() -> io::Result<Switches> {
    let sysctl = FastOpenSysctl::from_bits(tcp_fastopen()?);
    Ok(Switches {
        client: Some(sysctl.client()),
        server: Some(sysctl.server()),
    })
}

/// The bits of the sysctl: 0x1 for clients, 0x2 for servers, as `TCP_FASTOPEN_CLIENT` and
/// `TCP_FASTOPEN_SERVER` of xnu's `netinet/tcp_var.h`.
pub(crate) fn tcp_fastopen() -> io::Result<u32> {
    sysctl::read(c"net.inet.tcp.fastopen")
}

/// The kernel remembers failures by network and tells nobody for how long.
pub(crate) fn blackhole_timeout() -> io::Result<u32> {
    Err(unsupported())
}

/// The limit of backlogs.
pub(crate) fn somaxconn() -> io::Result<u32> {
    sysctl::read(c"kern.ipc.somaxconn")
}

/// The counters of Fast Open are in a structure (`net.inet.tcp.stats`) that changes with the
/// system: not read.
pub(crate) fn counters() -> io::Result<Counters> {
    Err(unsupported())
}
