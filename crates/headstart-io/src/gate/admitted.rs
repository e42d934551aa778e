//! A connection that was let in.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use super::Via;
use super::joined::Joined;
use super::paired::{Done, Paired};
use crate::driver::Cell;
use crate::runtime::Runtime;

/// A connection whose first message is whole and was not seen before.
#[derive(Debug)]
#[non_exhaustive]
pub struct Admitted<R: Runtime> {
    /// The connection; its first read gives the first message back.
    pub stream: R::GateStream,
    /// The client.
    pub peer: SocketAddr,
    /// How it came.
    pub via: Via,
    /// Length of the first message in bytes, a Token's header included.
    pub message: usize,
}

/// An admitted connection: bytes that were read already, then the runtime's
/// own stream. A Token's header is not among them.
///
/// While the client has not shown which of several copies it uses, reads and
/// writes go through the pair: at most
/// [`pair_log_max`](super::GateBuilder::pair_log_max) bytes of the answer, until
/// one way is proven; then writes wait.
///
/// **Cancel safety.** Every `poll_` method may be abandoned at any time: bytes
/// are taken if and only if it is ready. **Dropping** the stream delivers what
/// was written, as a plain connection would, also to a copy that comes late.
#[derive(Debug)]
pub struct GateStream<R: Runtime> {
    bytes: Vec<u8>,
    at: usize,
    way: Way<R>,
}

#[derive(Debug)]
enum Way<R: Runtime> {
    Direct(R::Stream),
    Paired(Paired<R>),
}

impl<R: Runtime> GateStream<R> {
    pub(super) fn direct(bytes: Vec<u8>, at: usize, stream: R::Stream) -> Self {
        Self {
            bytes,
            at,
            way: Way::Direct(stream),
        }
    }

    /// `bytes` are the first message, and nothing else.
    pub(super) fn paired(bytes: Vec<u8>, at: usize, cell: Arc<Cell<Joined<R>>>) -> Self {
        Self {
            bytes,
            at,
            way: Way::Paired(Paired(cell)),
        }
    }

    /// The runtime's own stream, and the bytes read from it that were not
    /// read from this one.
    ///
    /// # Errors
    /// Gives itself back while the client may still use another copy.
    pub fn into_parts(mut self) -> Result<(R::Stream, Vec<u8>), Self> {
        if let Way::Paired(paired) = &self.way
            && let Some(handed) = paired.decided()
        {
            self.go_on_with(handed);
        }
        match self.way {
            Way::Direct(stream) => {
                self.bytes.drain(..self.at.min(self.bytes.len()));
                Ok((stream, self.bytes))
            }
            Way::Paired(_) => Err(self),
        }
    }

    /// The runtime's own stream, unless the client may still use another copy.
    pub fn get_ref(&self) -> Option<&R::Stream> {
        match &self.way {
            Way::Direct(stream) => Some(stream),
            Way::Paired(_) => None,
        }
    }

    /// For adapters: the stream to read from, once what was read before was
    /// given back.
    pub fn direct_read(&mut self) -> Option<Pin<&mut R::Stream>> {
        match &mut self.way {
            Way::Direct(stream) if self.at >= self.bytes.len() => Some(Pin::new(stream)),
            Way::Direct(_) | Way::Paired(_) => None,
        }
    }

    /// For adapters: the stream to write to, once it is decided.
    pub fn direct_write(&mut self) -> Option<Pin<&mut R::Stream>> {
        match &mut self.way {
            Way::Direct(stream) => Some(Pin::new(stream)),
            Way::Paired(_) => None,
        }
    }

    /// Reads what was read before, or what the pair brings. `Ok(None)`: read
    /// from [`direct_read`](Self::direct_read).
    ///
    /// # Errors
    /// When every copy has failed and no other will come: the last one's.
    /// [`NotConnected`](io::ErrorKind::NotConnected) if the gate's runtime is gone.
    pub fn poll_read_early(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<Option<usize>>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(Some(0)));
        }
        if let Some(length) = self.take_read_before(buf) {
            return Poll::Ready(Ok(Some(length)));
        }
        match self.early(|paired| paired.poll_read(cx, buf)) {
            // What was read from it before comes first.
            Poll::Ready(Ok(None)) => Poll::Ready(Ok(self.take_read_before(buf))),
            polled => polled,
        }
    }

    /// Writes to the pair. `Ok(None)`: nothing was taken, write to
    /// [`direct_write`](Self::direct_write).
    ///
    /// # Errors
    /// As [`poll_read_early`](Self::poll_read_early);
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe) after a shutdown.
    pub fn poll_write_early(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<Option<usize>>> {
        self.early(|paired| paired.poll_write(cx, bufs))
    }

    /// Flushes the pair: ready when a kernel holds everything written.
    /// `Ok(None)`: flush [`direct_write`](Self::direct_write).
    ///
    /// # Errors
    /// As [`poll_read_early`](Self::poll_read_early).
    pub fn poll_flush_early(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<()>>> {
        self.early(|paired| paired.poll_flush(cx))
    }

    /// Shuts the pair's writing down: ready when FIN is handed to a kernel.
    /// `Ok(None)`: shut down [`direct_write`](Self::direct_write).
    ///
    /// **Cancel safety.** The first call decides: FIN goes out all the same.
    ///
    /// # Errors
    /// As [`poll_read_early`](Self::poll_read_early).
    pub fn poll_shutdown_early(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<()>>> {
        self.early(|paired| paired.poll_shutdown(cx))
    }

    /// What the pair does, unless it is decided.
    fn early<T>(
        &mut self,
        poll: impl FnOnce(&Paired<R>) -> Poll<Done<R, T>>,
    ) -> Poll<io::Result<Option<T>>> {
        let Way::Paired(paired) = &self.way else {
            return Poll::Ready(Ok(None));
        };
        match ready!(poll(paired)) {
            Done::Here(result) => Poll::Ready(result.map(Some)),
            Done::Handed(handed) => {
                self.go_on_with(handed);
                Poll::Ready(Ok(None))
            }
        }
    }

    fn go_on_with(&mut self, (stream, beyond): (R::Stream, Vec<u8>)) {
        self.bytes.extend(beyond);
        self.way = Way::Direct(stream);
    }

    /// Bytes read before, as many as fit; `None` once there are none.
    fn take_read_before(&mut self, buf: &mut [u8]) -> Option<usize> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let length = rest.len().min(buf.len());
        let (part, room) = (rest.get(..length)?, buf.get_mut(..length)?);
        room.copy_from_slice(part);
        self.at += length;
        if self.at >= self.bytes.len() {
            (self.bytes, self.at) = (Vec::new(), 0);
        }
        Some(length)
    }
}

impl<R: Runtime> AsyncRead for GateStream<R>
where
    R::Stream: AsyncRead,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(read) = ready!(self.poll_read_early(cx, buf))? {
            return Poll::Ready(Ok(read));
        }
        match self.direct_read() {
            Some(stream) => stream.poll_read(cx, buf),
            None => Poll::Ready(Ok(0)),
        }
    }
}

impl<R: Runtime> AsyncWrite for GateStream<R>
where
    R::Stream: AsyncWrite,
{
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(written) = ready!(self.poll_write_early(cx, bufs))? {
            return Poll::Ready(Ok(written));
        }
        match self.direct_write() {
            Some(stream) => stream.poll_write_vectored(cx, bufs),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if ready!(self.poll_flush_early(cx))?.is_some() {
            return Poll::Ready(Ok(()));
        }
        match self.direct_write() {
            Some(stream) => stream.poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if ready!(self.poll_shutdown_early(cx))?.is_some() {
            return Poll::Ready(Ok(()));
        }
        match self.direct_write() {
            Some(stream) => stream.poll_close(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}
