//! A connection that was let in.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::Via;
use super::joined::Joined;
use super::paired::{Done, Paired};
use super::slot::Handed;
use crate::driver::Cell;
use crate::early::{Early, futures_io_traits};
use crate::reading::{Untold, poll_read};
use crate::runtime::{Runtime, Stream};

/// A connection whose first message is whole and was not seen before.
#[derive(Debug)]
#[non_exhaustive]
pub struct Admitted<R: Runtime> {
    /// The connection; its first read gives the first message back.
    pub stream: R::GateStream,
    /// The client.
    pub peer: SocketAddr,
    /// The address that the client dialled, if the system says.
    pub local: Option<SocketAddr>,
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
    /// What reading it is to end with.
    untold: Untold,
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
            untold: Untold::default(),
        }
    }

    /// `bytes` are the first message, and nothing else.
    pub(super) fn paired(bytes: Vec<u8>, at: usize, cell: Arc<Cell<Joined<R>>>) -> Self {
        Self {
            bytes,
            at,
            way: Way::Paired(Paired(cell)),
            untold: Untold::default(),
        }
    }

    /// The runtime's own stream, and the bytes read from it that were not
    /// read from this one.
    ///
    /// # Errors
    /// Gives itself back while the client may still use another copy; and while
    /// the connection has failed, and what came before is not read to that
    /// error, which the system tells nobody again.
    pub fn into_parts(mut self) -> Result<(<R::Stream as Stream>::Inner, Vec<u8>), Self> {
        if let Way::Paired(paired) = &self.way
            && let Some(handed) = paired.decided()
        {
            self.go_on_with(handed);
        }
        if self.untold.is_some() {
            return Err(self);
        }
        let Self {
            mut bytes,
            at,
            way,
            untold,
        } = self;
        let stream = match way {
            Way::Direct(stream) => stream.into_inner().map_err(Way::Direct),
            Way::Paired(_) => Err(way),
        };
        match stream {
            Ok(stream) => {
                bytes.drain(..at.min(bytes.len()));
                Ok((stream, bytes))
            }
            Err(way) => Err(Self {
                bytes,
                at,
                way,
                untold,
            }),
        }
    }

    /// The runtime's own stream, unless the client may still use another copy.
    pub fn get_ref(&self) -> Option<&R::Stream> {
        match &self.way {
            Way::Direct(stream) => Some(stream),
            Way::Paired(_) => None,
        }
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

    fn go_on_with(&mut self, handed: Handed<R::Stream>) {
        self.bytes.extend(handed.beyond);
        self.way = Way::Direct(handed.stream);
        self.untold = handed.untold;
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

impl<R: Runtime> Early for GateStream<R> {
    type Stream = R::Stream;

    fn direct_read(&mut self) -> Option<Pin<&mut R::Stream>> {
        let is_next = self.at >= self.bytes.len() && !self.untold.is_some();
        match &mut self.way {
            Way::Direct(stream) if is_next => Some(Pin::new(stream)),
            Way::Direct(_) | Way::Paired(_) => None,
        }
    }

    fn direct_write(&mut self) -> Option<Pin<&mut R::Stream>> {
        match &mut self.way {
            Way::Direct(stream) => Some(Pin::new(stream)),
            Way::Paired(_) => None,
        }
    }

    fn poll_read_early(
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
            Poll::Ready(Ok(None)) => {}
            polled => return polled,
        }
        // What was read from it before comes first.
        if let Some(length) = self.take_read_before(buf) {
            return Poll::Ready(Ok(Some(length)));
        }
        match &self.way {
            Way::Direct(stream) if self.untold.is_some() => {
                let read = ready!(poll_read(stream, cx, buf));
                Poll::Ready(self.untold.tell(read).map(Some))
            }
            Way::Direct(_) | Way::Paired(_) => Poll::Ready(Ok(None)),
        }
    }

    fn poll_write_early(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<Option<usize>>> {
        self.early(|paired| paired.poll_write(cx, bufs))
    }

    fn poll_flush_early(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let done = ready!(self.early(|paired| paired.poll_flush(cx)))?;
        Poll::Ready(Ok(done.is_some()))
    }

    fn poll_shutdown_early(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let done = ready!(self.early(|paired| paired.poll_shutdown(cx)))?;
        Poll::Ready(Ok(done.is_some()))
    }
}

futures_io_traits!(GateStream);
