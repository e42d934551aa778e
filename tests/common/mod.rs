//! A lab with an echo behind a gate on its server, and a place for clients.
#![allow(dead_code, reason = "every test binary uses its own part")]

pub mod conn;
pub mod runtimes;
pub mod server;

use std::io;
use std::time::Duration;

use headstart::Peer;
use headstart::tokio::{Dialer, DialerBuilder};
use headstart_lab::Lab;
use libtest_mimic::{Failed, Trial};
use tokio::runtime::{Builder, Runtime};

use conn::Conn;

/// Port of the server.
pub const PORT: u16 = 7413;
/// Longest that anything may take.
pub const PATIENCE: Duration = Duration::from_secs(4);

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

/// A test over a lab, as the harness takes it.
pub fn trial(name: String, test: impl Fn() -> Outcome + Send + 'static) -> Trial {
    Trial::test(name, move || {
        headstart_lab::steadily(&test).map_err(|error| Failed::from(error.to_string()))
    })
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

/// A server on tokio.
pub type Server = server::Server<runtimes::TokioOne>;

/// A dialer that races under a Token, each time as if it were the first.
pub fn token_dialer() -> io::Result<DialerBuilder> {
    Ok(Dialer::builder()?
        .token()
        .peer(Peer::FirstCome)
        .memory(None))
}

/// Bytes that are not all alike.
pub fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length)
        .map(|i| (i as u8).wrapping_mul(31).wrapping_add((i >> 8) as u8) ^ seed)
        .collect()
}

/// Writes a first flight, waits for its echo, and compares.
pub async fn exchange(stream: &mut impl Conn, flight: &[u8]) -> io::Result<()> {
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
