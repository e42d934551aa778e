//! What stands between a client and a server that nobody can change:
//! `headstart gate` before the server, `headstart forward` behind the client.

mod args;
mod forward;
mod gate;
mod header;
mod relay;
mod service;
mod telemetry;

pub(crate) use args::{ForwardArgs, GateArgs};
pub(crate) use forward::run as run_forward;
pub(crate) use gate::run as run_gate;
