//! The sans-IO core of Headstart.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

extern crate alloc;

pub mod debounce;
pub mod framing;
pub mod time;

pub use time::Instant;
