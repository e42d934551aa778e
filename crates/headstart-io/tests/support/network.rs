//! A runtime with a clock, one task and sockets in memory. Nothing happens in
//! it but what it is told; its task runs only when it was woken.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use headstart_core::Instant;
use headstart_core::race::{AttemptKind, Failure, FailureKind, Progress};
use headstart_io::{
    AfterAcceptError, GateStream, Listener, RaceStream, Runtime, StartError, Stream, Timer,
};

/// Times that a task may run without anything happening in between.
const IDLE_RUNS_MAX: usize = 1000;

/// The runtime.
#[derive(Clone)]
pub struct Network(Arc<Mutex<State>>);

struct State {
    now: Instant,
    task: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    task_waker: Arc<Flag>,
    arriving: VecDeque<Arrival>,
    listener: Option<Waker>,
    timer: Option<(Instant, Waker)>,
    sockets: Vec<Socket>,
    /// Nobody is told of what comes, though it is there.
    looks_away: bool,
    /// Connections taken in, and times that one was read from.
    words: u64,
    client: Option<Client>,
}

/// A client that is told what it is sent, as it is.
type Client = Arc<dyn Fn(usize, Sent) + Send + Sync>;

/// What a client is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Bytes,
    Reset,
}

impl State {
    fn hear(&mut self, number: usize) {
        self.words += 1;
        self.sockets[number].word = self.words;
    }
}

/// Times that a socket refuses to take anything and is still said to be ready:
/// so whoever writes to it for ever ends.
pub const REFUSALS_MAX: usize = 100;

/// What the listener says next.
#[derive(Clone, Copy, Debug)]
pub enum Arrival {
    Connection(usize),
    Error(AfterAcceptError),
}

/// The gate's end of a connection. Its number is its peer's port.
#[derive(Debug, Default)]
pub struct Socket {
    /// What has come and was not read, in the pieces in which it came.
    incoming: VecDeque<Vec<u8>>,
    ended: bool,
    failed: bool,
    /// Whether its error was told: that is done once, and then it has ended.
    told: bool,
    /// Times that it will be said to be readable when it is not.
    spurious: u8,
    reader: Option<Waker>,
    /// Writes that were refused, as it has failed.
    pub refusals: usize,
    /// Bytes that it took.
    pub taken: usize,
    /// Of these, bytes that its peer has acknowledged.
    pub acked: usize,
    pub syn_data: Option<bool>,
    pub accepted: Option<Instant>,
    /// Which word was its latest that the gate has heard, of all.
    pub word: u64,
    pub fate: Fate,
}

/// What the gate did with a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    #[default]
    Kept,
    Dropped,
    Reset,
}

impl Socket {
    /// Whether a read would say something.
    pub fn is_readable(&self) -> bool {
        !self.incoming.is_empty() || self.ended || self.failed
    }

    /// Its error, unless that was told.
    fn error(&mut self) -> Option<ErrorKind> {
        let untold = self.failed && !std::mem::replace(&mut self.told, true);
        untold.then_some(ErrorKind::ConnectionReset)
    }
}

/// A waker that remembers.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Network {
    pub fn new() -> Self {
        Self::at(Instant::from_nanos(1 << 40))
    }

    /// One whose clock shows this.
    pub fn at(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(State {
            now,
            task: None,
            task_waker: Arc::default(),
            arriving: VecDeque::new(),
            listener: None,
            timer: None,
            sockets: Vec::new(),
            looks_away: false,
            words: 0,
            client: None,
        })))
    }

    /// Runs the task as long as it is woken. Its end is as good as a rest.
    pub fn run(&self) -> Result<(), String> {
        for _ in 0..IDLE_RUNS_MAX {
            let mut state = self.lock();
            if !state.task_waker.take() {
                return Ok(());
            }
            let Some(mut task) = state.task.take() else {
                return Ok(());
            };
            let waker = Waker::from(state.task_waker.clone());
            drop(state);
            if task
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
            {
                self.lock().task = Some(task);
            }
        }
        Err("the task runs and runs".into())
    }

    /// Has a client see what the gate does, while it does it.
    pub fn watched_by(&self, client: impl Fn(usize, Sent) + Send + Sync + 'static) {
        self.lock().client = Some(Arc::new(client));
    }

    fn show(&self, number: usize, sent: Sent) {
        let client = self.lock().client.clone();
        if let Some(client) = client {
            client(number, sent);
        }
    }

    pub fn has_task(&self) -> bool {
        self.lock().task.is_some()
    }

    /// Lets time pass, at once.
    pub fn pass_to(&self, now: Instant) {
        let mut state = self.lock();
        state.now = state.now.max(now);
        let due = state.timer.take_if(|(at, _)| *at <= now);
        drop(state);
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// When the timer will ring.
    pub fn alarm(&self) -> Option<Instant> {
        self.lock().timer.as_ref().map(|(at, _)| *at)
    }

    pub fn arrive(&self, arrival: Arrival) {
        let mut state = self.lock();
        state.arriving.push_back(arrival);
        let waker = state.listener.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    pub fn arriving(&self) -> usize {
        self.lock().arriving.len()
    }

    pub fn connect(&self, syn_data: Option<bool>) -> usize {
        let mut state = self.lock();
        state.sockets.push(Socket {
            syn_data,
            ..Socket::default()
        });
        state.sockets.len() - 1
    }

    pub fn deliver(&self, number: usize, piece: &[u8]) {
        let piece = piece.to_vec();
        self.change(number, |socket| socket.incoming.push_back(piece));
    }

    pub fn end(&self, number: usize) {
        self.change(number, |socket| socket.ended = true);
    }

    pub fn fail(&self, number: usize) {
        self.change(number, |socket| socket.failed = true);
    }

    /// All that it took is acknowledged.
    pub fn acknowledge(&self, number: usize) {
        self.change(number, |socket| socket.acked = socket.taken);
    }

    /// Says that it is readable though nothing has come.
    pub fn cry_wolf(&self, number: usize) {
        self.change(number, |socket| socket.spurious = 2);
    }

    /// The runtime is busy with other things than its sockets.
    pub fn look_away(&self) {
        self.lock().looks_away = true;
    }

    /// It is not any more.
    pub fn look_again(&self) {
        let mut state = self.lock();
        state.looks_away = false;
        let readable = state.sockets.iter_mut().filter(|s| s.is_readable());
        let wakers: Vec<Waker> = readable.filter_map(|s| s.reader.take()).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub fn looks_away(&self) -> bool {
        self.lock().looks_away
    }

    pub fn socket<T>(&self, number: usize, look: impl FnOnce(&Socket) -> T) -> T {
        look(&self.lock().sockets[number])
    }

    fn change(&self, number: usize, change: impl FnOnce(&mut Socket)) {
        let mut state = self.lock();
        let looks_away = state.looks_away;
        let socket = &mut state.sockets[number];
        change(socket);
        let waker = socket.reader.take_if(|_| !looks_away);
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics under the lock")
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

impl Runtime for Network {
    type Stream = End;
    type Listener = Door;
    type RaceStream = RaceStream<Self>;
    type GateStream = GateStream<Self>;
    type Timer = Alarm;
    type Options = ();
    type ListenOptions = ();

    fn current() -> io::Result<Self> {
        Ok(Self::new())
    }

    fn now(&self) -> Instant {
        self.lock().now
    }

    fn start(
        &self,
        _: SocketAddr,
        _: AttemptKind,
        _: &[u8],
        (): &(),
    ) -> Result<(End, Progress), StartError> {
        Err(StartError {
            failure: Failure::new(FailureKind::Unsupported),
            not_had: true,
            source: ErrorKind::Unsupported.into(),
        })
    }

    fn listen(&self, _: SocketAddr, (): &()) -> io::Result<Door> {
        Ok(Door(self.clone()))
    }

    fn syn_payload(&self, _: SocketAddr) -> usize {
        1400
    }

    async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Err(ErrorKind::Unsupported.into())
    }

    fn timer(&self) -> Alarm {
        Alarm(self.clone())
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut state = self.lock();
        state.task = Some(Box::pin(task));
        state.task_waker.clone().wake();
    }
}

/// The gate's end of a connection.
#[derive(Debug)]
pub struct End {
    network: Network,
    number: usize,
}

impl End {
    fn with<T>(&self, act: impl FnOnce(&mut Socket) -> T) -> T {
        act(&mut self.network.lock().sockets[self.number])
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.with(|socket| {
            if socket.fate == Fate::Kept {
                socket.fate = Fate::Dropped;
            }
        });
    }
}

impl Stream for End {
    type Inner = Self;

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let looks_away = self.network.looks_away();
        self.with(|socket| {
            if !looks_away && (socket.is_readable() || socket.spurious > 0) {
                return Poll::Ready(Ok(()));
            }
            socket.reader = Some(cx.waker().clone());
            Poll::Pending
        })
    }

    fn poll_writable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.with(|socket| socket.refusals < REFUSALS_MAX) {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    fn try_peek(&self) -> io::Result<usize> {
        self.with(|socket| match socket.incoming.front() {
            Some(_) => Ok(1),
            None => nothing(socket),
        })
    }

    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let mut state = self.network.lock();
        let socket = &mut state.sockets[self.number];
        let Some(piece) = socket.incoming.front_mut() else {
            return nothing(socket);
        };
        let length = piece.len().min(buf.len());
        buf[..length].copy_from_slice(&piece[..length]);
        piece.drain(..length);
        if piece.is_empty() {
            socket.incoming.pop_front();
        }
        state.hear(self.number);
        Ok(length)
    }

    fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let taken = self.with(|socket| {
            if socket.failed {
                socket.refusals += 1;
                return Err(socket.error().unwrap_or(ErrorKind::BrokenPipe).into());
            }
            let length = bufs.iter().map(|buf| buf.len()).sum();
            socket.taken += length;
            Ok(length)
        });
        if taken.is_ok() {
            self.network.show(self.number, Sent::Bytes);
        }
        taken
    }

    fn take_error(&self) -> io::Result<()> {
        self.with(|socket| socket.error().map_or(Ok(()), |error| Err(error.into())))
    }

    fn syn_data_acked(&self) -> io::Result<bool> {
        self.with(|socket| socket.syn_data)
            .ok_or_else(|| ErrorKind::Unsupported.into())
    }

    fn bytes_acked(&self) -> io::Result<u64> {
        Ok(self.with(|socket| socket.acked as u64))
    }

    fn shutdown_write(&self) -> io::Result<()> {
        Ok(())
    }

    fn close_abortively(self) {
        self.with(|socket| socket.fate = Fate::Reset);
        self.network.show(self.number, Sent::Reset);
    }
}

/// What a read says when no byte is there.
fn nothing(socket: &mut Socket) -> io::Result<usize> {
    if let Some(error) = socket.error() {
        return Err(error.into());
    }
    if socket.ended || socket.failed {
        return Ok(0);
    }
    socket.spurious = socket.spurious.saturating_sub(1);
    Err(ErrorKind::WouldBlock.into())
}

/// The listener.
#[derive(Debug)]
pub struct Door(Network);

impl Listener for Door {
    type Stream = End;
    type FastOpen = &'static str;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(End, SocketAddr)>> {
        let mut state = self.0.lock();
        match state.arriving.pop_front() {
            Some(Arrival::Connection(number)) => {
                state.sockets[number].accepted = Some(state.now);
                state.hear(number);
                let end = End {
                    network: self.0.clone(),
                    number,
                };
                Poll::Ready(Ok((end, address(number))))
            }
            Some(Arrival::Error(after)) => Poll::Ready(Err(match after {
                AfterAcceptError::Retry => ErrorKind::ConnectionAborted.into(),
                AfterAcceptError::BackOff => ErrorKind::OutOfMemory.into(),
                AfterAcceptError::Stop => ErrorKind::InvalidInput.into(),
            })),
            None => {
                state.listener = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn after_error(&self, error: &io::Error) -> AfterAcceptError {
        match error.kind() {
            ErrorKind::ConnectionAborted => AfterAcceptError::Retry,
            ErrorKind::OutOfMemory => AfterAcceptError::BackOff,
            _ => AfterAcceptError::Stop,
        }
    }

    fn fast_open(&self) -> &'static str {
        "in memory"
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(address(0))
    }
}

/// The one timer: the gate's task has no more.
#[derive(Debug)]
pub struct Alarm(Network);

impl Timer for Alarm {
    fn poll_at(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let mut state = self.0.lock();
        if state.now >= at {
            state.timer = None;
            return Poll::Ready(());
        }
        state.timer = Some((at, cx.waker().clone()));
        Poll::Pending
    }
}

/// The peer of the connection with this number.
pub fn address(number: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], number as u16))
}
