//! The application's side of a pair.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll};

use headstart_core::pair::Accepted;

use super::joined::Joined;
use super::slot::Handed;
use crate::driver::{Cell, Driven};
use crate::runtime::Runtime;
use crate::waiters::Want;

/// A connection of which the client has not shown yet which copy it uses.
/// Dropped, it delivers what was written, also to copies that come later.
#[derive(Debug)]
pub(super) struct Paired<R: Runtime>(pub(super) Arc<Cell<Joined<R>>>);

/// What became of an operation: done, or the connection is there to do it.
pub(super) enum Done<R: Runtime, T> {
    Here(io::Result<T>),
    Handed(Handed<R::Stream>),
}

impl<R: Runtime> Paired<R> {
    pub(super) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Done<R, usize>> {
        self.operate(|joined, socket_cx| {
            let polled = joined.poll_read(socket_cx, buf);
            if polled.is_pending() {
                joined.waiters.reader_waits(cx);
            }
            polled
        })
    }

    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Done<R, usize>> {
        self.operate(|joined, socket_cx| {
            for _ in 0..2 {
                match joined.write(bufs) {
                    Accepted::Bytes(taken) => {
                        joined.drive(socket_cx);
                        return Poll::Ready(Ok(taken));
                    }
                    Accepted::Finished => {
                        return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                    }
                    Accepted::Full | Accepted::Bound | Accepted::Dead => joined.drive(socket_cx),
                }
                if joined.is_handed() {
                    return Poll::Pending;
                }
                if let Some(error) = joined.end() {
                    return Poll::Ready(Err(error));
                }
            }
            joined.waiters.writer_waits(Want::Room, cx);
            Poll::Pending
        })
    }

    /// Ready when a kernel holds everything written.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Done<R, ()>> {
        self.operate(|joined, _| {
            if joined.is_flushed() {
                return Poll::Ready(Ok(()));
            }
            if let Some(error) = joined.end() {
                return Poll::Ready(Err(error));
            }
            joined.waiters.writer_waits(Want::Flushed, cx);
            Poll::Pending
        })
    }

    /// Ready when FIN is handed to a kernel.
    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<Done<R, ()>> {
        self.operate(|joined, socket_cx| {
            joined.shutdown();
            joined.drive(socket_cx);
            if joined.is_finished() {
                return Poll::Ready(Ok(()));
            }
            if let Some(error) = joined.end() {
                return Poll::Ready(Err(error));
            }
            joined.waiters.writer_waits(Want::Finished, cx);
            Poll::Pending
        })
    }

    /// The connection, if it is decided.
    pub(super) fn decided(&self) -> Option<Handed<R::Stream>> {
        match self.operate(|_, _| Poll::<io::Result<()>>::Pending) {
            Poll::Ready(Done::Handed(handed)) => Some(handed),
            Poll::Ready(Done::Here(_)) | Poll::Pending => None,
        }
    }

    /// Brings the pair up to date, and operates on it unless that has handed
    /// the connection over.
    fn operate<T>(
        &self,
        operation: impl FnOnce(&mut Joined<R>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<Done<R, T>> {
        self.0.with(|joined, cx| {
            joined.drive(cx);
            if joined.is_orphan() {
                return Poll::Ready(Done::Here(Err(io::ErrorKind::NotConnected.into())));
            }
            if let Some(handed) = joined.take_handed() {
                return Poll::Ready(Done::Handed(handed));
            }
            let polled = operation(joined, cx);
            match (polled, joined.is_handed()) {
                (Poll::Ready(result), _) => Poll::Ready(Done::Here(result)),
                (Poll::Pending, true) => match joined.take_handed() {
                    Some(handed) => Poll::Ready(Done::Handed(handed)),
                    None => Poll::Pending,
                },
                (Poll::Pending, false) => Poll::Pending,
            }
        })
    }
}

impl<R: Runtime> Drop for Paired<R> {
    fn drop(&mut self) {
        self.0.with(|joined, cx| joined.abandon(cx));
    }
}
