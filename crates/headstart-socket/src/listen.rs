//! Opening a listener, with Fast Open, and saying honestly whether it is on.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, SockAddr, SockRef, Socket};

use crate::errors::{ListenError, Step};
use crate::options::Options;
use crate::status::Switches;
use crate::sys;

/// The largest queue one can ask for; kernels cut it down to their own limit.
const LARGEST: u32 = i32::MAX as u32;

/// How many Fast Open connections may be pending: accepted with their data before their handshake
/// has ended. Where the system sets the length by itself (macOS, FreeBSD, Windows), any but 0 is on.
///
/// Requests beyond it get an ordinary handshake. One that is reset before its handshake ends holds
/// its place for 60 s (RFC 7413 section 5.1), so short queues are easily filled by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueLen {
    /// As many as the system allows: on Linux `net.core.somaxconn`.
    Max,
    /// This many, or the system's limit, if that is less. 0 is [`Off`](Self::Off).
    Len(u32),
    /// No Fast Open, even where a sysctl turns it on for all listeners.
    Off,
}

/// The secret a listener makes its cookies with: one key, and optionally the previous one.
///
/// Servers behind one address must share it, or a cookie from one is refused by the next. It is
/// never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct CookieKey {
    bytes: [u8; 32],
    length: usize,
}

impl CookieKey {
    /// One key, of 16 random bytes.
    pub fn new(primary: [u8; 16]) -> Self {
        let mut bytes = [0; 32];
        if let Some(front) = bytes.first_chunk_mut() {
            *front = primary;
        }
        Self { bytes, length: 16 }
    }

    /// Also accepts cookies made with this key, and answers them with new ones (Linux 5.3): rotate
    /// by moving the old key here.
    pub fn with_backup(mut self, backup: [u8; 16]) -> Self {
        if let Some(back) = self.bytes.last_chunk_mut() {
            *back = backup;
        }
        self.length = 32;
        self
    }

    /// A key as the kernel has it: 16 bytes, or 32 with the backup. `None` if there is none.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (primary, rest) = bytes.split_first_chunk()?;
        let key = Self::new(*primary);
        Some(match rest.first_chunk() {
            Some(backup) => key.with_backup(*backup),
            None => key,
        })
    }

    /// What the kernel gets: 16 or 32 bytes.
    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&self.bytes)
    }
}

impl fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieKey")
            .field("has_backup", &(self.length == 32))
            .finish_non_exhaustive()
    }
}

/// How to listen.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    backlog: u32,
    queue: QueueLen,
    key: Option<CookieKey>,
    reuse_address: bool,
    reuse_port: bool,
    only_v6: Option<bool>,
    options: Options,
}

impl ListenOptions {
    /// The defaults: the largest backlog and Fast Open queue the system allows, the system's cookie
    /// key, address reuse, default [`Options`].
    pub fn new() -> Self {
        Self {
            backlog: LARGEST,
            queue: QueueLen::Max,
            key: None,
            reuse_address: true,
            reuse_port: false,
            only_v6: None,
            options: Options::new(),
        }
    }

    /// How many connections may wait to be accepted. Default and limit: the system's (on Linux
    /// `net.core.somaxconn`).
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections.min(LARGEST);
        self
    }

    /// The Fast Open queue. Default: [`QueueLen::Max`].
    pub fn fast_open(mut self, queue: QueueLen) -> Self {
        self.queue = queue;
        self
    }

    /// The cookie key of this listener. Default: `None`, the key of the network namespace.
    pub fn cookie_key(mut self, key: Option<CookieKey>) -> Self {
        self.key = key;
        self
    }

    /// Whether to listen although old connections of this port linger (`SO_REUSEADDR`). Default:
    /// `true`. Not used on Windows, where the option means something else.
    pub fn reuse_address(mut self, on: bool) -> Self {
        self.reuse_address = on;
        self
    }

    /// Whether several listeners of this user may share the port (`SO_REUSEPORT`). Default:
    /// `false`. On systems without it, `true` is an error.
    pub fn reuse_port(mut self, on: bool) -> Self {
        self.reuse_port = on;
        self
    }

    /// Whether an IPv6 listener takes IPv6 connections only (`IPV6_V6ONLY`). Default: `None`, as the
    /// system is set.
    pub fn only_v6(mut self, on: Option<bool>) -> Self {
        self.only_v6 = on;
        self
    }

    /// Settings of the listening socket; give them to [`accepted`] too. Default: [`Options::new`].
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// The options of the listener and of the sockets that it accepts.
    pub fn socket_options(&self) -> &Options {
        &self.options
    }
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a listener really does Fast Open.
#[derive(Debug)]
#[non_exhaustive]
pub enum ListenerFastOpen {
    /// Yes.
    On {
        /// The queue as the kernel has set it, in connections.
        queue: u32,
        /// Whether it has a cookie key of its own.
        own_key: bool,
    },
    /// No, as was asked for.
    Off,
    /// No: the option is set, but the system has Fast Open switched off for servers; on Linux, bit 0x2
    /// of the sysctl `net.ipv4.tcp_fastopen` is missing in this network namespace. It will be on as
    /// soon as that is switched on.
    SwitchedOff {
        /// The queue as the kernel has set it, in connections.
        queue: u32,
    },
    /// Perhaps: the option is set, but whether the system has it switched on could not be read.
    Unverified {
        /// The queue as the kernel has set it, in connections.
        queue: u32,
        /// Why that could not be read.
        error: io::Error,
    },
    /// No: the system refused.
    Refused {
        /// The option it refused.
        option: &'static str,
        /// Why.
        error: io::Error,
    },
}

impl ListenerFastOpen {
    /// Whether it is known to be on.
    pub fn is_on(&self) -> bool {
        matches!(self, Self::On { .. })
    }
}

impl fmt::Display for ListenerFastOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On {
                queue,
                own_key: false,
            } => write!(f, "on, queue {queue}"),
            Self::On {
                queue,
                own_key: true,
            } => write!(f, "on, queue {queue}, own cookie key"),
            Self::Off => f.write_str("off, as asked"),
            Self::SwitchedOff { .. } => write!(f, "off: {}", sys::SERVER_SWITCH),
            Self::Unverified { error, .. } => write!(f, "set, but is it switched on? {error}"),
            Self::Refused { option, error } => write!(f, "off: option {option}: {error}"),
        }
    }
}

/// A listener, and the truth about its Fast Open.
#[derive(Debug)]
pub struct Listening {
    /// The nonblocking listener.
    pub listener: TcpListener,
    /// Whether it does Fast Open.
    pub fast_open: ListenerFastOpen,
}

/// Opens a nonblocking listener.
///
/// A system that refuses Fast Open does not keep it from listening: [`Listening::fast_open`] says so.
///
/// # Errors
///
/// [`ListenError`] names the step that failed.
pub fn listen(addr: SocketAddr, options: &ListenOptions) -> Result<Listening, ListenError> {
    let socket = sys::socket(Domain::for_address(addr)).map_err(|e| (Step::Socket, e))?;
    prepare(&socket, &addr, options)?;
    socket
        .bind(&SockAddr::from(addr))
        .map_err(|e| (Step::Bind, e))?;
    let backlog = i32::try_from(options.backlog).unwrap_or(i32::MAX);
    let mut refusal = match sys::QUEUE_AFTER_LISTEN {
        false => set_fast_open(&socket, options).err(),
        true => None,
    };
    socket.listen(backlog).map_err(|e| (Step::Listen, e))?;
    if sys::QUEUE_AFTER_LISTEN {
        refusal = set_fast_open(&socket, options).err();
    }
    let fast_open = match refusal {
        None => after_listening(&socket, options),
        Some((option, error)) => {
            // Where it cannot be switched off it is not there.
            let _ = ensure_off(&socket);
            ListenerFastOpen::Refused { option, error }
        }
    };
    Ok(Listening {
        listener: socket.into(),
        fast_open,
    })
}

/// Gives a running listener another cookie key.
///
/// Clients whose cookie was made with neither of its keys fall back to one ordinary handshake, which
/// brings them a new one.
///
/// # Errors
///
/// The system's; [`Unsupported`](io::ErrorKind::Unsupported) where listeners have no keys.
pub fn set_cookie_key<'a>(listener: impl Into<SockRef<'a>>, key: &CookieKey) -> io::Result<()> {
    sys::set_cookie_key(&listener.into(), key.as_bytes())
}

/// Applies the settings to an accepted connection.
///
/// Blocking or not is left to who accepted it, unless there is a hook: then it is nonblocking.
///
/// # Errors
///
/// The first setting or the hook that failed, with a [`ListenError`] inside. The connection can
/// still be used.
pub fn accepted<'a>(stream: impl Into<SockRef<'a>>, options: &Options) -> io::Result<()> {
    options
        .apply(&stream.into())
        .map_err(|failure| ListenError::from(failure).into())
}

/// Whether an accepted connection brought data in its SYN. FreeBSD says so also of one that asked
/// for Fast Open and fell back to an ordinary handshake.
///
/// # Errors
///
/// [`Unsupported`](io::ErrorKind::Unsupported) where the system does not say (Windows, and where
/// there is no Fast Open); otherwise the system's.
pub fn came_by_fast_open<'a>(stream: impl Into<SockRef<'a>>) -> io::Result<bool> {
    sys::came_by_fast_open(&stream.into())
}

fn prepare(
    socket: &Socket,
    addr: &SocketAddr,
    options: &ListenOptions,
) -> Result<(), (Step, io::Error)> {
    if let (SocketAddr::V6(_), Some(only)) = (addr, options.only_v6) {
        socket
            .set_only_v6(only)
            .map_err(|e| (Step::Option("IPV6_V6ONLY"), e))?;
    }
    if options.reuse_address {
        sys::set_reuse_address(socket).map_err(|e| (Step::Option("SO_REUSEADDR"), e))?;
    }
    if options.reuse_port {
        sys::set_reuse_port(socket).map_err(|e| (Step::Option("SO_REUSEPORT"), e))?;
    }
    options.options.apply(socket)
}

/// Key first: a listener without the shared key it was meant to have must not hand out cookies.
fn set_fast_open(
    socket: &Socket,
    options: &ListenOptions,
) -> Result<(), (&'static str, io::Error)> {
    let queue = match options.queue {
        QueueLen::Off | QueueLen::Len(0) => return Ok(()),
        QueueLen::Max => LARGEST,
        QueueLen::Len(length) => length.min(LARGEST),
    };
    if let Some(key) = &options.key {
        sys::set_cookie_key(socket, key.as_bytes()).map_err(|e| ("TCP_FASTOPEN_KEY", e))?;
    }
    sys::set_fast_open_queue(socket, queue).map_err(|e| ("TCP_FASTOPEN", e))
}

/// Reads back what the kernel made of it.
fn after_listening(socket: &Socket, options: &ListenOptions) -> ListenerFastOpen {
    let refused = |error| ListenerFastOpen::Refused {
        option: "TCP_FASTOPEN",
        error,
    };
    if matches!(options.queue, QueueLen::Off | QueueLen::Len(0)) {
        return match ensure_off(socket) {
            Ok(()) => ListenerFastOpen::Off,
            Err(error) => refused(error),
        };
    }
    let queue = match sys::fast_open_queue(socket) {
        Ok(queue) => queue,
        Err(error) => return refused(error),
    };
    let unverified = |error| ListenerFastOpen::Unverified { queue, error };
    match Switches::read().map(|switches| switches.server) {
        Ok(Some(true)) => ListenerFastOpen::On {
            queue,
            own_key: options.key.is_some(),
        },
        Ok(Some(false)) => ListenerFastOpen::SwitchedOff { queue },
        Ok(None) => unverified(io::ErrorKind::Unsupported.into()),
        Err(error) => unverified(error),
    }
}

/// `listen` itself turns Fast Open on where the sysctl has 0x400, so off is made so afterwards.
fn ensure_off(socket: &Socket) -> io::Result<()> {
    match sys::fast_open_queue(socket) {
        Ok(0) => Ok(()),
        Ok(_) => sys::set_fast_open_queue(socket, 0),
        // A system without the option has it off.
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_16_or_32_bytes_and_never_printed() {
        let key = CookieKey::new([7; 16]);
        assert_eq!(key.as_bytes(), [7; 16]);
        let key = key.with_backup([9; 16]);
        assert_eq!(key.as_bytes()[..16], [7; 16]);
        assert_eq!(key.as_bytes()[16..], [9; 16]);
        assert_eq!(format!("{key:?}"), "CookieKey { has_backup: true, .. }");
    }
}
