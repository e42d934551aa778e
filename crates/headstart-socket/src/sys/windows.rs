//! Windows 10 1607 and later; earlier ones refuse the option, and dial plainly.

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::windows::io::AsRawSocket;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use windows_sys::Win32::Networking::WinSock;

use super::connect_ex;
pub(crate) use super::connect_ex::Operation;
use super::{not_here, unsupported};
use crate::connect::{Mechanism, Progress};
use crate::errors::{ConnectError, NoFastOpen, Step};
use crate::info::TcpInfo;
use crate::status::{Counters, Switches};

// `ws2ipdef.h`: TRUE or FALSE, since Windows 10 1607. The manual page "IPPROTO_TCP socket options"
// tells of it for clients, with `ConnectEx`.
const TCP_FASTOPEN: c_int = WinSock::TCP_FASTOPEN;
// `mswsock.h`: lets `ConnectEx` share local ports as `connect` does, though it needs them bound.
const SO_REUSE_UNICASTPORT: c_int = WinSock::SO_REUSE_UNICASTPORT;

/// Flags with which `recv` looks at a byte; it does not wait because sockets are nonblocking.
pub(crate) const PEEK_FLAGS: c_int = WinSock::MSG_PEEK;

/// The option is set before a listener listens.
pub(crate) const QUEUE_AFTER_LISTEN: bool = false;

/// Not said: Windows has no setting that this crate could read.
pub(crate) const SERVER_SWITCH: &str = "switched off";

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
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(Progress::Handshake),
        Err(e) => Err(ConnectError::new(Step::Connect, e)),
    }
}

/// Starts a handshake with the flight in its SYN, if the kernel has a cookie. If it has none, the
/// flight follows the handshake.
pub(crate) fn connect_fast_open(
    socket: &Socket,
    addr: &SockAddr,
    mechanism: Option<Mechanism>,
    flight: &[u8],
) -> Result<(Progress, Operation), ConnectError> {
    match mechanism {
        // So that whole races run on systems that refuse the option: for tests.
        None if cfg!(headstart_connect_ex_alone) => {}
        None | Some(Mechanism::ConnectEx) => set_int(socket, WinSock::IPPROTO_TCP, TCP_FASTOPEN, 1)
            .map_err(|e| fast_open_error(Step::Option("TCP_FASTOPEN"), e))?,
        Some(Mechanism::ConnectExAlone) => {}
        Some(_) => return Err(not_here()),
    }
    bind(socket, addr).map_err(|e| ConnectError::new(Step::Bind, e))?;
    let operation =
        connect_ex::start(socket, addr, flight).map_err(|e| ConnectError::new(Step::Connect, e))?;
    let sent = flight.len();
    Ok((Progress::Taken { sent }, operation))
}

/// `ConnectEx` wants a bound socket.
fn bind(socket: &Socket, addr: &SockAddr) -> io::Result<()> {
    let any: SocketAddr = match addr.is_ipv6() {
        true => (Ipv6Addr::UNSPECIFIED, 0).into(),
        false => (Ipv4Addr::UNSPECIFIED, 0).into(),
    };
    defer_port_choice(socket);
    match socket.bind(&any.into()) {
        // It is bound already.
        Err(e) if e.raw_os_error() == Some(WinSock::WSAEINVAL) => Ok(()),
        result => result,
    }
}

/// Names the error by which Windows says that there is no Fast Open.
fn fast_open_error(step: Step, error: io::Error) -> ConnectError {
    match error.raw_os_error() {
        Some(WinSock::WSAENOPROTOOPT | WinSock::WSAEOPNOTSUPP) => {
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

/// Lets the port of a bound address be used to other peers, too. Before Windows 10 there is no such
/// option.
pub(crate) fn defer_port_choice(socket: &Socket) {
    let _ = set_int(socket, WinSock::SOL_SOCKET, SO_REUSE_UNICASTPORT, 1);
}

/// Listeners need nothing for that here; `SO_REUSEADDR` would let another program take the port.
#[allow(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
pub(crate) fn set_reuse_address(_socket: &Socket) -> io::Result<()> {
    Ok(())
}

/// There is no such option here.
pub(crate) fn set_reuse_port(_socket: &Socket) -> io::Result<()> {
    Err(unsupported())
}

/// Switches Fast Open of a listener on or off; the length of the queue is the system's.
pub(crate) fn set_fast_open_queue(socket: &Socket, length: u32) -> io::Result<()> {
    let on = c_int::from(length > 0);
    set_int(socket, WinSock::IPPROTO_TCP, TCP_FASTOPEN, on)
}

/// 1 if it is on; how long the queue is, the system does not say.
pub(crate) fn fast_open_queue(socket: &Socket) -> io::Result<u32> {
    let mut value: MaybeUninit<c_int> = MaybeUninit::zeroed();
    let mut length = size_of::<c_int>() as c_int;
    // SAFETY: the socket is open for as long as `socket` is borrowed; the system writes at most
    // `length` bytes to `value`, which is that long.
    let result = unsafe {
        WinSock::getsockopt(
            socket.as_raw_socket() as WinSock::SOCKET,
            WinSock::IPPROTO_TCP,
            TCP_FASTOPEN,
            value.as_mut_ptr().cast(),
            &mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was zero to begin with, which is an integer, and so is anything written over it.
    let value = unsafe { value.assume_init() };
    Ok(u32::from(value != 0))
}

/// There are no keys to be set here.
pub(crate) fn set_cookie_key(_socket: &Socket, _key: &[u8]) -> io::Result<()> {
    Err(unsupported())
}

/// `SIO_TCP_INFO` says nothing of Fast Open: not read.
pub(crate) fn tcp_info(_socket: &Socket) -> io::Result<TcpInfo> {
    Err(unsupported())
}

/// The system does not say.
pub(crate) fn came_by_fast_open(_socket: &Socket) -> io::Result<bool> {
    Err(unsupported())
}

/// The system does not say.
pub(crate) fn syn_data_acked(_socket: &Socket) -> io::Result<bool> {
    Err(unsupported())
}

/// `netsh int tcp show global` has a setting for it, programs have none to read.
pub(crate) fn switches() -> io::Result<Switches> {
    Err(unsupported())
}

/// There is no such setting.
pub(crate) fn tcp_fastopen() -> io::Result<u32> {
    Err(unsupported())
}

/// There is no such setting.
pub(crate) fn blackhole_timeout() -> io::Result<u32> {
    Err(unsupported())
}

/// There is no such setting.
pub(crate) fn somaxconn() -> io::Result<u32> {
    Err(unsupported())
}

/// There are no such counters.
pub(crate) fn counters() -> io::Result<Counters> {
    Err(unsupported())
}

fn set_int(socket: &Socket, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the socket is open for as long as `socket` is borrowed, and the system reads one
    // integer from the pointer.
    let result = unsafe {
        WinSock::setsockopt(
            socket.as_raw_socket() as WinSock::SOCKET,
            level,
            name,
            (&raw const value).cast(),
            size_of::<c_int>() as c_int,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
