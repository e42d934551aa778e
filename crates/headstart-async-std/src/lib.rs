//! Headstart for async-std: dial plain TCP and TCP Fast Open at once, keep
//! whichever answers first, and serve a message that comes twice once.
//!
//! ```
//! use headstart_async_std::{Dialer, Framing, Gate, Peer};
//! use async_std::io::{ReadExt, WriteExt};
//!
//! # fn main() -> std::io::Result<()> {
//! # async_std::task::block_on(async {
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
//! Everything is described in [`headstart_io`], which this crate gives
//! async-std's sockets and timers. Streams have the traits of `futures-io`, and
//! can be used on any executor. The one task of a [`Dialer`] or a [`Gate`] runs
//! on async-std's global executor; [`AsyncStd::on`] takes one of your own.
//!
//! `into_inner` and `into_parts` have the system watch one more socket for a
//! moment, and give the stream back where it does not (`ENOSPC`, `ENOMEM`). If
//! another thread takes the last place between that trial and async-std's own
//! registration, async-std panics.
//!
//! async-std is discontinued: this crate is for those who still run it. Others
//! find the same names in `headstart-smol`.
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
use std::io;

use async_io::Async;
use async_std::net::TcpStream;
use headstart_io::{AsyncIo, Executor, Task};

pub use headstart_io::names::*;

/// Dials by races.
pub type Dialer = headstart_io::Dialer<AsyncStd>;
/// Builds a [`Dialer`].
pub type DialerBuilder = headstart_io::DialerBuilder<AsyncStd>;
/// One logical connection: a race first, then async-std's own [`TcpStream`].
pub type RaceStream = headstart_io::RaceStream<AsyncStd>;
/// A listener that admits each first message once.
pub type Gate = headstart_io::Gate<AsyncStd>;
/// Builds a [`Gate`].
pub type GateBuilder = headstart_io::GateBuilder<AsyncStd>;
/// A connection whose first message is whole and was not seen before.
pub type Admitted = headstart_io::Admitted<AsyncStd>;
/// An admitted connection: bytes that were read already, then async-std's own
/// [`TcpStream`].
pub type GateStream = headstart_io::GateStream<AsyncStd>;

/// async-std. `AsyncStd::current()` is its global executor, [`AsyncStd::on`]
/// any other.
pub type AsyncStd = AsyncIo<AsyncStdExecutor>;

/// async-std's global executor and its threads for what blocks.
#[derive(Debug)]
pub enum AsyncStdExecutor {}

impl Executor for AsyncStdExecutor {
    type TcpStream = TcpStream;

    fn spawn(task: Task) {
        async_std::task::spawn(task);
    }

    fn unblock<T: Send + 'static>(
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send {
        async_std::task::spawn_blocking(work)
    }

    /// async-std takes only streams that it registers itself, so this one is
    /// duplicated and let go. It panics where it cannot register, so that is
    /// tried first.
    fn hand_over(
        stream: Async<std::net::TcpStream>,
    ) -> Result<TcpStream, Async<std::net::TcpStream>> {
        match try_out(stream.get_ref()) {
            Ok(duplicate) => Ok(duplicate.into()),
            Err(_) => Err(stream),
        }
    }
}

/// A duplicate that could be registered just now.
fn try_out(stream: &std::net::TcpStream) -> io::Result<std::net::TcpStream> {
    Async::new(stream.try_clone()?)?.into_inner()
}
