//! What a race is told before it starts, and every bound it keeps.

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::framing::token::Id;
use crate::framing::{FLIGHT_MAX, Framing, NoiseHeader};
use crate::path::Plan;
use crate::race::AttemptKind;

/// Most addresses of one peer that a race dials.
pub const TARGETS_MAX: usize = 8;

/// Default of [`RaceBuilder::held_max`]: 64 KiB.
pub const HELD_DEFAULT: usize = 64 * 1024;

/// Largest value of [`RaceBuilder::held_max`]: 16 MiB.
pub const HELD_LIMIT: usize = 16 * 1024 * 1024;

/// Default time between attempts to different addresses (RFC 8305 section 8,
/// Connection Attempt Delay).
pub const ADDRESS_DELAY: Duration = Duration::from_millis(250);

/// How long held bytes wait for plain to open before an established Fast
/// Open attempt may take them: the first SYN retransmission of plain
/// (RFC 6298 section 2, initial RTO of 1 s).
pub const CUTOVER_WAIT: Duration = Duration::from_secs(1);

/// How long a busy peer may take, beyond the round trip, to reset the second
/// copy of a first flight. The reset ends the wait, so it is paid in full only
/// where a reset is lost, or the peer is not what it was said to be.
pub const RESET_WAIT: Duration = Duration::from_millis(250);

/// How long a handshake that fetches a cookie may outlive the race: two SYN
/// retransmissions (1 s and 2 s).
pub const COOKIE_WAIT: Duration = Duration::from_secs(3);

/// When the attempts to one address start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Schedule {
    /// Plain and Fast Open together. Plain's packets leave as they would alone.
    #[default]
    AtOnce,
    /// The second kind starts after `delay`, unless plain has opened by then.
    Staggered {
        /// The kind that starts at once.
        first: AttemptKind,
        /// Time between the two.
        delay: Duration,
    },
    /// The second kind starts after `delay`, unless the first has answered.
    /// With Fast Open first, plain leaves up to `delay` later than it would alone.
    Hedged {
        /// The kind that starts at once.
        first: AttemptKind,
        /// Time between the two.
        delay: Duration,
    },
}

/// Which kinds of attempt a race may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Kinds {
    /// Plain and Fast Open.
    #[default]
    Both,
    /// Plain only: what a program without Headstart does.
    PlainOnly,
    /// Fast Open only, with none of its dangers averted: for measurements.
    FastOpenOnly,
}

/// What the peer does with a first message that arrives twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Peer {
    /// It acts on it twice. Not raced, unless [`RaceBuilder::insist`] says so.
    #[default]
    Unaware,
    /// It debounces: the first copy is served, later ones are closed.
    FirstCome,
    /// It joins the copies into one logical connection.
    Pairing,
}

/// How the connections that lost are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum LoserClose {
    /// By RST: no TIME_WAIT on either side.
    #[default]
    Abortive,
    /// By FIN.
    Graceful,
}

/// What the caller says of the first bytes it will write (rule R13).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum FirstFlight {
    /// Nothing: they go over one plain connection.
    #[default]
    Unstated,
    /// One message of this framing, which is checked. For framings that cannot
    /// be checked to the end (Noise with a payload, a length prefix), stating
    /// it asserts that acting on the message twice does no harm.
    Framed(Framing),
    /// Whatever is written until the first read, flush, shutdown or
    /// [`FLIGHT_MAX`]: the caller asserts that it is safe to replay.
    Asserted,
    /// The same bytes, under a Token header that makes them unique. The peer
    /// must expect it.
    Token {
        /// Random bytes, never used twice.
        id: Id,
    },
}

impl FirstFlight {
    /// A TLS ClientHello, and nothing after it.
    pub const fn tls() -> Self {
        Self::Framed(Framing::tls_client_hello())
    }

    /// A Noise handshake's first message. If it carries a payload, this
    /// asserts that acting on the payload twice does no harm.
    pub const fn noise(header: NoiseHeader) -> Self {
        Self::Framed(Framing::noise(header))
    }
}

/// One address of the peer, as far as a race needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Most bytes that one SYN to it carries.
    pub syn_payload: usize,
    /// How the path to it is used, where both kinds may be.
    pub plan: Plan,
}

/// The settings of one race. Made by [`RaceConfig::builder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaceConfig {
    pub(crate) targets: Vec<Target>,
    pub(crate) first_flight: FirstFlight,
    pub(crate) peer: Peer,
    pub(crate) insist: bool,
    pub(crate) kinds: Kinds,
    pub(crate) schedule: Schedule,
    pub(crate) losers: LoserClose,
    pub(crate) held_max: usize,
    pub(crate) address_delay: Duration,
    pub(crate) cutover_wait: Duration,
}

impl RaceConfig {
    /// Starts from the defaults: both kinds at once, an unaware peer, nothing
    /// stated of the first flight, no address.
    pub fn builder() -> RaceBuilder {
        RaceBuilder {
            config: Self {
                targets: Vec::new(),
                first_flight: FirstFlight::default(),
                peer: Peer::default(),
                insist: false,
                kinds: Kinds::default(),
                schedule: Schedule::default(),
                losers: LoserClose::default(),
                held_max: HELD_DEFAULT,
                address_delay: ADDRESS_DELAY,
                cutover_wait: CUTOVER_WAIT,
            },
        }
    }

    /// Whether the first flight may go to more than one connection at all. If
    /// not, the first plain one to open is the connection.
    pub(crate) fn copies(&self) -> bool {
        match self.kinds {
            Kinds::PlainOnly => false,
            Kinds::FastOpenOnly => true,
            Kinds::Both => self.peer != Peer::Unaware || self.insist,
        }
    }
}

/// Builds a [`RaceConfig`]; wrong settings fail in [`build`](Self::build).
#[derive(Clone, Debug)]
#[must_use]
pub struct RaceBuilder {
    config: RaceConfig,
}

impl RaceBuilder {
    /// Adds an address whose SYN carries up to `syn_payload` bytes. The race
    /// knows it by its position. At least 1 and at most [`TARGETS_MAX`].
    pub fn target(self, syn_payload: usize) -> Self {
        self.planned_target(syn_payload, Plan::Race)
    }

    /// The same, with a plan for the path to it. It holds for
    /// [`Kinds::Both`].
    pub fn planned_target(mut self, syn_payload: usize, plan: Plan) -> Self {
        self.config.targets.push(Target { syn_payload, plan });
        self
    }

    /// What the first bytes written will be. Default: unstated, so not raced.
    pub fn first_flight(mut self, first_flight: FirstFlight) -> Self {
        self.config.first_flight = first_flight;
        self
    }

    /// What the peer does with a message that arrives twice. Default: unaware.
    pub fn peer(mut self, peer: Peer) -> Self {
        self.config.peer = peer;
        self
    }

    /// Races even a peer that is not known to debounce. Default: no.
    pub fn insist(mut self, insist: bool) -> Self {
        self.config.insist = insist;
        self
    }

    /// Which kinds of attempt may be used. Default: both.
    pub fn kinds(mut self, kinds: Kinds) -> Self {
        self.config.kinds = kinds;
        self
    }

    /// When attempts start. Default: at once.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.config.schedule = schedule;
        self
    }

    /// How losers are closed. Default: abortively.
    pub fn losers(mut self, losers: LoserClose) -> Self {
        self.config.losers = losers;
        self
    }

    /// Most bytes beyond the first flight that are held before the connection
    /// is chosen. 1 to [`HELD_LIMIT`]; default [`HELD_DEFAULT`].
    pub fn held_max(mut self, bytes: usize) -> Self {
        self.config.held_max = bytes;
        self
    }

    /// Time between attempts to different addresses. Default [`ADDRESS_DELAY`].
    pub fn address_delay(mut self, delay: Duration) -> Self {
        self.config.address_delay = delay;
        self
    }

    /// How long held bytes wait for plain alone. Default [`CUTOVER_WAIT`].
    pub fn cutover_wait(mut self, wait: Duration) -> Self {
        self.config.cutover_wait = wait;
        self
    }

    /// Whether races may use both kinds, as far as these settings say: if not,
    /// the paths to the addresses need no plan.
    pub fn may_race(&self) -> bool {
        let config = &self.config;
        config.kinds == Kinds::Both
            && config.copies()
            && config.first_flight != FirstFlight::Unstated
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`ConfigError`] names the first setting that is out of its range.
    pub fn build(self) -> Result<RaceConfig, ConfigError> {
        let config = self.config;
        if config.targets.is_empty() || config.targets.len() > TARGETS_MAX {
            return Err(ConfigError::Targets);
        }
        if config.held_max == 0 || config.held_max > HELD_LIMIT {
            return Err(ConfigError::HeldMax);
        }
        if let FirstFlight::Framed(framing) = &config.first_flight
            && !framing.is_unique()
        {
            return Err(ConfigError::NotUnique);
        }
        if config.kinds == Kinds::FastOpenOnly && config.first_flight == FirstFlight::Unstated {
            return Err(ConfigError::FastOpenUnstated);
        }
        Ok(config)
    }
}

/// A setting out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigError {
    /// No address, or more than [`TARGETS_MAX`].
    Targets,
    /// `held_max` is 0 or above [`HELD_LIMIT`].
    HeldMax,
    /// The framing's messages repeat by nature, so a peer that debounces them
    /// would drop other people's connections.
    NotUnique,
    /// Fast Open alone needs to know that its first flight may be replayed.
    FastOpenUnstated,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Targets => write!(f, "a race needs 1 to {TARGETS_MAX} addresses"),
            Self::HeldMax => write!(f, "held_max must be 1 to {HELD_LIMIT} bytes"),
            Self::NotUnique => f.write_str(
                "this framing's messages repeat by nature; assert that they are unique to race them",
            ),
            Self::FastOpenUnstated => {
                f.write_str("Fast Open alone needs a statement that its first flight may be replayed")
            }
        }
    }
}

impl core::error::Error for ConfigError {}

const _: () = assert!(
    FLIGHT_MAX <= u16::MAX as usize,
    "a Token states the length in 16 bits"
);
