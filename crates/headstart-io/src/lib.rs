//! The async driver of Headstart, generic over the runtime.
//!
//! This crate joins the state machines of [`headstart_core`] to sockets.
//! Programs use the crate of their runtime, such as `headstart-tokio`; what is
//! here is the same for all:
//!
//! - [`Dialer`] begins races, and [`RaceStream`] is the connection: written at
//!   once, raced until the first byte of reply, then the runtime's own stream.
//! - [`Memory`] knows on which paths Fast Open fails, and plans races by it.
//! - [`Gate`] admits each first message once, and gives [`Admitted`] streams.
//! - [`Runtime`] is all that they know of a runtime and of an operating system.
//!   [`SystemRuntime`] joins it to the sockets of `headstart-socket`, so that a
//!   runtime's crate names only readiness, time and tasks, in about a hundred
//!   lines. Two that stand on `async-io` share even that (feature `async-io`).
//!
//! ```
//! use headstart_core::config::{FirstFlight, Peer};
//! use headstart_core::framing::Framing;
//! use headstart_io::{Admitted, Dialer, Gate, Runtime};
//!
//! /// Dials a TLS server that debounces, on any runtime.
//! async fn dial<R: Runtime>(host: &str) -> std::io::Result<R::RaceStream> {
//!     let dialer = Dialer::<R>::builder()?
//!         .first_flight(FirstFlight::Framed(Framing::tls_client_hello()))
//!         .peer(Peer::FirstCome)
//!         .build()?;
//!     // Plain's SYN is on its way; write the ClientHello, then read.
//!     dialer.dial((host, 443)).await
//! }
//!
//! /// Lets each ClientHello in once.
//! async fn serve<R: Runtime>(serve: impl Fn(Admitted<R>)) -> std::io::Result<()> {
//!     let gate = Gate::<R>::builder(Framing::tls_client_hello())?.bind(([0, 0, 0, 0], 443).into())?;
//!     loop {
//!         serve(gate.accept().await?);
//!     }
//! }
//! ```
//!
//! # How it works
//!
//! There is one task per [`Dialer`] and one per [`Gate`], never one per
//! connection. A race is a state machine and its sockets under one lock, which
//! the application's reads and writes and the dialer's task all take to move it
//! on. Sockets see one waker, the race's own: it queues the race for the task,
//! which drives it and wakes the application's reader or writer if there is
//! something to do for it. So nobody needs to poll, and two halves of a stream
//! do not steal each other's wakes. Once the connection is chosen, and has been
//! handed what was written, the stream belongs to the application alone.
//!
//! Locks are taken in one order, race before queue, and nobody is woken under
//! either.
//!
//! # If the runtime goes
//!
//! When a runtime drops a dialer's task, undecided races end: their sockets are
//! closed, and reads and writes fail with
//! [`NotConnected`](std::io::ErrorKind::NotConnected). [`Dialer::settled`]
//! waits until nothing would be lost.
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

mod budget;
mod clocks;
#[cfg(all(test, not(shuttle)))]
mod conformance;
mod dialer;
mod driver;
mod early;
mod epoch;
mod error;
mod gate;
#[cfg(all(test, shuttle))]
mod interleavings;
mod memory;
pub mod names;
mod places;
mod race;
mod reading;
mod runtime;
mod stream;
mod sync;
mod system;
mod target;
mod waiters;

pub use budget::{BUDGET_DEFAULT, Budget};
pub use dialer::{Dialer, DialerBuilder};
pub use early::Early;
pub use epoch::Epoch;
pub use error::{RaceError, failure_of};
pub use gate::{
    ADMITTED_DEFAULT, Admitted, CLAIMS_DEFAULT, Claims, Gate, GateBuilder, GateConfigError,
    GateCounters, GateEvent, GateStream, MESSAGE_TIMEOUT, PAIR_BYTES_DEFAULT, PAIRS_DEFAULT, Via,
    WAITING_DEFAULT,
};
pub use memory::Memory;
pub use runtime::{AfterAcceptError, Listener, Runtime, StartError, Stream, Timer};
pub use stream::RaceStream;
#[cfg(feature = "async-io")]
pub use system::{AsyncIo, AsyncIoTimer, Executor, Task};
pub use system::{Direction, SystemListener, SystemRuntime, SystemStream};
pub use target::Target;
