//! The stream that a dial gives.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use headstart_core::race::{Accepted, Ending, Exit, Outcome, Report};
use headstart_core::time::Instant;

use crate::driver::{Cell, Driven};
use crate::early::{Early, futures_io_traits};
use crate::error::{failure_of, read_result, write_error};
use crate::race::{Over, Running};
use crate::reading::{Untold, poll_read};
use crate::runtime::{Runtime, Stream};
use crate::waiters::Want;

/// One logical connection: a race first, then the runtime's own stream.
///
/// Until the connection is chosen, reads, writes, flushes and shutdowns drive
/// the race; so does the dialer's driver, so that nobody needs to poll (R16).
/// From the first byte of reply on they are the runtime's own.
///
/// **Cancel safety.** Every `poll_` method may be abandoned at any time: a
/// write takes bytes if and only if it is ready, and nothing read is lost. A
/// flush or shutdown that is abandoned goes on, and may be asked again.
///
/// **Dropping** the stream delivers what was written and closes, as a plain
/// connection would: the dialer's driver does it, so the runtime must go on
/// until then. To be sure, [`flush`](Early::poll_flush_early) first, or wait
/// for [`Dialer::settled`](crate::Dialer::settled). A stream that was never
/// written to leaves no connection.
///
/// **Bounds.** Until the connection is chosen it holds the first flight, at
/// most 16 KiB, and what is written beyond it, by default at most 64 KiB
/// ([`held_max`](crate::DialerBuilder::held_max)); then writes wait.
#[derive(Debug)]
pub struct RaceStream<R: Runtime> {
    cell: Arc<Cell<Running<R>>>,
    /// The connection, once the race has handed it over.
    stream: Option<R::Stream>,
    /// Whether a byte of reply, or the end, has been read from it.
    answered: Option<Instant>,
    /// What reading the reply is to end with.
    untold: Untold,
    finished: bool,
}

/// What a read found in a race.
enum Found {
    /// Bytes, an end or a failure of the connection, which is still being
    /// handed what was written.
    Early(io::Result<usize>),
    /// No connection.
    Over(Over),
}

impl<R: Runtime> RaceStream<R> {
    pub(crate) fn new(cell: Arc<Cell<Running<R>>>) -> Self {
        Self {
            cell,
            stream: None,
            answered: None,
            untold: Untold::default(),
            finished: false,
        }
    }

    /// States the whole first flight in one call, for a race under a Token or
    /// an assertion: these bytes and no others.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if something was written
    /// before, or the bytes do not fit in a flight; nothing is taken then.
    pub fn first_flight(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pick_up(|running, cx| {
            let now = running.now();
            let taken = running.race.write_first_flight(now, bytes);
            running.drive(cx);
            match taken {
                true => Ok(()),
                false => Err(io::ErrorKind::InvalidInput.into()),
            }
        })
    }

    /// What happened so far: who ran, who won, what it cost.
    pub fn report(&self) -> Report {
        let mut report = self.cell.look(|running| running.race.report());
        let winner = report
            .attempts
            .iter_mut()
            .find(|a| a.outcome == Outcome::Won);
        if let Some(winner) = winner {
            winner.first_byte = winner.first_byte.or(self.answered);
        }
        report
    }

    /// The runtime's own stream.
    ///
    /// # Errors
    /// Gives itself back while the connection is not chosen, or has not been
    /// handed everything written; and while it has failed, and the reply that
    /// came before is not read to that error, which the system tells nobody
    /// again.
    pub fn into_inner(mut self) -> Result<<R::Stream as Stream>::Inner, Self> {
        self.pick_up(|running, cx| running.drive(cx));
        if self.untold.is_some() {
            return Err(self);
        }
        let Some(stream) = self.stream.take() else {
            return Err(self);
        };
        stream.into_inner().map_err(|stream| {
            self.stream = Some(stream);
            self
        })
    }

    /// Tells the dialer's [`Memory`](crate::Memory) that this connection died
    /// after its first answer, or before it: nothing came, though it should
    /// have. No race can help then, nor against a server that only debounces
    /// and took the copy whose answer is lost; but the next ones over the path use plain TCP
    /// alone until a back-off has ended.
    ///
    /// `true` if that was noted, once for each stream: Fast Open was the
    /// connection, with data in its SYN. What happens to a plain connection is
    /// nothing that Fast Open is to blame for.
    pub fn report_stall(&self) -> bool {
        self.cell.with(|running, _| running.tell_of_a_stall())
    }

    /// The connection itself, once it may be written to directly: for its
    /// addresses and options, which are named alike with every runtime.
    pub fn get_ref(&self) -> Option<&R::Stream> {
        self.stream.as_ref()
    }

    /// Works on the race and, if it has handed over the connection, takes it.
    fn pick_up<T>(&mut self, work: impl FnOnce(&mut Running<R>, &mut Context<'_>) -> T) -> T {
        if self.stream.is_some() {
            return self.cell.with(work);
        }
        let (result, handed, untold) = self.cell.with(|running, cx| {
            let result = work(running, cx);
            (result, running.handed.take(), running.untold.take())
        });
        self.stream = handed;
        if !self.untold.is_some() {
            self.untold = untold;
        }
        result
    }

    /// The first answer, or none: where the connection is a sole survivor, its
    /// failure is told with the others' (R5).
    fn first_answer(&mut self, result: io::Result<usize>) -> io::Result<usize> {
        let result = self.untold.tell(result);
        if self.answered.is_some() {
            return result;
        }
        let exit = match &result {
            Ok(1..) => {
                self.answered = Some(self.cell.with(|running, _| {
                    let now = running.now();
                    running.tell(now, Some(now));
                    now
                }));
                return result;
            }
            Ok(0) => Exit::Ended { whole: true },
            Err(error) => Exit::Failed(failure_of(error)),
        };
        match self.end_with(exit) {
            Some(ending) => read_result(Over::Race(ending)),
            None => result,
        }
    }

    /// How the race ended, if this is the end of its connection.
    fn end_with(&self, exit: Exit) -> Option<Ending> {
        self.cell.look(|running| {
            let id = running.race.chosen()?;
            let (kind, _) = running.race.attempt(id)?;
            Some(running.race.reasons().end(id, kind, exit))
        })
    }
}

impl<R: Runtime> Early for RaceStream<R> {
    type Stream = R::Stream;

    fn poll_read_early(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<Option<usize>>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(Some(0)));
        }
        loop {
            if let Some(stream) = &self.stream {
                let result = ready!(poll_read(stream, cx, buf));
                return Poll::Ready(self.first_answer(result).map(Some));
            }
            let polled = self.pick_up(|running, socket_cx| {
                let now = running.now();
                running.race.end_flight(now);
                running.drive(socket_cx);
                if running.handed.is_some() {
                    return Poll::Ready(None);
                }
                if let Some(over) = running.ending() {
                    return Poll::Ready(Some(Found::Over(over)));
                }
                match running.read_early(socket_cx, buf) {
                    Poll::Ready(result) => Poll::Ready(Some(Found::Early(result))),
                    Poll::Pending => {
                        running.waiters.reader_waits(cx);
                        Poll::Pending
                    }
                }
            });
            let read = match ready!(polled) {
                Some(Found::Early(result)) => self.first_answer(result),
                Some(Found::Over(over)) => read_result(over),
                None => continue,
            };
            return Poll::Ready(read.map(Some));
        }
    }

    fn poll_write_early(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<Option<usize>>> {
        if self.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.stream.is_some() {
            return Poll::Ready(Ok(None));
        }
        self.pick_up(|running, socket_cx| {
            for _ in 0..2 {
                if let Some(over) = running.ending() {
                    return Poll::Ready(Err(write_error(over)));
                }
                let now = running.now();
                let pieces = bufs.iter().map(|buf| &**buf);
                match running.race.write_vectored(now, pieces) {
                    Accepted::Bytes(taken) => {
                        running.drive(socket_cx);
                        return Poll::Ready(Ok(Some(taken)));
                    }
                    Accepted::Finished => {
                        return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                    }
                    Accepted::Full | Accepted::Bound(_) | Accepted::Dead => {
                        running.drive(socket_cx);
                    }
                }
                if running.handed.is_some() {
                    return Poll::Ready(Ok(None));
                }
            }
            running.waiters.writer_waits(Want::Room, cx);
            Poll::Pending
        })
    }

    fn poll_flush_early(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.stream.is_some() {
            return Poll::Ready(Ok(false));
        }
        self.pick_up(|running, socket_cx| {
            let now = running.now();
            running.race.end_flight(now);
            running.drive(socket_cx);
            if running.handed.is_some() || running.race.is_flushed() {
                return Poll::Ready(Ok(true));
            }
            if let Some(over) = running.ending() {
                return Poll::Ready(Err(write_error(over)));
            }
            running.waiters.writer_waits(Want::Flushed, cx);
            Poll::Pending
        })
    }

    fn poll_shutdown_early(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.finished {
            return Poll::Ready(Ok(true));
        }
        if self.stream.is_some() {
            return Poll::Ready(Ok(false));
        }
        let polled = self.pick_up(|running, socket_cx| {
            if running.handed.is_some() {
                // The race is past sending FIN: the connection's own affair.
                return Poll::Ready(Ok(false));
            }
            let now = running.now();
            running.race.shutdown(now);
            running.drive(socket_cx);
            if running.handed.is_some() || running.race.is_finished() {
                return Poll::Ready(Ok(true));
            }
            if let Some(over) = running.ending() {
                return Poll::Ready(Err(write_error(over)));
            }
            running.waiters.writer_waits(Want::Finished, cx);
            Poll::Pending
        });
        self.finished |= matches!(polled, Poll::Ready(Ok(true)));
        polled
    }

    fn direct_read(&mut self) -> Option<Pin<&mut R::Stream>> {
        self.answered?;
        if self.untold.is_some() {
            return None;
        }
        self.stream.as_mut().map(Pin::new)
    }

    fn direct_write(&mut self) -> Option<Pin<&mut R::Stream>> {
        if self.finished {
            return None;
        }
        self.stream.as_mut().map(Pin::new)
    }

    fn explain(&self, error: io::Error) -> io::Error {
        let transient = matches!(
            error.kind(),
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
        );
        if self.answered.is_some() || transient {
            return error;
        }
        match self.end_with(Exit::Failed(failure_of(&error))) {
            Some(ending) => write_error(Over::Race(ending)),
            None => error,
        }
    }
}

impl<R: Runtime> Drop for RaceStream<R> {
    fn drop(&mut self) {
        if self.stream.is_none() {
            self.cell.with(|running, cx| {
                drop(running.handed.take());
                let now = running.now();
                running.race.abandon(now);
                running.drive(cx);
            });
        }
    }
}

futures_io_traits!(RaceStream);
