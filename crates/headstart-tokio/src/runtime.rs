//! tokio, as the driver sees it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant as StdInstant;

use headstart_core::Instant;
use headstart_io::{Direction, Epoch, SystemRuntime, Timer};
use headstart_socket::socket2::SockRef;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::{Instant as TokioInstant, Sleep, sleep_until};

use crate::stream::{GateStream, RaceStream};

/// The tokio runtime that it was made in.
#[derive(Clone, Debug)]
pub struct Tokio {
    handle: Handle,
    epoch: Epoch,
}

impl SystemRuntime for Tokio {
    type TcpStream = TcpStream;
    type TcpListener = TcpListener;
    type Inner = TcpStream;
    type RaceStream = RaceStream;
    type GateStream = GateStream;
    type Timer = TokioTimer;

    fn current() -> io::Result<Self> {
        let handle = Handle::try_current().map_err(io::Error::other)?;
        let epoch = Epoch::at(TokioInstant::now().into_std());
        Ok(Self { handle, epoch })
    }

    fn now(&self) -> Instant {
        self.epoch.instant(SystemRuntime::std_now(self))
    }

    fn std_now(&self) -> StdInstant {
        let _inside = self.handle.enter();
        TokioInstant::now().into_std()
    }

    fn stream(&self, stream: std::net::TcpStream) -> io::Result<TcpStream> {
        let _inside = self.handle.enter();
        TcpStream::from_std(stream)
    }

    fn listener(&self, listener: std::net::TcpListener) -> io::Result<TcpListener> {
        let _inside = self.handle.enter();
        TcpListener::from_std(listener)
    }

    fn poll_accept(
        listener: &TcpListener,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        listener.poll_accept(cx)
    }

    fn poll_ready(
        stream: &TcpStream,
        direction: Direction,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        match direction {
            Direction::Read => stream.poll_read_ready(cx),
            Direction::Write => stream.poll_write_ready(cx),
        }
    }

    fn try_io<T>(
        stream: &TcpStream,
        direction: Direction,
        operation: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let interest = match direction {
            Direction::Read => Interest::READABLE,
            Direction::Write => Interest::WRITABLE,
        };
        stream.try_io(interest, operation)
    }

    fn socket(stream: &TcpStream) -> SockRef<'_> {
        SockRef::from(stream)
    }

    fn into_inner(stream: TcpStream) -> Result<TcpStream, TcpStream> {
        Ok(stream)
    }

    fn timer(&self) -> TokioTimer {
        TokioTimer {
            handle: self.handle.clone(),
            epoch: self.epoch,
            sleep: None,
        }
    }

    async fn unblock<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        // On its own runtime, in whichever it is polled.
        let done = self.handle.spawn_blocking(work);
        done.await.map_err(io::Error::other)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }
}

/// tokio's timer.
#[derive(Debug)]
pub struct TokioTimer {
    handle: Handle,
    epoch: Epoch,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer for TokioTimer {
    fn poll_at(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let at = TokioInstant::from_std(self.epoch.std(at));
        let _inside = self.handle.enter();
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx)
    }
}
