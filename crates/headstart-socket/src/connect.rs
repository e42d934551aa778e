//! Starting an attempt, with its first flight in hand.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::errors::{ConnectError, Step};
use crate::operation::Operation;
use crate::options::Options;
use crate::sys;

/// Bytes one SYN surely holds over IPv4: an Ethernet MTU of 1,500, less 40 of headers, less
/// room for the largest options (40), less a margin for tunnels (20).
const SYN_PAYLOAD_V4: usize = 1_400;

/// The same over IPv6, whose header is 20 bytes longer.
const SYN_PAYLOAD_V6: usize = 1_380;

/// How many bytes of a first flight to count on fitting into one SYN to this address.
///
/// 1,400 over IPv4, 1,380 over IPv6 (also for IPv4-mapped addresses, to be safe). Linux sends
/// up to the cached MSS less 40 bytes of options: 1,420 on plain Ethernet over IPv4.
pub fn syn_payload(addr: &SocketAddr) -> usize {
    match addr {
        SocketAddr::V4(_) => SYN_PAYLOAD_V4,
        SocketAddr::V6(_) => SYN_PAYLOAD_V6,
    }
}

/// The address from which a connection to this address would leave, by the system's routes. Nothing
/// is sent: a datagram socket is asked for.
///
/// # Errors
///
/// [`Unsupported`](io::ErrorKind::Unsupported) if a [`hook`](Options::hook) is set, which may bind
/// sockets to a device and is not run for this; otherwise the system's, such as that there is no
/// route.
pub fn local_ip(addr: SocketAddr, options: &Options) -> io::Result<IpAddr> {
    if let Some(local) = options.local().filter(|local| !local.ip().is_unspecified()) {
        return Ok(local.ip());
    }
    if options.has_hook() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, None)?;
    if let Some(mark) = options.packet_mark() {
        sys::set_mark(&socket, mark)?;
    }
    socket.connect(&SockAddr::from(addr))?;
    let local = socket.local_addr()?.as_socket();
    local
        .map(|local| local.ip())
        .ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// How an attempt opens its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An ordinary three-way handshake; no byte of the flight is sent by [`connect`].
    Plain,
    /// Fast Open, by the platform's best mechanism: the flight goes into the SYN if the kernel
    /// has a cookie for the peer (RFC 7413).
    FastOpen,
}

/// A system call sequence that dials with Fast Open.
///
/// [`connect`] chooses by itself; [`connect_with`] is there to test or measure one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    /// Linux 4.11 and later: the option `TCP_FASTOPEN_CONNECT`, `connect`, then `send`.
    FastOpenConnect,
    /// Linux 3.7 and later: `sendto` with `MSG_FASTOPEN` in place of `connect`.
    MsgFastOpen,
    /// macOS and iOS: `connectx` with idempotent data, to be resumed by the first write; then that
    /// write.
    ConnectX,
    /// FreeBSD 12 and later: the option `TCP_FASTOPEN`, then `sendto` in place of `connect`.
    SendTo,
    /// Windows 10 1607 and later: the option `TCP_FASTOPEN`, then `ConnectEx` with the flight.
    ConnectEx,
    /// Windows: `ConnectEx` with the flight and without the option, so that the flight follows an
    /// ordinary handshake. No Fast Open, but the same operation: for systems that refuse the option,
    /// as wine does.
    ConnectExAlone,
}

/// What happened to the handshake and to the flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Progress {
    /// An ordinary handshake is under way; no byte of the flight was taken.
    Handshake,
    /// The connection opened at once; no byte of the flight was taken.
    Open,
    /// The kernel had a cookie and took bytes into the SYN.
    DataInSyn {
        /// How many bytes of the flight it took: at least 1. The rest waits for the handshake.
        sent: usize,
    },
    /// The kernel took bytes of the flight, and sends them in the SYN if it has a cookie or, if it has
    /// none, behind the handshake; it does not say which. So it is on macOS, iOS, FreeBSD and
    /// Windows, and with these an attempt carries the flight in any case.
    Taken {
        /// How many bytes of the flight it took: at least 1.
        sent: usize,
    },
    /// Fast Open without a cookie: an ordinary handshake that asks for one is under way; no
    /// byte of the flight was taken.
    CookieRequest,
    /// The kernel has paused Fast Open, having suspected a black hole
    /// (`tcp_fastopen_blackhole_timeout_sec`): an ordinary handshake that does *not* ask for a
    /// cookie is under way; no byte of the flight was taken.
    ///
    /// Linux tells this apart from [`CookieRequest`](Self::CookieRequest) since 5.5; before, both
    /// show as `CookieRequest`.
    Paused,
}

/// An attempt that has been started.
#[derive(Debug)]
pub struct Connecting {
    /// The nonblocking socket. Wait for it to be writable, then look at
    /// [`take_error`](crate::take_error).
    ///
    /// Register it with the system's poller only now: Linux reports a socket that is registered
    /// before it connects as writable and hung up.
    pub stream: TcpStream,
    /// How far it has come.
    pub progress: Progress,
    /// What is still under way beside the socket: keep it with the stream, and ask it when the stream
    /// is first ready. An empty type but on Windows.
    pub operation: Operation,
}

/// Starts an attempt: makes a nonblocking socket, sets its options, connects, and for Fast Open
/// hands the kernel the flight to put into the SYN. Never waits.
///
/// For [`Kind::Plain`] the flight is not touched. For [`Kind::FastOpen`] it must not be empty: a
/// zero-length send would make Linux spend the cookie on a SYN without data. Where the SYN does
/// not hold all of it, the rest is the caller's to write.
///
/// # Errors
///
/// [`ConnectError`] names the step, and tells by
/// [`no_fast_open`](ConnectError::no_fast_open) if Fast Open cannot be had here; a Fast Open
/// attempt is never quietly made a plain one. Refusal by the peer usually comes later, as an error
/// of the stream.
pub fn connect(
    addr: SocketAddr,
    kind: Kind,
    flight: &[u8],
    options: &Options,
) -> Result<Connecting, ConnectError> {
    match kind {
        Kind::Plain => {
            let socket = open(&addr, options)?;
            let progress = sys::connect(&socket, &SockAddr::from(addr))?;
            Ok(Connecting {
                stream: socket.into(),
                progress,
                operation: Operation::plain(),
            })
        }
        Kind::FastOpen => fast_open(addr, None, flight, options),
    }
}

/// Starts a Fast Open attempt by one given mechanism. Otherwise like [`connect`].
///
/// # Errors
///
/// As [`connect`]; a mechanism of another platform is [`Unsupported`](crate::Class::Unsupported).
pub fn connect_with(
    addr: SocketAddr,
    mechanism: Mechanism,
    flight: &[u8],
    options: &Options,
) -> Result<Connecting, ConnectError> {
    fast_open(addr, Some(mechanism), flight, options)
}

fn fast_open(
    addr: SocketAddr,
    mechanism: Option<Mechanism>,
    flight: &[u8],
    options: &Options,
) -> Result<Connecting, ConnectError> {
    if flight.is_empty() {
        let source = io::Error::new(
            io::ErrorKind::InvalidInput,
            "Fast Open needs a byte to send",
        );
        return Err(ConnectError::new(Step::Flight, source));
    }
    let socket = open(&addr, options)?;
    let (progress, operation) =
        sys::connect_fast_open(&socket, &SockAddr::from(addr), mechanism, flight)?;
    Ok(Connecting {
        stream: socket.into(),
        progress,
        operation: Operation::dialled(operation),
    })
}

/// A nonblocking socket with its options set and its local address bound.
fn open(addr: &SocketAddr, options: &Options) -> Result<Socket, ConnectError> {
    let socket = sys::socket(Domain::for_address(*addr)).map_err(|e| (Step::Socket, e))?;
    options.apply(&socket)?;
    if let Some(local) = options.local() {
        if local.port() == 0 {
            sys::defer_port_choice(&socket);
        }
        socket
            .bind(&SockAddr::from(local))
            .map_err(|e| (Step::Bind, e))?;
    }
    Ok(socket)
}
