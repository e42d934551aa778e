//! A server of the lab: an echo behind a gate, which counts its calls.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use headstart_lab::Host;
use headstart_tokio::{Admitted, Framing, Gate, Peer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use crate::echo::{self, BUFFER};

/// How often the handler was called, by the beginning of the first flight.
/// Clones share it, and so do servers.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls {
    by_flight: Arc<Mutex<HashMap<Name, u32>>>,
}

/// The first bytes of a flight of random bytes.
type Name = [u8; 16];

impl Calls {
    /// Calls for this flight so far.
    pub(super) fn of(&self, flight: &[u8]) -> u32 {
        let calls = self
            .by_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        flight
            .first_chunk()
            .and_then(|name| calls.get(name))
            .copied()
            .unwrap_or(0)
    }

    fn count(&self, flight: &[u8]) {
        if let Some(name) = flight.first_chunk::<16>() {
            let mut calls = self
                .by_flight
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *calls.entry(*name).or_default() += 1;
        }
    }
}

/// A server at work. Stops when dropped.
#[derive(Debug)]
pub(super) struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server on a host that treats second copies as `peer` says, and waits until it listens.
    pub(super) fn start(
        host: &Host,
        address: SocketAddr,
        peer: Peer,
        calls: Calls,
    ) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::sync_channel(1);
        let thread = host.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(serve(address, peer, calls, ready, stopped)),
                // The other end waits for exactly one message.
                Err(error) => drop(ready.send(Err(error))),
            }
        })?;
        is_ready
            .recv()
            .unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of its has been printed.
            let _ = thread.join();
        }
    }
}

async fn serve(
    address: SocketAddr,
    peer: Peer,
    calls: Calls,
    ready: mpsc::SyncSender<io::Result<()>>,
    mut stopped: oneshot::Receiver<()>,
) {
    let gate = Gate::builder(Framing::token())
        .and_then(|gate| gate.pairing(peer == Peer::Pairing).bind(address));
    let gate = match gate {
        Ok(gate) => gate,
        Err(error) => return drop(ready.send(Err(error))),
    };
    drop(ready.send(Ok(())));
    loop {
        tokio::select! {
            admitted = gate.accept() => match admitted {
                Ok(admitted) => { tokio::spawn(handle(admitted, calls.clone())); }
                Err(_) => return,
            },
            _ = &mut stopped => return,
        }
    }
}

/// Counts the call, and echoes.
async fn handle(admitted: Admitted, calls: Calls) -> io::Result<()> {
    let mut stream = admitted.stream;
    let mut first = vec![0; BUFFER];
    let got = stream.read(&mut first).await?;
    let first = first.get(..got).unwrap_or(&[]);
    calls.count(first);
    stream.write_all(first).await?;
    echo::echo(&mut stream).await.map(drop)
}
