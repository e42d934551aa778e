//! A runtime in memory, and a model of the world around a gate.
//!
//! [`World`] does one thing at a time to a gate on a virtual network, and
//! after each asserts what must hold of a gate. The tests and the fuzzer both
//! drive it; neither knows a rule itself.
// Each user has its own part.
#![allow(dead_code, unreachable_pub, unused_imports, missing_docs)]

pub mod network;
pub mod world;

pub use world::{Act, Setup, World};
