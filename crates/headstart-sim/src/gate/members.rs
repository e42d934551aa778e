//! What a pair's driver sees of its connections.

use headstart_core::Instant;
use headstart_core::pair::{Event, MemberId, Step};
use headstart_core::race::Close;

use crate::net::{SocketError, SocketId, Transports};
use crate::trace::What;
use crate::world::World;

/// A server's connections. Nothing here waits; readiness is as with
/// [`Transports`].
pub trait Members {
    /// The server's clock.
    fn now(&self) -> Instant;

    /// Whether reading may give something. If not, the driver is woken when it may.
    fn poll_readable(&mut self, socket: SocketId) -> bool;

    /// Whether writing may take something. If not, the driver is woken when it may.
    fn poll_writable(&mut self, socket: SocketId) -> bool;

    /// How many bytes a read would give; 0 at the end.
    ///
    /// # Errors
    /// [`SocketError`], as reading.
    fn peek(&mut self, socket: SocketId) -> Result<usize, SocketError>;

    /// Reads; 0 bytes at the end.
    ///
    /// # Errors
    /// [`SocketError::WouldBlock`] if there is nothing yet, the failure once.
    fn read(&mut self, socket: SocketId, buffer: &mut [u8]) -> Result<usize, SocketError>;

    /// Writes what fits of these, in order; how many bytes that was.
    ///
    /// # Errors
    /// [`SocketError::WouldBlock`] if nothing fits, the failure once.
    fn write(&mut self, socket: SocketId, parts: [&[u8]; 2]) -> Result<usize, SocketError>;

    /// Sends FIN behind what was written.
    ///
    /// # Errors
    /// The failure, once, or a reset if the connection is gone.
    fn shutdown(&mut self, socket: SocketId) -> Result<(), SocketError>;

    /// The failure of the connection, once.
    ///
    /// # Errors
    /// That failure.
    fn take_error(&mut self, socket: SocketId) -> Result<(), SocketError>;

    /// Bytes that the peer has acknowledged, FIN counting as one.
    fn acked(&self, socket: SocketId) -> u64;

    /// Closes it.
    fn close(&mut self, socket: SocketId, close: Close);

    /// For the trace: what the pair asked. Nothing depends on it.
    fn note_step(&mut self, _step: Step) {}

    /// For the trace: what the pair was told. Nothing depends on it.
    fn note_event(&mut self, _socket: Option<SocketId>, _member: MemberId, _event: Event) {}
}

impl Members for World<'_> {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.now)
    }

    fn poll_readable(&mut self, socket: SocketId) -> bool {
        Transports::poll_readable(self, socket)
    }

    fn poll_writable(&mut self, socket: SocketId) -> bool {
        Transports::poll_writable(self, socket)
    }

    fn peek(&mut self, socket: SocketId) -> Result<usize, SocketError> {
        Transports::peek(self, socket)
    }

    fn read(&mut self, socket: SocketId, buffer: &mut [u8]) -> Result<usize, SocketError> {
        Transports::read(self, socket, buffer)
    }

    fn write(&mut self, socket: SocketId, parts: [&[u8]; 2]) -> Result<usize, SocketError> {
        Transports::write(self, socket, parts)
    }

    fn shutdown(&mut self, socket: SocketId) -> Result<(), SocketError> {
        Transports::shutdown(self, socket)
    }

    fn take_error(&mut self, socket: SocketId) -> Result<(), SocketError> {
        Transports::take_error(self, socket)
    }

    fn acked(&self, socket: SocketId) -> u64 {
        let socket = self.sockets.get(socket.0);
        socket.map_or(0, |socket| u64::from(socket.una.saturating_sub(1)))
    }

    fn close(&mut self, socket: SocketId, close: Close) {
        if let Some(end) = self.sockets.get_mut(socket.0) {
            end.pair = None;
        }
        match close {
            Close::Abortive => self.abort(socket.0),
            Close::Graceful => World::close(self, socket.0),
        }
    }

    fn note_step(&mut self, step: Step) {
        self.trace(What::PairStep(step));
    }

    fn note_event(&mut self, socket: Option<SocketId>, member: MemberId, event: Event) {
        self.trace(What::PairTold(
            socket.map_or(usize::MAX, |id| id.0),
            member,
            event,
        ));
    }
}
