//! The names that every runtime's crate has in it, so that changing runtime is
//! changing one line.

pub use headstart_core as core;
pub use headstart_core::config::{FirstFlight, Kinds, LoserClose, Peer, Schedule};
pub use headstart_core::framing::{Framing, NoiseHeader};
pub use headstart_core::path::{PathKey, PathMemory, Plan, Trouble};
pub use headstart_core::peers::{Directory, NodeUrl};
pub use headstart_core::race::Report;
pub use headstart_socket::{ListenOptions, ListenerFastOpen, Options, QueueLen};

pub use crate::budget::Budget;
pub use crate::error::RaceError;
pub use crate::gate::{Claims, GateConfigError, GateCounters, GateEvent, Via};
pub use crate::memory::Memory;
pub use crate::target::Target;
