//! How a command serves: so many connections at once, until it is told to
//! stop; then those that are open for a while.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::args::ServiceArgs;
use super::relay::{End, Relayed, relay};
use super::telemetry;
use crate::cli::Server;
use crate::exit::{Stop, even_unread};
use crate::output;
use crate::signals::Signals;

/// How long connections that are cut off may take to notice.
const CUT_OFF: Duration = Duration::from_secs(2);

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Phase {
    Serving,
    /// No more connections.
    Draining,
    /// Those that are open are cut off.
    Over,
}

/// Counts connections and tells them to end.
#[derive(Clone, Debug)]
pub(super) struct Service {
    phase: watch::Receiver<Phase>,
    room: Arc<Semaphore>,
    /// Each connection that is open, or waits for room, is subscribed.
    open: watch::Sender<()>,
    /// Who is dialled, for the log.
    to: Arc<Server>,
    totals: Arc<Totals>,
}

/// Ends a service.
#[derive(Debug)]
pub(super) struct Ending {
    phase: watch::Sender<Phase>,
    service: Service,
    drain: Duration,
}

/// What was relayed in all.
#[derive(Debug, Default)]
struct Totals {
    connections: AtomicU64,
    broken: AtomicU64,
    dial_errors: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
}

/// A connection that is counted.
#[derive(Debug)]
pub(super) struct Guest {
    service: Service,
    _room: OwnedSemaphorePermit,
    _open: watch::Receiver<()>,
}

impl Service {
    pub(super) fn new(args: &ServiceArgs, to: &Server) -> (Self, Ending) {
        let (sender, phase) = watch::channel(Phase::Serving);
        let service = Self {
            phase,
            room: Arc::new(Semaphore::new(
                usize::try_from(args.connections).unwrap_or(usize::MAX),
            )),
            open: watch::Sender::new(()),
            to: Arc::new(to.clone()),
            totals: Arc::default(),
        };
        let ending = Ending {
            phase: sender,
            service: service.clone(),
            drain: args.drain,
        };
        (service, ending)
    }

    /// Waits for room for one more connection, which counts as open meanwhile;
    /// `None` when all are cut off.
    pub(super) async fn room(&self) -> Option<Guest> {
        let open = self.open.subscribe();
        tokio::select! {
            biased;
            () = self.reached(Phase::Over) => None,
            room = self.room.clone().acquire_owned() => Some(Guest {
                service: self.clone(),
                _room: room.ok()?,
                _open: open,
            }),
        }
    }

    /// Counts a connection that was cut off before there was room for it.
    pub(super) fn turned_away(&self, address: SocketAddr) {
        self.totals.connection();
        self.totals.broke();
        tracing::info!(client = %address, "broken: no room before the end");
    }

    pub(super) fn is_draining(&self) -> bool {
        *self.phase.borrow() >= Phase::Draining
    }

    /// Ready when no more connections are wanted.
    pub(super) async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Waits until no connection is open, or all are cut off.
    pub(super) async fn drained(&self) {
        tokio::select! {
            () = self.open.closed() => {}
            () = async {
                self.reached(Phase::Over).await;
                tokio::time::sleep(CUT_OFF).await;
            } => {}
        }
    }

    async fn reached(&self, phase: Phase) {
        // Whoever ends services outlives them, or all is over anyway.
        let _ = self.phase.clone().wait_for(|now| *now >= phase).await;
    }
}

impl Guest {
    /// Relays between a client at this address and the server, until both sides
    /// have ended, or the service has.
    pub(super) async fn relay<A: End, B: End>(
        self,
        address: SocketAddr,
        client: &mut A,
        server: &mut B,
    ) -> io::Result<()> {
        let totals = &self.service.totals;
        totals.connection();
        metrics::gauge!(telemetry::OPEN).increment(1.0);
        let mut relayed = Relayed::default();
        let over = self.service.reached(Phase::Over);
        let result = relay(client, server, over, |now| {
            totals.count(now.up - relayed.up, now.down - relayed.down);
            relayed = now;
        })
        .await;
        metrics::gauge!(telemetry::OPEN).decrement(1.0);
        let Relayed { up, down } = relayed;
        match &result {
            Ok(()) => tracing::info!(client = %address, up, down, "relayed"),
            Err(error) if !server.was_reached() => self.not_dialled(error),
            Err(error) => {
                totals.broke();
                tracing::info!(client = %address, up, down, %error, "broken");
            }
        }
        result
    }

    /// Notes that there is nobody to relay to.
    pub(super) fn not_dialled(&self, error: &io::Error) {
        let totals = &self.service.totals;
        totals.dial_errors.fetch_add(1, Ordering::Relaxed);
        metrics::counter!(telemetry::DIAL_ERRORS).increment(1);
        tracing::warn!(to = %self.service.to, %error, "dial failed");
    }
}

impl Totals {
    fn connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        metrics::counter!(telemetry::CONNECTIONS).increment(1);
    }

    fn broke(&self) {
        self.broken.fetch_add(1, Ordering::Relaxed);
        metrics::counter!(telemetry::BROKEN).increment(1);
    }

    /// So many more bytes were relayed.
    fn count(&self, up: u64, down: u64) {
        self.up.fetch_add(up, Ordering::Relaxed);
        self.down.fetch_add(down, Ordering::Relaxed);
        metrics::counter!(telemetry::BYTES, "direction" => "up").increment(up);
        metrics::counter!(telemetry::BYTES, "direction" => "down").increment(down);
    }
}

impl Ending {
    /// Waits for a signal, then lets open connections end; cuts them off when
    /// their time is over, or at a second signal.
    pub(super) async fn wait(self, mut signals: Signals) -> Summary {
        signals.next().await;
        self.phase.send_replace(Phase::Draining);
        tokio::select! {
            () = self.service.drained() => {}
            () = tokio::time::sleep(self.drain) => {}
            () = signals.next() => {}
        }
        self.phase.send_replace(Phase::Over);
        self.service.drained().await;
        let totals = &self.service.totals;
        let get = |total: &AtomicU64| total.load(Ordering::Relaxed);
        Summary {
            event: "summary",
            connections: get(&totals.connections),
            broken: get(&totals.broken),
            dial_errors: get(&totals.dial_errors),
            bytes_up: get(&totals.up),
            bytes_down: get(&totals.down),
        }
    }
}

/// The first line of output: that it listens.
#[derive(Debug, Serialize)]
pub(super) struct Listening {
    event: &'static str,
    addr: SocketAddr,
    to: String,
    /// On a gate: whether clients can use Fast Open, and why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    fast_open: Option<String>,
}

impl Listening {
    pub(super) fn new(addr: SocketAddr, to: String, fast_open: Option<String>) -> Self {
        Self {
            event: "listening",
            addr,
            to,
            fast_open,
        }
    }

    pub(super) fn tell(&self, json: bool) -> Result<(), Stop> {
        let Self { addr, to, .. } = self;
        // Clients are served whether or not anybody reads of it.
        even_unread(match &self.fast_open {
            _ if json => output::json(self),
            Some(fast_open) => output::line(format_args!(
                "listening on {addr} for {to}; Fast Open: {fast_open}"
            )),
            None => output::line(format_args!("listening on {addr} for {to}")),
        })
    }
}

/// The last line of output.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    event: &'static str,
    connections: u64,
    broken: u64,
    dial_errors: u64,
    bytes_up: u64,
    bytes_down: u64,
}

impl Summary {
    pub(super) fn tell(&self, json: bool) -> Result<(), Stop> {
        even_unread(match json {
            true => output::json(self),
            false => output::line(format_args!(
                "{} connections, {} broken, {} dials failed, {} bytes up, {} bytes down",
                self.connections, self.broken, self.dial_errors, self.bytes_up, self.bytes_down
            )),
        })
    }
}
