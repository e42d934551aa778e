//! The gate: accepts connections, reads their first messages, and admits each
//! message once.

mod admitted;
mod claims;
mod doorman;
mod event;

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use headstart_core::debounce::Config;
use headstart_core::framing::{FLIGHT_MAX, Framing};

pub use admitted::{Admitted, GateStream};
pub use claims::{CLAIMS_DEFAULT, Claims};
pub use event::{GateCounters, GateEvent, Via};

use crate::runtime::{Listener, Runtime};
use crate::sync::{Mutex, lock};
use doorman::{Bell, Doorman};
use event::Counts;

/// Default of [`GateBuilder::message_timeout`]: 10 s.
pub const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Default of [`GateBuilder::waiting_max`]: 16,384 connections.
pub const WAITING_DEFAULT: usize = 16 * 1024;
/// Default of [`GateBuilder::admitted_max`]: 1,024 connections.
pub const ADMITTED_DEFAULT: usize = 1024;

/// A listener that admits each first message once.
///
/// One task accepts and reads; [`accept`](Self::accept) only takes from its
/// queue, so that a dropped `accept` loses nothing. The task ends with the gate.
#[derive(Debug)]
pub struct Gate<R: Runtime> {
    shared: Arc<Shared<R>>,
    address: SocketAddr,
    fast_open: FastOpenOf<R>,
}

/// What a runtime's listener says of Fast Open.
type FastOpenOf<R> = <<R as Runtime>::Listener as Listener>::FastOpen;

impl<R: Runtime> Gate<R> {
    /// Starts from the defaults: debouncing, a memory of its own; on the
    /// runtime that this is called in.
    ///
    /// # Errors
    /// If there is no runtime.
    pub fn builder(framing: Framing) -> io::Result<GateBuilder<R>> {
        Ok(Self::builder_on(R::current()?, framing))
    }

    /// As [`builder`](Self::builder), on a given runtime.
    pub fn builder_on(runtime: R, framing: Framing) -> GateBuilder<R> {
        GateBuilder {
            runtime,
            listen_options: R::ListenOptions::default(),
            token: framing == Framing::token(),
            framing,
            debounce: true,
            claims: None,
            message_timeout: MESSAGE_TIMEOUT,
            message_max: FLIGHT_MAX,
            waiting_max: WAITING_DEFAULT,
            admitted_max: ADMITTED_DEFAULT,
            watcher: None,
        }
    }

    /// The next admitted connection.
    ///
    /// **Cancel safety.** Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the listener is broken, or the runtime has dropped the gate's task.
    pub async fn accept(&self) -> io::Result<Admitted<R>> {
        let mut place = Place {
            hall: &self.shared.hall,
            number: None,
        };
        poll_fn(|cx| self.poll_place(&mut place.number, cx)).await
    }

    /// As [`accept`](Self::accept). The task's waker is kept until the next
    /// connection is admitted.
    ///
    /// **Cancel safety.** Nothing is taken unless it is ready.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Admitted<R>>> {
        self.poll_place(&mut Some(SHARED_PLACE), cx)
    }

    /// Takes an admitted connection, or waits for one in the place of this
    /// number, which is given to who has none.
    fn poll_place(
        &self,
        place: &mut Option<u64>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Admitted<R>>> {
        let mut hall = lock(&self.shared.hall);
        if let Some(admitted) = hall.admitted.pop_front() {
            let was_full = hall.admitted.len() + 1 >= self.shared.settings.admitted_max;
            drop(hall);
            if was_full {
                self.shared.bell.ring();
            }
            return Poll::Ready(Ok(admitted));
        }
        if let Some(end) = &hall.end {
            return Poll::Ready(Err(end.to_error()));
        }
        let number = *place.get_or_insert_with(|| {
            hall.next_place += 1;
            hall.next_place
        });
        let place = hall.wakers.iter_mut().find(|(other, waker)| {
            *other == number && (number != SHARED_PLACE || waker.will_wake(cx.waker()))
        });
        // A waker is dropped when the hall is unlocked.
        let _replaced = match place {
            Some((_, waker)) if waker.will_wake(cx.waker()) => None,
            Some((_, waker)) => Some(std::mem::replace(waker, cx.waker().clone())),
            None => {
                hall.wakers.push((number, cx.waker().clone()));
                None
            }
        };
        drop(hall);
        Poll::Pending
    }

    /// The address that the gate listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Whether Fast Open is really on, in this network namespace.
    pub fn fast_open(&self) -> &FastOpenOf<R> {
        &self.fast_open
    }

    /// What the gate has done so far.
    pub fn counters(&self) -> GateCounters {
        self.shared.counts.snapshot()
    }

    /// The memory of first messages, unless debouncing is off.
    pub fn claims(&self) -> Option<&Claims> {
        self.shared.settings.claims.as_ref()
    }
}

impl<R: Runtime> Drop for Gate<R> {
    fn drop(&mut self) {
        lock(&self.shared.hall).closed = true;
        self.shared.bell.ring();
    }
}

type Watcher = Arc<dyn Fn(GateEvent) + Send + Sync>;

/// Builds a [`Gate`].
#[derive(Clone)]
#[must_use]
pub struct GateBuilder<R: Runtime> {
    runtime: R,
    listen_options: R::ListenOptions,
    framing: Framing,
    token: bool,
    debounce: bool,
    claims: Option<Claims>,
    message_timeout: Duration,
    message_max: usize,
    waiting_max: usize,
    admitted_max: usize,
    watcher: Option<Watcher>,
}

impl<R: Runtime> GateBuilder<R> {
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

    /// Most connections whose first message is not whole; beyond, the one that
    /// has waited longest is reset. At least 1; default [`WAITING_DEFAULT`].
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

    /// Is told of everything that happens. Called from the gate's task: it
    /// must not block.
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
        let shared = Arc::new(Shared {
            runtime: self.runtime.clone(),
            settings: Settings {
                framing: self.framing,
                token: self.token,
                claims,
                message_timeout: self.message_timeout,
                message_max: self.message_max,
                waiting_max: self.waiting_max,
                admitted_max: self.admitted_max,
                watcher: self.watcher,
            },
            counts: Counts::default(),
            bell: Arc::default(),
            hall: Mutex::new(Hall {
                admitted: VecDeque::new(),
                wakers: Vec::new(),
                next_place: SHARED_PLACE,
                closed: false,
                end: None,
            }),
        });
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

struct Settings {
    framing: Framing,
    token: bool,
    claims: Option<Claims>,
    message_timeout: Duration,
    message_max: usize,
    waiting_max: usize,
    admitted_max: usize,
    watcher: Option<Watcher>,
}

/// Admitted connections, and who waits for them.
struct Hall<R: Runtime> {
    admitted: VecDeque<Admitted<R>>,
    /// Who waits, by the number of their place.
    wakers: Vec<(u64, Waker)>,
    next_place: u64,
    closed: bool,
    end: Option<End>,
}

/// The place of all who wait without an `accept` of their own.
const SHARED_PLACE: u64 = 0;

/// The place of an `accept` among those who wait: given up when dropped.
struct Place<'a, R: Runtime> {
    hall: &'a Mutex<Hall<R>>,
    number: Option<u64>,
}

impl<R: Runtime> Drop for Place<'_, R> {
    fn drop(&mut self) {
        let mut hall = lock(self.hall);
        let found = hall
            .wakers
            .iter()
            .position(|(number, _)| Some(*number) == self.number);
        let given_up = found.map(|index| hall.wakers.swap_remove(index));
        drop(hall);
        drop(given_up);
    }
}

/// Why no more connections will come.
struct End {
    kind: io::ErrorKind,
    text: String,
}

impl End {
    fn to_error(&self) -> io::Error {
        io::Error::new(self.kind, self.text.clone())
    }
}

/// What the gate and its task share.
struct Shared<R: Runtime> {
    runtime: R,
    settings: Settings,
    counts: Counts,
    bell: Arc<Bell>,
    hall: Mutex<Hall<R>>,
}

impl<R: Runtime> Shared<R> {
    fn is_full(&self) -> bool {
        lock(&self.hall).admitted.len() >= self.settings.admitted_max
    }

    fn is_closed(&self) -> bool {
        lock(&self.hall).closed
    }

    fn admit(&self, admitted: Admitted<R>) {
        let wakers = {
            let mut hall = lock(&self.hall);
            hall.admitted.push_back(admitted);
            std::mem::take(&mut hall.wakers)
        };
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }

    fn tell(&self, event: GateEvent) {
        if let Some(watcher) = &self.settings.watcher {
            watcher(event);
        }
    }

    /// No more connections will come, because of this error or because the
    /// task is gone.
    fn end(&self, error: Option<io::Error>) {
        let wakers = {
            let mut hall = lock(&self.hall);
            hall.end.get_or_insert_with(|| match error {
                Some(error) => End {
                    kind: error.kind(),
                    text: error.to_string(),
                },
                None => End {
                    kind: io::ErrorKind::NotConnected,
                    text: "the gate is closed".into(),
                },
            });
            std::mem::take(&mut hall.wakers)
        };
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

impl<R: Runtime> fmt::Debug for Shared<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
