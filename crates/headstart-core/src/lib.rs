//! The sans-IO core of Headstart.
#![no_std]
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

extern crate alloc;

pub mod config;
pub mod debounce;
pub mod framing;
pub mod race;
pub mod time;

pub use config::{FirstFlight, RaceConfig};
pub use race::{Event, Race, Step};
pub use time::Instant;
