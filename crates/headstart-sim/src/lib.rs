//! wip
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod app;
mod dice;
mod driver;
mod generate;
mod headstart;
mod host;
mod middlebox;
mod net;
mod rule;
mod rules;
mod run;
mod scenario;
mod segment;
mod shrink;
mod stream;
mod tcp;
mod trace;
mod wire;
mod world;

pub use app::ReadEnd;
pub use driver::{Driver, Wakes};
pub use headstart::Headstart;
pub use net::{SocketError, SocketId, StartError, Transports};
pub use rule::{ParseRuleError, Rule};
pub use rules::Violation;
pub use run::{Outcome, Run, run, run_traced, run_with};
pub use scenario::{
    Act, Client, End, Jump, Link, Noise, RaceSettings, Reach, Scenario, Server, Target, Trigger,
};
pub use segment::OptionKind;
pub use shrink::shrink;
pub use stream::Statement;
pub use trace::Trace;
pub use world::Counters;
