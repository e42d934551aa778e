//! tokio, as the driver sees it.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use headstart_core::Instant;
use headstart_core::race::{AttemptKind, Failure, FailureKind, Progress};
use headstart_io::{Epoch, Listener, Runtime, StartError, Stream, Timer, failure_of};
use headstart_socket::{
    self as socket, Class, ConnectError, ListenOptions, ListenerFastOpen, Options,
};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::{Instant as TokioInstant, Sleep, sleep_until};

use crate::stream::{GateStream, RaceStream};

/// The tokio runtime that it was made in.
#[derive(Clone, Debug)]
pub struct Tokio {
    handle: Handle,
    epoch: Epoch,
}

/// tokio's listener, and what the sockets that it accepts are given.
#[derive(Debug)]
pub struct GateListener {
    listener: TcpListener,
    options: Options,
    fast_open: Arc<ListenerFastOpen>,
}

impl Runtime for Tokio {
    type Stream = Tcp;
    type Listener = GateListener;
    type RaceStream = RaceStream;
    type GateStream = GateStream;
    type Timer = TokioTimer;
    type Options = Options;
    type ListenOptions = ListenOptions;

    fn current() -> io::Result<Self> {
        let handle = Handle::try_current().map_err(io::Error::other)?;
        let epoch = Epoch::at(TokioInstant::now().into_std());
        Ok(Self { handle, epoch })
    }

    fn now(&self) -> Instant {
        let _inside = self.handle.enter();
        self.epoch.instant(TokioInstant::now().into_std())
    }

    fn start(
        &self,
        address: SocketAddr,
        kind: AttemptKind,
        flight: &[u8],
        options: &Options,
    ) -> Result<(Tcp, Progress), StartError> {
        let kind = match kind {
            AttemptKind::Plain => socket::Kind::Plain,
            AttemptKind::FastOpen => socket::Kind::FastOpen,
        };
        let started = socket::connect(address, kind, flight, options).map_err(start_error)?;
        let progress = match started.progress {
            socket::Progress::DataInSyn { sent } => Progress::DataInSyn(sent),
            socket::Progress::CookieRequest => Progress::CookieRequest,
            socket::Progress::Handshake | socket::Progress::Open => Progress::Handshake,
            // An ordinary handshake with no cookie to fetch: not Fast Open.
            socket::Progress::Paused => return Err(paused()),
        };
        let _inside = self.handle.enter();
        match TcpStream::from_std(started.stream) {
            Ok(stream) => Ok((Tcp(stream), progress)),
            Err(source) => Err(StartError {
                failure: failure_of(&source),
                not_had: true,
                source,
            }),
        }
    }

    fn listen(&self, address: SocketAddr, options: &ListenOptions) -> io::Result<GateListener> {
        let listening = socket::listen(address, options)?;
        let _inside = self.handle.enter();
        Ok(GateListener {
            listener: TcpListener::from_std(listening.listener)?,
            options: options.socket_options().clone(),
            fast_open: Arc::new(listening.fast_open),
        })
    }

    fn syn_payload(&self, address: SocketAddr) -> usize {
        socket::syn_payload(&address)
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let host = host.to_owned();
        // On its own runtime, in whichever the dial is polled.
        let lookup = move || {
            (host.as_str(), port)
                .to_socket_addrs()
                .map(Iterator::collect)
        };
        self.handle
            .spawn_blocking(lookup)
            .await
            .map_err(io::Error::other)?
    }

    fn timer(&self) -> TokioTimer {
        TokioTimer {
            handle: self.handle.clone(),
            epoch: self.epoch,
            sleep: None,
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }
}

fn start_error(error: ConnectError) -> StartError {
    let kind = match error.class() {
        Class::NoResources => Some(FailureKind::NoResources),
        Class::NotPermitted => Some(FailureKind::NotPermitted),
        Class::Unsupported => Some(FailureKind::Unsupported),
        _ => None,
    };
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

/// tokio's stream.
#[derive(Debug)]
pub struct Tcp(pub(crate) TcpStream);

impl Stream for Tcp {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read_ready(cx)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_write_ready(cx)
    }

    fn try_peek(&self) -> io::Result<usize> {
        match self.0.try_io(Interest::READABLE, || socket::peek(&self.0)) {
            // tokio may not have heard yet what the kernel knows.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket::peek(&self.0),
            result => result,
        }
    }

    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buf)
    }

    fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(bufs)
    }

    fn take_error(&self) -> io::Result<()> {
        self.0.take_error()?.map_or(Ok(()), Err)
    }

    fn syn_data_acked(&self) -> io::Result<bool> {
        socket::came_by_fast_open(&self.0)
    }

    fn bytes_acked(&self) -> io::Result<u64> {
        let acked = socket::TcpInfo::of(&self.0)?.acked;
        acked.ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    fn shutdown_write(&self) -> io::Result<()> {
        socket::shutdown_write(&self.0)
    }

    fn close_abortively(self) {
        // A socket whose linger cannot be set is closed all the same.
        let _ = socket::close_abortively(self.0);
    }
}

impl Listener for GateListener {
    type Stream = Tcp;
    type FastOpen = Arc<ListenerFastOpen>;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Tcp, SocketAddr)>> {
        self.listener.poll_accept(cx).map(|accepted| {
            let (stream, peer) = accepted?;
            // This connection cannot be used; the listener is none the worse.
            socket::accepted(&stream, &self.options)
                .map_err(|error| io::Error::new(io::ErrorKind::ConnectionAborted, error))?;
            Ok((Tcp(stream), peer))
        })
    }

    fn after_error(&self, error: &io::Error) -> headstart_io::AfterAcceptError {
        match socket::after_accept_error(error) {
            socket::AfterAcceptError::Retry => headstart_io::AfterAcceptError::Retry,
            socket::AfterAcceptError::BackOff => headstart_io::AfterAcceptError::BackOff,
            socket::AfterAcceptError::Stop => headstart_io::AfterAcceptError::Stop,
        }
    }

    fn fast_open(&self) -> Arc<ListenerFastOpen> {
        self.fast_open.clone()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// tokio's timer.
#[derive(Debug)]
pub struct TokioTimer {
    handle: Handle,
    epoch: Epoch,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer for TokioTimer {
    fn poll_at(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let at = TokioInstant::from_std(self.epoch.std(at));
        let _inside = self.handle.enter();
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx)
    }
}
