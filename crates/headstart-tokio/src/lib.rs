//! Headstart for tokio: dial plain TCP and TCP Fast Open at once, keep
//! whichever answers first, and serve a message that comes twice once.
//!
//! ```
//! use headstart_tokio::{Dialer, Framing, Gate, Peer};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # fn main() -> std::io::Result<()> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
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
//! Everything is described in [`headstart_io`], which this crate gives tokio's
//! sockets, timers and traits. A [`Dialer`] and a [`Gate`] belong to the runtime
//! in which they were built, which needs its I/O and time drivers
//! ([`enable_all`](tokio::runtime::Builder::enable_all)); streams can be used in
//! any. A paused clock (`tokio::time::pause`) stops their timeouts too.
//!
//! # Panics
//!
//! Without those drivers tokio panics, and so does what is here: opening a gate
//! ([`GateBuilder::bind`]) and dialling ([`Dialer::dial`]), if the runtime has no
//! IO enabled. If it has no time enabled, it is the one task of a dialer or a gate
//! that panics, when it first needs a timer: then [`Gate::accept`] and undecided
//! races fail. Building a dialer ([`DialerBuilder::build`]) does not panic.
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

mod runtime;
mod stream;

pub use headstart_io::names::*;
pub use runtime::{Tokio, TokioTimer};
pub use stream::{GateStream, RaceStream, Shell};

/// Dials by races.
///
/// # Panics
///
/// [`dial`](headstart_io::Dialer::dial) panics if the dialer was not built on a
/// runtime with IO enabled.
pub type Dialer = headstart_io::Dialer<Tokio>;
/// Builds a [`Dialer`].
pub type DialerBuilder = headstart_io::DialerBuilder<Tokio>;
/// A listener that admits each first message once.
pub type Gate = headstart_io::Gate<Tokio>;
/// Builds a [`Gate`].
///
/// # Panics
///
/// [`bind`](headstart_io::GateBuilder::bind) panics if the builder was not made on
/// a runtime with IO enabled.
pub type GateBuilder = headstart_io::GateBuilder<Tokio>;
/// A connection whose first message is whole and was not seen before.
pub type Admitted = headstart_io::Admitted<Tokio>;
