//! The one task of a gate: it accepts, reads first messages, and decides.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, ready};
use std::time::Duration;

use headstart_core::time::Instant;

use super::GateEvent;
use super::crowd::Crowd;
use super::hall::{End, Shared};
use super::joined::Joined;
use super::slot::Copy;
use super::waiting::{Read, Ringer, Waiting};
use crate::driver::Driver;
use crate::runtime::{AfterAcceptError, Listener, Runtime, Stream, Timer};

/// Connections accepted, read from, or timed out, before other tasks get their
/// turn.
const BATCH: usize = 64;
/// First pause after an accept that failed for want of resources.
const BACK_OFF_MIN: Duration = Duration::from_millis(10);
/// Longest such pause.
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// The doorman.
pub(super) struct Doorman<R: Runtime> {
    shared: Arc<Shared<R>>,
    /// Gone once the gate is closed.
    listener: Option<R::Listener>,
    pairs: Driver<Joined<R>, R>,
    timer: R::Timer,
    waiting: Crowd<R::Stream>,
    back_off: Duration,
    accept_after: Option<Instant>,
}

impl<R: Runtime> Doorman<R> {
    pub(super) fn new(shared: Arc<Shared<R>>, listener: R::Listener) -> Self {
        Self {
            timer: shared.runtime.timer(),
            pairs: Driver::new(shared.queue.clone(), shared.runtime.clone()),
            shared,
            listener: Some(listener),
            waiting: Crowd::new(),
            back_off: BACK_OFF_MIN,
            accept_after: None,
        }
    }

    /// Accepts what is there; whether there may be more.
    fn accept(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<bool> {
        if self.accept_after.is_some_and(|after| now < after) {
            return Ok(false);
        }
        self.accept_after = None;
        for _ in 0..BATCH {
            let Some(listener) = self.listener.as_ref().filter(|_| !self.shared.is_full()) else {
                return Ok(false);
            };
            match listener.poll_accept(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok((stream, peer))) => {
                    self.back_off = BACK_OFF_MIN;
                    self.meet(stream, peer, now);
                }
                Poll::Ready(Err(error)) => {
                    self.shared.counts.accept_errors.count();
                    let after = listener.after_error(&error);
                    if after == AfterAcceptError::Stop {
                        return Err(error);
                    }
                    self.shared.tell(GateEvent::AcceptFailed { error });
                    if after == AfterAcceptError::BackOff {
                        self.accept_after = Some(now.saturating_add(self.back_off));
                        self.back_off = (self.back_off * 2).min(BACK_OFF_MAX);
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// Takes a new connection in, and reads what it brought.
    fn meet(&mut self, stream: R::Stream, peer: SocketAddr, now: Instant) {
        self.shared.counts.accepted.count();
        if self.waiting.len() >= self.shared.settings.waiting_max {
            self.make_room(now);
        }
        let settings = &self.shared.settings;
        let number = self.waiting.insert(|number| {
            Waiting::new(
                stream,
                peer,
                settings.framing.scanner_with_limit(settings.message_max),
                now.saturating_add(settings.message_timeout),
                Ringer::new(number, self.shared.bell.clone()),
            )
        });
        if !self.shared.is_full() {
            self.read(number, now);
        } else if let Some(connection) = self.waiting.get(number) {
            // Who made room has been let in, and filled the hall.
            connection.ringer.wake_by_ref();
        }
    }

    /// Reads from a connection, and decides if its first message is whole.
    fn read(&mut self, number: u64, now: Instant) {
        let read = match self.waiting.read(number) {
            None | Some(Read::Pending) => return,
            Some(read) => read,
        };
        let Some(Waiting {
            stream,
            peer,
            mut bytes,
            ..
        }) = self.waiting.remove(number)
        else {
            return;
        };
        let shared = &self.shared;
        match read {
            Read::Pending => {}
            Read::Closed => {
                shared.counts.closed.count();
                shared.tell(GateEvent::Closed {
                    peer,
                    bytes: bytes.len(),
                });
            }
            Read::Malformed(error) => {
                shared.counts.malformed.count();
                shared.tell(GateEvent::Malformed { peer, error });
                stream.close_abortively();
            }
            Read::Whole(length) => {
                let beyond = bytes.split_off(length.min(bytes.len()));
                let copy = Copy {
                    stream,
                    peer,
                    beyond,
                };
                self.shared.decide(copy, bytes, now);
            }
        }
    }

    /// Closes connections whose time is up; whether that of more may be.
    fn expire(&mut self, now: Instant) -> bool {
        for _ in 0..BATCH {
            // Nobody is turned away for what the gate had no time to read.
            let Some((number, deadline)) = self.waiting.oldest().filter(|_| !self.shared.is_full())
            else {
                return false;
            };
            if deadline > now {
                return false;
            }
            self.read(number, now);
            if let Some(late) = self.waiting.remove(number) {
                self.shared.counts.timeouts.count();
                let (peer, bytes) = (late.peer, late.bytes.len());
                self.shared.tell(GateEvent::TimedOut { peer, bytes });
                late.stream.close_abortively();
            }
        }
        true
    }

    /// Makes room by closing the connection that has been silent for longest.
    /// One that has said something meanwhile has not, and may have said all
    /// that it came to say; but many that do are not listened to for ever.
    fn make_room(&mut self, now: Instant) {
        for turn in 1..=BATCH {
            let Some(number) = self.waiting.most_silent() else {
                return;
            };
            self.read(number, now);
            if self.waiting.len() < self.shared.settings.waiting_max {
                return;
            }
            if (turn == BATCH || self.waiting.most_silent() == Some(number))
                && let Some(silent) = self.waiting.remove(number)
            {
                self.shared.counts.evicted.count();
                self.shared.tell(GateEvent::Evicted { peer: silent.peer });
                silent.stream.close_abortively();
                return;
            }
        }
    }

    /// Closes all connections whose first message is not whole.
    fn dismiss(&mut self) {
        for waiting in self.waiting.take() {
            self.shared.counts.closed.count();
            let (peer, bytes) = (waiting.peer, waiting.bytes.len());
            self.shared.tell(GateEvent::Closed { peer, bytes });
            waiting.stream.close_abortively();
        }
    }

    /// Reads from connections that have something to say; whether more have.
    fn answer_bell(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        for _ in 0..BATCH {
            if self.shared.is_full() {
                break;
            }
            let number = self.shared.bell.next();
            match number {
                Some(number) => self.read(number, now),
                None => break,
            }
        }
        self.shared.bell.wait(cx)
    }

    /// Ends but for the pairs, as the listener is broken.
    fn stop(&mut self, error: io::Error) {
        self.listener = None;
        let why = End::broken(&error);
        self.shared.tell(GateEvent::AcceptFailed { error });
        self.dismiss();
        self.shared.queue.close();
        self.shared.end(why);
    }

    fn work(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let now = self.shared.runtime.now();
            // The waker is in place before anything is looked at.
            let rung = self.answer_bell(cx, now);
            if self.shared.is_closed() {
                self.listener = None;
                self.dismiss();
                return Poll::Ready(Ok(()));
            }
            let more = self.accept(cx, now)?;
            let due = self.expire(now);
            if self.shared.is_full() {
                return Poll::Pending;
            }
            if rung || more || due {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let deadline = self.waiting.oldest().map(|(_, deadline)| deadline);
            let next = [deadline, self.accept_after].into_iter().flatten().min();
            match next.map(|at| self.timer.poll_at(cx, at)) {
                Some(Poll::Ready(())) => {}
                Some(Poll::Pending) | None => return Poll::Pending,
            }
        }
    }
}

impl<R: Runtime> Future for Doorman<R> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let doorman = self.get_mut();
        if doorman.listener.is_some() {
            // Whether they are all done is asked once nobody else is let in.
            let _ = Pin::new(&mut doorman.pairs).poll(cx);
            if let Poll::Ready(Err(error)) = doorman.work(cx) {
                doorman.stop(error);
            }
        }
        if doorman.listener.is_some() {
            return Poll::Pending;
        }
        // What was just let in, or closed, is for the pairs to know.
        ready!(Pin::new(&mut doorman.pairs).poll(cx));
        doorman.shared.end(End::closed());
        Poll::Ready(())
    }
}

impl<R: Runtime> Drop for Doorman<R> {
    fn drop(&mut self) {
        self.shared.end(End::closed());
    }
}
