//! Connections whose first message is not whole, and how they call the doorman.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use headstart_core::framing::{Malformed, Progress, Scanner};
use headstart_core::time::Instant;

use crate::runtime::Stream;
use crate::sync::{Mutex, lock};

/// Bytes read at a time.
const READ_SIZE: usize = 4096;

/// Numbers of connections that have something to say.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: Mutex<(VecDeque<u64>, Option<Waker>)>,
}

impl Bell {
    /// The next connection that has something to say.
    pub(super) fn next(&self) -> Option<u64> {
        lock(&self.rung).0.pop_front()
    }

    /// The doorman waits; whether in vain, as there is something already.
    pub(super) fn wait(&self, cx: &Context<'_>) -> bool {
        let mut rung = lock(&self.rung);
        rung.1 = Some(cx.waker().clone());
        !rung.0.is_empty()
    }

    /// Wakes the doorman.
    pub(super) fn ring(&self) {
        let waker = lock(&self.rung).1.take();
        waker.into_iter().for_each(Waker::wake);
    }
}

/// Wakes the doorman for one connection.
#[derive(Debug)]
pub(super) struct Ringer {
    number: u64,
    rung: AtomicBool,
    bell: Arc<Bell>,
}

impl Ringer {
    pub(super) fn new(number: u64, bell: Arc<Bell>) -> Arc<Self> {
        Arc::new(Self {
            number,
            rung: AtomicBool::new(false),
            bell,
        })
    }
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
pub(super) struct Waiting<S> {
    pub(super) stream: S,
    pub(super) peer: SocketAddr,
    pub(super) scanner: Scanner,
    pub(super) bytes: Vec<u8>,
    /// When its time is up.
    pub(super) deadline: Instant,
    pub(super) ringer: Arc<Ringer>,
    /// The number of its latest word, among those of all.
    pub(super) word: u64,
}

/// What became of a connection that was read from.
pub(super) enum Read {
    /// Nothing more for now.
    Pending,
    /// Its first message is whole, of this length.
    Whole(usize),
    Malformed(Malformed),
    Closed,
}

impl<S: Stream> Waiting<S> {
    pub(super) fn new(
        stream: S,
        peer: SocketAddr,
        scanner: Scanner,
        deadline: Instant,
        ringer: Arc<Ringer>,
    ) -> Self {
        Self {
            stream,
            peer,
            scanner,
            bytes: Vec::new(),
            deadline,
            ringer,
            word: 0,
        }
    }

    /// Reads what is there, and asks to be woken for more. What the system has
    /// is asked of the system: a runtime hears of it later, when it has looked
    /// at its sockets again, and tells a task only so much in one turn.
    pub(super) fn read(&mut self) -> Read {
        self.ringer.rung.store(false, Ordering::Release);
        let waker = Waker::from(self.ringer.clone());
        let mut cx = Context::from_waker(&waker);
        let mut buf = [0; READ_SIZE];
        loop {
            let got = match self.stream.try_read(&mut buf) {
                Ok(0) => return Read::Closed,
                Ok(got) => buf.get(..got).unwrap_or(&buf),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.stream.poll_readable(&mut cx) {
                        Poll::Pending => return Read::Pending,
                        Poll::Ready(Ok(())) => continue,
                        Poll::Ready(Err(_)) => return Read::Closed,
                    }
                }
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
