//! A model of the world around a race: sockets, bytes and an application.
//!
//! [`World`] applies one action at a time to a race and to its model, and after
//! each asserts the rules of the race by name. The exhaustive test, the property
//! test and the fuzzer all drive it; none knows a rule itself.
// Each test binary uses its own part.
#![allow(dead_code, unreachable_pub, unused_imports, missing_docs)]

pub mod goodwill;
pub mod moves;
pub mod rules;
pub mod setup;
pub mod world;

pub use setup::{Flight, Setup};
pub use world::{Action, World};

/// A broken rule: its name, and what was seen.
pub type Verdict = Result<(), String>;

/// Says which rule is broken unless the condition holds.
#[macro_export]
macro_rules! rule {
    ($holds:expr, $($what:tt)*) => {
        if !$holds {
            return Err(format!($($what)*));
        }
    };
}
