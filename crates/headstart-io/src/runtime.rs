//! What the driver needs of an async runtime: sockets with readiness, a timer,
//! the time, and a place for its one task.

use std::fmt::{Debug, Display};
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::{Duration, Instant as StdInstant};

use headstart_core::Instant;
use headstart_core::race::{AttemptKind, Failure, Progress};

use crate::gate::GateStream;
use crate::stream::RaceStream;

/// An async runtime, with the operating system behind it.
pub trait Runtime: Clone + Debug + Send + Sync + Unpin + 'static {
    /// The runtime's own TCP stream.
    type Stream: Stream;
    /// The runtime's own TCP listener.
    type Listener: Listener<Stream = Self::Stream>;
    /// What a dial gives: [`RaceStream`] itself, or a shell of the runtime's
    /// around it that has the runtime's own traits.
    type RaceStream: From<RaceStream<Self>>;
    /// What a gate admits: [`GateStream`] itself, or a shell around it.
    type GateStream: From<GateStream<Self>> + Send;
    /// A timer of the runtime's.
    type Timer: Timer;
    /// Socket options of attempts.
    type Options: Clone + Debug + Default + Send + Sync + 'static;
    /// Options of listeners.
    type ListenOptions: Clone + Debug + Default + Send + Sync + 'static;

    /// The runtime that this is called in.
    ///
    /// # Errors
    /// If there is none.
    fn current() -> io::Result<Self>;

    /// The time, on the clock that the runtime's timers follow.
    fn now(&self) -> Instant;

    /// The time as the standard library names it: by it gates, and dialers,
    /// that share a memory agree on when something was. A runtime whose clock
    /// can be stopped says what that clock shows.
    fn std_now(&self) -> StdInstant {
        StdInstant::now()
    }

    /// Starts an attempt, its first flight in hand, without waiting. A plain
    /// attempt takes nothing of the flight.
    ///
    /// # Errors
    /// [`StartError`] tells an attempt that could not be had from one that failed.
    fn start(
        &self,
        address: SocketAddr,
        kind: AttemptKind,
        flight: &[u8],
        options: &Self::Options,
    ) -> Result<(Self::Stream, Progress), StartError>;

    /// Listens, with Fast Open where it can be had.
    ///
    /// # Errors
    /// The system's.
    fn listen(
        &self,
        address: SocketAddr,
        options: &Self::ListenOptions,
    ) -> io::Result<Self::Listener>;

    /// Most bytes that one SYN to this address is taken to carry.
    fn syn_payload(&self, address: SocketAddr) -> usize;

    /// The address from which an attempt to this address would leave, found
    /// without sending anything. Only asked for if the path memory suspects
    /// some path to it; without it the one used last is taken.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported) where that cannot be told.
    fn local_ip(&self, address: SocketAddr, options: &Self::Options) -> io::Result<IpAddr> {
        let _ = (address, options);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The addresses of a host, in order of preference.
    ///
    /// **Cancel safety.** It takes nothing that could be lost.
    fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// A timer that is not set.
    fn timer(&self) -> Self::Timer;

    /// Runs a task until it ends. A runtime that goes drops the task.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);
}

/// A TCP stream of the runtime's, as the race and the gate use it. The `try_`
/// methods never wait; where one says
/// [`WouldBlock`](io::ErrorKind::WouldBlock), the matching `poll_` method
/// waits for the next change. Each `poll_` method remembers the waker of its
/// latest call, readers and writers apart; none takes anything, so all may be
/// abandoned at any time.
pub trait Stream: Debug + Send + Sync + Unpin + Sized + 'static {
    /// What programs are given for it: the runtime's own stream.
    type Inner;

    /// The runtime's own stream.
    ///
    /// # Errors
    /// Gives itself back if that cannot be had (no descriptor is free, or no
    /// more may be registered).
    fn into_inner(self) -> Result<Self::Inner, Self>;

    /// Ready when there may be something to read.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ready when there may be room to write; for the first time, when the
    /// handshake is complete.
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Reads without taking: 0 is end of file, 1 is something. Asks the
    /// system itself, whatever readiness the runtime remembers: it is the last
    /// look before a connection is given up.
    ///
    /// # Errors
    /// `WouldBlock`: nothing yet. Any other: the connection failed.
    fn try_peek(&self) -> io::Result<usize>;

    /// Reads. Asks the system itself, as [`try_peek`](Self::try_peek) does.
    ///
    /// # Errors
    /// As [`try_peek`](Self::try_peek).
    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes.
    ///
    /// # Errors
    /// `WouldBlock`: no room yet. Any other: the connection failed.
    fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize>;

    /// The pending error of the socket, taken.
    ///
    /// # Errors
    /// That error.
    fn take_error(&self) -> io::Result<()>;

    /// Whether data in the SYN was acknowledged (on an accepted stream:
    /// whether data came in the SYN).
    ///
    /// # Errors
    /// If the system does not say.
    fn syn_data_acked(&self) -> io::Result<bool>;

    /// How many of the bytes written the peer has acknowledged, counting FIN
    /// as one. Without it a gate cannot prove that a connection that came by
    /// Fast Open works both ways, and prefers plain ones.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported) where the system does not say.
    fn bytes_acked(&self) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// This end's address: the path memory knows paths by it.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported) where the system does not say.
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Sends FIN behind what was written.
    ///
    /// # Errors
    /// If the connection is not open.
    fn shutdown_write(&self) -> io::Result<()>;

    /// Closes by RST, leaving no TIME_WAIT.
    fn close_abortively(self);

    /// Closes by FIN behind what was written, as dropping it does; but the
    /// system need not try for longer than this to deliver that to a peer that
    /// acknowledges nothing. By default it tries for as long as it likes.
    fn close_within(self, patience: Duration) {
        let _ = patience;
    }
}

/// A TCP listener of the runtime's.
pub trait Listener: Debug + Send + Sync + Unpin + 'static {
    /// What it accepts.
    type Stream: Stream;
    /// Whether Fast Open is on.
    type FastOpen: Clone + Debug + Display + Send + Sync + 'static;

    /// Accepts a connection, taking it only when ready.
    ///
    /// # Errors
    /// As the system tells them; [`after_error`](Self::after_error) says what
    /// they mean.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Stream, SocketAddr)>>;

    /// What to do after an error of [`poll_accept`](Self::poll_accept).
    fn after_error(&self, error: &io::Error) -> AfterAcceptError;

    /// Whether Fast Open is really on.
    fn fast_open(&self) -> Self::FastOpen;

    /// The address it listens on.
    ///
    /// # Errors
    /// If the system does not say.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// What a failed accept means to the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterAcceptError {
    /// The connection is gone, the listener is well: accept the next.
    Retry,
    /// Something has run out: accept again after a pause.
    BackOff,
    /// The listener is broken.
    Stop,
}

/// A timer of the runtime's.
pub trait Timer: Send + Unpin + 'static {
    /// Ready once the time has come; a different time sets it anew. The waker
    /// of the latest call is woken.
    fn poll_at(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()>;
}

/// Why an attempt did not start.
#[derive(Debug)]
pub struct StartError {
    /// What it means to the race.
    pub failure: Failure,
    /// Whether it could not be had (no descriptor, no port, no Fast Open
    /// here), as opposed to tried and failed (R12).
    pub not_had: bool,
    /// The system's error.
    pub source: io::Error,
}
