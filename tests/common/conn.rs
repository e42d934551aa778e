//! Streams of every runtime, as the tests use them.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use headstart::Report;

/// A stream of some runtime's.
pub trait Conn: Sized + Send + Unpin + 'static {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;
    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>>;
    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    fn read(&mut self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send {
        poll_fn(move |cx| self.poll_read(cx, buf))
    }

    fn write(&mut self, buf: &[u8]) -> impl Future<Output = io::Result<usize>> + Send {
        poll_fn(move |cx| self.poll_write(cx, buf))
    }

    fn write_vectored(
        &mut self,
        bufs: &[IoSlice<'_>],
    ) -> impl Future<Output = io::Result<usize>> + Send {
        poll_fn(move |cx| self.poll_write_vectored(cx, bufs))
    }

    fn flush(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        poll_fn(move |cx| self.poll_flush(cx))
    }

    /// Ends writing.
    fn close(&mut self) -> impl Future<Output = io::Result<()>> + Send {
        poll_fn(move |cx| self.poll_close(cx))
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send {
        poll_fn(move |cx| {
            while !bytes.is_empty() {
                match ready!(self.poll_write(cx, bytes))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    written => bytes = &bytes[written..],
                }
            }
            Poll::Ready(Ok(()))
        })
    }

    fn read_exact(&mut self, buf: &mut [u8]) -> impl Future<Output = io::Result<()>> + Send {
        let mut filled = 0;
        poll_fn(move |cx| {
            while filled < buf.len() {
                match ready!(self.poll_read(cx, &mut buf[filled..]))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                    read => filled += read,
                }
            }
            Poll::Ready(Ok(()))
        })
    }

    /// All that comes until end of file.
    fn read_to_end(&mut self) -> impl Future<Output = io::Result<Vec<u8>>> + Send {
        let mut all = Vec::new();
        let mut buf = vec![0; 64 * 1024];
        poll_fn(move |cx| {
            loop {
                match ready!(self.poll_read(cx, &mut buf))? {
                    0 => return Poll::Ready(Ok(std::mem::take(&mut all))),
                    read => all.extend_from_slice(&buf[..read]),
                }
            }
        })
    }
}

/// What a dial gives.
pub trait Race: Conn {
    /// The runtime's own stream.
    type Inner: Conn;

    fn report(&self) -> Report;
    fn first_flight(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn into_inner(self) -> Result<Self::Inner, Self>;
}

macro_rules! poll_methods {
    ($poll_close:ident, $read:expr) => {
        fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
            $read(Pin::new(self), cx, buf)
        }

        fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            AsyncWrite::poll_write(Pin::new(self), cx, buf)
        }

        fn poll_write_vectored(
            &mut self,
            cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            AsyncWrite::poll_write_vectored(Pin::new(self), cx, bufs)
        }

        fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            AsyncWrite::poll_flush(Pin::new(self), cx)
        }

        fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            AsyncWrite::$poll_close(Pin::new(self), cx)
        }
    };
}

macro_rules! race_methods {
    ($inner:ty) => {
        type Inner = $inner;

        fn report(&self) -> Report {
            self.report()
        }

        fn first_flight(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.first_flight(bytes)
        }

        fn into_inner(self) -> Result<$inner, Self> {
            self.into_inner()
        }
    };
}

mod of_tokio {
    use headstart_tokio::{GateStream, RaceStream};
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
    use tokio::net::TcpStream;

    use super::*;

    fn read<S: AsyncRead>(
        stream: Pin<&mut S>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        ready!(stream.poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    macro_rules! conn {
        ($($stream:ty),+) => {$(
            impl Conn for $stream {
                poll_methods!(poll_shutdown, read);
            }
        )+};
    }
    conn!(RaceStream, GateStream, TcpStream);

    impl Race for RaceStream {
        race_methods!(TcpStream);
    }
}

mod of_futures_io {
    use futures_io::{AsyncRead, AsyncWrite};

    use super::*;

    macro_rules! conn {
        ($($stream:ty),+) => {$(
            impl Conn for $stream {
                poll_methods!(poll_close, AsyncRead::poll_read);
            }
        )+};
    }
    conn!(
        headstart_smol::RaceStream,
        headstart_smol::GateStream,
        smol::net::TcpStream,
        headstart_async_std::RaceStream,
        headstart_async_std::GateStream,
        async_std::net::TcpStream
    );

    impl Race for headstart_smol::RaceStream {
        race_methods!(smol::net::TcpStream);
    }

    impl Race for headstart_async_std::RaceStream {
        race_methods!(async_std::net::TcpStream);
    }
}
