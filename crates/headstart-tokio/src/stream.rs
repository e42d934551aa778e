//! tokio's traits on the race's and the gate's streams.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use headstart_core::race::Report;
use headstart_io::{Early, SystemStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::runtime::Tokio;

/// One logical connection: a race first, then a [`TcpStream`].
///
/// As [`headstart_io::RaceStream`], whose words on cancel safety hold here.
pub type RaceStream = Shell<headstart_io::RaceStream<Tokio>>;

/// An admitted connection: bytes that were read already, then a [`TcpStream`].
///
/// As [`headstart_io::GateStream`], whose words on cancel safety hold here.
pub type GateStream = Shell<headstart_io::GateStream<Tokio>>;

/// tokio's traits around a stream: [`RaceStream`] or [`GateStream`].
#[derive(Debug)]
pub struct Shell<S>(S);

impl<S> From<S> for Shell<S> {
    fn from(stream: S) -> Self {
        Self(stream)
    }
}

impl RaceStream {
    /// States the whole first flight in one call.
    ///
    /// # Errors
    /// As [`headstart_io::RaceStream::first_flight`].
    pub fn first_flight(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.first_flight(bytes)
    }

    /// What happened so far: who ran, who won, what it cost.
    pub fn report(&self) -> Report {
        self.0.report()
    }

    /// Tells the dialer's path memory that this connection died after its
    /// first answer; whether that was noted.
    ///
    /// As [`headstart_io::RaceStream::report_stall`].
    pub fn report_stall(&self) -> bool {
        self.0.report_stall()
    }

    /// tokio's own stream.
    ///
    /// # Errors
    /// As [`headstart_io::RaceStream::into_inner`].
    pub fn into_inner(self) -> Result<TcpStream, Self> {
        self.0.into_inner().map_err(Self)
    }

    /// tokio's own stream, once the connection is chosen and everything
    /// written before was handed to it: for its addresses and options, which are
    /// named alike with every runtime.
    pub fn get_ref(&self) -> Option<&TcpStream> {
        self.0.get_ref().map(|stream| &**stream)
    }
}

impl GateStream {
    /// tokio's own stream, and the bytes read from it that were not read from
    /// this one.
    ///
    /// # Errors
    /// As [`headstart_io::GateStream::into_parts`].
    pub fn into_parts(self) -> Result<(TcpStream, Vec<u8>), Self> {
        self.0.into_parts().map_err(Self)
    }

    /// tokio's own stream, unless the client may still use another copy.
    pub fn get_ref(&self) -> Option<&TcpStream> {
        self.0.get_ref().map(|stream| &**stream)
    }
}

impl<S: Early<Stream = SystemStream<Tokio>> + Unpin> AsyncRead for Shell<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(stream) = self.0.direct_read() {
            return stream.pinned().poll_read(cx, buf);
        }
        let room = buf.initialize_unfilled();
        if let Some(read) = ready!(self.0.poll_read_early(cx, room))? {
            buf.advance(read);
            return Poll::Ready(Ok(()));
        }
        self.0.direct_read().map_or(Poll::Ready(Ok(())), |stream| {
            stream.pinned().poll_read(cx, buf)
        })
    }
}

impl<S: Early<Stream = SystemStream<Tokio>> + Unpin> AsyncWrite for Shell<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0
            .poll_write_with(cx, &[IoSlice::new(buf)], |stream, cx| {
                stream.pinned().poll_write(cx, buf)
            })
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write_with(cx, bufs, |stream, cx| {
            stream.pinned().poll_write_vectored(cx, bufs)
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0
            .poll_flush_with(cx, |stream, cx| stream.pinned().poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0
            .poll_shutdown_with(cx, |stream, cx| stream.pinned().poll_shutdown(cx))
    }
}
