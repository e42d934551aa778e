//! A runtime on the simulated network: sockets and timers that live as long as
//! a run, and an executor that polls a task only if its waker was called.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use futures_io::{AsyncRead, AsyncWrite};
use headstart_core::Instant;
use headstart_core::race::{AttemptKind, Close, Failure, FailureKind, Progress, SynData};
use headstart_sim::{SYN_PAYLOAD, SocketError, SocketId, Transports};
use scoped_tls_hkt::scoped_thread_local;

use crate::reading::poll_read;
use crate::runtime::{AfterAcceptError, Listener, Runtime, StartError, Stream, Timer};
use crate::stream::RaceStream;
use crate::{GateStream, sync::lock};

/// Polls of tasks at one moment, of which none honest needs so many.
const POLLS_MAX: usize = 1_000;

scoped_thread_local!(
    /// The network, while the simulation runs the driver.
    pub(super) static mut NET: for<'a> &'a mut (dyn Transports + 'a)
);

/// A runtime, for one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Simulated {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    tasks: Vec<Arc<Task>>,
    timers: BTreeMap<usize, (Instant, Waker)>,
    /// Who waits for each socket to be readable, and writable.
    waits: Vec<[Option<Waker>; 2]>,
    next_timer: usize,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

/// A spawned task.
struct Task {
    future: Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>,
    woken: AtomicBool,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Relaxed);
    }
}

impl Simulated {
    /// The address at this position.
    pub(super) fn address(target: usize) -> SocketAddr {
        let host = u8::try_from(target).expect("few addresses");
        (Ipv4Addr::new(10, 0, 0, host), 443).into()
    }

    /// When the earliest timer is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let state = lock(&self.state);
        state.timers.values().map(|(at, _)| *at).min()
    }

    /// Wakes whoever waits for a time that has come or a socket that is ready.
    pub(super) fn wake(&self) {
        let now = self.now();
        let mut wakers = Vec::new();
        {
            let mut state = lock(&self.state);
            state.timers.retain(|_, (at, waker)| {
                let waits = *at > now;
                if !waits {
                    wakers.push(waker.clone());
                }
                waits
            });
            for (index, [reader, writer]) in state.waits.iter_mut().enumerate() {
                let id = SocketId::new(index);
                let readable = |_: &mut Waker| NET.with(|net| net.poll_readable(id));
                let writable = |_: &mut Waker| NET.with(|net| net.poll_writable(id));
                wakers.extend(reader.take_if(readable));
                wakers.extend(writer.take_if(writable));
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Polls tasks as long as any is woken.
    pub(super) fn run_tasks(&self) {
        for _ in 0..POLLS_MAX {
            let next = {
                let tasks = &lock(&self.state).tasks;
                let woken = |task: &&Arc<Task>| task.woken.swap(false, Ordering::Relaxed);
                tasks.iter().find(woken).cloned()
            };
            let Some(task) = next else {
                return;
            };
            let waker = Waker::from(task.clone());
            let mut future = lock(&task.future);
            let polled = future
                .as_mut()
                .map(|future| future.as_mut().poll(&mut Context::from_waker(&waker)));
            if polled == Some(Poll::Ready(())) {
                future.take();
            }
        }
        panic!("a task that wakes itself for ever");
    }

    /// The runtime goes, and drops its tasks.
    pub(super) fn shut_down(&self) {
        let tasks = std::mem::take(&mut lock(&self.state).tasks);
        for task in tasks {
            drop(lock(&task.future).take());
        }
    }
}

impl Runtime for Simulated {
    type Stream = Socket;
    type Listener = Nobody;
    type RaceStream = RaceStream<Self>;
    type GateStream = GateStream<Self>;
    type Timer = Alarm;
    type Options = ();
    type ListenOptions = ();

    fn current() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn now(&self) -> Instant {
        // What is dropped when the run is over has no time any more.
        match NET.is_set() {
            true => NET.with(|net| net.now()),
            false => Instant::default(),
        }
    }

    fn start(
        &self,
        address: SocketAddr,
        kind: AttemptKind,
        flight: &[u8],
        (): &(),
    ) -> Result<(Socket, Progress), StartError> {
        let target = match address.ip() {
            std::net::IpAddr::V4(ip) => usize::from(ip.octets()[3]),
            std::net::IpAddr::V6(_) => usize::MAX,
        };
        match NET.with(|net| net.start(kind, target, flight)) {
            Ok((id, progress)) => {
                let state = self.state.clone();
                Ok((Socket { id, state }, progress))
            }
            Err(error) => Err(StartError {
                failure: error.failure,
                not_had: error.not_had,
                source: io_error(error.failure),
            }),
        }
    }

    fn listen(&self, _: SocketAddr, (): &()) -> io::Result<Nobody> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn syn_payload(&self, _: SocketAddr) -> usize {
        SYN_PAYLOAD
    }

    async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn timer(&self) -> Alarm {
        let mut state = lock(&self.state);
        state.next_timer += 1;
        Alarm {
            id: state.next_timer,
            runtime: self.clone(),
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let task = Task {
            future: Mutex::new(Some(Box::pin(task))),
            woken: AtomicBool::new(true),
        };
        lock(&self.state).tasks.push(Arc::new(task));
    }
}

/// A timer.
#[derive(Debug)]
pub(super) struct Alarm {
    id: usize,
    runtime: Simulated,
}

impl Timer for Alarm {
    fn poll_at(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let due = at <= self.runtime.now();
        let timers = &mut lock(&self.runtime.state).timers;
        match due {
            true => {
                timers.remove(&self.id);
                Poll::Ready(())
            }
            false => {
                timers.insert(self.id, (at, cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

/// A socket of the simulated network; dropped, it is closed.
#[derive(Debug)]
pub(super) struct Socket {
    id: SocketId,
    state: Arc<Mutex<State>>,
}

impl Socket {
    /// Remembers who waits.
    fn wait(&self, direction: usize, cx: &Context<'_>) {
        let waits = &mut lock(&self.state).waits;
        let index = self.id.index();
        if waits.len() <= index {
            waits.resize_with(index + 1, Default::default);
        }
        waits[index][direction] = Some(cx.waker().clone());
    }

    fn close(&self, close: Close) {
        let waits = lock(&self.state)
            .waits
            .get_mut(self.id.index())
            .map(std::mem::take);
        drop(waits);
        if NET.is_set() {
            NET.with(|net| net.close(self.id, close));
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.close(Close::Graceful);
    }
}

impl Stream for Socket {
    type Inner = Self;

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if NET.with(|net| net.poll_readable(self.id)) {
            return Poll::Ready(Ok(()));
        }
        self.wait(0, cx);
        Poll::Pending
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if NET.with(|net| net.poll_writable(self.id)) {
            return Poll::Ready(Ok(()));
        }
        self.wait(1, cx);
        Poll::Pending
    }

    fn try_peek(&self) -> io::Result<usize> {
        NET.with(|net| net.peek(self.id))
            .map(|there| there.min(1))
            .map_err(socket_error)
    }

    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        NET.with(|net| net.read(self.id, buf)).map_err(socket_error)
    }

    fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let part = |index: usize| bufs.get(index).map_or(&[][..], |buf| buf);
        NET.with(|net| net.write(self.id, [part(0), part(1)]))
            .map_err(socket_error)
    }

    fn take_error(&self) -> io::Result<()> {
        NET.with(|net| net.take_error(self.id))
            .map_err(socket_error)
    }

    fn syn_data_acked(&self) -> io::Result<bool> {
        match NET.with(|net| net.syn_data(self.id)) {
            SynData::Acknowledged => Ok(true),
            SynData::Ignored | SynData::None => Ok(false),
            SynData::Sent => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn shutdown_write(&self) -> io::Result<()> {
        NET.with(|net| net.shutdown(self.id)).map_err(socket_error)
    }

    fn close_abortively(self) {
        self.close(Close::Abortive);
        std::mem::forget(self);
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        poll_read(&*self, cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            std::task::ready!(self.poll_writable(cx))?;
            match self.try_write_vectored(bufs) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shutdown_write())
    }
}

/// The listener of a runtime that does not listen.
#[derive(Debug)]
pub(super) enum Nobody {}

impl Listener for Nobody {
    type Stream = Socket;
    type FastOpen = bool;

    fn poll_accept(&self, _: &mut Context<'_>) -> Poll<io::Result<(Socket, SocketAddr)>> {
        match *self {}
    }

    fn after_error(&self, _: &io::Error) -> AfterAcceptError {
        match *self {}
    }

    fn fast_open(&self) -> bool {
        match *self {}
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match *self {}
    }
}

fn socket_error(error: SocketError) -> io::Error {
    match error {
        SocketError::WouldBlock => io::ErrorKind::WouldBlock.into(),
        SocketError::Failed(failure) => io_error(failure),
    }
}

/// The error that [`failure_of`](crate::failure_of) takes for this failure.
fn io_error(failure: Failure) -> io::Error {
    let kind = match failure.kind {
        FailureKind::Refused => io::ErrorKind::ConnectionRefused,
        FailureKind::Reset => io::ErrorKind::ConnectionReset,
        FailureKind::Unreachable => io::ErrorKind::HostUnreachable,
        FailureKind::TimedOut => io::ErrorKind::TimedOut,
        FailureKind::NotPermitted => io::ErrorKind::PermissionDenied,
        FailureKind::Unsupported => io::ErrorKind::Unsupported,
        FailureKind::NoResources => io::ErrorKind::OutOfMemory,
        _ => io::ErrorKind::Other,
    };
    kind.into()
}
