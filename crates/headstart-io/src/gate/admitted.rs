//! A connection that was let in.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

use super::Via;
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
#[derive(Debug)]
pub struct GateStream<R: Runtime> {
    bytes: Vec<u8>,
    at: usize,
    stream: R::Stream,
}

impl<R: Runtime> GateStream<R> {
    pub(super) fn new(bytes: Vec<u8>, at: usize, stream: R::Stream) -> Self {
        Self { bytes, at, stream }
    }

    /// The runtime's own stream, and the bytes read from it that were not
    /// read from this one.
    pub fn into_parts(mut self) -> (R::Stream, Vec<u8>) {
        self.bytes.drain(..self.at.min(self.bytes.len()));
        (self.stream, self.bytes)
    }

    /// The runtime's own stream.
    pub fn get_ref(&self) -> &R::Stream {
        &self.stream
    }

    /// For adapters: the stream to write to.
    pub fn inner(&mut self) -> Pin<&mut R::Stream> {
        Pin::new(&mut self.stream)
    }

    /// For adapters: bytes read before, as many as fit; `None` once there are
    /// none, and the stream is to be read.
    pub fn take_read_before(&mut self, buf: &mut [u8]) -> Option<usize> {
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

    /// For adapters: whether bytes read before are left.
    pub fn has_read_before(&self) -> bool {
        self.at < self.bytes.len()
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
        match self.take_read_before(buf) {
            Some(length) => Poll::Ready(Ok(length)),
            None => self.inner().poll_read(cx, buf),
        }
    }
}

impl<R: Runtime> AsyncWrite for GateStream<R>
where
    R::Stream: AsyncWrite,
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_close(cx)
    }
}
