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
use headstart_core::framing::token::{HEADER_LEN, Header};
use headstart_core::framing::{Malformed, Progress, Scanner};
use headstart_core::pair::{self, Pair};
use headstart_core::time::Instant;

use super::hall::Shared;
use super::joined::{Copy, Joined};
use super::{Admitted, GateEvent, GateStream, Via};
use crate::driver::{Cell, Driven, Driver};
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

/// What became of a first message.
enum Found<R: Runtime> {
    First(Admission<R>),
    Copy {
        copy: Copy<R::Stream>,
        /// What is kept open for it.
        of: Option<Arc<Cell<Joined<R>>>>,
        age: Duration,
        copies: u32,
    },
}

/// A connection that is let in: alone, or open for copies.
enum Admission<R: Runtime> {
    Alone(Copy<R::Stream>),
    Open(Arc<Cell<Joined<R>>>),
}

/// The doorman.
pub(super) struct Doorman<R: Runtime> {
    shared: Arc<Shared<R>>,
    /// Gone once the gate is closed.
    listener: Option<R::Listener>,
    pairs: Driver<Joined<R>, R>,
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
            pairs: Driver::new(shared.queue.clone(), shared.runtime.clone()),
            shared,
            listener: Some(listener),
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
            mut bytes,
            ..
        }) = self.waiting.remove(&number)
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
                stream.close_abortively();
                shared.tell(GateEvent::Malformed { peer, error });
            }
            Read::Whole(length) => {
                let beyond = bytes.split_off(length.min(bytes.len()));
                let copy = Copy {
                    stream,
                    peer,
                    beyond,
                };
                self.decide(copy, bytes, now);
            }
        }
    }

    /// Admits the first copy of a message, joins a later one, or resets it.
    fn decide(&self, copy: Copy<R::Stream>, message: Vec<u8>, now: Instant) {
        let shared = &self.shared;
        let via = match copy.stream.syn_data_acked() {
            Ok(true) => Via::FastOpen,
            Ok(false) | Err(_) => Via::Plain,
        };
        let peer = copy.peer;
        let Some(claims) = &shared.settings.claims else {
            return self.admit(peer, via, message, Admission::Alone(copy));
        };
        let number = claims.number();
        // Whoever observes the next copy finds the pair.
        let found = claims.claim(now, &message, number, |verdict| match verdict {
            Verdict::First => Found::First(self.keep_open(copy, via, &message, number, now)),
            Verdict::Duplicate { of, age, copies } => Found::Copy {
                copy,
                of: shared.settings.pairs.as_ref().and_then(|p| p.find(of)),
                age,
                copies,
            },
        });
        match found {
            Found::First(admission) => self.admit(peer, via, message, admission),
            Found::Copy {
                copy,
                of,
                age,
                copies,
            } => {
                let rejected = match of {
                    Some(cell) => cell
                        .with(|joined, cx| joined.join(cx, via.kind(), &message, copy))
                        .err(),
                    None => Some(copy),
                };
                let (counter, event) = match rejected {
                    Some(copy) => {
                        copy.stream.close_abortively();
                        let event = GateEvent::Duplicate {
                            peer,
                            via,
                            age,
                            copies,
                        };
                        (&shared.counts.duplicates, event)
                    }
                    None => {
                        let event = GateEvent::Paired {
                            peer,
                            via,
                            age,
                            copies,
                        };
                        (&shared.counts.joined, event)
                    }
                };
                counter.count();
                shared.tell(event);
            }
        }
    }

    /// Keeps a message that came by Fast Open open for copies, if there is room.
    fn keep_open(
        &self,
        copy: Copy<R::Stream>,
        via: Via,
        message: &[u8],
        number: u64,
        now: Instant,
    ) -> Admission<R> {
        let shared = &self.shared;
        let pairs = match &shared.settings.pairs {
            Some(pairs) if via == Via::FastOpen => pairs,
            Some(_) | None => return Admission::Alone(copy),
        };
        let bytes = message.len() + copy.beyond.len();
        let Some(place) = pairs.place(number, bytes) else {
            shared.counts.unpaired.count();
            return Admission::Alone(copy);
        };
        let header = message.first_chunk().map(Header::decode);
        let limits = pairs.limits();
        let config = pair::Config {
            window: limits.window,
            log_max: limits.log_max,
            resets_losers: shared.settings.token
                && matches!(header, Some(Ok(header)) if header.resets_losers),
        };
        let cell = shared.queue.adopt(Joined::new(
            Pair::new(config, now),
            shared.runtime.clone(),
            message,
            copy,
            place,
            shared.counts.clone(),
        ));
        pairs.insert(number, cell.clone());
        Admission::Open(cell)
    }

    fn admit(&self, peer: SocketAddr, via: Via, mut bytes: Vec<u8>, admission: Admission<R>) {
        let shared = &self.shared;
        let (message, token) = (bytes.len(), shared.settings.token);
        let skip = if token { HEADER_LEN } else { 0 };
        shared.counts.first.count();
        shared.tell(GateEvent::Admitted {
            peer,
            via,
            bytes: message,
        });
        let stream = match admission {
            Admission::Alone(copy) => {
                bytes.extend(copy.beyond);
                GateStream::direct(bytes, skip, copy.stream)
            }
            Admission::Open(cell) => {
                // It hears from its connection, and of the passing of time.
                cell.with(|joined, cx| joined.drive(cx));
                GateStream::paired(bytes, skip, cell)
            }
        };
        shared.admit(Admitted {
            stream: stream.into(),
            peer,
            via,
            message,
        });
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
                self.shared.counts.timeouts.count();
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
            self.shared.counts.evicted.count();
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
                self.listener = None;
                self.waiting.clear();
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
        let pairs = Pin::new(&mut doorman.pairs).poll(cx);
        if doorman.listener.is_some()
            && let Poll::Ready(Err(error)) = doorman.work(cx)
        {
            doorman.listener = None;
            doorman.shared.queue.close();
            doorman.shared.end(Some(error));
        }
        match (&doorman.listener, pairs) {
            (None, Poll::Ready(())) => {
                doorman.shared.end(None);
                Poll::Ready(())
            }
            // What was just let in, or closed, is for the pairs to know.
            (None, Poll::Pending) => Pin::new(&mut doorman.pairs).poll(cx),
            (Some(_), _) => Poll::Pending,
        }
    }
}

impl<R: Runtime> Drop for Doorman<R> {
    fn drop(&mut self) {
        self.shared.end(None);
    }
}
