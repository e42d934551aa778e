//! Runtimes that stand on `async-io`: smol and async-std.

use std::fmt::{self, Debug};
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant as StdInstant;

use async_io::Async;
use headstart_core::Instant;
use headstart_socket::socket2::SockRef;

use super::{Direction, SystemRuntime};
use crate::epoch::Epoch;
use crate::gate::GateStream;
use crate::runtime::Timer;
use crate::stream::RaceStream;

/// The one task of a dialer or a gate.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What differs between runtimes that stand on `async-io`: where tasks run,
/// and which stream programs use.
pub trait Executor: Sized + 'static {
    /// The stream that programs of this runtime use.
    type TcpStream;

    /// Runs a task on the runtime's global executor until it ends.
    fn spawn(task: Task);

    /// Runs what blocks on the runtime's pool of threads.
    ///
    /// **Cancel safety.** The work is done all the same, its result lost.
    fn unblock<T: Send + 'static>(
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send;

    /// The stream that programs use.
    ///
    /// # Errors
    /// Gives the stream back if that cannot be had: no descriptor is free, or
    /// no more may be registered.
    fn hand_over(stream: Async<TcpStream>) -> Result<Self::TcpStream, Async<TcpStream>>;
}

/// A runtime that stands on `async-io`, which has a thread of its own for
/// readiness and timers: its streams can be used on any executor.
pub struct AsyncIo<X> {
    epoch: Epoch,
    spawn: Arc<dyn Fn(Task) + Send + Sync>,
    executor: PhantomData<fn() -> X>,
}

impl<X: Executor> AsyncIo<X> {
    /// The runtime with an executor of the caller's in place of the global
    /// one: `spawn` is given the one task of each dialer and gate, and runs
    /// it until it ends.
    pub fn on(spawn: impl Fn(Task) + Send + Sync + 'static) -> Self {
        Self {
            epoch: Epoch::at(StdInstant::now()),
            spawn: Arc::new(spawn),
            executor: PhantomData,
        }
    }
}

impl<X> Clone for AsyncIo<X> {
    fn clone(&self) -> Self {
        Self {
            epoch: self.epoch,
            spawn: self.spawn.clone(),
            executor: PhantomData,
        }
    }
}

impl<X> Debug for AsyncIo<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncIo")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl<X: Executor> SystemRuntime for AsyncIo<X> {
    type TcpStream = Async<TcpStream>;
    type TcpListener = Async<TcpListener>;
    type Inner = X::TcpStream;
    type RaceStream = RaceStream<Self>;
    type GateStream = GateStream<Self>;
    type Timer = AsyncIoTimer;

    fn current() -> io::Result<Self> {
        Ok(Self::on(X::spawn))
    }

    fn now(&self) -> Instant {
        self.epoch.instant(StdInstant::now())
    }

    fn stream(&self, stream: TcpStream) -> io::Result<Async<TcpStream>> {
        Async::new_nonblocking(stream)
    }

    fn listener(&self, listener: TcpListener) -> io::Result<Async<TcpListener>> {
        Async::new_nonblocking(listener)
    }

    fn poll_accept(
        listener: &Async<TcpListener>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Async<TcpStream>, SocketAddr)>> {
        loop {
            match listener.get_ref().accept() {
                Ok((stream, peer)) => {
                    return Poll::Ready(Async::new(stream).map(|stream| (stream, peer)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            ready!(listener.poll_readable(cx))?;
        }
    }

    fn poll_ready(
        stream: &Async<TcpStream>,
        direction: Direction,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        match direction {
            Direction::Read => stream.poll_readable(cx),
            Direction::Write => stream.poll_writable(cx),
        }
    }

    fn try_io<T>(
        _stream: &Async<TcpStream>,
        _direction: Direction,
        operation: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        operation()
    }

    fn socket(stream: &Async<TcpStream>) -> SockRef<'_> {
        SockRef::from(stream.get_ref())
    }

    fn into_inner(stream: Async<TcpStream>) -> Result<X::TcpStream, Async<TcpStream>> {
        X::hand_over(stream)
    }

    fn timer(&self) -> AsyncIoTimer {
        AsyncIoTimer {
            epoch: self.epoch,
            set: None,
        }
    }

    async fn unblock<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        Ok(X::unblock(work).await)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        (self.spawn)(Box::pin(task));
    }
}

/// A timer of `async-io`.
#[derive(Debug)]
pub struct AsyncIoTimer {
    epoch: Epoch,
    set: Option<(Instant, async_io::Timer)>,
}

impl Timer for AsyncIoTimer {
    fn poll_at(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let when = self.epoch.std(at);
        let (set, timer) = self
            .set
            .get_or_insert_with(|| (at, async_io::Timer::at(when)));
        if *set != at {
            *set = at;
            timer.set_at(when);
        }
        Pin::new(timer).poll(cx).map(|_| ())
    }
}
