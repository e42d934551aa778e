//! What an adapter sees of a stream: ours first, then the runtime's own.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A stream that is ours until its connection is decided, and then the
/// runtime's own. Adapters give it the traits of their runtime; those of
/// `futures-io` it has where the runtime's stream has them.
///
/// **Cancel safety.** Every `poll_` method may be abandoned at any time: a
/// read or a write takes bytes if and only if it is ready. A flush or shutdown
/// that is abandoned goes on, and may be asked again.
pub trait Early {
    /// The runtime's stream.
    type Stream;

    /// Reads what comes before the runtime's stream does. The first call ends
    /// a first flight that is known only by what is written. `Ok(None)`: read
    /// from [`direct_read`](Self::direct_read).
    ///
    /// # Errors
    /// When every attempt is out: a [`RaceError`](crate::RaceError) with all
    /// their reasons; at a gate, when every copy has failed and no other will
    /// come, the last one's. [`NotConnected`](io::ErrorKind::NotConnected) if
    /// the runtime of the dialer or gate was shut down before.
    fn poll_read_early(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<Option<usize>>>;

    /// Writes. `Ok(None)`: nothing was taken, write to
    /// [`direct_write`](Self::direct_write). What was taken is delivered
    /// whoever polls, but is not flushed yet.
    ///
    /// # Errors
    /// As [`poll_read_early`](Self::poll_read_early);
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe) after a shutdown.
    fn poll_write_early(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<Option<usize>>>;

    /// Flushes: ready when a kernel holds everything written, on the
    /// connection once it is chosen. Ends a first flight that is known only by
    /// what is written. `Ok(false)`: flush [`direct_write`](Self::direct_write).
    ///
    /// # Errors
    /// As [`poll_read_early`](Self::poll_read_early).
    fn poll_flush_early(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>>;

    /// Shuts writing down: ready when FIN is handed to a kernel (R11, R16).
    /// The first call decides: FIN goes out all the same. `Ok(false)`: shut
    /// down [`direct_write`](Self::direct_write).
    ///
    /// # Errors
    /// As [`poll_read_early`](Self::poll_read_early).
    fn poll_shutdown_early(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>>;

    /// The stream to read from, once nothing of ours comes before.
    fn direct_read(&mut self) -> Option<Pin<&mut Self::Stream>>;

    /// The stream to write to, once all before was handed to it.
    fn direct_write(&mut self) -> Option<Pin<&mut Self::Stream>>;

    /// An error of the runtime's stream, as it is told: until its first byte
    /// of reply, with the reasons of all other attempts (R5).
    fn explain(&self, error: io::Error) -> io::Error {
        error
    }

    /// Writes here or directly.
    ///
    /// # Errors
    /// As [`poll_write_early`](Self::poll_write_early), and the stream's own.
    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
        direct: impl FnOnce(Pin<&mut Self::Stream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Some(written) = ready!(self.poll_write_early(cx, bufs))? {
            return Poll::Ready(Ok(written));
        }
        match self.direct_write() {
            Some(stream) => {
                let written = ready!(direct(stream, cx));
                Poll::Ready(written.map_err(|error| self.explain(error)))
            }
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Flushes here or directly.
    ///
    /// # Errors
    /// As [`poll_flush_early`](Self::poll_flush_early), and the stream's own.
    fn poll_flush_with(
        &mut self,
        cx: &mut Context<'_>,
        direct: impl FnOnce(Pin<&mut Self::Stream>, &mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        if ready!(self.poll_flush_early(cx))? {
            return Poll::Ready(Ok(()));
        }
        self.direct_write()
            .map_or(Poll::Ready(Ok(())), |stream| direct(stream, cx))
    }

    /// Shuts down here or directly.
    ///
    /// # Errors
    /// As [`poll_shutdown_early`](Self::poll_shutdown_early), and the stream's own.
    fn poll_shutdown_with(
        &mut self,
        cx: &mut Context<'_>,
        direct: impl FnOnce(Pin<&mut Self::Stream>, &mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        if ready!(self.poll_shutdown_early(cx))? {
            return Poll::Ready(Ok(()));
        }
        self.direct_write()
            .map_or(Poll::Ready(Ok(())), |stream| direct(stream, cx))
    }
}

/// The traits of `futures-io`, where the runtime's stream has them.
macro_rules! futures_io_traits {
    ($name:ident) => {
        impl<R: Runtime> futures_io::AsyncRead for $name<R>
        where
            R::Stream: futures_io::AsyncRead,
        {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                if let Some(stream) = self.direct_read() {
                    return stream.poll_read(cx, buf);
                }
                if let Some(read) = ready!(self.poll_read_early(cx, buf))? {
                    return Poll::Ready(Ok(read));
                }
                self.direct_read()
                    .map_or(Poll::Ready(Ok(0)), |stream| stream.poll_read(cx, buf))
            }
        }

        impl<R: Runtime> futures_io::AsyncWrite for $name<R>
        where
            R::Stream: futures_io::AsyncWrite,
        {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.poll_write_with(cx, &[IoSlice::new(buf)], |stream, cx| {
                    stream.poll_write(cx, buf)
                })
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.poll_write_with(cx, bufs, |stream, cx| stream.poll_write_vectored(cx, bufs))
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_flush_with(cx, |stream, cx| stream.poll_flush(cx))
            }

            fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_shutdown_with(cx, |stream, cx| stream.poll_close(cx))
            }
        }
    };
}
pub(crate) use futures_io_traits;
