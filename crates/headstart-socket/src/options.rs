//! What to set on a socket before it connects, and on one just accepted.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Socket, TcpKeepalive};

use crate::errors::Step;
use crate::sys;

/// A caller's own look at a socket, run before it connects or listens, or after it was accepted.
pub type Hook = Arc<dyn Fn(&Socket) -> io::Result<()> + Send + Sync>;

/// The shortest keepalive time systems accept; shorter ones are raised to it.
const KEEPALIVE_MIN: Duration = Duration::from_secs(1);

/// Settings that apply to every connection, dialled or accepted.
///
/// ```
/// use std::time::Duration;
/// use headstart_socket::Options;
///
/// let options = Options::new().nodelay(true).keepalive(Some(Duration::from_secs(30)));
/// ```
#[derive(Clone)]
pub struct Options {
    nodelay: bool,
    keepalive: Option<Duration>,
    mark: Option<u32>,
    bind: Option<SocketAddr>,
    hook: Option<Hook>,
}

impl Options {
    /// The defaults: no Nagle delay, no keepalive, no mark, any local address, no hook.
    pub fn new() -> Self {
        Self {
            nodelay: true,
            keepalive: None,
            mark: None,
            bind: None,
            hook: None,
        }
    }

    /// Whether small writes leave at once (`TCP_NODELAY`). Default: `true`.
    pub fn nodelay(mut self, on: bool) -> Self {
        self.nodelay = on;
        self
    }

    /// Probe a peer that has been silent this long (`SO_KEEPALIVE`). Default: `None`, no probes.
    ///
    /// Systems count whole seconds: fractions are cut off, and less than a second is raised to
    /// one. The interval and number of probes stay the system's.
    pub fn keepalive(mut self, idle: Option<Duration>) -> Self {
        self.keepalive = idle.map(|idle| idle.max(KEEPALIVE_MIN));
        self
    }

    /// Mark packets for policy routing or a firewall (`SO_MARK`). Default: `None`.
    ///
    /// Linux only, and needs `CAP_NET_ADMIN` or `CAP_NET_RAW`; elsewhere a set mark is an error of
    /// class [`Unsupported`](crate::Class::Unsupported).
    pub fn mark(mut self, mark: Option<u32>) -> Self {
        self.mark = mark;
        self
    }

    /// The local address to dial from. Default: `None`, the system's choice.
    ///
    /// Port 0 leaves the port to the system, which on Linux then picks it per destination
    /// (`IP_BIND_ADDRESS_NO_PORT`), so that binding does not shrink the number of possible
    /// connections. Does not concern listeners and accepted connections.
    pub fn bind(mut self, local: Option<SocketAddr>) -> Self {
        self.bind = local;
        self
    }

    /// A function run on every socket, after the settings above. Default: none.
    ///
    /// A dialled or listening socket is not bound yet then, an accepted one is open. An error
    /// gives up the socket. The socket is nonblocking and stays so whatever the hook does.
    pub fn hook<F>(mut self, hook: F) -> Self
    where
        F: Fn(&Socket) -> io::Result<()> + Send + Sync + 'static,
    {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// The local address to dial from, if one is set.
    pub(crate) fn local(&self) -> Option<SocketAddr> {
        self.bind
    }

    /// The mark, if one is set.
    pub(crate) fn packet_mark(&self) -> Option<u32> {
        self.mark
    }

    /// Whether a hook may change where packets leave from.
    pub(crate) fn has_hook(&self) -> bool {
        self.hook.is_some()
    }

    /// Sets everything but the local address.
    pub(crate) fn apply(&self, socket: &Socket) -> Result<(), (Step, io::Error)> {
        if self.nodelay {
            socket
                .set_tcp_nodelay(true)
                .map_err(|e| (Step::Option("TCP_NODELAY"), e))?;
        }
        if let Some(idle) = self.keepalive {
            let keepalive = TcpKeepalive::new().with_time(idle);
            socket
                .set_tcp_keepalive(&keepalive)
                .map_err(|e| (Step::Option("SO_KEEPALIVE"), e))?;
        }
        if let Some(mark) = self.mark {
            sys::set_mark(socket, mark).map_err(|e| (Step::Option("SO_MARK"), e))?;
        }
        if let Some(hook) = &self.hook {
            hook(socket).map_err(|e| (Step::Hook, e))?;
            socket
                .set_nonblocking(true)
                .map_err(|e| (Step::Socket, e))?;
        }
        Ok(())
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("nodelay", &self.nodelay)
            .field("keepalive", &self.keepalive)
            .field("mark", &self.mark)
            .field("bind", &self.bind)
            .field("hook", &self.hook.is_some())
            .finish()
    }
}
