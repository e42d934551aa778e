//! The whole reachable state space of small races, every rule asserted on
//! every edge (R1 to R16).
//!
//! [`World`] applies one action at a time to a race of the core's and to a
//! model of what is around it: sockets, bytes and an application. After each it
//! asserts the rules by name. [`Space::explore`] does everything that can be
//! done in every state that can be reached; [`play`](moves::play) makes moves
//! at random, far beyond those bounds. Neither knows a rule itself.
//!
//! ```
//! use headstart_sim::state_space;
//!
//! let spaces = state_space::spaces();
//! let size = spaces[3].explore().unwrap_or_else(|broken| panic!("{broken}"));
//! assert!(size.states > 1_000);
//! println!("{}: {} states, {} edges", spaces[3].name, size.states, size.edges);
//! ```
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a model that is wrong must not go on quietly"
)]

/// Says which rule is broken unless the condition holds.
macro_rules! rule {
    ($holds:expr, $($what:tt)*) => {
        if !$holds {
            return Err(format!($($what)*));
        }
    };
}

mod actions;
mod explore;
mod goodwill;
pub mod moves;
mod rules;
mod setup;
mod spaces;
mod taken;
mod world;

pub use actions::Bounds;
pub use explore::{Broken, Size};
pub use setup::{Flight, Setup};
pub use spaces::{Space, every_setting, spaces, two_addresses};
pub use taken::Taken;
pub use world::{Action, World};

/// A broken rule: its name, and what was seen.
pub type Verdict = Result<(), String>;
