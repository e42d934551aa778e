//! A model of the world around a pair: sockets, clients and an application.
//!
//! [`World`] applies one action at a time to a pair and to its model, and after
//! each asserts the rules by name. The exhaustive test, the property test
//! and the fuzzer drive it; none knows a rule itself.
// Each test binary uses its own part.
#![allow(dead_code, unreachable_pub, unused_imports, missing_docs)]

pub mod edges;
pub mod goodwill;
pub mod moves;
pub mod states;
pub mod taken;
pub mod world;

use std::time::Duration;

use headstart_core::pair::{Config, Event};
use headstart_core::race::AttemptKind;

pub use world::{Leg, World};

/// A broken rule: its name, and what was seen.
pub type Verdict = Result<(), String>;

/// What bounds a world.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub config: Config,
    /// Bytes that the application writes at most.
    pub answer: u64,
    /// Bytes that the client sends at most on each connection.
    pub upload: u64,
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Tell(usize, Event),
    Join(AttemptKind),
    Write(usize),
    Shutdown,
    Abandon,
    Confine,
    Take,
    Pass(Duration),
    /// Time passes until `poll` wants to be called.
    Deadline,
}

/// Says which rule is broken unless the condition holds.
#[macro_export]
macro_rules! rule {
    ($holds:expr, $($what:tt)*) => {
        if !$holds {
            return Err(format!($($what)*));
        }
    };
}
