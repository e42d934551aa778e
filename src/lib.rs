#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub use headstart_io::names::*;

#[cfg(feature = "async-std")]
pub use headstart_async_std as async_std;
#[cfg(feature = "smol")]
pub use headstart_smol as smol;
#[cfg(feature = "tokio")]
pub use headstart_tokio as tokio;
