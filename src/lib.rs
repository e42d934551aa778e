//! TCP Fast Open that cannot hurt.
#![forbid(unsafe_code)]

pub use headstart_core as core;
#[cfg(feature = "tokio")]
pub use headstart_tokio::*;
