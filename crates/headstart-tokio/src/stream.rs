//! tokio's traits on the race's and the gate's streams.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use headstart_core::race::Report;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::runtime::{Tcp, Tokio};

/// One logical connection: a race first, then a [`TcpStream`].
///
/// As [`headstart_io::RaceStream`], whose words on cancel safety hold here.
#[derive(Debug)]
pub struct RaceStream(headstart_io::RaceStream<Tokio>);

impl From<headstart_io::RaceStream<Tokio>> for RaceStream {
    fn from(stream: headstart_io::RaceStream<Tokio>) -> Self {
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

    /// tokio's own stream.
    ///
    /// # Errors
    /// Gives itself back while the connection is not chosen, or has not been
    /// handed everything written.
    pub fn into_inner(self) -> Result<TcpStream, Self> {
        self.0.into_inner().map(|stream| stream.0).map_err(Self)
    }

    /// tokio's own stream, once the connection is chosen and everything
    /// written before was handed to it.
    pub fn get_ref(&self) -> Option<&TcpStream> {
        self.0.get_ref().map(|stream| &stream.0)
    }
}

impl AsyncRead for RaceStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(stream) = self.0.direct_read() {
            return tcp(stream).poll_read(cx, buf);
        }
        let read = ready!(self.0.poll_read_racing(cx, buf.initialize_unfilled()))?;
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for RaceStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, &[IoSlice::new(buf)], |stream, cx| {
            stream.poll_write(cx, buf)
        })
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, bufs, |stream, cx| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if ready!(self.0.poll_flush_racing(cx))? {
            return Poll::Ready(Ok(()));
        }
        self.0
            .direct_write()
            .map_or(Poll::Ready(Ok(())), |stream| tcp(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if ready!(self.0.poll_shutdown_racing(cx))? {
            return Poll::Ready(Ok(()));
        }
        self.0
            .direct_write()
            .map_or(Poll::Ready(Ok(())), |stream| tcp(stream).poll_shutdown(cx))
    }
}

impl RaceStream {
    fn write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
        direct: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Some(written) = ready!(self.0.poll_write_racing(cx, bufs))? {
            return Poll::Ready(Ok(written));
        }
        match self.0.direct_write() {
            Some(stream) => {
                let written = ready!(direct(tcp(stream), cx));
                Poll::Ready(written.map_err(|error| self.0.explain(error)))
            }
            None => broken(),
        }
    }
}

/// An admitted connection: bytes that were read already, then a [`TcpStream`].
///
/// As [`headstart_io::GateStream`], whose words on cancel safety hold here.
#[derive(Debug)]
pub struct GateStream(headstart_io::GateStream<Tokio>);

impl From<headstart_io::GateStream<Tokio>> for GateStream {
    fn from(stream: headstart_io::GateStream<Tokio>) -> Self {
        Self(stream)
    }
}

impl GateStream {
    /// tokio's own stream, and the bytes read from it that were not read from
    /// this one.
    ///
    /// # Errors
    /// Gives itself back while the client may still use another copy.
    pub fn into_parts(self) -> Result<(TcpStream, Vec<u8>), Self> {
        let (stream, bytes) = self.0.into_parts().map_err(Self)?;
        Ok((stream.0, bytes))
    }

    /// tokio's own stream, unless the client may still use another copy.
    pub fn get_ref(&self) -> Option<&TcpStream> {
        self.0.get_ref().map(|stream| &stream.0)
    }
}

impl AsyncRead for GateStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(stream) = self.0.direct_read() {
            return tcp(stream).poll_read(cx, buf);
        }
        let room = buf.initialize_unfilled();
        match ready!(self.0.poll_read_early(cx, room))? {
            Some(read) => {
                buf.advance(read);
                Poll::Ready(Ok(()))
            }
            None => match self.0.direct_read() {
                Some(stream) => tcp(stream).poll_read(cx, buf),
                None => Poll::Ready(Ok(())),
            },
        }
    }
}

impl AsyncWrite for GateStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(written) = ready!(self.0.poll_write_early(cx, &[IoSlice::new(buf)]))? {
            return Poll::Ready(Ok(written));
        }
        self.0
            .direct_write()
            .map_or_else(broken, |stream| tcp(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(written) = ready!(self.0.poll_write_early(cx, bufs))? {
            return Poll::Ready(Ok(written));
        }
        self.0
            .direct_write()
            .map_or_else(broken, |stream| tcp(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if ready!(self.0.poll_flush_early(cx))?.is_some() {
            return Poll::Ready(Ok(()));
        }
        self.0
            .direct_write()
            .map_or(Poll::Ready(Ok(())), |stream| tcp(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if ready!(self.0.poll_shutdown_early(cx))?.is_some() {
            return Poll::Ready(Ok(()));
        }
        self.0
            .direct_write()
            .map_or(Poll::Ready(Ok(())), |stream| tcp(stream).poll_shutdown(cx))
    }
}

/// There is no stream to write to.
fn broken() -> Poll<io::Result<usize>> {
    Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
}

fn tcp(stream: Pin<&mut Tcp>) -> Pin<&mut TcpStream> {
    Pin::new(&mut stream.get_mut().0)
}
