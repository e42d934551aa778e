//! Why attempts and races end.

use alloc::vec::Vec;
use core::fmt;

use super::{AttemptId, AttemptKind};
use crate::path::Trouble;

/// What went wrong with an attempt, as the operating system told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Failure {
    /// What it means.
    pub kind: FailureKind,
    /// The system's own number (`errno`), if there was one.
    pub os: Option<i32>,
}

impl Failure {
    /// A failure without a number of the system's.
    pub const fn new(kind: FailureKind) -> Self {
        Self { kind, os: None }
    }
}

/// What a [`Failure`] means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The SYN was answered by RST.
    Refused,
    /// The connection was reset.
    Reset,
    /// No route, or an ICMP message said so.
    Unreachable,
    /// The kernel gave up.
    TimedOut,
    /// No descriptor, port, buffer or place in the budget was left.
    NoResources,
    /// The system forbids it.
    NotPermitted,
    /// The system does not have it, or has it switched off.
    Unsupported,
    /// Anything else.
    Other,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            FailureKind::Refused => "refused",
            FailureKind::Reset => "reset",
            FailureKind::Unreachable => "unreachable",
            FailureKind::TimedOut => "timed out",
            FailureKind::NoResources => "no resources",
            FailureKind::NotPermitted => "not permitted",
            FailureKind::Unsupported => "unsupported",
            FailureKind::Other => "failed",
        })?;
        match self.os {
            Some(number) => write!(f, " (os error {number})"),
            None => Ok(()),
        }
    }
}

/// Which rule kept an attempt from starting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotStarted {
    /// R7: plain was open before the first message was complete.
    PlainOpen,
    /// R7: the first message does not fit in one SYN.
    TooLong,
    /// R13: nothing was stated of the first bytes, or they failed the check.
    NotReplaySafe,
    /// R7: there is no first message to carry.
    NoFlight,
    /// The peer is not known to debounce.
    PeerUnaware,
    /// The path memory speaks against it, for this trouble.
    PathSuspended(Trouble),
    /// The race was over, or the application gone, before its turn came.
    Decided,
    /// R12: the socket could not be had.
    Failed(Failure),
}

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PlainOpen => f.write_str("plain was open first"),
            Self::TooLong => f.write_str("first message longer than one SYN"),
            Self::NotReplaySafe => f.write_str("first bytes not known to be replay-safe"),
            Self::NoFlight => f.write_str("no first message"),
            Self::PeerUnaware => f.write_str("peer not known to debounce"),
            Self::PathSuspended(trouble) => write!(f, "not on this path: {trouble}"),
            Self::Decided => f.write_str("race decided before its turn"),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

/// How an attempt left the race.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It never started.
    NotStarted(NotStarted),
    /// It failed before any reply.
    Failed(Failure),
    /// The peer ended it before any reply; `whole` if it had taken all that
    /// was written.
    Ended {
        /// Whether everything written had been handed to it.
        whole: bool,
    },
    /// Another attempt became the connection.
    Lost,
    /// It asked for a cookie and carried nothing, since plain opened first.
    CookieOnly,
    /// The application was gone; everything written was handed to it first.
    Delivered,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(why) => write!(f, "not started: {why}"),
            Self::Failed(failure) => failure.fmt(f),
            Self::Ended { whole: true } => f.write_str("closed by the peer"),
            Self::Ended { whole: false } => {
                f.write_str("closed by the peer before it had taken what was written")
            }
            Self::Lost => f.write_str("lost"),
            Self::CookieOnly => f.write_str("only fetched a cookie"),
            Self::Delivered => f.write_str("delivered"),
        }
    }
}

/// Why every attempt so far is out: what an error of the race carries (R4, R5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reasons {
    list: Vec<(AttemptId, AttemptKind, Exit)>,
}

impl Reasons {
    pub(super) fn push(&mut self, id: AttemptId, kind: AttemptKind, exit: Exit) {
        self.list.push((id, kind, exit));
    }

    /// Each attempt that is out, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (AttemptId, AttemptKind, Exit)> + '_ {
        self.list.iter().copied()
    }

    /// Adds the end of the attempt that was the connection, and says what that
    /// is to the application (R4): an end of file if one attempt ended cleanly
    /// with the whole flight and the others by end of file or reset, an error
    /// otherwise.
    pub fn end(mut self, id: AttemptId, kind: AttemptKind, exit: Exit) -> Ending {
        self.list.retain(|(other, ..)| *other != id);
        self.push(id, kind, exit);
        self.list.sort_by_key(|(id, ..)| *id);
        self.ending()
    }

    pub(super) fn ending(self) -> Ending {
        let started = || {
            self.list
                .iter()
                .filter(|(_, _, exit)| !matches!(exit, Exit::NotStarted(_) | Exit::CookieOnly))
        };
        let alone = started().count() == 1;
        let clean = started().any(|(_, _, exit)| match exit {
            Exit::Ended { whole } => *whole || alone,
            Exit::Delivered => true,
            Exit::NotStarted(_) | Exit::Failed(_) | Exit::Lost | Exit::CookieOnly => false,
        });
        let harmless = started().all(|(_, _, exit)| match exit {
            Exit::Ended { .. } | Exit::Delivered | Exit::Lost => true,
            Exit::Failed(failure) => {
                matches!(failure.kind, FailureKind::Reset | FailureKind::Refused)
            }
            Exit::NotStarted(_) | Exit::CookieOnly => true,
        });
        if clean && harmless {
            Ending::Eof
        } else {
            Ending::Failed(self)
        }
    }

    /// The failure that stands for all: plain's first, since that is what a
    /// program without Headstart would have seen.
    pub fn leading(&self) -> Option<Failure> {
        let of = |wanted: Option<AttemptKind>| {
            self.list.iter().find_map(|(_, kind, exit)| match exit {
                Exit::Failed(failure) | Exit::NotStarted(NotStarted::Failed(failure))
                    if wanted.is_none_or(|wanted| wanted == *kind) =>
                {
                    Some(*failure)
                }
                _ => None,
            })
        };
        of(Some(AttemptKind::Plain)).or_else(|| of(None))
    }
}

impl fmt::Display for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (_, kind, exit)) in self.list.iter().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            write!(f, "{separator}{kind}: {exit}")?;
        }
        Ok(())
    }
}

impl core::error::Error for Reasons {}

/// How a race without a connection ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The peer closed before it replied: reads give end of file.
    Eof,
    /// Every attempt is out, and these are the reasons.
    Failed(Reasons),
}
