//! Headstart for tokio.
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

pub use headstart_core as core;
pub use headstart_core::config::{FirstFlight, Kinds, LoserClose, Peer, Schedule};
pub use headstart_core::framing::Framing;
pub use headstart_core::race::Report;
pub use headstart_io::{Budget, Claims, GateCounters, GateEvent, RaceError, Target, Via};
pub use headstart_socket::{ListenOptions, ListenerFastOpen, Options, QueueLen};
pub use runtime::{GateListener, Tcp, Tokio, TokioTimer};
pub use stream::{GateStream, RaceStream};

/// Dials by races.
pub type Dialer = headstart_io::Dialer<Tokio>;
/// Builds a [`Dialer`].
pub type DialerBuilder = headstart_io::DialerBuilder<Tokio>;
/// A listener that admits each first message once.
pub type Gate = headstart_io::Gate<Tokio>;
/// Builds a [`Gate`].
pub type GateBuilder = headstart_io::GateBuilder<Tokio>;
/// A connection whose first message is whole and was not seen before.
pub type Admitted = headstart_io::Admitted<Tokio>;
