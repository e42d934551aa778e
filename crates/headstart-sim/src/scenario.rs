//! What is simulated, as plain data.

use std::time::Duration;

use headstart_core::config::{ConfigError, Kinds, LoserClose, Peer, Schedule};
use headstart_core::pair::{LOG_DEFAULT, WINDOW_DEFAULT};
use headstart_core::{FirstFlight, RaceConfig};

use crate::link::Link;
use crate::rule::Rule;
use crate::segment::OptionKind;
use crate::stranger::Stranger;
use crate::stream::{self, Statement};

/// One logical connection, the network that it crosses, and what stands at
/// both ends. Equal scenarios run alike, to the nanosecond.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scenario {
    /// Decides every draw that is left to chance.
    pub seed: u64,
    /// How the client dials.
    pub race: RaceSettings,
    /// What the client's application does.
    pub client: Client,
    /// What the server does.
    pub server: Server,
    /// The middlebox.
    pub rule: Rule,
    /// Noise that no network is needed for.
    pub noise: Noise,
}

/// How the client dials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaceSettings {
    /// The addresses, in the order in which they are tried.
    pub targets: Vec<Target>,
    /// Which kinds of attempt may be used.
    pub kinds: Kinds,
    /// When attempts start.
    pub schedule: Schedule,
    /// What the client takes the server for.
    pub peer: Peer,
    /// Whether a peer that is not known to debounce is raced.
    pub insist: bool,
    /// How losers are closed.
    pub losers: LoserClose,
    /// Most bytes held before the choice.
    pub held_max: usize,
    /// The client's kernel speaks Fast Open.
    pub fast_open: bool,
    /// The cookies that the client's kernel has, of the addresses that say so.
    pub cookie: Option<OptionKind>,
    /// Sockets that the client can have at a time; more are refused as by EMFILE.
    pub sockets: usize,
    /// Bytes that the send buffer of a client's socket takes.
    pub send_buffer: u32,
}

/// One address of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What is there.
    pub reach: Reach,
    /// The client's kernel has a cookie of it, be it from better days.
    pub cookie: bool,
    /// The path of the plain attempt to it.
    pub plain: Link,
    /// The path of the Fast Open attempt to it.
    pub fast_open: Link,
}

/// What is at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The server.
    Server,
    /// Nothing: packets vanish.
    Dead,
    /// A host where nobody listens: RST.
    Refusing,
    /// No host: ICMP unreachable.
    Unreachable,
}

/// What the client's application does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// What it states of its first bytes.
    pub statement: Statement,
    /// Length of the first message, a Token's header not counted.
    pub message: u32,
    /// What it does, one after the other; reading goes on beside.
    pub script: Vec<Act>,
    /// When it drops the stream, whatever it waits for.
    pub patience: Duration,
    /// It is not ours, and races nothing: this is what it does instead of the
    /// script, whatever the settings of the race.
    pub stranger: Option<Stranger>,
}

/// One act of the client's application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Writes so many bytes.
    Write(u32),
    /// Does nothing for a time.
    Pause(Duration),
    /// Flushes.
    Flush,
    /// Reads to the end, beside the following acts.
    Read,
    /// Waits until a byte was read, or the end.
    AwaitReply,
    /// Waits until all was read.
    AwaitEnd,
    /// Shuts writing down.
    Shutdown,
    /// Drops the stream; the last act of all.
    Drop,
}

/// What the server does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its kernel speaks Fast Open.
    pub fast_open: bool,
    /// It reads first messages and debounces them for so long: first come,
    /// first served, but for what it keeps open.
    pub debounce: Option<Duration>,
    /// Other clients' first messages, which it debounces beside this one's.
    pub crowd: Option<Crowd>,
    /// It keeps messages that came by Fast Open open for copies; only if it
    /// debounces.
    pub pairing: Option<Pairing>,
    /// Bytes that the send buffer of a server's socket takes.
    pub send_buffer: u32,
    /// When its handler answers.
    pub trigger: Trigger,
    /// How long the handler thinks.
    pub think: Duration,
    /// How many bytes it answers.
    pub answer: u32,
    /// What it does then.
    pub end: End,
}

/// First messages of other clients, each the first of its kind; every third
/// comes twice. Never so many come to where the race's message is remembered that
/// it would be forced out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// So many come at once.
    pub size: u32,
    /// So often.
    pub times: u32,
    /// So long after one another.
    pub every: Duration,
    /// Their digests are all aimed at one place of the memory.
    pub aimed: bool,
}

/// How a server keeps messages open for copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pairing {
    /// How long after the first copy others may join.
    pub window: Duration,
    /// Most bytes of an answer that are kept.
    pub log_max: usize,
    /// Most messages that each server keeps open at a time.
    pub pairs_max: u32,
    /// Most bytes that those of a server may take together.
    pub bytes_max: usize,
}

impl Default for Pairing {
    fn default() -> Self {
        Self {
            window: WINDOW_DEFAULT,
            log_max: LOG_DEFAULT,
            pairs_max: 4_096,
            bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// When a handler answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// As soon as it is called; without debouncing, that is before it has read.
    Call,
    /// When it has read the first message.
    Message,
    /// When it has read to the end of file.
    Eof,
}

/// What a handler does when it has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Reads to the end of file, then closes.
    AfterEof,
    /// Shuts writing down, reads to the end of file, then closes.
    HalfClose,
    /// Closes.
    Close,
    /// Resets.
    Reset,
}

/// Noise that no network is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Noise {
    /// Events of one instant come in any order.
    pub order: bool,
    /// Sockets are said to be ready when they are not.
    pub spurious: bool,
    /// Of its first 8 KiB, a connection takes at most so many bytes a write.
    pub write_max: Option<u32>,
    /// A write that would have been taken is refused once, for a millisecond.
    pub blocks: bool,
    /// The client's clock jumps.
    pub jump: Option<Jump>,
}

/// A jump of a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jump {
    /// When, after the dial.
    pub at: Duration,
    /// How far, in milliseconds; negative is back.
    pub millis: i64,
}

impl Scenario {
    /// A race as the command's demo runs it: one address at a round trip of
    /// `rtt`, a Token, a cookie in the cache, a first message of 600 bytes
    /// under the header, a server that debounces and echoes it in length.
    #[must_use]
    pub fn plainest(rule: Rule, rtt: Duration) -> Self {
        let link = Link::clean(rtt / 2);
        Self {
            seed: 0,
            race: RaceSettings {
                targets: vec![Target {
                    reach: Reach::Server,
                    cookie: true,
                    plain: link,
                    fast_open: link,
                }],
                kinds: Kinds::Both,
                schedule: Schedule::AtOnce,
                peer: Peer::FirstCome,
                insist: false,
                losers: LoserClose::Abortive,
                held_max: 64 * 1024,
                fast_open: true,
                cookie: Some(OptionKind::Standard),
                sockets: usize::MAX,
                send_buffer: 64 * 1024,
            },
            client: Client {
                statement: Statement::Token,
                message: 600,
                script: vec![
                    Act::Write(600),
                    Act::Read,
                    Act::AwaitReply,
                    Act::Shutdown,
                    Act::AwaitEnd,
                ],
                patience: Duration::from_secs(300),
                stranger: None,
            },
            server: Server {
                fast_open: true,
                debounce: Some(Duration::from_secs(600)),
                crowd: None,
                pairing: None,
                send_buffer: u32::MAX,
                trigger: Trigger::Message,
                think: Duration::ZERO,
                answer: 600,
                end: End::AfterEof,
            },
            rule,
            noise: Noise::default(),
        }
    }

    /// The same with a server that keeps first messages open for copies, and a
    /// client that knows it.
    #[must_use]
    pub fn paired(&self) -> Self {
        let mut paired = self.clone();
        paired.server.pairing = Some(Pairing::default());
        paired.race.peer = Peer::Pairing;
        paired
    }

    /// The same without Headstart: plain attempts only, all draws alike.
    #[must_use]
    pub fn plain_alone(&self) -> Self {
        let mut alone = self.clone();
        alone.race.kinds = Kinds::PlainOnly;
        alone
    }

    /// The settings of its race.
    ///
    /// # Errors
    /// [`ConfigError`] where the scenario makes no sense to the core.
    pub fn config(&self) -> Result<RaceConfig, ConfigError> {
        let race = &self.race;
        let mut builder = RaceConfig::builder()
            .first_flight(self.first_flight())
            .peer(race.peer)
            .insist(race.insist)
            .kinds(race.kinds)
            .schedule(race.schedule)
            .losers(race.losers)
            .held_max(race.held_max);
        for _ in &race.targets {
            builder = builder.target(stream::SYN_PAYLOAD);
        }
        builder.build()
    }

    /// Bytes that the application writes, if nothing stops it.
    #[must_use]
    pub fn written(&self) -> u32 {
        if let Some(stranger) = &self.client.stranger {
            return self.client.message.saturating_add(stranger.beyond());
        }
        let writes = self.client.script.iter().map(|act| match act {
            Act::Write(bytes) => *bytes,
            _ => 0,
        });
        writes.fold(0, u32::saturating_add)
    }

    /// What the application states of its first bytes.
    #[must_use]
    pub fn first_flight(&self) -> FirstFlight {
        self.client.statement.first_flight(self.seed)
    }
}
