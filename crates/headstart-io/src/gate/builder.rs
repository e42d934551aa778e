//! How a gate is set up.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use headstart_core::debounce::Config;
use headstart_core::framing::{FLIGHT_MAX, Framing};
use headstart_core::pair::LOG_LIMIT;

use super::doorman::Doorman;
use super::hall::Shared;
use super::pairs::{Limits, Pairs};
use super::{CLAIMS_DEFAULT, Claims, Gate, GateEvent};
use crate::runtime::{Listener, Runtime};

/// Default of [`GateBuilder::message_timeout`]: 10 s.
pub const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Default of [`GateBuilder::waiting_max`]: 16,384 connections.
pub const WAITING_DEFAULT: usize = 16 * 1024;
/// Default of [`GateBuilder::admitted_max`]: 1,024 connections.
pub const ADMITTED_DEFAULT: usize = 1024;

pub(super) type Watcher = Arc<dyn Fn(GateEvent) + Send + Sync>;

/// Builds a [`Gate`].
#[derive(Clone)]
#[must_use]
pub struct GateBuilder<R: Runtime> {
    runtime: R,
    listen_options: R::ListenOptions,
    framing: Framing,
    debounce: bool,
    claims: Option<Claims>,
    pairing: bool,
    pair_limits: Limits,
    pairs: Option<Pairs<R>>,
    message_timeout: Duration,
    message_max: usize,
    waiting_max: usize,
    admitted_max: usize,
    watcher: Option<Watcher>,
}

impl<R: Runtime> GateBuilder<R> {
    pub(super) fn new(runtime: R, framing: Framing) -> Self {
        Self {
            runtime,
            listen_options: R::ListenOptions::default(),
            framing,
            debounce: true,
            claims: None,
            pairing: true,
            pair_limits: Limits::default(),
            pairs: None,
            message_timeout: MESSAGE_TIMEOUT,
            message_max: FLIGHT_MAX,
            waiting_max: WAITING_DEFAULT,
            admitted_max: ADMITTED_DEFAULT,
            watcher: None,
        }
    }

    /// Options of the listener, and of the sockets that it accepts.
    pub fn listen_options(mut self, options: R::ListenOptions) -> Self {
        self.listen_options = options;
        self
    }

    /// Whether later copies of a first message are reset. Default: yes.
    pub fn debounce(mut self, on: bool) -> Self {
        self.debounce = on;
        self
    }

    /// A memory of first messages that is shared with other gates. Default:
    /// one of its own, of [`CLAIMS_DEFAULT`] messages for 10 minutes.
    pub fn claims(mut self, claims: Claims) -> Self {
        self.claims = Some(claims);
        self
    }

    /// Shares the memory of first messages and pairs with another gate, so that
    /// two copies of a message are told apart, and joined, whichever of the two
    /// accepts them: for accept loops on several threads (SO_REUSEPORT). The
    /// bounds of pairs are those of that gate.
    pub fn beside(mut self, gate: &Gate<R>) -> Self {
        self.claims = gate.shared.settings.claims.clone();
        self.debounce = self.claims.is_some();
        self.pairs = gate.shared.settings.pairs.clone();
        self.pairing = self.pairs.is_some();
        self
    }

    /// Whether copies of a message that first came by Fast Open are joined
    /// into one connection; otherwise they are reset. Default: yes, if
    /// debouncing is on.
    pub fn pairing(mut self, on: bool) -> Self {
        self.pairing = on;
        self
    }

    /// How long after the first copy others may join. Above zero; default
    /// [`WINDOW_DEFAULT`](headstart_core::pair::WINDOW_DEFAULT), 15 s.
    pub fn pair_window(mut self, window: Duration) -> Self {
        self.pair_limits.window = window;
        self
    }

    /// Most bytes of an answer that are kept until its way is proven: 1 to
    /// [`LOG_LIMIT`], default [`LOG_DEFAULT`](headstart_core::pair::LOG_DEFAULT),
    /// 64 KiB. Then writes wait.
    pub fn pair_log_max(mut self, bytes: usize) -> Self {
        self.pair_limits.log_max = bytes;
        self
    }

    /// Most messages at once that are kept open for copies; beyond, copies
    /// are reset. Default [`PAIRS_DEFAULT`](super::PAIRS_DEFAULT).
    pub fn pairs_max(mut self, pairs: usize) -> Self {
        self.pair_limits.pairs = pairs;
        self
    }

    /// Most bytes in all that are kept for copies, messages and answers;
    /// beyond, messages are not kept open, and answers to those that are wait
    /// for a proof, as if their logs were full. Default
    /// [`PAIR_BYTES_DEFAULT`](super::PAIR_BYTES_DEFAULT).
    pub fn pair_bytes_max(mut self, bytes: usize) -> Self {
        self.pair_limits.bytes = bytes;
        self
    }

    /// How long a connection's first message may take. Above zero; default
    /// [`MESSAGE_TIMEOUT`].
    pub fn message_timeout(mut self, timeout: Duration) -> Self {
        self.message_timeout = timeout;
        self
    }

    /// Longest first message in bytes: 1 to [`FLIGHT_MAX`], the default.
    pub fn message_max(mut self, bytes: usize) -> Self {
        self.message_max = bytes;
        self
    }

    /// Most connections whose first message is not whole; beyond, the one
    /// from which nothing has come for longest is reset. At least 1; default
    /// [`WAITING_DEFAULT`], 16,384.
    pub fn waiting_max(mut self, connections: usize) -> Self {
        self.waiting_max = connections;
        self
    }

    /// Most admitted connections that wait for [`Gate::accept`]; beyond, no
    /// more are accepted. At least 1; default [`ADMITTED_DEFAULT`].
    pub fn admitted_max(mut self, connections: usize) -> Self {
        self.admitted_max = connections;
        self
    }

    /// Is told of everything that happens to connections and to pairs. Called
    /// from the gate's task, and of a pair's end from whichever task brought
    /// that about, also the application's: it must not block.
    pub fn watcher(mut self, watcher: impl Fn(GateEvent) + Send + Sync + 'static) -> Self {
        self.watcher = Some(Arc::new(watcher));
        self
    }

    /// Opens the gate at an address.
    ///
    /// # Errors
    /// As [`serve`](Self::serve), and the system's if it cannot listen there.
    pub fn bind(self, address: SocketAddr) -> io::Result<Gate<R>> {
        self.check()?;
        let listener = self.runtime.listen(address, &self.listen_options)?;
        self.serve(listener)
    }

    /// Opens the gate on a listener.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a setting out of its
    /// range, or for debouncing by a framing whose messages repeat by nature.
    pub fn serve(self, listener: R::Listener) -> io::Result<Gate<R>> {
        self.check()?;
        let (address, fast_open) = (listener.local_addr()?, listener.fast_open());
        let claims = match (self.debounce, self.claims) {
            (false, _) => None,
            (true, Some(claims)) => Some(claims),
            (true, None) => Some(Claims::new(Config {
                capacity: CLAIMS_DEFAULT,
                ..Config::default()
            })?),
        };
        let pairs = match (&claims, self.pairing, self.pairs) {
            (Some(_), true, Some(pairs)) => Some(pairs),
            (Some(_), true, None) => Some(Pairs::new(self.pair_limits)),
            (None, _, _) | (_, false, _) => None,
        };
        let settings = Settings {
            framing: self.framing,
            claims,
            pairs,
            message_timeout: self.message_timeout,
            message_max: self.message_max,
            waiting_max: self.waiting_max,
            admitted_max: self.admitted_max,
            watcher: self.watcher,
        };
        let shared = Arc::new(Shared::new(self.runtime.clone(), settings));
        self.runtime.spawn(Doorman::new(shared.clone(), listener));
        Ok(Gate {
            shared,
            address,
            fast_open,
        })
    }

    fn check(&self) -> io::Result<()> {
        if self.debounce && !self.framing.is_unique() {
            return Err(invalid(
                "this framing's messages repeat by nature; assert that they are unique to debounce them",
            ));
        }
        if self.message_max == 0 || self.message_max > FLIGHT_MAX {
            return Err(invalid("message_max must be 1 to 16,384 bytes"));
        }
        let limits = &self.pair_limits;
        if limits.window.is_zero() || limits.log_max == 0 || limits.log_max > LOG_LIMIT {
            return Err(invalid(
                "pair_window must be above zero, pair_log_max 1 byte to 16 MiB",
            ));
        }
        if self.message_timeout.is_zero() || self.waiting_max == 0 || self.admitted_max == 0 {
            return Err(invalid(
                "message_timeout, waiting_max and admitted_max must be above zero",
            ));
        }
        Ok(())
    }
}

impl<R: Runtime> fmt::Debug for GateBuilder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateBuilder")
            .field("framing", &self.framing)
            .finish_non_exhaustive()
    }
}

pub(super) struct Settings<R: Runtime> {
    pub(super) framing: Framing,
    pub(super) claims: Option<Claims>,
    pub(super) pairs: Option<Pairs<R>>,
    pub(super) message_timeout: Duration,
    pub(super) message_max: usize,
    pub(super) waiting_max: usize,
    pub(super) admitted_max: usize,
    pub(super) watcher: Option<Watcher>,
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
