//! A listener that is registered with a runtime.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use headstart_socket::{self as socket, ListenOptions, ListenerFastOpen, Operation, Options};

use super::{SystemRuntime, SystemStream};
use crate::runtime::{AfterAcceptError, Listener};

/// A TCP listener of the operating system, and what the sockets that it
/// accepts are given.
#[derive(Debug)]
pub struct SystemListener<R: SystemRuntime> {
    listener: R::TcpListener,
    address: SocketAddr,
    options: Options,
    fast_open: Arc<ListenerFastOpen>,
}

impl<R: SystemRuntime> SystemListener<R> {
    pub(super) fn new(
        runtime: &R,
        address: SocketAddr,
        options: &ListenOptions,
    ) -> io::Result<Self> {
        let listening = socket::listen(address, options)?;
        Ok(Self {
            address: listening.listener.local_addr()?,
            listener: runtime.listener(listening.listener)?,
            options: options.socket_options().clone(),
            fast_open: Arc::new(listening.fast_open),
        })
    }
}

impl<R: SystemRuntime> Listener for SystemListener<R> {
    type Stream = SystemStream<R>;
    type FastOpen = Arc<ListenerFastOpen>;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(SystemStream<R>, SocketAddr)>> {
        R::poll_accept(&self.listener, cx).map(|accepted| {
            let (stream, peer) = accepted?;
            // This connection cannot be used; the listener is none the worse.
            socket::accepted(R::socket(&stream), &self.options)
                .map_err(|error| io::Error::new(io::ErrorKind::ConnectionAborted, error))?;
            Ok((SystemStream::new(stream, Operation::default()), peer))
        })
    }

    fn after_error(&self, error: &io::Error) -> AfterAcceptError {
        match socket::after_accept_error(error) {
            socket::AfterAcceptError::Retry => AfterAcceptError::Retry,
            socket::AfterAcceptError::BackOff => AfterAcceptError::BackOff,
            socket::AfterAcceptError::Stop => AfterAcceptError::Stop,
        }
    }

    fn fast_open(&self) -> Arc<ListenerFastOpen> {
        self.fast_open.clone()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
