//! Headstart for smol: dial plain TCP and TCP Fast Open at once, keep
//! whichever answers first, and serve a message that comes twice once.
//!
//! ```
//! use headstart_smol::{Dialer, Framing, Gate, Peer};
//! use smol::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # fn main() -> std::io::Result<()> {
//! # smol::block_on(async {
//! let gate = Gate::builder(Framing::token())?.bind(([127, 0, 0, 1], 0).into())?;
//! println!("Fast Open: {}", gate.fast_open());
//!
//! let dialer = Dialer::builder()?.token().peer(Peer::FirstCome).build()?;
//! let mut stream = dialer.dial(gate.local_addr()).await?; // returns at once
//! stream.write_all(b"hello").await?; // raced as a first flight, under a Token
//! stream.flush().await?;
//!
//! let mut admitted = gate.accept().await?;
//! let mut hello = [0; 5];
//! admitted.stream.read_exact(&mut hello).await?; // the Token is removed
//! admitted.stream.write_all(b"world").await?;
//!
//! stream.read_exact(&mut hello).await?; // the first answer decides
//! println!("{:?}", stream.report());
//! # Ok(())
//! # }) }
//! ```
//!
//! Everything is described in [`headstart_io`], which this crate gives smol's
//! sockets and timers. Streams have the traits of `futures-io`, and can be used
//! on any executor. The one task of a [`Dialer`] or a [`Gate`] runs on smol's
//! global executor, whose threads start when first needed; on one of your own:
//!
//! ```
//! use headstart_smol::{Dialer, Smol};
//! use std::sync::Arc;
//!
//! # fn main() -> std::io::Result<()> {
//! let executor = Arc::new(smol::Executor::new());
//! let spawner = executor.clone();
//! let smol = Smol::on(move |task| spawner.spawn(task).detach());
//! let dialer = Dialer::builder_on(smol).build()?;
//! # drop(dialer);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

use std::future::Future;

use headstart_io::{AsyncIo, Executor, Task};
use smol::Async;
use smol::net::TcpStream;

pub use headstart_io::names::*;

/// Dials by races.
pub type Dialer = headstart_io::Dialer<Smol>;
/// Builds a [`Dialer`].
pub type DialerBuilder = headstart_io::DialerBuilder<Smol>;
/// One logical connection: a race first, then smol's own [`TcpStream`].
pub type RaceStream = headstart_io::RaceStream<Smol>;
/// A listener that admits each first message once.
pub type Gate = headstart_io::Gate<Smol>;
/// Builds a [`Gate`].
pub type GateBuilder = headstart_io::GateBuilder<Smol>;
/// A connection whose first message is whole and was not seen before.
pub type Admitted = headstart_io::Admitted<Smol>;
/// An admitted connection: bytes that were read already, then smol's own
/// [`TcpStream`].
pub type GateStream = headstart_io::GateStream<Smol>;

/// smol. `Smol::current()` is its global executor, [`Smol::on`] any other.
pub type Smol = AsyncIo<SmolExecutor>;

/// smol's global executor and its threads for what blocks.
#[derive(Debug)]
pub enum SmolExecutor {}

impl Executor for SmolExecutor {
    type TcpStream = TcpStream;

    fn spawn(task: Task) {
        smol::spawn(task).detach();
    }

    fn unblock<T: Send + 'static>(
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send {
        smol::unblock(work)
    }

    fn hand_over(
        stream: Async<std::net::TcpStream>,
    ) -> Result<TcpStream, Async<std::net::TcpStream>> {
        Ok(stream.into())
    }
}
