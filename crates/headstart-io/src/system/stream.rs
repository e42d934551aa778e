//! A socket that is registered with a runtime.

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::ops::Deref;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
#[cfg(windows)]
use std::os::windows::io::{AsSocket, BorrowedSocket};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use headstart_socket::socket2::SockAddr;
use headstart_socket::{self as socket, Operation};

use super::{Direction, SystemRuntime};
use crate::runtime::Stream;

/// A TCP socket of the operating system, registered with a runtime.
///
/// What streams have in common, [`peer_addr`](Self::peer_addr),
/// [`nodelay`](Self::nodelay) and so on, it has by itself, by the names that they
/// have in `std`, tokio, smol and async-std; what else the runtime's registered
/// stream can do it can by [`Deref`].
#[derive(Debug)]
pub struct SystemStream<R: SystemRuntime> {
    stream: R::TcpStream,
    /// Drops after the stream, which ends it.
    operation: Operation,
}

impl<R: SystemRuntime> SystemStream<R> {
    pub(super) fn new(stream: R::TcpStream, operation: Operation) -> Self {
        Self { stream, operation }
    }

    /// Asks the system, though the runtime may not have heard yet what the
    /// kernel knows; what the runtime remembers is mended on the way.
    fn ask<T>(&self, mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let mut asked = false;
        let result = R::try_io(&self.stream, Direction::Read, || {
            asked = true;
            operation()
        });
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !asked => operation(),
            result => result,
        }
    }

    /// Whether what opens it beside its socket is over: `WouldBlock`, not yet.
    fn finish(&self) -> io::Result<()> {
        self.operation.finish(R::socket(&self.stream))
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// The system's.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        internet(R::socket(&self.stream).peer_addr()?)
    }

    /// The address of this end.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        internet(R::socket(&self.stream).local_addr()?)
    }

    /// Whether small segments are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    /// The system's.
    pub fn nodelay(&self) -> io::Result<bool> {
        R::socket(&self.stream).tcp_nodelay()
    }

    /// Sets whether small segments are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    /// The system's.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        R::socket(&self.stream).set_tcp_nodelay(nodelay)
    }

    /// Over how many hops packets may go (`IP_TTL`).
    ///
    /// # Errors
    /// The system's.
    pub fn ttl(&self) -> io::Result<u32> {
        R::socket(&self.stream).ttl_v4()
    }

    /// Sets over how many hops packets may go (`IP_TTL`).
    ///
    /// # Errors
    /// The system's.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        R::socket(&self.stream).set_ttl_v4(ttl)
    }

    /// For adapters: the runtime's own stream.
    pub fn pinned(self: Pin<&mut Self>) -> Pin<&mut R::TcpStream> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl<R: SystemRuntime> Deref for SystemStream<R> {
    type Target = R::TcpStream;

    fn deref(&self) -> &R::TcpStream {
        &self.stream
    }
}

#[cfg(unix)]
impl<R: SystemRuntime> AsFd for SystemStream<R>
where
    R::TcpStream: AsFd,
{
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(windows)]
impl<R: SystemRuntime> AsSocket for SystemStream<R>
where
    R::TcpStream: AsSocket,
{
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.stream.as_socket()
    }
}

impl<R: SystemRuntime> Stream for SystemStream<R> {
    type Inner = R::Inner;

    fn into_inner(self) -> Result<R::Inner, Self> {
        let operation = self.operation;
        R::into_inner(self.stream).map_err(|stream| Self::new(stream, operation))
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        R::poll_ready(&self.stream, Direction::Read, cx)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(R::poll_ready(&self.stream, Direction::Write, cx))?;
            match R::try_io(&self.stream, Direction::Write, || self.finish()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // How it went, `take_error` tells.
                _ => return Poll::Ready(Ok(())),
            }
        }
    }

    fn try_peek(&self) -> io::Result<usize> {
        self.ask(|| {
            self.finish()?;
            socket::peek(R::socket(&self.stream))
        })
    }

    fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.ask(|| (&*R::socket(&self.stream)).read(buf))
    }

    fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        R::try_io(&self.stream, Direction::Write, || {
            (&*R::socket(&self.stream)).write_vectored(bufs)
        })
    }

    fn take_error(&self) -> io::Result<()> {
        self.finish()?;
        R::socket(&self.stream).take_error()?.map_or(Ok(()), Err)
    }

    fn syn_data_acked(&self) -> io::Result<bool> {
        self.operation.syn_data_acked(R::socket(&self.stream))
    }

    fn bytes_acked(&self) -> io::Result<u64> {
        let acked = socket::TcpInfo::of(R::socket(&self.stream))?.acked;
        acked.ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn shutdown_write(&self) -> io::Result<()> {
        self.finish()?;
        socket::shutdown_write(R::socket(&self.stream))
    }

    fn close_abortively(self) {
        // A socket whose linger cannot be set is closed all the same.
        let _ = socket::make_close_abortive(R::socket(&self.stream));
    }

    fn close_within(self, patience: Duration) {
        // A system that cannot be told tries for longer.
        let _ = socket::give_up_after(R::socket(&self.stream), patience);
    }
}

impl<R: SystemRuntime> AsyncRead for SystemStream<R>
where
    R::TcpStream: AsyncRead,
{
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.pinned().poll_read(cx, buf)
    }
}

impl<R: SystemRuntime> AsyncWrite for SystemStream<R>
where
    R::TcpStream: AsyncWrite,
{
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.pinned().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.pinned().poll_write_vectored(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pinned().poll_flush(cx)
    }

    /// Sends FIN, which `async-io` leaves to others.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().pinned().poll_flush(cx))?;
        Poll::Ready(self.shutdown_write())
    }
}

fn internet(address: SockAddr) -> io::Result<SocketAddr> {
    let address = address.as_socket();
    address.ok_or_else(|| io::ErrorKind::Unsupported.into())
}
