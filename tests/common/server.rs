//! A server behind a gate, on any runtime.

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use headstart::{Framing, GateCounters};
use headstart_io::{Admitted, GateBuilder, Runtime};
use headstart_lab::{Family, Host, Lab};

use super::PORT;
use super::conn::Conn;
use super::runtimes::Rt;

/// A gate on a host of the lab, every admitted connection given to a handler.
pub struct Server<X> {
    pub address: SocketAddr,
    handled: Arc<AtomicUsize>,
    stop: Option<smol::channel::Sender<()>>,
    thread: Option<JoinHandle<io::Result<GateCounters>>>,
    runtime: PhantomData<X>,
}

impl<X: Rt> Server<X> {
    /// A gate whose handler echoes until end of file.
    pub fn echo(lab: &Lab, host: &Host, family: Family, framing: Framing) -> io::Result<Self> {
        Self::start(lab, host, family, framing, |gate| gate, echo)
    }

    /// The same behind a gate that debounces first-come and pairs nothing.
    pub fn first_come(
        lab: &Lab,
        host: &Host,
        family: Family,
        framing: Framing,
    ) -> io::Result<Self> {
        Self::start(lab, host, family, framing, |gate| gate.pairing(false), echo)
    }

    /// A gate with settings and a handler of the test's.
    pub fn start<H, F>(
        lab: &Lab,
        host: &Host,
        family: Family,
        framing: Framing,
        settings: impl FnOnce(GateBuilder<X::Runtime>) -> GateBuilder<X::Runtime> + Send + 'static,
        handler: H,
    ) -> io::Result<Self>
    where
        H: Fn(Admitted<X::Runtime>) -> F + Send + 'static,
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let address = SocketAddr::new(lab.server_addr(family), PORT);
        Self::start_at(address, host, framing, settings, handler)
    }

    /// The same at an address of the test's.
    pub fn start_at<H, F>(
        address: SocketAddr,
        host: &Host,
        framing: Framing,
        settings: impl FnOnce(GateBuilder<X::Runtime>) -> GateBuilder<X::Runtime> + Send + 'static,
        handler: H,
    ) -> io::Result<Self>
    where
        H: Fn(Admitted<X::Runtime>) -> F + Send + 'static,
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let handled = Arc::new(AtomicUsize::new(0));
        let count = handled.clone();
        let (stop, stopped) = smol::channel::bounded::<()>(1);
        let (ready, is_ready) = mpsc::channel();
        let thread = host.spawn(move || {
            X::block_on(async move |here| {
                let gate = settings(here.gate(framing)).bind(address)?;
                let _ = ready.send(());
                let serve = async {
                    loop {
                        let admitted = gate.accept().await?;
                        count.fetch_add(1, Ordering::SeqCst);
                        // Whoever fails is for the client to tell.
                        drop(here.spawn(handler(admitted)));
                    }
                };
                let stopped = async {
                    let _ = stopped.recv().await;
                    Ok(gate.counters())
                };
                smol::future::or(serve, stopped).await
            })
        })?;
        is_ready
            .recv()
            .map_err(|_| io::Error::other("the server did not start"))?;
        Ok(Self {
            address,
            handled,
            stop: Some(stop),
            thread: Some(thread),
            runtime: PhantomData,
        })
    }

    /// How often the handler was called since the last time this was asked.
    pub fn handled(&self) -> usize {
        self.handled.swap(0, Ordering::SeqCst)
    }

    /// Stops it; what its gate did.
    pub fn stop(mut self) -> io::Result<GateCounters> {
        self.halt().unwrap_or(Err(io::ErrorKind::NotFound.into()))
    }
}

impl<X> Server<X> {
    fn halt(&mut self) -> Option<io::Result<GateCounters>> {
        drop(self.stop.take());
        let thread = self.thread.take()?;
        Some(
            thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the server panicked"))),
        )
    }
}

impl<X> Drop for Server<X> {
    fn drop(&mut self) {
        self.halt();
    }
}

/// Sends back what comes until end of file.
pub async fn echo<R: Runtime<GateStream: Conn>>(mut admitted: Admitted<R>) -> io::Result<()> {
    let mut buf = vec![0; 64 * 1024];
    loop {
        match admitted.stream.read(&mut buf).await? {
            0 => break,
            got => admitted.stream.write_all(&buf[..got]).await?,
        }
    }
    admitted.stream.close().await
}
