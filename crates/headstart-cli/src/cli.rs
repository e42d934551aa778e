//! What can be typed.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use headstart_tokio::core::framing::token::HEADER_LEN;
use headstart_tokio::core::framing::{
    ByteOrder, FLIGHT_MAX, LengthPrefix, NoiseHeader, PrefixWidth,
};
use headstart_tokio::core::peers::NodeUrl;
use headstart_tokio::{Framing, GateBuilder, QueueLen};

use crate::lab::LabArgs;
use crate::manual::ManualArgs;
use crate::proxy::{ForwardArgs, GateArgs};

/// Longest first flight under a Token, in bytes.
pub(crate) const SIZE_MAX: usize = FLIGHT_MAX - HEADER_LEN;

/// Longest time that may be asked for, in seconds: a day.
const SECONDS_MAX: f64 = 86_400.0;

/// TCP Fast Open that cannot hurt: plain TCP and Fast Open dialled at once,
/// the first answer wins.
#[derive(Debug, Parser)]
#[command(
    name = "headstart",
    version,
    after_help = "Start with `headstart demo`: it needs no network, no root and no set-up.\n\
                  \n\
                  Results go to standard output, everything else to standard error.\n\
                  Exit status: 0 all well, 1 something failed, 2 wrong usage."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show on this machine what plain TCP, Fast Open and Headstart do on
    /// good and hostile paths
    ///
    /// Measures how long the first byte of a reply takes, in round trips: with
    /// plain TCP, with Fast Open alone, and with Headstart, over one middlebox
    /// after the other. Real kernels on both sides, in network namespaces of this
    /// machine; the delay and the middleboxes between them are made here. Linux
    /// only; where user namespaces are allowed, no root is needed.
    Demo(DemoArgs),
    /// Find what keeps Fast Open from working on this machine, and what mends it
    ///
    /// Reads the settings, counters, cookies and listeners of the network
    /// namespace in which it runs (a container has its own), then proves what it
    /// found by a Fast Open exchange with itself on loopback. Changes nothing but
    /// that: the exchange leaves a cookie for 127.0.0.1, and is counted. As root it
    /// sees the listeners of all users.
    ///
    /// Each finding is ok, a warning, a problem, or unknown where it may not look,
    /// with the reason and the command that mends it.
    ///
    /// Exit status: 0 if there is no problem, 1 if there is one, 2 for wrong usage.
    Doctor(DoctorArgs),
    /// Dial a server from outside, and say what the path does to Fast Open
    ///
    /// Dials HOST:PORT as a client would, some 15 times at most: by plain TCP, to
    /// get a cookie, with it and data in the SYN, and with one first message twice.
    /// Compares, and gives a verdict: works, or which packets are dropped,
    /// stripped, refused or blackholed, by the server or a middlebox on the way. A
    /// good path takes a second, a broken one up to five times the --timeout.
    /// Linux only.
    ///
    ///   headstart probe example.com:443 --tls example.com
    ///   headstart probe my-server:4000 --token      (a Headstart gate)
    ///   headstart probe example.com:25              (any server)
    ///
    /// Works with any server: a TLS server is sent ClientHellos (and, when it
    /// has answered, the rest of a handshake; its certificate is not judged), a
    /// gate random bytes under a Token, any other server no more than a line end.
    /// Every verdict is listed in docs/probe.md.
    ///
    /// Exit status: 0 if Fast Open works, 1 if it does not, 2 for wrong usage.
    #[command(verbatim_doc_comment)]
    Probe(ProbeArgs),
    /// Dial a server that `headstart serve` runs, and time its answers
    ///
    /// Dials HOST:PORT so many times, one after the other. Each dial writes random
    /// bytes as its first flight, under a Token, and waits until all of them have
    /// come back. The other end must be an echo behind a gate that expects Tokens,
    /// as `headstart serve` is.
    ///
    /// Exit status: 0 if every dial went well, 1 if one failed, 2 for wrong usage.
    Race(RaceArgs),
    /// List what a file of `--memory` says of paths and peers
    ///
    /// For each path: whether Fast Open is used on it, or what was wrong with it
    /// and when it is tried again. For each peer: whether it can be raced.
    ///
    /// A `headstart forward` that runs with the file forgets the same paths when
    /// it next saves, within 30 s; what is said of peers it reads when it starts.
    ///
    /// Exit status: 0 if all was done, 1 if something could not be, or of one to
    /// forget nothing was known, 2 for wrong usage.
    Peers(PeersArgs),
    /// Echo every byte, behind a gate that admits each first message once
    ///
    /// Listens on ADDR, reads each connection's first message, joins copies of it
    /// into one connection (or resets them, if the first came by plain TCP), and
    /// sends back every byte that it gets, until the client has finished. Ends on
    /// SIGINT or SIGTERM: what is open then has 2 s more, unless there is a second
    /// signal.
    Serve(ServeArgs),
    /// Put Fast Open, debouncing and pairing before any TCP server
    ///
    /// Listens on one address and dials the server at another for each connection
    /// that is admitted: each first message once, however many copies come. Stop
    /// it by SIGTERM or SIGINT: it stops listening, and open connections go on for
    /// a while.
    Gate(GateArgs),
    /// Give any client raced connections
    ///
    /// Listens on one address, and dials the server by a race of plain TCP and
    /// Fast Open for each connection that comes. What the first message is must be
    /// known, since only that is raced: with `--framing token` (the other end must
    /// be `headstart gate --framing token`) it is whatever the client sends at once;
    /// with `--framing tls`, the ClientHello.
    Forward(ForwardArgs),
    /// Run a server and a client across a hostile path
    ///
    /// Both commands run on this machine, each in a network namespace of its own,
    /// with real kernels and the middlebox between them. The client's starts when
    /// the server's listens, and the server's is stopped when the client's has
    /// ended; the exit status is the client's. What the server prints goes to
    /// standard error, and it has nothing to read. SIGTERM, SIGINT and SIGHUP are
    /// passed on to the client; whatever either command has started ends with the
    /// lab. With `--rule balance` the server's command runs on two machines.
    ///
    /// Example, one request over a path that drops SYNs with data:
    ///
    ///   headstart lab --rule drop-syn-with-data --cookie -- \
    ///     headstart serve {server}:4000 --- headstart race {server}:4000
    #[command(
        verbatim_doc_comment,
        override_usage = "headstart lab [OPTIONS] -- SERVER-CMD... --- CLIENT-CMD..."
    )]
    Lab(LabArgs),
    /// Print a manual page, or a shell's completions
    ///
    /// `headstart manual` prints the page of the command as a whole, which names the
    /// others, `headstart manual race` that of one, and
    /// `headstart manual --into /usr/local/share/man/man1` writes all of them, one file
    /// each. With --completions it prints what a shell needs to complete arguments,
    /// such as `headstart manual --completions bash > /etc/bash_completion.d/headstart`.
    Manual(ManualArgs),
}

/// Arguments of `headstart demo`.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Round trip of the simulated path in milliseconds. Below 10, the time
    /// that the machine itself takes shows.
    #[arg(long, value_name = "MS", default_value_t = 50,
          value_parser = RangedU64ValueParser::<u64>::new().range(1..=500))]
    pub(crate) rtt: u64,

    /// Print one JSON document with every measurement instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `headstart doctor`.
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Look closely at the server that listens on this port: its option, queue,
    /// backlog, cookie key, descriptors and connections. What a server needs is
    /// then a problem where it is missing; without a port, what a client needs.
    #[arg(short, long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: Option<u16>,

    /// Print one JSON document with every finding instead of words
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `headstart probe`.
#[derive(Args, Debug)]
pub(crate) struct ProbeArgs {
    /// The server: a name or an address, and a port; an IPv6 address in
    /// brackets. Of a name's addresses, the first is probed.
    #[arg(value_name = "HOST:PORT")]
    pub(crate) server: Server,

    /// The server speaks TLS; NAME goes into the ClientHello (SNI)
    #[arg(long, value_name = "NAME", conflicts_with = "token",
          value_parser = crate::probe::server_name)]
    pub(crate) tls: Option<String>,

    /// The server is a gate that expects Tokens, as `headstart serve` is
    #[arg(long)]
    pub(crate) token: bool,

    /// Bytes of the first flight under a Token
    #[arg(long, value_name = "BYTES", default_value_t = 512, requires = "token",
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=SIZE_MAX as u64))]
    pub(crate) size: usize,

    /// Time for one dial. Below 3 s, what only waits for a retransmission looks
    /// like a dead path.
    #[arg(long, value_name = "SECONDS", default_value = "4", value_parser = duration)]
    pub(crate) timeout: Duration,

    /// Print one JSON document with the verdict and every dial instead of words
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `headstart race`.
#[derive(Args, Debug)]
pub(crate) struct RaceArgs {
    /// The server: a name or an address, and a port; an IPv6 address in
    /// brackets
    #[arg(value_name = "HOST:PORT")]
    pub(crate) server: Server,

    /// How many dials
    #[arg(short, long = "dials", value_name = "N", default_value_t = 1,
          value_parser = RangedU64ValueParser::<u64>::new().range(1..=1_000_000))]
    pub(crate) n: u64,

    /// What to dial with
    #[arg(long, value_enum, default_value_t = Mode::Headstart)]
    pub(crate) mode: Mode,

    /// Bytes of the first flight, and of each further exchange. Up to 1,376
    /// fit into one SYN (IPv6: 1,356); longer ones are not raced.
    #[arg(long, value_name = "BYTES", default_value_t = 512,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=SIZE_MAX as u64))]
    pub(crate) size: usize,

    /// Exchanges on each connection, the first flight's included
    #[arg(long, value_name = "K", default_value_t = 1,
          value_parser = RangedU64ValueParser::<u64>::new().range(1..=1_000_000))]
    pub(crate) exchanges: u64,

    /// Time for one dial with all its exchanges
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = duration)]
    pub(crate) timeout: Duration,

    /// Remember in this file on which paths Fast Open fails, and do not try it
    /// there until a back-off has ended. Made if it does not exist. Without it
    /// each dial races as if it were the first.
    #[arg(long, value_name = "FILE")]
    pub(crate) memory: Option<PathBuf>,

    /// Print one line of JSON for each dial and one with a summary
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `headstart peers`.
#[derive(Args, Debug)]
pub(crate) struct PeersArgs {
    /// The file. One that does not exist is empty.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Take a peer in first, such as ID@HOST:PORT?debounce=2&f=1, or
    /// HOST:PORT?pairing=1, one behind a gate that pairs. May be given more than
    /// once.
    #[arg(long, value_name = "NODE_URL")]
    pub(crate) add: Vec<NodeUrl>,

    /// Forget all paths to a peer, also to each address of a name, and the peer,
    /// first. May be given more than once.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) forget: Vec<Server>,

    /// Print one line of JSON for each path and peer, and one with a summary
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `headstart serve`.
#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// Where to listen.
    #[arg(
        value_name = "ADDR",
        help = "The address to listen on, such as 127.0.0.1:4000 or [::]:4000; port 0 takes any \
                free one"
    )]
    pub(crate) address: SocketAddr,

    /// Where a connection's first message ends
    #[arg(long, default_value_t = FramingName::Token, value_parser = FramingName::parser(
        "Headstart's own header, which is removed; what `headstart race` sends",
        "otherwise use --no-debounce, or the second is turned away as a copy of the first",
    ))]
    pub(crate) framing: FramingName,

    /// Admit later copies of a first message too
    #[arg(long)]
    pub(crate) no_debounce: bool,

    #[command(flatten)]
    pub(crate) admission: AdmissionArgs,

    /// Print one line of JSON for each event, and a summary at the end
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `headstart serve` and `headstart gate`: what is let in, and how.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct AdmissionArgs {
    /// Reset the second copy of a message that came by Fast Open, where
    /// otherwise both are answered until the client has shown which one it uses
    #[arg(long)]
    no_pairing: bool,

    /// Do not ask the kernel for Fast Open
    #[arg(long = "no-fastopen")]
    pub(crate) no_fast_open: bool,

    /// How long a connection's first message may take
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = duration)]
    message_timeout: Duration,

    /// Longest first message, a Token's header of 24 bytes included: no less
    /// than the framing's shortest
    #[arg(long, value_name = "BYTES", default_value_t = FLIGHT_MAX,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=FLIGHT_MAX as u64))]
    message_max: usize,
}

impl AdmissionArgs {
    /// The listen queue that it asks the kernel for.
    pub(crate) fn queue(&self) -> QueueLen {
        match self.no_fast_open {
            true => QueueLen::Off,
            false => QueueLen::Max,
        }
    }

    /// A gate as it asks for.
    pub(crate) fn apply(&self, builder: GateBuilder) -> GateBuilder {
        let builder = builder
            .message_timeout(self.message_timeout)
            .message_max(self.message_max);
        match self.no_pairing {
            true => builder.pairing(false),
            false => builder,
        }
    }
}

/// What to dial with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Plain TCP alone
    Plain,
    /// Fast Open alone, with none of its dangers averted
    #[value(name = "fastopen")]
    FastOpen,
    /// Both at once; the first answer wins
    Headstart,
}

impl Mode {
    /// Its name in arguments and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::FastOpen => "fastopen",
            Self::Headstart => "headstart",
        }
    }
}

/// Where a connection's first message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FramingName {
    /// Headstart's own header
    Token,
    /// A TLS ClientHello
    Tls,
    /// A Noise message behind its length in two bytes, big-endian
    Noise,
    /// A message behind its length in four bytes, big-endian, which do not
    /// count themselves
    Length,
}

impl fmt::Display for FramingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FramingName {
    /// Takes its name. What a command does with Tokens, and what to do or to expect where clients begin
    /// with the same message, is the command's to say.
    pub(crate) fn parser(
        token: &'static str,
        copies: &'static str,
    ) -> impl TypedValueParser<Value = Self> {
        let told = move |framing: &Self| {
            let value = framing.to_possible_value()?;
            let help = value
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            Some(value.help(match framing {
                Self::Token => token.to_owned(),
                Self::Tls | Self::Noise => help,
                Self::Length => format!(
                    "{help}. You assert that no two clients begin with the same message: {copies}"
                ),
            }))
        };
        let values: Vec<_> = Self::value_variants().iter().filter_map(told).collect();
        PossibleValuesParser::new(values).try_map(|name| Self::from_str(&name, false))
    }

    /// Its name in arguments and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Tls => "tls",
            Self::Noise => "noise",
            Self::Length => "length",
        }
    }

    /// The framing itself.
    pub(crate) fn framing(self) -> Framing {
        match self {
            Self::Token => Framing::token(),
            Self::Tls => Framing::tls_client_hello(),
            Self::Noise => Framing::noise(NoiseHeader::Len16),
            Self::Length => Framing::length_prefixed(LengthPrefix {
                width: PrefixWidth::Four,
                order: ByteOrder::Big,
                counts_itself: false,
            })
            .assert_unique(),
        }
    }
}

/// A host and a port to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// A name, or an address without brackets, with its scope if it has one (`fe80::1%eth0`).
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for Server {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(SocketAddr::V4(address)) = text.parse() {
            return Self::new(address.ip().to_string(), address.port());
        }
        let (host, port) = text
            .rsplit_once(':')
            .ok_or("no port: write HOST:PORT, such as localhost:4000")?;
        let bracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        if let Some(host) = bracketed.and_then(with_scope) {
            return Self::new(host, port_of(port)?);
        }
        if host.contains(':') || host.contains('[') {
            return Err("write an IPv6 address in brackets: [::1]:4000");
        }
        if host.is_empty() || host.chars().any(char::is_whitespace) {
            return Err("no host: write HOST:PORT, such as localhost:4000");
        }
        Self::new(host.to_owned(), port_of(port)?)
    }
}

const NO_PORT: &str = "the port must be a number from 1 to 65535";

fn port_of(text: &str) -> Result<u16, &'static str> {
    text.parse().map_err(|_| NO_PORT)
}

/// An IPv6 address as it is usually written, and its scope behind `%`: the number or name of the
/// interface that leads to a link-local address.
fn with_scope(text: &str) -> Option<String> {
    let (address, scope) = match text.split_once('%') {
        Some((address, scope)) => (address, Some(scope)),
        None => (text, None),
    };
    let address: Ipv6Addr = address.parse().ok()?;
    let odd = |c: char| c.is_whitespace() || "%[]/".contains(c);
    match scope {
        None => Some(address.to_string()),
        Some(scope) if scope.is_empty() || scope.contains(odd) => None,
        Some(scope) => Some(format!("{address}%{scope}")),
    }
}

impl Server {
    fn new(host: String, port: u16) -> Result<Self, &'static str> {
        match port {
            0 => Err(NO_PORT),
            _ => Ok(Self { host, port }),
        }
    }
}

/// A time above zero, in seconds, with a fraction or without.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds| *seconds > 0.0 && *seconds <= SECONDS_MAX)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| !time.is_zero())
        .ok_or_else(|| format!("not a number of seconds above 0 and up to {SECONDS_MAX}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn servers_are_parsed() {
        for (text, host, port) in [
            ("localhost:80", "localhost", 80),
            ("192.0.2.1:65535", "192.0.2.1", 65535),
            ("[2001:db8::1]:443", "2001:db8::1", 443),
            ("[fe80::1%3]:80", "fe80::1%3", 80),
            ("[fe80::1%eth0.5]:80", "fe80::1%eth0.5", 80),
        ] {
            let server: Server = text.parse().unwrap();
            assert_eq!((server.host.as_str(), server.port), (host, port));
            assert_eq!(server.to_string(), text);
        }
        for text in [
            "",
            ":",
            "host",
            "host:",
            ":80",
            "host:0",
            "host:65536",
            "::1:80",
            "[::1]",
            "[::1]:0",
            "a b:80",
            "[host]:80",
            "[fe80::1%]:80",
            "[fe80::1%a b]:80",
            "[fe80::1%3]:0",
            "fe80::1%3:80",
        ] {
            assert!(text.parse::<Server>().is_err(), "{text}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_scope_leads_to_its_interface() {
        use std::net::ToSocketAddrs;
        for text in ["[fe80::1%1]:80", "[fe80::1%lo]:80"] {
            let server: Server = text.parse().unwrap();
            let mut found = (server.host.as_str(), server.port)
                .to_socket_addrs()
                .unwrap();
            // The first interface of every namespace is loopback.
            assert_eq!(found.next(), "[fe80::1%1]:80".parse().ok(), "{text}");
        }
    }

    #[test]
    fn times_are_above_zero_and_finite() {
        assert_eq!(duration("2.5"), Ok(Duration::from_millis(2500)));
        for text in ["0", "-1", "inf", "NaN", "1e-12", "86401", "", "1s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
