//! Real sockets, as [`Transports`]: non-blocking ones from `headstart-socket`,
//! and their readiness from mio, edge-triggered, behind a flag.

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use headstart::Options;
use headstart::core::Instant;
use headstart::core::race::{AttemptKind, Close, Failure, Progress, SynData};
use headstart_io::failure_of;
use headstart_sim::{SocketError, SocketId, StartError, Transports};
use headstart_socket::{self as socket, Class, Operation};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// Sockets to these addresses, and a poller to wait for them.
pub(crate) struct Sockets {
    addresses: Vec<SocketAddr>,
    open: Vec<Option<Socket>>,
    poll: Poll,
    events: Events,
    began: std::time::Instant,
}

struct Socket {
    stream: TcpStream,
    operation: Operation,
    readable: bool,
    writable: bool,
}

impl Sockets {
    pub(crate) fn new(addresses: Vec<SocketAddr>) -> io::Result<Self> {
        Ok(Self {
            addresses,
            open: Vec::new(),
            poll: Poll::new()?,
            events: Events::with_capacity(64),
            began: std::time::Instant::now(),
        })
    }

    /// Waits until a socket is ready, or until this time.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let now = self.now();
        let timeout = deadline.map(|at| at.saturating_since(now));
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &self.events {
            if let Some(Some(socket)) = self.open.get_mut(event.token().0) {
                let broken = event.is_error();
                socket.readable |= event.is_readable() || event.is_read_closed() || broken;
                socket.writable |= event.is_writable() || event.is_write_closed() || broken;
            }
        }
        Ok(())
    }

    fn get(&mut self, id: SocketId) -> Result<&mut Socket, SocketError> {
        let socket = self.open.get_mut(id.index()).and_then(Option::as_mut);
        socket.ok_or_else(|| error(io::ErrorKind::NotConnected.into()))
    }

    fn register(
        &mut self,
        stream: std::net::TcpStream,
        operation: Operation,
    ) -> io::Result<SocketId> {
        let mut stream = TcpStream::from_std(stream);
        let id = SocketId::new(self.open.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry.register(&mut stream, Token(id.index()), interest)?;
        self.open.push(Some(Socket {
            stream,
            operation,
            readable: false,
            writable: false,
        }));
        Ok(id)
    }
}

impl Transports for Sockets {
    fn now(&self) -> Instant {
        Instant::default().saturating_add(self.began.elapsed() + Duration::from_nanos(1))
    }

    fn start(
        &mut self,
        kind: AttemptKind,
        target: usize,
        flight: &[u8],
    ) -> Result<(SocketId, Progress), StartError> {
        let kind = match kind {
            AttemptKind::Plain => socket::Kind::Plain,
            AttemptKind::FastOpen => socket::Kind::FastOpen,
        };
        let lacking = |failure: Failure| StartError {
            failure,
            not_had: true,
        };
        let started = socket::connect(self.addresses[target], kind, flight, &Options::new());
        let started = started.map_err(|error| StartError {
            failure: failure_of(error.io_error()),
            not_had: error.class() != Class::Network,
        })?;
        let progress = match started.progress {
            socket::Progress::DataInSyn { sent } | socket::Progress::Taken { sent } => {
                Progress::DataInSyn(sent)
            }
            socket::Progress::CookieRequest => Progress::CookieRequest,
            socket::Progress::Handshake | socket::Progress::Open => Progress::Handshake,
            socket::Progress::Paused => {
                return Err(lacking(failure_of(&io::ErrorKind::Unsupported.into())));
            }
        };
        match self.register(started.stream, started.operation) {
            Ok(id) => Ok((id, progress)),
            Err(error) => Err(lacking(failure_of(&error))),
        }
    }

    fn poll_readable(&mut self, id: SocketId) -> bool {
        self.get(id).is_ok_and(|socket| socket.readable)
    }

    fn poll_writable(&mut self, id: SocketId) -> bool {
        self.get(id).is_ok_and(|socket| {
            // On Windows an attempt with data is open when its operation is over.
            let opened = || socket.operation.finish(&socket.stream);
            let result = socket.stream.try_io(opened).map_err(error);
            socket.writable &= result != Err(SocketError::WouldBlock);
            socket.writable
        })
    }

    fn peek(&mut self, id: SocketId) -> Result<usize, SocketError> {
        let socket = self.get(id)?;
        let result = socket::peek(&socket.stream).map_err(error);
        socket.readable &= result != Err(SocketError::WouldBlock);
        result
    }

    fn read(&mut self, id: SocketId, buffer: &mut [u8]) -> Result<usize, SocketError> {
        let socket = self.get(id)?;
        let result = socket.stream.read(buffer).map_err(error);
        socket.readable &= result != Err(SocketError::WouldBlock);
        result
    }

    fn write(&mut self, id: SocketId, parts: [&[u8]; 2]) -> Result<usize, SocketError> {
        let socket = self.get(id)?;
        let parts = parts.map(IoSlice::new);
        let result = socket.stream.write_vectored(&parts).map_err(error);
        socket.writable &= result != Err(SocketError::WouldBlock);
        result
    }

    fn shutdown(&mut self, id: SocketId) -> Result<(), SocketError> {
        socket::shutdown_write(&self.get(id)?.stream).map_err(error)
    }

    fn take_error(&mut self, id: SocketId) -> Result<(), SocketError> {
        let socket = self.get(id)?;
        socket.operation.finish(&socket.stream).map_err(error)?;
        match socket::take_error(&socket.stream) {
            Ok(None) => Ok(()),
            Ok(Some(pending)) => Err(error(pending)),
            Err(failed) => Err(error(failed)),
        }
    }

    fn syn_data(&self, id: SocketId) -> SynData {
        let stream = self.open.get(id.index()).and_then(Option::as_ref);
        match stream.map(|socket| socket.operation.syn_data_acked(&socket.stream)) {
            Some(Ok(true)) => SynData::Acknowledged,
            Some(Ok(false)) => SynData::Ignored,
            Some(Err(_)) | None => SynData::Sent,
        }
    }

    fn close(&mut self, id: SocketId, close: Close) {
        let socket = self.open.get_mut(id.index()).and_then(Option::take);
        match (socket, close) {
            (Some(socket), Close::Abortive) => drop(socket::close_abortively(socket.stream)),
            (socket, Close::Graceful) => drop(socket),
            (None, Close::Abortive) => {}
        }
    }
}

fn error(error: io::Error) -> SocketError {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => SocketError::WouldBlock,
        _ => SocketError::Failed(failure_of(&error)),
    }
}
