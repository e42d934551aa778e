//! Runtimes on the operating system's own sockets: what is the same for all.

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::task::{Context, Poll};
use std::time::Instant as StdInstant;

use headstart_core::Instant;
use headstart_core::race::{AttemptKind, Failure, FailureKind, Progress};
use headstart_socket::socket2::SockRef;
use headstart_socket::{self as socket, Class, ConnectError, ListenOptions, Options};

use crate::error::failure_of;
use crate::gate::GateStream;
use crate::runtime::{Runtime, StartError, Timer};
use crate::stream::RaceStream;

#[cfg(feature = "async-io")]
mod async_io;
mod listener;
mod stream;

#[cfg(feature = "async-io")]
pub use async_io::{AsyncIo, AsyncIoTimer, Executor, Task};
pub use listener::SystemListener;
pub use stream::SystemStream;

/// An async runtime whose streams are sockets of the operating system. Every
/// one of them is a [`Runtime`], by `headstart-socket`: this names only what
/// differs, readiness, time and tasks.
pub trait SystemRuntime: Clone + Debug + Send + Sync + Unpin + 'static {
    /// A stream that is registered with the runtime.
    type TcpStream: Debug + Send + Sync + Unpin + 'static;
    /// A listener that is registered with the runtime.
    type TcpListener: Debug + Send + Sync + Unpin + 'static;
    /// The stream that programs of this runtime use.
    type Inner;
    /// As [`Runtime::RaceStream`].
    type RaceStream: From<RaceStream<Self>>;
    /// As [`Runtime::GateStream`].
    type GateStream: From<GateStream<Self>> + Send;
    /// A timer of the runtime's.
    type Timer: Timer;

    /// As [`Runtime::current`].
    ///
    /// # Errors
    /// If there is none.
    fn current() -> io::Result<Self>;

    /// As [`Runtime::now`].
    fn now(&self) -> Instant;

    /// As [`Runtime::std_now`].
    fn std_now(&self) -> StdInstant {
        StdInstant::now()
    }

    /// Registers a stream, which is nonblocking.
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Panics
    /// As the runtime does if it has no driver for sockets.
    fn stream(&self, stream: std::net::TcpStream) -> io::Result<Self::TcpStream>;

    /// Registers a listener, which is nonblocking.
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Panics
    /// As the runtime does if it has no driver for sockets.
    fn listener(&self, listener: std::net::TcpListener) -> io::Result<Self::TcpListener>;

    /// Accepts a connection, taking it only when ready.
    ///
    /// # Errors
    /// The system's.
    fn poll_accept(
        listener: &Self::TcpListener,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::TcpStream, SocketAddr)>>;

    /// Waits for the next change after an operation that would have blocked.
    ///
    /// # Errors
    /// The system's, or that the runtime is gone.
    fn poll_ready(
        stream: &Self::TcpStream,
        direction: Direction,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>>;

    /// Runs an operation; one that would block clears what readiness the
    /// runtime remembers.
    ///
    /// # Errors
    /// The operation's, and [`WouldBlock`](io::ErrorKind::WouldBlock) if the
    /// runtime knows so.
    fn try_io<T>(
        stream: &Self::TcpStream,
        direction: Direction,
        operation: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T>;

    /// The socket itself.
    fn socket(stream: &Self::TcpStream) -> SockRef<'_>;

    /// The stream that programs use.
    ///
    /// # Errors
    /// Gives the stream back if that cannot be had.
    fn into_inner(stream: Self::TcpStream) -> Result<Self::Inner, Self::TcpStream>;

    /// A timer that is not set.
    fn timer(&self) -> Self::Timer;

    /// Runs what blocks where it holds nobody up.
    ///
    /// **Cancel safety.** The work is done all the same, its result lost.
    fn unblock<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = io::Result<T>> + Send;

    /// As [`Runtime::spawn`].
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);
}

/// What an operation on a stream waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Something to read.
    Read,
    /// Room to write.
    Write,
}

impl<R: SystemRuntime> Runtime for R {
    type Stream = SystemStream<R>;
    type Listener = SystemListener<R>;
    type RaceStream = <R as SystemRuntime>::RaceStream;
    type GateStream = <R as SystemRuntime>::GateStream;
    type Timer = <R as SystemRuntime>::Timer;
    type Options = Options;
    type ListenOptions = ListenOptions;

    fn current() -> io::Result<Self> {
        <R as SystemRuntime>::current()
    }

    fn now(&self) -> Instant {
        SystemRuntime::now(self)
    }

    fn std_now(&self) -> StdInstant {
        SystemRuntime::std_now(self)
    }

    fn start(
        &self,
        address: SocketAddr,
        kind: AttemptKind,
        flight: &[u8],
        options: &Options,
    ) -> Result<(SystemStream<R>, Progress), StartError> {
        let kind = match kind {
            AttemptKind::Plain => socket::Kind::Plain,
            AttemptKind::FastOpen => socket::Kind::FastOpen,
        };
        let started = socket::connect(address, kind, flight, options).map_err(start_error)?;
        let progress = match started.progress {
            socket::Progress::DataInSyn { sent } | socket::Progress::Taken { sent } => {
                Progress::DataInSyn(sent)
            }
            socket::Progress::CookieRequest => Progress::CookieRequest,
            socket::Progress::Handshake | socket::Progress::Open => Progress::Handshake,
            // An ordinary handshake with no cookie to fetch: not Fast Open.
            socket::Progress::Paused => return Err(paused()),
        };
        match self.stream(started.stream) {
            Ok(stream) => Ok((SystemStream::new(stream, started.operation), progress)),
            Err(source) => Err(not_registered(source)),
        }
    }

    fn listen(
        &self,
        address: SocketAddr,
        options: &ListenOptions,
    ) -> io::Result<SystemListener<R>> {
        SystemListener::new(self, address, options)
    }

    fn syn_payload(&self, address: SocketAddr) -> usize {
        socket::syn_payload(&address)
    }

    fn local_ip(&self, address: SocketAddr, options: &Options) -> io::Result<IpAddr> {
        socket::local_ip(address, options)
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let host = host.to_owned();
        let lookup = move || {
            (host.as_str(), port)
                .to_socket_addrs()
                .map(Iterator::collect)
        };
        self.unblock(lookup).await?
    }

    fn timer(&self) -> <R as SystemRuntime>::Timer {
        SystemRuntime::timer(self)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        SystemRuntime::spawn(self, task);
    }
}

/// What lacks here, if an error says so.
fn lack(class: Class) -> Option<FailureKind> {
    match class {
        Class::NoResources => Some(FailureKind::NoResources),
        Class::NotPermitted => Some(FailureKind::NotPermitted),
        Class::Unsupported => Some(FailureKind::Unsupported),
        _ => None,
    }
}

/// The runtime cannot take in one socket more.
fn not_registered(source: io::Error) -> StartError {
    let mut failure = failure_of(&source);
    failure.kind = lack(socket::classify(&source)).unwrap_or(failure.kind);
    StartError {
        failure,
        not_had: true,
        source,
    }
}

fn start_error(error: ConnectError) -> StartError {
    let kind = lack(error.class());
    let not_had = kind.is_some() || error.step() != socket::Step::Connect;
    let mut failure = failure_of(error.io_error());
    failure.kind = kind.unwrap_or(failure.kind);
    StartError {
        failure,
        not_had,
        source: error.into(),
    }
}

fn paused() -> StartError {
    StartError {
        failure: Failure::new(FailureKind::Unsupported),
        not_had: true,
        source: io::Error::new(
            io::ErrorKind::Unsupported,
            "the kernel has paused Fast Open, suspecting a black hole",
        ),
    }
}

#[cfg(all(test, unix, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn r12_what_a_runtime_has_no_room_for_was_not_had() {
        // ENFILE, EMFILE and ENOSPC have these numbers on every Unix.
        for number in [23, 24, 28] {
            let error = not_registered(io::Error::from_raw_os_error(number));
            assert!(error.not_had);
            assert_eq!(error.failure.kind, FailureKind::NoResources);
            assert_eq!(error.failure.os, Some(number));
        }
    }
}
