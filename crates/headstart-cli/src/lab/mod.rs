//! `headstart lab`: any two commands, a hostile path between them.

#[cfg(target_os = "linux")]
mod children;
#[cfg(target_os = "linux")]
mod commands;
#[cfg(target_os = "linux")]
mod keeper;
#[cfg(target_os = "linux")]
mod ready;
#[cfg(target_os = "linux")]
mod rule;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedU64ValueParser;

#[cfg(target_os = "linux")]
pub(crate) use keeper::run;

/// A middlebox by its name.
#[cfg(target_os = "linux")]
type Rule = headstart_lab::Rule;
#[cfg(target_os = "linux")]
use rule::RuleParser;
#[cfg(not(target_os = "linux"))]
type Rule = String;
#[cfg(not(target_os = "linux"))]
type RuleParser = clap::builder::StringValueParser;

/// Arguments of `headstart lab`.
#[derive(Args, Debug)]
pub(crate) struct LabArgs {
    /// The middlebox between the two, such as drop-syn-with-data or
    /// duplicate-syn=500ms
    #[arg(long, default_value = "transparent", value_parser = RuleParser::default(), value_name = "RULE")]
    rule: Rule,

    /// Round trip of the path in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 50,
          value_parser = RangedU64ValueParser::<u64>::new().range(0..=10_000))]
    rtt: u64,

    /// Write every packet to this file, as it is at the client's and at the
    /// server's side
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,

    /// Give the client's kernel a Fast Open cookie of the server's first: most
    /// rules show only then
    #[arg(long)]
    cookie: bool,

    /// The server's command, `---`, and the client's. In both, {server},
    /// {server6} and {client} stand for addresses; the environment has them as
    /// HEADSTART_SERVER, HEADSTART_SERVER6 and HEADSTART_CLIENT.
    #[arg(last = true, required = true, num_args = 1.., value_name = "COMMANDS")]
    commands: Vec<OsString>,
}

/// Says that it cannot run here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn run(_: &LabArgs) -> Result<crate::exit::Done, crate::exit::Stop> {
    Err(crate::exit::Stop::Because(
        "the lab needs Linux: it is made of network namespaces".into(),
    ))
}
