//! What can be typed behind `headstart gate` and `headstart forward`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use headstart_tokio::Peer;

use crate::cli::{AdmissionArgs, FramingName, Server, duration};

/// Arguments of `headstart gate`.
#[derive(Args, Debug)]
pub(crate) struct GateArgs {
    /// The address to listen on, such as 0.0.0.0:443 or [::]:443; port 0 takes
    /// any free one
    #[arg(long, value_name = "ADDR", value_parser = listening_address)]
    pub(super) listen: SocketAddr,

    /// The server that the gate stands before; it sees plain TCP
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) to: Server,

    /// Where a connection's first message ends
    #[arg(long, default_value_t = FramingName::Token, value_parser = FramingName::parser(
        "Headstart's own header, which is removed; what `headstart forward` sends",
        "the second is turned away as a copy of the first",
    ))]
    pub(super) framing: FramingName,

    /// Tell the server who the client is, by a header before its first byte
    #[arg(long, value_enum, value_name = "VERSION")]
    pub(super) proxy_protocol: Option<HeaderVersion>,

    /// Accept on so many threads, which share the port and all they know
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = RangedU64ValueParser::<u32>::new().range(1..=256))]
    pub(super) threads: u32,

    #[command(flatten)]
    pub(super) admission: AdmissionArgs,

    /// How long the server may take to answer a dial
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = duration)]
    pub(super) connect_timeout: Duration,

    #[command(flatten)]
    pub(super) service: ServiceArgs,
}

/// Arguments of `headstart forward`.
#[derive(Args, Debug)]
pub(crate) struct ForwardArgs {
    /// The address to listen on, such as 127.0.0.1:4000; port 0 takes any free
    /// one
    #[arg(long, value_name = "ADDR", value_parser = listening_address)]
    pub(super) listen: SocketAddr,

    /// Where to dial, by a race
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) to: Server,

    /// What the client's first message is; only that is raced
    #[arg(long, default_value_t = FramingName::Token, value_parser = FramingName::parser(
        "Whatever the client sends at once, behind Headstart's own header, which is added here and \
         removed by the `headstart gate` at the other end",
        "the other end turns the second away as a copy of the first",
    ))]
    pub(super) framing: FramingName,

    /// What the other end does with a first message that comes twice
    #[arg(long, value_enum, default_value_t = PeerName::Pairing)]
    pub(super) peer: PeerName,

    /// Start Fast Open alone, and plain TCP only if there is no answer after
    /// this time: fewer connections, but where Fast Open fails, up to so much
    /// later than plain TCP
    #[arg(long, value_name = "MS",
          value_parser = RangedU64ValueParser::<u64>::new().range(1..=60_000))]
    pub(super) hedge: Option<u64>,

    /// With Tokens: how long the client may take to its first byte, before it
    /// is taken to wait for the server's; 0 if the server speaks first
    #[arg(long, value_name = "MS", default_value_t = 20,
          value_parser = RangedU64ValueParser::<u64>::new().range(0..=10_000))]
    pub(super) first_byte: u64,

    /// Keep what is learnt of paths in this file, so that a restart does not
    /// forget on which of them Fast Open fails. What the file says of the server
    /// (`headstart peers FILE --add URL`) stands in place of --peer.
    #[arg(long, value_name = "FILE")]
    pub(super) memory: Option<PathBuf>,

    #[command(flatten)]
    pub(super) service: ServiceArgs,
}

/// Arguments of both.
#[derive(Args, Debug)]
pub(super) struct ServiceArgs {
    /// Most connections at once; more wait
    #[arg(long, value_name = "N", default_value_t = 10_000,
          value_parser = RangedU64ValueParser::<u32>::new().range(1..=1_000_000))]
    pub(super) connections: u32,

    /// How long connections that are open, or wait, may go on after SIGTERM or
    /// SIGINT; a second signal ends them at once
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = duration)]
    pub(super) drain: Duration,

    /// Serve metrics to Prometheus at http://ADDR/metrics
    #[arg(long, value_name = "ADDR")]
    pub(super) metrics: Option<SocketAddr>,

    /// What to log on standard error
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = LogLevel::Warn)]
    pub(super) log: LogLevel,

    /// Print lines of JSON: one when it listens, one with a summary at the end
    #[arg(long)]
    pub(super) json: bool,
}

fn listening_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "write an address of this machine and a port: 0.0.0.0:443 or [::]:443")
}

/// Form of the header that tells of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum HeaderVersion {
    /// One line of text
    V1,
    /// Binary
    V2,
}

/// What the other end does with a first message that comes twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum PeerName {
    /// It joins both copies, as `headstart gate` does
    Pairing,
    /// It resets the second, as `headstart gate --no-pairing` does, and Storj
    FirstCome,
    /// It acts on both: nothing is raced
    Unaware,
}

impl From<PeerName> for Peer {
    fn from(name: PeerName) -> Self {
        match name {
            PeerName::Pairing => Self::Pairing,
            PeerName::FirstCome => Self::FirstCome,
            PeerName::Unaware => Self::Unaware,
        }
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}
