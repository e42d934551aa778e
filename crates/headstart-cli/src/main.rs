//! The `headstart` command: see TCP Fast Open raced, race it, and serve races.
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

mod attempts;
mod cli;
#[cfg(target_os = "linux")]
mod demo;
#[cfg(not(target_os = "linux"))]
#[path = "demo/elsewhere.rs"]
mod demo;
mod dial;
mod doctor;
mod echo;
mod exit;
mod lab;
mod limits;
mod manual;
mod memory;
#[cfg(target_os = "linux")]
mod netlink;
mod output;
mod peers;
#[cfg(target_os = "linux")]
mod probe;
#[cfg(not(target_os = "linux"))]
#[path = "probe/elsewhere.rs"]
mod probe;
mod proxy;
mod race;
mod serve;
mod signals;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Peers(args) => peers::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Probe(args) => probe::run(args),
        Command::Race(args) => race::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Gate(args) => proxy::run_gate(args),
        Command::Lab(args) => lab::run(args),
        Command::Manual(args) => manual::run(args),
        Command::Forward(args) => proxy::run_forward(args),
    };
    exit::code(done)
}
