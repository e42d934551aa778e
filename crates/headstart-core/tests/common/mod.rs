//! The model of the world around a race, from `headstart-sim`.
// Each test binary uses its own part.
#![allow(unused_imports, unreachable_pub)]

pub use headstart_sim::state_space::{Action, Flight, Setup, World, moves};
