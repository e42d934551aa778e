//! How a gate is set up.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use headstart_core::debounce::Config;
use headstart_core::framing::{FLIGHT_MAX, Framing};

use super::doorman::Doorman;
use super::hall::Shared;
use super::pairs::{Limits, Pairs};
use super::{CLAIMS_DEFAULT, Claims, Gate, GateConfigError, GateEvent};
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
    /// Unless stated: with debouncing.
    pairing: Option<bool>,
    pair_limits: Limits,
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
            pairing: None,
            pair_limits: Limits::default(),
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

    /// Whether a first message is admitted once, and later copies are joined
    /// with the first or reset. Default: yes. Without it there is no pairing.
    pub fn debounce(mut self, on: bool) -> Self {
        self.debounce = on;
        self
    }

    /// A memory of first messages that may be shared with other gates of this
    /// runtime, as [`beside`](Self::beside) does. Default: one of its own, of
    /// [`CLAIMS_DEFAULT`] messages for 10 minutes.
    ///
    /// What is open for copies is shared with it: a copy joins the first
    /// whichever of the gates accepts it, and the bounds of pairs are those of
    /// all gates together, so all must be given the same. A gate with pairing
    /// off resets copies, also of what another keeps open.
    pub fn claims(mut self, claims: Claims) -> Self {
        self.claims = Some(claims);
        self
    }

    /// Shares the memory of first messages and pairs with another gate, so that
    /// two copies of a message are told apart, and joined, whichever of the two
    /// accepts them: for accept loops on several threads (SO_REUSEPORT).
    /// Debounces, pairs, and bounds its pairs as that gate does, in place of
    /// what was set before.
    pub fn beside(mut self, gate: &Gate<R>) -> Self {
        let settings = &gate.shared.settings;
        self.claims = settings.claims.clone();
        self.debounce = self.claims.is_some();
        self.pairing = settings.pairs.is_none().then_some(false);
        if let Some(pairs) = &settings.pairs {
            self.pair_limits = *pairs.limits();
        }
        self
    }

    /// Whether copies of a message that first came by Fast Open are joined
    /// into one connection; otherwise they are reset. Default: yes, unless
    /// debouncing is off. To ask for it then is an error.
    pub fn pairing(mut self, on: bool) -> Self {
        self.pairing = Some(on);
        self
    }

    /// How long after the first copy others may join. Above zero; default
    /// [`WINDOW_DEFAULT`](headstart_core::pair::WINDOW_DEFAULT), 15 s.
    pub fn pair_window(mut self, window: Duration) -> Self {
        self.pair_limits.window = window;
        self
    }

    /// Most bytes of an answer that are kept until its way is proven: 1 to
    /// [`LOG_LIMIT`](headstart_core::pair::LOG_LIMIT), 16 MiB; default
    /// [`LOG_DEFAULT`](headstart_core::pair::LOG_DEFAULT), 64 KiB. Then writes wait.
    pub fn pair_log_max(mut self, bytes: usize) -> Self {
        self.pair_limits.log_max = bytes;
        self
    }

    /// Most messages at once that are kept open for copies; beyond, copies
    /// are reset. At least 1; default [`PAIRS_DEFAULT`](super::PAIRS_DEFAULT),
    /// 4,096.
    pub fn pairs_max(mut self, pairs: usize) -> Self {
        self.pair_limits.pairs = pairs;
        self
    }

    /// Most bytes in all that are kept for copies, messages and answers;
    /// beyond, messages are not kept open, and answers to those that are wait
    /// for a proof, as if their logs were full. At least the framing's
    /// [shortest message](Framing::message_min) and
    /// [`LOG_RESERVE`](headstart_core::pair::LOG_RESERVE), or `pair_log_max` if
    /// that is less; default [`PAIR_BYTES_DEFAULT`](super::PAIR_BYTES_DEFAULT),
    /// 64 MiB.
    pub fn pair_bytes_max(mut self, bytes: usize) -> Self {
        self.pair_limits.bytes = bytes;
        self
    }

    /// How long a connection's first message may take, from when it is
    /// accepted. Above zero; default [`MESSAGE_TIMEOUT`], 10 s.
    pub fn message_timeout(mut self, timeout: Duration) -> Self {
        self.message_timeout = timeout;
        self
    }

    /// Longest first message in bytes, a preamble and a Token's header included:
    /// from the framing's [shortest](Framing::message_min), which is 24 for a
    /// Token, to [`FLIGHT_MAX`], 16 KiB, the default.
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
    /// more are accepted. At least 1; default [`ADMITTED_DEFAULT`], 1,024.
    pub fn admitted_max(mut self, connections: usize) -> Self {
        self.admitted_max = connections;
        self
    }

    /// Is told of everything that happens to connections and to pairs, of one
    /// pair in the order in which it happened. Called from the gate's task, and
    /// of a pair from whichever task works on it, also the application's, or that
    /// of a gate which shares the claims: it must not block.
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
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) with a [`GateConfigError`]
    /// inside for a setting out of its range, or for debouncing by a framing
    /// whose messages repeat by nature.
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
        let pairs = match &claims {
            Some(claims) if self.pairing != Some(false) => Some(claims.pairs(self.pair_limits)?),
            Some(_) | None => None,
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

    fn check(&self) -> Result<(), GateConfigError> {
        if self.debounce && !self.framing.is_unique() {
            return Err(GateConfigError::NotUnique);
        }
        if !self.debounce && self.pairing == Some(true) {
            return Err(GateConfigError::PairingUndebounced);
        }
        let least = self.framing.message_min();
        if !(least..=FLIGHT_MAX).contains(&self.message_max) {
            return Err(GateConfigError::MessageMax { least });
        }
        if self.message_timeout.is_zero() {
            return Err(GateConfigError::MessageTimeout);
        }
        if self.waiting_max == 0 {
            return Err(GateConfigError::WaitingMax);
        }
        if self.admitted_max == 0 {
            return Err(GateConfigError::AdmittedMax);
        }
        self.pair_limits.check(least)
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
