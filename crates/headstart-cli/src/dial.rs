//! One dial: a first flight there and back, further exchanges, and what
//! became of them.

use std::io;
use std::time::Duration;

use headstart_io::{RaceError, Runtime, Target};
use headstart_tokio::core::Instant;
use headstart_tokio::core::config::ConfigError;
use headstart_tokio::core::path::{Plan as PathPlan, Trouble as PathTrouble};
use headstart_tokio::core::race::{AttemptKind, Exit, Failure, Report, SynData};
use headstart_tokio::{Dialer, Kinds, Peer, RaceStream, Tokio};

use crate::memory::Kept;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::attempts::{self, AttemptLine};
use crate::cli::Mode;
use crate::output::seconds;

/// Bytes read at a time.
const READ_SIZE: usize = 16 * 1024;

/// What a dial is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Bytes of the first flight, and of each further exchange.
    pub(crate) size: usize,
    /// Exchanges, the first flight's included.
    pub(crate) exchanges: u64,
    /// Time for all of it.
    pub(crate) patience: Duration,
}

/// What became of a dial. Times are since before its first system call; the
/// name is looked up before.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))] // Some of it is for the demo.
#[derive(Debug)]
pub(crate) struct Dialled {
    /// The random bytes of its first flight.
    pub(crate) flight: Vec<u8>,
    /// When the first byte of the reply had been read.
    pub(crate) first_byte: Option<Duration>,
    /// When all exchanges were over.
    pub(crate) total: Option<Duration>,
    /// Exchanges that went well.
    pub(crate) exchanges: u64,
    /// Which attempt replied.
    pub(crate) winner: Option<AttemptKind>,
    /// Whether it replied to data in its SYN.
    pub(crate) syn_data: bool,
    /// Bytes handed to other attempts.
    pub(crate) bytes_copied: usize,
    /// Each attempt.
    pub(crate) attempts: Vec<AttemptLine>,
    /// Why Fast Open was not tried on this path, if it was remembered to fail.
    pub(crate) suspended: Option<PathTrouble>,
    /// Why it failed, if it did.
    pub(crate) failure: Option<Failed>,
}

/// Why a dial failed.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))] // Some of it is for the demo.
#[derive(Debug)]
pub(crate) struct Failed {
    /// In a line.
    pub(crate) why: String,
    /// In a few words.
    pub(crate) short: String,
    /// When its last attempt ended.
    pub(crate) after: Option<Duration>,
}

/// How far a dial has come, whether or not it gets to its end.
#[derive(Debug, Default)]
struct Progress {
    stream: Option<RaceStream>,
    first_byte: Option<Instant>,
    total: Option<Instant>,
    exchanges: u64,
}

/// Dials in one way.
#[derive(Debug)]
pub(crate) struct Client {
    runtime: Tokio,
    dialer: Dialer,
}

impl Client {
    /// A client on the runtime that this is called in, of servers that treat
    /// second copies as `peer` says, if it does not know better.
    pub(crate) fn new(mode: Mode, peer: Peer, kept: Option<&Kept>) -> io::Result<Self> {
        let runtime = Tokio::current()?;
        let kinds = match mode {
            Mode::Plain => Kinds::PlainOnly,
            Mode::FastOpen => Kinds::FastOpenOnly,
            Mode::Headstart => Kinds::Both,
        };
        let dialer = Dialer::builder_on(runtime.clone())
            .token()
            .peer(peer)
            .kinds(kinds)
            .memory(kept.map(|kept| kept.memory.clone()))
            .peers(kept.map(|kept| kept.peers.clone()).unwrap_or_default())
            .build()?;
        Ok(Self { runtime, dialer })
    }

    /// Dials, does what the plan says, and closes.
    pub(crate) async fn dial(&self, target: Target, plan: Plan) -> Dialled {
        let flight = match random(plan.size) {
            Ok(flight) => flight,
            Err(error) => return Dialled::not_begun(Vec::new(), Failed::new(error.to_string())),
        };
        let mut progress = Progress::default();
        let all = self.exchange_all(&mut progress, target, &flight, plan);
        let error = match timeout(plan.patience, all).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Trouble::Error(error)),
            Err(_) => Some(Trouble::Silence(plan.patience)),
        };
        if let (Some(stream), Some(Trouble::Silence(_))) = (&progress.stream, &error) {
            stream.report_stall();
        }
        match &progress.stream {
            Some(stream) => Dialled::new(stream.report(), &progress, flight, error),
            None => {
                let trouble = error.unwrap_or(Trouble::Silence(plan.patience));
                let failed = trouble.failed(false, None);
                let mut dialled = Dialled::not_begun(flight, failed);
                dialled.attempts = trouble.race().map(attempts::of_error).unwrap_or_default();
                dialled
            }
        }
    }

    async fn exchange_all(
        &self,
        progress: &mut Progress,
        target: Target,
        flight: &[u8],
        plan: Plan,
    ) -> io::Result<()> {
        let name = match &target {
            Target::Host(host, _) => host.clone(),
            Target::Addresses(_) => String::new(),
        };
        let stream = self.dialer.dial(target).await;
        let stream = stream.map_err(|error| not_found(&name, error))?;
        let stream = progress.stream.insert(stream);
        stream.first_flight(flight)?;
        let head = self.read_first(stream, &mut progress.first_byte).await?;
        read_rest(stream, flight, &head).await?;
        progress.exchanges = 1;
        while progress.exchanges < plan.exchanges {
            let bytes = random(plan.size)?;
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            read_rest(stream, &bytes, &[]).await?;
            progress.exchanges += 1;
        }
        progress.total = Some(self.runtime.now());
        Ok(())
    }

    /// Reads the beginning of the reply, and says when it came.
    async fn read_first(
        &self,
        stream: &mut RaceStream,
        first_byte: &mut Option<Instant>,
    ) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; READ_SIZE];
        let got = stream.read(&mut buffer).await?;
        let now = self.runtime.now();
        match got {
            0 => Err(closed("before it replied")),
            _ => {
                *first_byte = Some(now);
                buffer.truncate(got);
                Ok(buffer)
            }
        }
    }
}

/// Reads the rest of an echo behind its `head`, and compares it with what was
/// sent.
async fn read_rest(stream: &mut RaceStream, sent: &[u8], head: &[u8]) -> io::Result<()> {
    let mut left = after(sent, head)?;
    let mut buffer = vec![0; left.len().min(READ_SIZE)];
    while !left.is_empty() {
        let room = buffer.len().min(left.len());
        let got = stream
            .read(buffer.get_mut(..room).unwrap_or_default())
            .await?;
        if got == 0 {
            return Err(closed("before all bytes had come back"));
        }
        left = after(left, buffer.get(..got).unwrap_or_default())?;
    }
    Ok(())
}

/// What is left of `sent` behind an echo of its beginning.
fn after<'a>(sent: &'a [u8], echo: &[u8]) -> io::Result<&'a [u8]> {
    sent.strip_prefix(echo).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "what came back is not what was sent: no echo behind a gate",
        )
    })
}

fn closed(when: &str) -> io::Error {
    let text = format!("closed by the peer {when}");
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}

/// Says that a name was not found, if that is what the error is about.
fn not_found(name: &str, error: io::Error) -> io::Error {
    let inner = error.get_ref();
    if race_error(&error).is_some() || inner.is_some_and(|e| e.is::<ConfigError>()) {
        return error;
    }
    io::Error::new(error.kind(), format!("cannot find {name}: {error}"))
}

fn race_error(error: &io::Error) -> Option<&RaceError> {
    error.get_ref()?.downcast_ref()
}

fn random(size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// What ended a dial before its time.
#[derive(Debug)]
enum Trouble {
    Error(io::Error),
    Silence(Duration),
}

impl Trouble {
    fn race(&self) -> Option<&RaceError> {
        match self {
            Self::Error(error) => race_error(error),
            Self::Silence(_) => None,
        }
    }

    fn failed(&self, replied: bool, after: Option<Duration>) -> Failed {
        let why = match self {
            Self::Error(error) => error.to_string(),
            Self::Silence(patience) if replied => {
                format!("no further answer in {}", seconds(*patience))
            }
            Self::Silence(patience) => format!("no answer in {}", seconds(*patience)),
        };
        let short = self.race().map_or_else(|| why.clone(), short_of);
        Failed { why, short, after }
    }
}

/// The failures of a race without the system's numbers; what never started is
/// left out.
fn short_of(error: &RaceError) -> String {
    let reasons = error.reasons.iter();
    let told: Vec<_> = reasons
        .filter(|(.., exit)| !matches!(exit, Exit::NotStarted(_) | Exit::CookieOnly))
        .map(|(_, kind, exit)| match exit {
            Exit::Failed(failure) => (kind, Failure::new(failure.kind).to_string()),
            exit => (kind, exit.to_string()),
        })
        .collect();
    match told.as_slice() {
        [] => error.to_string(),
        [(_, why)] => why.clone(),
        several => {
            let each = several.iter().map(|(kind, why)| format!("{kind}: {why}"));
            each.collect::<Vec<_>>().join("; ")
        }
    }
}

impl Failed {
    fn new(why: String) -> Self {
        Self {
            short: why.clone(),
            why,
            after: None,
        }
    }
}

impl Dialled {
    fn not_begun(flight: Vec<u8>, failure: Failed) -> Self {
        Self {
            flight,
            first_byte: None,
            total: None,
            exchanges: 0,
            winner: None,
            syn_data: false,
            bytes_copied: 0,
            attempts: Vec::new(),
            suspended: None,
            failure: Some(failure),
        }
    }

    fn new(report: Report, progress: &Progress, flight: Vec<u8>, trouble: Option<Trouble>) -> Self {
        let since = |at: Option<Instant>| at.map(|at| at.saturating_since(report.began));
        let replied = progress.first_byte.is_some();
        let ended = attempts::ended(&report);
        let failure = trouble
            .as_ref()
            .map(|trouble| trouble.failed(replied, ended));
        let winner = report.winner().filter(|_| replied);
        let attempts = match (&failure, replied) {
            (Some(failed), false) => {
                let race = trouble.as_ref().and_then(Trouble::race);
                attempts::of_failure(&report, race, &failed.why)
            }
            _ => attempts::of(&report),
        };
        Self {
            flight,
            first_byte: since(progress.first_byte),
            total: since(progress.total),
            exchanges: progress.exchanges,
            winner: winner.map(|attempt| attempt.kind),
            syn_data: winner.is_some_and(|attempt| attempt.syn_data == SynData::Acknowledged),
            bytes_copied: report.bytes_copied(),
            suspended: report.plans.iter().find_map(|plan| match plan {
                PathPlan::Plain { trouble, .. } => Some(*trouble),
                PathPlan::Race | PathPlan::Retry(_) | PathPlan::Hedged(_) => None,
            }),
            attempts,
            failure,
        }
    }

    /// Whether every exchange went well.
    pub(crate) fn is_ok(&self) -> bool {
        self.failure.is_none()
    }
}
