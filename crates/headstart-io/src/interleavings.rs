//! What threads share, in thousands of orders in which they can run. A
//! wake-up that is lost shows as a deadlock.
//!
//! `RUSTFLAGS='--cfg shuttle' cargo test -p headstart-io --lib interleavings`;
//! more orders by `HEADSTART_INTERLEAVINGS` in the environment.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use headstart_core::Instant;
use headstart_core::config::{FirstFlight, Kinds};
use headstart_core::debounce::{Config, Verdict};
use headstart_core::race::{AttemptKind, Progress};
use shuttle::future::block_on;
use shuttle::sync::{Condvar, Mutex, MutexGuard};
use shuttle::thread;

use crate::early::Early;
use crate::runtime::{AfterAcceptError, Listener, Runtime, StartError, Stream, Timer};
use crate::{Budget, Claims, Dialer, DialerBuilder, GateStream, RaceStream};

/// Orders that a test tries, half of them at random and half with few changes
/// of thread, which find what takes a long wait at one place.
fn orders() -> usize {
    let set = std::env::var("HEADSTART_INTERLEAVINGS").ok();
    set.and_then(|set| set.parse().ok()).unwrap_or(2_000)
}

pub(crate) fn in_many_orders(test: impl Fn() + Copy + Send + Sync + 'static) {
    shuttle::check_random(test, orders() / 2);
    shuttle::check_pct(test, orders() / 2, 3);
}

#[test]
fn d1_d5_of_copies_that_come_at_once_one_is_first() {
    in_many_orders(|| {
        // Enough for several shards.
        let config = Config {
            capacity: 1000,
            ..Config::default()
        };
        let claims = Claims::new(config).expect("sane settings");
        let observers: Vec<_> = (0..3)
            .map(|connection| {
                let claims = claims.clone();
                thread::spawn(move || {
                    ["one", "two"].map(|message| {
                        let now = Instant::from_nanos(connection);
                        claims.observe(now, message.as_bytes(), connection) == Verdict::First
                    })
                })
            })
            .collect();
        let mut firsts = [0, 0];
        for observer in observers {
            let first = observer.join().expect("no panic");
            firsts[0] += u32::from(first[0]);
            firsts[1] += u32::from(first[1]);
        }
        assert_eq!(firsts, [1, 1]);
        let stats = claims.stats();
        assert_eq!((stats.first, stats.duplicates), (2, 4));
    });
}

#[test]
fn r12_the_budget_is_never_overdrawn_and_comes_back() {
    const EXTRA: usize = 2;
    in_many_orders(|| {
        let budget = Budget::new(EXTRA);
        let open = Arc::new(Mutex::new(0));
        let races: Vec<_> = (0..3)
            .map(|_| {
                let (budget, open) = (budget.clone(), open.clone());
                thread::spawn(move || {
                    for _ in 0..2 {
                        let Some(permit) = budget.take() else {
                            continue;
                        };
                        *lock(&open) += 1;
                        assert!(*lock(&open) <= EXTRA, "overdrawn");
                        *lock(&open) -= 1;
                        drop(permit);
                    }
                })
            })
            .collect();
        for race in races {
            race.join().expect("no panic");
        }
        assert_eq!(budget.left(), EXTRA);
    });
}

#[test]
fn r16_what_was_written_before_a_drop_is_delivered_by_the_driver_alone() {
    in_many_orders(|| {
        let net = Net::new(Peers::Open);
        let (dialer, driver) = net.dialer(|dialer| dialer);
        block_on(async {
            let mut stream = dialer.dial(ADDRESS).await.expect("a race");
            write(&mut stream, b"hello").await;
        });
        drop(dialer);
        driver.join().expect("no panic");
        assert!(net.is_delivered(b"hello"));
    });
}

#[test]
fn r16_a_reader_is_woken_whoever_drives() {
    in_many_orders(|| {
        let net = Net::new(Peers::Answer);
        let (dialer, driver) = net.dialer(|dialer| dialer);
        block_on(async {
            let mut stream = dialer.dial(ADDRESS).await.expect("a race");
            write(&mut stream, b"hello").await;
            let mut buf = [0];
            let read = poll_fn(|cx| stream.poll_read_early(cx, &mut buf)).await;
            assert_eq!((read.expect("an answer"), buf), (Some(1), [7]));
        });
        drop(dialer);
        driver.join().expect("no panic");
    });
}

#[test]
fn r16_who_waits_until_all_is_settled_is_woken() {
    in_many_orders(|| {
        let net = Net::new(Peers::Open);
        let (dialer, driver) = net.dialer(|dialer| dialer);
        block_on(async {
            for message in [b"one", b"two"] {
                let mut stream = dialer.dial(ADDRESS).await.expect("a race");
                write(&mut stream, message).await;
                drop(stream);
            }
            dialer.settled().await;
        });
        assert!(net.is_delivered(b"one") && net.is_delivered(b"two"));
        drop(dialer);
        driver.join().expect("no panic");
    });
}

#[test]
fn r16_a_driver_that_sleeps_is_told_of_a_deadline() {
    in_many_orders(|| {
        let net = Net::new(Peers::FirstIsDead);
        let (dialer, driver) = net.dialer(|dialer| dialer.kinds(Kinds::PlainOnly));
        let clock = net.clock();
        block_on(async {
            let mut stream = dialer.dial(vec![ADDRESS; 2]).await.expect("a race");
            write(&mut stream, b"hello").await;
            drop(stream);
            // Not the dialer's end, which wakes the driver too.
            dialer.settled().await;
        });
        drop(dialer);
        driver.join().expect("no panic");
        assert!(net.is_delivered(b"hello"));
        net.stop_clock();
        clock.join().expect("no panic");
    });
}

async fn write(stream: &mut RaceStream<Net>, bytes: &[u8]) {
    let written = poll_fn(|cx| stream.poll_write_early(cx, &[IoSlice::new(bytes)])).await;
    let written = written.expect("room").unwrap_or_else(|| {
        let stream = stream.direct_write().expect("a connection");
        let written = stream.try_write_vectored(&[IoSlice::new(bytes)]);
        written.expect("room")
    });
    assert_eq!(written, bytes.len());
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic")
}

pub(crate) const ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 80);

/// What peers do, each in a thread of its own, at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peers {
    /// They take the connection.
    Open,
    /// They take it, and answer at once.
    Answer,
    /// The first never says anything, the others take it.
    FirstIsDead,
}

/// A runtime in memory.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    peers: Peers,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    now: Instant,
    timer: Option<(Instant, Waker)>,
    stopped: bool,
    task: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    ends: Vec<End>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("State(..)")
    }
}

/// One connection.
#[derive(Default)]
struct End {
    open: bool,
    answered: bool,
    received: Vec<u8>,
    finished: bool,
    reset: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Net {
    pub(crate) fn new(peers: Peers) -> Self {
        Self {
            peers,
            state: Arc::new((Mutex::new(State::default()), Condvar::new())),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state.0)
    }

    /// A dialer, and its driver in a thread.
    fn dialer(
        &self,
        set: impl FnOnce(DialerBuilder<Self>) -> DialerBuilder<Self>,
    ) -> (Dialer<Self>, thread::JoinHandle<()>) {
        let dialer = Dialer::builder_on(self.clone())
            .first_flight(FirstFlight::Asserted)
            .insist(true);
        let dialer = set(dialer).build().expect("sane settings");
        let task = self.state().task.take().expect("a driver");
        (dialer, thread::spawn(move || block_on(task)))
    }

    /// A connection that was accepted.
    pub(crate) fn accepted(&self) -> Socket {
        let mut state = self.state();
        let index = state.ends.len();
        state.ends.push(End {
            open: true,
            ..End::default()
        });
        Socket {
            net: self.clone(),
            index,
        }
    }

    /// Whether some connection took this, all of it, and its end.
    fn is_delivered(&self, bytes: &[u8]) -> bool {
        let state = self.state();
        let mut ends = state.ends.iter();
        ends.any(|end| end.received == bytes && end.finished)
    }

    /// A thread in which time leaps to wherever a timer is set.
    fn clock(&self) -> thread::JoinHandle<()> {
        let net = self.clone();
        thread::spawn(move || {
            let mut state = net.state();
            while !state.stopped {
                let Some((at, waker)) = state.timer.take() else {
                    state = net.state.1.wait(state).expect("no panic");
                    continue;
                };
                state.now = state.now.max(at);
                drop(state);
                waker.wake();
                state = net.state();
            }
        })
    }

    fn stop_clock(&self) {
        self.state().stopped = true;
        self.state.1.notify_all();
    }

    /// The peer of one connection.
    fn serve(&self, index: usize) {
        if self.peers == Peers::FirstIsDead && index == 0 {
            return;
        }
        let writer = {
            let mut state = self.state();
            let end = &mut state.ends[index];
            end.open = true;
            end.writer.take()
        };
        writer.into_iter().for_each(Waker::wake);
        if self.peers == Peers::Answer {
            let reader = {
                let mut state = self.state();
                let end = &mut state.ends[index];
                end.answered = true;
                end.reader.take()
            };
            reader.into_iter().for_each(Waker::wake);
        }
    }
}

impl Runtime for Net {
    type Stream = Socket;
    type Listener = NoListener;
    type RaceStream = RaceStream<Self>;
    type GateStream = GateStream<Self>;
    type Timer = Self;
    type Options = ();
    type ListenOptions = ();

    fn current() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn now(&self) -> Instant {
        self.state().now
    }

    fn start(
        &self,
        _: SocketAddr,
        kind: AttemptKind,
        flight: &[u8],
        (): &(),
    ) -> Result<(Socket, Progress), StartError> {
        let mut state = self.state();
        let index = state.ends.len();
        state.ends.push(End {
            received: flight.to_vec(),
            ..End::default()
        });
        drop(state);
        let net = self.clone();
        let socket = Socket { net, index };
        let net = self.clone();
        thread::spawn(move || net.serve(index));
        Ok(match kind {
            AttemptKind::Plain => (socket, Progress::Handshake),
            AttemptKind::FastOpen => (socket, Progress::DataInSyn(flight.len())),
        })
    }

    fn listen(&self, _: SocketAddr, (): &()) -> io::Result<NoListener> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn syn_payload(&self, _: SocketAddr) -> usize {
        1_400
    }

    async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![ADDRESS])
    }

    fn timer(&self) -> Self {
        self.clone()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.state().task = Some(Box::pin(task));
    }
}

impl Timer for Net {
    fn poll_at(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let mut state = self.state();
        if state.now >= at {
            return Poll::Ready(());
        }
        state.timer = Some((at, cx.waker().clone()));
        drop(state);
        self.state.1.notify_all();
        Poll::Pending
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Socket {
    net: Net,
    index: usize,
}

impl Socket {
    fn with<T>(&self, work: impl FnOnce(&mut End) -> T) -> T {
        work(&mut self.net.state().ends[self.index])
    }
}

impl Stream for Socket {
    type Inner = Self;

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|end| match end.answered {
            true => Poll::Ready(Ok(())),
            false => {
                end.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        })
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|end| match end.open {
            true => Poll::Ready(Ok(())),
            false => {
                end.writer = Some(cx.waker().clone());
                Poll::Pending
            }
        })
    }

    fn try_peek(&self) -> io::Result<usize> {
        self.with(|end| match end.answered {
            true => Ok(1),
            false => Err(io::ErrorKind::WouldBlock.into()),
        })
    }

    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.try_peek()?;
        buf[0] = 7;
        Ok(1)
    }

    fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.with(|end| {
            bufs.iter()
                .for_each(|buf| end.received.extend_from_slice(buf));
            Ok(bufs.iter().map(|buf| buf.len()).sum())
        })
    }

    fn take_error(&self) -> io::Result<()> {
        Ok(())
    }

    fn syn_data_acked(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn shutdown_write(&self) -> io::Result<()> {
        self.with(|end| end.finished = true);
        Ok(())
    }

    fn close_abortively(self) {
        self.with(|end| end.reset = true);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.with(|end| end.finished |= !end.reset);
        }
    }
}

/// Nobody listens here.
#[derive(Debug)]
pub(crate) enum NoListener {}

impl Listener for NoListener {
    type Stream = Socket;
    type FastOpen = String;

    fn poll_accept(&self, _: &mut Context<'_>) -> Poll<io::Result<(Socket, SocketAddr)>> {
        match *self {}
    }

    fn after_error(&self, _: &io::Error) -> AfterAcceptError {
        match *self {}
    }

    fn fast_open(&self) -> String {
        match *self {}
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match *self {}
    }
}
