//! What the tests have in common: how they run, a server without a gate, and
//! eyes for the wire.

use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use headstart::core::race::{AttemptKind, AttemptReport, Report};
use headstart::tokio::Dialer;
use headstart_lab::{Direction, Family, Lab, Segment};
use headstart_socket::{self as socket, ListenOptions, Options, TcpInfo};
use libtest_mimic::{Failed, Trial};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::common::{self, Outcome};

/// Round trip of labs in which time is of the matter.
pub const RTT: Duration = Duration::from_millis(50);
/// Longest that anything may take.
pub const PATIENCE: Duration = Duration::from_secs(4);
/// Set to the name of a test that is to run in a process of its own.
pub const ALONE: &str = "HEADSTART_TEST_ALONE";
/// Where cookies are fetched, so that no test's server sees it.
const COOKIE_PORT: u16 = 7400;

/// A test and its name.
pub type Test = (&'static str, fn() -> Outcome);

/// Lists a module's tests.
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        pub fn tests() -> Vec<crate::support::Test> {
            vec![$((stringify!($name), $name as fn() -> crate::common::Outcome)),+]
        }
    };
}
pub(crate) use tests;

/// A test that shares this process.
pub fn trial(module: &str, (name, test): Test) -> Trial {
    Trial::test(format!("{module}::{name}"), move || {
        test().map_err(|error| Failed::from(error.to_string()))
    })
}

/// A test that has a process of its own.
pub fn trial_alone(module: &str, (name, _): Test) -> Trial {
    Trial::test(format!("{module}::{name}"), move || {
        let done = Command::new(std::env::current_exe()?)
            .env(ALONE, name)
            .output()?;
        if done.status.success() {
            return Ok(());
        }
        Err(Failed::from(
            String::from_utf8_lossy(&done.stderr).into_owned(),
        ))
    })
}

/// Runs one test and ends the process.
pub fn run_alone(tests: &[Test], name: &OsStr) -> ! {
    let result = match tests.iter().find(|(known, _)| OsStr::new(known) == name) {
        Some((_, test)) => test(),
        None => Err("no such test".into()),
    };
    if let Err(error) = result {
        eprintln!("{error}");
        std::process::exit(1);
    }
    std::process::exit(0)
}

/// Locks, whoever panicked before.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Waits until something is so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) -> io::Result<()> {
    let began = Instant::now();
    while !so() {
        if began.elapsed() > PATIENCE {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("never: {what}"),
            ));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Fails what takes too long.
pub async fn within<T>(what: &str, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("too long: {what}"),
        )),
    }
}

/// Waits until all that races had taken is delivered.
pub async fn settle(dialer: &Dialer) -> io::Result<()> {
    within("settling", async {
        dialer.settled().await;
        Ok(())
    })
    .await
}

/// Gives the client's kernel a cookie of the server's.
pub fn fetch_cookie(lab: &Lab, family: Family) -> io::Result<()> {
    let address = SocketAddr::new(lab.server_addr(family), COOKIE_PORT);
    let _listening = lab
        .server()
        .run(|| socket::listen(address, &ListenOptions::new()))??;
    lab.client().run(|| {
        let attempt = socket::connect(address, socket::Kind::FastOpen, b"?", &Options::new())?;
        until("a cookie", || {
            TcpInfo::of(&attempt.stream).is_ok_and(|info| !info.state.is_handshake())
        })?;
        socket::close_abortively(attempt.stream)
    })?
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
