#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub use headstart_core as core;

pub use headstart_core::config::{FirstFlight, Kinds, LoserClose, Peer, Schedule};
pub use headstart_core::framing::{Framing, NoiseHeader};
pub use headstart_core::path::{PathKey, PathMemory, Plan, Trouble};
pub use headstart_core::peers::{Directory, NodeUrl};
pub use headstart_core::race::Report;
pub use headstart_io::{Budget, Claims, GateCounters, GateEvent, Memory, RaceError, Target, Via};
pub use headstart_socket::{ListenOptions, ListenerFastOpen, Options, QueueLen};

#[cfg(feature = "async-std")]
pub use headstart_async_std as async_std;
#[cfg(feature = "smol")]
pub use headstart_smol as smol;
#[cfg(feature = "tokio")]
pub use headstart_tokio as tokio;
