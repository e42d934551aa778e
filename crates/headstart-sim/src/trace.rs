//! What happened, in order: for people, and for comparing runs.

use std::fmt;
use std::time::Duration;

use headstart_core::pair;
use headstart_core::race::{AttemptKind, Event, FailureKind, Step};

use crate::segment::Segment;

/// What became of a packet on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives after so many nanoseconds.
    Arrives(u64),
    /// It was lost by chance, or its path is dead.
    Lost,
    /// The middlebox dropped it.
    Dropped,
    /// The middlebox answered it.
    Answered,
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Sent(Segment, Fate),
    TooEarly(Segment),
    Opened(usize),
    Ended(usize),
    Failed(usize, FailureKind),
    Timer(usize),
    Spurious(usize),
    Step(Step),
    Told(usize, Event),
    Started(usize, AttemptKind, usize),
    Read(u32),
    ReadEnd(Option<FailureKind>),
    Wrote(u32),
    Act(crate::scenario::Act),
    Patience,
    Uses(usize),
    StrangerRead(usize, usize),
    Accepted(usize),
    Verdict(usize, bool),
    Malformed(usize),
    HandlerCalled(usize),
    HandlerRead(usize, u32),
    HandlerEof(usize),
    Answered(usize, u32),
    HandlerClosed(usize, bool),
    PairOpened(usize),
    PairJoined(usize),
    PairStep(pair::Step),
    PairTold(usize, pair::MemberId, pair::Event),
    PairHanded(usize),
    PairSettled,
}

/// A moment, and what happened then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) at: u64,
    pub(crate) what: What,
    /// The flow of the socket that is spoken of.
    pub(crate) flow: Option<(AttemptKind, usize)>,
}

/// The story of a run. `Display` tells it, one event a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    pub(crate) entries: Vec<Entry>,
}

impl Trace {
    /// How many things happened.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing happened, or nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A number that is the same for equal stories, and differs for others.
    #[must_use]
    pub fn hash(&self) -> u64 {
        use std::fmt::Write;
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
        for entry in &self.entries {
            let _ = writeln!(hash, "{entry}");
        }
        hash.0
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries
            .iter()
            .try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = Duration::from_nanos(self.at);
        let who = match self.what {
            What::Sent(segment, _) if segment.to_server => "client",
            What::Sent(..)
            | What::Accepted(_)
            | What::Verdict(..)
            | What::Malformed(_)
            | What::HandlerCalled(_)
            | What::HandlerRead(..)
            | What::HandlerEof(_)
            | What::Answered(..)
            | What::HandlerClosed(..) => "server",
            What::TooEarly(_)
            | What::Opened(_)
            | What::Failed(..)
            | What::Ended(_)
            | What::Timer(_)
            | What::Spurious(_) => "kernel",
            What::Step(_) | What::Told(..) | What::Started(..) => "race",
            What::PairOpened(_)
            | What::PairJoined(_)
            | What::PairStep(_)
            | What::PairTold(..)
            | What::PairHanded(_)
            | What::PairSettled => "gate",
            What::Read(_)
            | What::ReadEnd(_)
            | What::Wrote(_)
            | What::Act(_)
            | What::Uses(_)
            | What::StrangerRead(..)
            | What::Patience => "app",
        };
        write!(f, "{:>12.6} s  {who:<6}  ", at.as_secs_f64())?;
        match self.flow {
            Some((kind, target)) => write!(f, "{:<12}  ", format!("{kind} {target}"))?,
            None => write!(f, "{:<12}  ", "")?,
        }
        match self.what {
            What::Sent(segment, fate) => {
                write!(f, "{segment}")?;
                match fate {
                    Fate::Arrives(after) => {
                        write!(f, ", arrives after {:?}", Duration::from_nanos(after))
                    }
                    Fate::Lost => f.write_str(", LOST"),
                    Fate::Dropped => f.write_str(", DROPPED by the middlebox"),
                    Fate::Answered => f.write_str(", ANSWERED by the middlebox"),
                }
            }
            What::TooEarly(segment) => write!(f, "{segment} came before the SYN-ACK: dropped"),
            What::Opened(_) => f.write_str("opened"),
            What::Ended(_) => f.write_str("closed both ways"),
            What::Failed(_, kind) => write!(f, "failed: {kind:?}"),
            What::Timer(_) => f.write_str("retransmits"),
            What::Spurious(_) => f.write_str("is said to be ready"),
            What::Step(step) => write!(f, "asks: {step:?}"),
            What::Told(_, event) => write!(f, "is told: {event:?}"),
            What::Started(socket, ..) => write!(f, "socket {socket}"),
            What::Read(bytes) => write!(f, "reads {bytes} bytes"),
            What::ReadEnd(None) => f.write_str("reads the end"),
            What::ReadEnd(Some(kind)) => write!(f, "read fails: {kind:?}"),
            What::Wrote(bytes) => write!(f, "wrote {bytes} bytes"),
            What::Act(act) => write!(f, "{act:?}"),
            What::Patience => f.write_str("loses patience and drops the stream"),
            What::Uses(_) => f.write_str("is the one to go on with"),
            What::StrangerRead(_, bytes) => write!(f, "reads {bytes} bytes"),
            What::Accepted(_) => f.write_str("accepts"),
            What::Verdict(_, first) => f.write_str(match first {
                true => "first of its kind",
                false => "duplicate",
            }),
            What::Malformed(_) => f.write_str("malformed"),
            What::HandlerCalled(_) => f.write_str("handler called"),
            What::HandlerRead(_, bytes) => write!(f, "handler has read {bytes} bytes"),
            What::HandlerEof(_) => f.write_str("handler reads end of file"),
            What::Answered(_, bytes) => write!(f, "handler answers {bytes} bytes"),
            What::HandlerClosed(_, reset) => f.write_str(match reset {
                true => "handler resets",
                false => "handler closes",
            }),
            What::PairOpened(_) => f.write_str("kept open for copies"),
            What::PairJoined(_) => f.write_str("joins the pair"),
            What::PairStep(step) => write!(f, "pair asks: {step:?}"),
            What::PairTold(_, member, event) => {
                write!(f, "pair is told of member {}: {event:?}", member.index())
            }
            What::PairHanded(_) => f.write_str("is the connection: the application's own"),
            What::PairSettled => f.write_str("pair is settled"),
        }
    }
}

/// FNV-1a over text.
struct Fnv(u64);

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}
