//! The one task of a gate: it accepts, reads first messages, and decides.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use headstart_core::debounce::Verdict;
use headstart_core::framing::token::HEADER_LEN;
use headstart_core::framing::{Malformed, Progress, Scanner};
use headstart_core::time::Instant;

use super::event::count;
use super::{Admitted, GateEvent, GateStream, Shared, Via};
use crate::runtime::{AfterAcceptError, Listener, Runtime, Stream, Timer};
use crate::sync::{Mutex, lock};

/// Connections accepted, or read from, before other tasks get their turn.
const BATCH: usize = 64;
/// Bytes read at a time.
const READ_SIZE: usize = 4096;
/// First pause after an accept that failed for want of resources.
const BACK_OFF_MIN: Duration = Duration::from_millis(10);
/// Longest such pause.
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// Numbers of connections that have something to say.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: Mutex<(VecDeque<u64>, Option<Waker>)>,
}

impl Bell {
    /// Wakes the doorman.
    pub(super) fn ring(&self) {
        let waker = lock(&self.rung).1.take();
        waker.into_iter().for_each(Waker::wake);
    }
}

/// Wakes the doorman for one connection.
#[derive(Debug)]
struct Ringer {
    number: u64,
    rung: AtomicBool,
    bell: Arc<Bell>,
}

impl Wake for Ringer {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            lock(&self.bell.rung).0.push_back(self.number);
            self.bell.ring();
        }
    }
}

/// A connection whose first message is not whole.
#[derive(Debug)]
struct Waiting<S> {
    stream: S,
    peer: SocketAddr,
    scanner: Scanner,
    bytes: Vec<u8>,
    /// When its time is up.
    deadline: Instant,
    ringer: Arc<Ringer>,
}

/// What became of a connection that was read from.
enum Read {
    /// Nothing more for now.
    Pending,
    /// Its first message is whole, of this length.
    Whole(usize),
    Malformed(Malformed),
    Closed,
}

impl<S: Stream> Waiting<S> {
    fn read(&mut self) -> Read {
        self.ringer.rung.store(false, Ordering::Release);
        let waker = Waker::from(self.ringer.clone());
        let mut cx = Context::from_waker(&waker);
        let mut buf = [0; READ_SIZE];
        loop {
            match self.stream.poll_readable(&mut cx) {
                Poll::Pending => return Read::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Read::Closed,
            }
            let got = match self.stream.try_read(&mut buf) {
                Ok(0) => return Read::Closed,
                Ok(got) => buf.get(..got).unwrap_or(&buf),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => return Read::Closed,
            };
            self.bytes.extend_from_slice(got);
            match self.scanner.feed(got) {
                Ok(Progress::Partial) => {}
                Ok(Progress::Complete(length)) => return Read::Whole(length),
                Err(error) => return Read::Malformed(error),
            }
        }
    }
}

/// The doorman.
pub(super) struct Doorman<R: Runtime> {
    shared: Arc<Shared<R>>,
    listener: R::Listener,
    timer: R::Timer,
    /// By number: in the order in which they came, and their time is up.
    waiting: BTreeMap<u64, Waiting<R::Stream>>,
    back_off: Duration,
    accept_after: Option<Instant>,
    next_number: u64,
}

impl<R: Runtime> Doorman<R> {
    pub(super) fn new(shared: Arc<Shared<R>>, listener: R::Listener) -> Self {
        Self {
            timer: shared.runtime.timer(),
            shared,
            listener,
            waiting: BTreeMap::new(),
            back_off: BACK_OFF_MIN,
            accept_after: None,
            next_number: 0,
        }
    }

    /// Accepts what is there; whether there may be more.
    fn accept(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<bool> {
        if self.accept_after.is_some_and(|after| now < after) {
            return Ok(false);
        }
        self.accept_after = None;
        for _ in 0..BATCH {
            if self.shared.is_full() {
                return Ok(false);
            }
            match self.listener.poll_accept(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok((stream, peer))) => {
                    self.back_off = BACK_OFF_MIN;
                    self.meet(stream, peer, now);
                }
                Poll::Ready(Err(error)) => {
                    count(&self.shared.counts.accept_errors);
                    let after = self.listener.after_error(&error);
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
        count(&self.shared.counts.accepted);
        if self.waiting.len() >= self.shared.settings.waiting_max {
            self.make_room(now);
        }
        let number = self.next_number;
        self.next_number += 1;
        let ringer = Arc::new(Ringer {
            number,
            rung: AtomicBool::new(false),
            bell: self.shared.bell.clone(),
        });
        let settings = &self.shared.settings;
        let connection = Waiting {
            stream,
            peer,
            scanner: settings.framing.scanner_with_limit(settings.message_max),
            bytes: Vec::new(),
            deadline: now.saturating_add(settings.message_timeout),
            ringer: ringer.clone(),
        };
        self.waiting.insert(number, connection);
        if self.shared.is_full() {
            // Who made room has been let in, and filled the hall.
            ringer.wake_by_ref();
        } else {
            self.read(number, now);
        }
    }

    /// Reads from a connection, and decides if its first message is whole.
    fn read(&mut self, number: u64, now: Instant) {
        let Some(connection) = self.waiting.get_mut(&number) else {
            return;
        };
        let read = connection.read();
        if let Read::Pending = read {
            return;
        }
        let Some(Waiting {
            stream,
            peer,
            bytes,
            ..
        }) = self.waiting.remove(&number)
        else {
            return;
        };
        let shared = &self.shared;
        match read {
            Read::Pending => {}
            Read::Closed => {
                count(&shared.counts.closed);
                shared.tell(GateEvent::Closed {
                    peer,
                    bytes: bytes.len(),
                });
            }
            Read::Malformed(error) => {
                count(&shared.counts.malformed);
                stream.close_abortively();
                shared.tell(GateEvent::Malformed { peer, error });
            }
            Read::Whole(length) => self.decide(stream, peer, bytes, length, number, now),
        }
    }

    fn decide(
        &self,
        stream: R::Stream,
        peer: SocketAddr,
        bytes: Vec<u8>,
        length: usize,
        number: u64,
        now: Instant,
    ) {
        let shared = &self.shared;
        let via = match stream.syn_data_acked() {
            Ok(true) => Via::FastOpen,
            Ok(false) | Err(_) => Via::Plain,
        };
        let message = bytes.get(..length).unwrap_or(&bytes);
        let verdict = match &shared.settings.claims {
            Some(claims) => claims.observe(now, message, number),
            None => Verdict::First,
        };
        match verdict {
            Verdict::First => {
                count(&shared.counts.first);
                shared.tell(GateEvent::Admitted {
                    peer,
                    via,
                    bytes: length,
                });
                let skip = if shared.settings.token { HEADER_LEN } else { 0 };
                let stream = GateStream::new(bytes, skip, stream).into();
                shared.admit(Admitted {
                    stream,
                    peer,
                    via,
                    message: length,
                });
            }
            Verdict::Duplicate { age, copies, .. } => {
                count(&shared.counts.duplicates);
                stream.close_abortively();
                shared.tell(GateEvent::Duplicate {
                    peer,
                    via,
                    age,
                    copies,
                });
            }
        }
    }

    /// Closes connections whose time is up; when the next one's is.
    fn expire(&mut self, now: Instant) -> Option<Instant> {
        while let Some((&number, oldest)) = self.waiting.first_key_value() {
            // Nobody is turned away for what the gate had no time to read.
            if self.shared.is_full() {
                return None;
            }
            if oldest.deadline > now {
                return Some(oldest.deadline);
            }
            self.read(number, now);
            if let Some(late) = self.waiting.remove(&number) {
                count(&self.shared.counts.timeouts);
                late.stream.close_abortively();
                let (peer, bytes) = (late.peer, late.bytes.len());
                self.shared.tell(GateEvent::TimedOut { peer, bytes });
            }
        }
        None
    }

    /// Makes room by closing the connection that has waited longest, unless
    /// it has said meanwhile what it came to say.
    fn make_room(&mut self, now: Instant) {
        let Some((&number, _)) = self.waiting.first_key_value() else {
            return;
        };
        self.read(number, now);
        if let Some(oldest) = self.waiting.remove(&number) {
            count(&self.shared.counts.evicted);
            oldest.stream.close_abortively();
            self.shared.tell(GateEvent::Evicted { peer: oldest.peer });
        }
    }

    /// Reads from connections that have something to say; whether more have.
    fn answer_bell(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        for _ in 0..BATCH {
            if self.shared.is_full() {
                break;
            }
            let number = lock(&self.shared.bell.rung).0.pop_front();
            match number {
                Some(number) => self.read(number, now),
                None => break,
            }
        }
        let mut rung = lock(&self.shared.bell.rung);
        rung.1 = Some(cx.waker().clone());
        !rung.0.is_empty()
    }

    fn work(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let now = self.shared.runtime.now();
            // The waker is in place before anything is looked at.
            let rung = self.answer_bell(cx, now);
            if self.shared.is_closed() {
                return Poll::Ready(Ok(()));
            }
            let more = self.accept(cx, now)?;
            let next = self.expire(now);
            if self.shared.is_full() {
                return Poll::Pending;
            }
            if rung || more {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let next = [next, self.accept_after].into_iter().flatten().min();
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
        match doorman.work(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(result) => {
                doorman.shared.end(result.err());
                Poll::Ready(())
            }
        }
    }
}

impl<R: Runtime> Drop for Doorman<R> {
    fn drop(&mut self) {
        self.shared.end(None);
    }
}
