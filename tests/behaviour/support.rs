//! What the tests have in common: a server without a gate, and eyes for the
//! wire.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use headstart::core::race::{AttemptKind, AttemptReport, Report};
use headstart::tokio::Dialer;
use headstart_lab::{Direction, Family, Lab, Segment};
use headstart_socket::{self as socket, ListenOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::common;
pub use crate::harness::*;

/// Waits until all that races had taken is delivered.
pub async fn settle(dialer: &Dialer) -> io::Result<()> {
    within("settling", async {
        dialer.settled().await;
        Ok(())
    })
    .await
}

/// The attempt of a kind.
pub fn attempt(report: &Report, kind: AttemptKind) -> Result<AttemptReport, String> {
    let found = report.attempts.iter().find(|attempt| attempt.kind == kind);
    found
        .copied()
        .ok_or_else(|| format!("no attempt: {report:?}"))
}

/// Segments from the client to a port of the server, and when they came to
/// the middle of the path.
pub fn sent_to(lab: &Lab, port: u16) -> Vec<(Duration, Segment)> {
    lab.trace()
        .into_iter()
        .filter(|entry| entry.direction == Direction::ToServer)
        .filter_map(|entry| Some((entry.at, entry.segment?)))
        .filter(|(_, segment)| segment.destination.port() == port)
        .collect()
}

/// Sockets of a host in TIME_WAIT.
pub fn time_waits(host: &headstart_lab::Host) -> io::Result<usize> {
    host.run(|| {
        let mut count = 0;
        for table in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
            let text = std::fs::read_to_string(table)?;
            count += text
                .lines()
                .filter(|l| l.split_whitespace().nth(3) == Some("06"))
                .count();
        }
        Ok(count)
    })?
}

/// What a connection brought.
#[derive(Debug, Default, Clone)]
pub struct Received {
    pub bytes: Vec<u8>,
    /// How it ended, if it did.
    pub end: Option<Result<(), io::ErrorKind>>,
}

/// The connections of a [`Bare`] server, in the order in which they came.
pub type Ledger = Arc<Mutex<Vec<Received>>>;

/// A server of ordinary sockets with Fast Open, which notes what each
/// connection brings.
pub struct Bare {
    pub address: SocketAddr,
    pub ledger: Ledger,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

/// What a bare server does with a connection.
#[derive(Clone, Debug)]
pub enum Manner {
    /// Reads to the end.
    Swallow,
    /// Sends this, then reads to the end.
    Greet(&'static [u8]),
    /// Answers so once something was read, then reads to the end.
    Answer(&'static [u8]),
    /// Reads something, and closes.
    Close,
    /// Reads something, answers if there is an answer, and closes by RST.
    Reset(&'static [u8]),
}

impl Bare {
    pub fn start(lab: &Lab, family: Family, manner: Manner) -> io::Result<Self> {
        let address = SocketAddr::new(lab.server_addr(family), common::PORT);
        let ledger = Ledger::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = mpsc::channel();
        let seen = ledger.clone();
        let thread = lab.server().spawn(move || {
            common::runtime()?.block_on(async move {
                let listening = socket::listen(address, &ListenOptions::new())?;
                let listener = TcpListener::from_std(listening.listener)?;
                let _ = ready.send(());
                let serve = async {
                    loop {
                        let (stream, _) = listener.accept().await?;
                        let number = lock(&seen).len();
                        lock(&seen).push(Received::default());
                        tokio::spawn(serve(stream, manner.clone(), seen.clone(), number));
                    }
                };
                tokio::select! {
                    result = serve => { let result: io::Result<()> = result; result }
                    _ = stopped => Ok(())
                }
            })
        })?;
        is_ready
            .recv()
            .map_err(|_| io::Error::other("the server did not start"))?;
        Ok(Self {
            address,
            ledger,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// What every connection has brought so far.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.ledger).clone()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(mut stream: TcpStream, manner: Manner, ledger: Ledger, number: usize) {
    let end = note(&mut stream, manner, &ledger, number).await;
    lock(&ledger)[number].end = Some(end.map_err(|error| error.kind()));
}

async fn note(
    stream: &mut TcpStream,
    manner: Manner,
    ledger: &Ledger,
    number: usize,
) -> io::Result<()> {
    if let Manner::Greet(greeting) = manner {
        stream.write_all(greeting).await?;
    }
    let mut buf = vec![0; 64 * 1024];
    let mut first = true;
    loop {
        let got = stream.read(&mut buf).await?;
        lock(ledger)[number].bytes.extend_from_slice(&buf[..got]);
        if got == 0 {
            return Ok(());
        }
        if std::mem::take(&mut first) {
            match manner {
                Manner::Swallow | Manner::Greet(_) => {}
                Manner::Answer(answer) => stream.write_all(answer).await?,
                Manner::Close => return Ok(()),
                Manner::Reset(answer) => {
                    stream.write_all(answer).await?;
                    // An RST overtakes nothing, but loses what is not sent yet.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    return socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
                }
            }
        }
    }
}
