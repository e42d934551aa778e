//! A lab with an echo behind a gate on its server, and a place for clients.
#![allow(dead_code, reason = "every test binary uses its own part")]

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use headstart::tokio::{Admitted, Dialer, DialerBuilder, Gate, GateBuilder, RaceStream};
use headstart::{Framing, GateCounters, Peer};
use headstart_lab::{Family, Host, Lab};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// Port of the server.
pub const PORT: u16 = 7413;

/// What a test returns: `Err` with words fails it.
pub type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Fails a test with words.
macro_rules! ensure {
    ($condition:expr, $($words:tt)+) => {
        if !$condition {
            return Err(format!($($words)+).into());
        }
    };
}
pub(crate) use ensure;

/// Starts the tests, or says why not. `main` calls it before any thread.
pub fn lab_or_skip() -> bool {
    match headstart_lab::enter().and_then(|()| headstart_lab::check()) {
        Ok(()) => true,
        Err(error) => {
            headstart_lab::skip_or_fail(&error);
            false
        }
    }
}

/// A lab at a round trip of `rtt`.
pub fn lab(rtt: Duration) -> io::Result<Lab> {
    Lab::builder().rtt(rtt).build().map_err(io::Error::other)
}

/// A runtime of one thread, in the namespace of the thread that asks.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Runs a client in the lab.
pub fn on_client<T: Send>(
    lab: &Lab,
    client: impl AsyncFnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    lab.client().run(|| runtime()?.block_on(client()))?
}

/// A gate on a host of the lab, every admitted connection given to a handler.
pub struct Server {
    pub address: SocketAddr,
    handled: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<GateCounters>>>,
}

impl Server {
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
        settings: impl FnOnce(GateBuilder) -> GateBuilder + Send + 'static,
        handler: H,
    ) -> io::Result<Self>
    where
        H: Fn(Admitted) -> F + Send + 'static,
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
        settings: impl FnOnce(GateBuilder) -> GateBuilder + Send + 'static,
        handler: H,
    ) -> io::Result<Self>
    where
        H: Fn(Admitted) -> F + Send + 'static,
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let handled = Arc::new(AtomicUsize::new(0));
        let count = handled.clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = mpsc::channel();
        let thread = host.spawn(move || {
            runtime()?.block_on(async move {
                let gate = settings(Gate::builder(framing)?).bind(address)?;
                let _ = ready.send(());
                let serve = async {
                    loop {
                        let admitted = gate.accept().await?;
                        count.fetch_add(1, Ordering::SeqCst);
                        tokio::spawn(handler(admitted));
                    }
                };
                tokio::select! {
                    result = serve => { let result: io::Result<()> = result; result? }
                    _ = stopped => {}
                }
                Ok(gate.counters())
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

impl Drop for Server {
    fn drop(&mut self) {
        self.halt();
    }
}

/// Sends back what comes until end of file.
pub async fn echo(mut admitted: Admitted) -> io::Result<()> {
    let mut buf = vec![0; 64 * 1024];
    loop {
        match admitted.stream.read(&mut buf).await? {
            0 => break,
            got => admitted.stream.write_all(&buf[..got]).await?,
        }
    }
    admitted.stream.shutdown().await
}

/// A dialer that races under a Token.
pub fn token_dialer() -> io::Result<DialerBuilder> {
    Ok(Dialer::builder()?.token().peer(Peer::FirstCome))
}

/// Bytes that are not all alike.
pub fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length)
        .map(|i| (i as u8).wrapping_mul(31).wrapping_add((i >> 8) as u8) ^ seed)
        .collect()
}

/// Writes a first flight, waits for its echo, and compares.
pub async fn exchange(stream: &mut RaceStream, flight: &[u8]) -> io::Result<()> {
    stream.write_all(flight).await?;
    let mut echo = vec![0; flight.len()];
    stream.read_exact(&mut echo).await?;
    match echo == flight {
        true => Ok(()),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the echo differs",
        )),
    }
}
