//! What a race asks of its driver.

use super::AttemptId;
use crate::time::Instant;

/// The next thing to do, from [`Race::poll`](super::Race::poll).
///
/// Every step but [`Wait`](Self::Wait) and [`Settled`](Self::Settled) is to be
/// done at once and, where an answer is named, answered with
/// [`Race::handle`](super::Race::handle). An unanswered step is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Step {
    /// Open a socket of the attempt's kind to its address. Fast Open takes
    /// [`Race::unsent`](super::Race::unsent) in its SYN. Answer: `Started`,
    /// `NotStarted` or `Failed`.
    Start(AttemptId),
    /// Read without taking, once. Answer: `Replied`, `Ended`, `Failed` or `Quiet`.
    Look(AttemptId),
    /// Write [`Race::unsent`](super::Race::unsent). Answer: `Wrote`, `Blocked`
    /// or `Failed`.
    Write(AttemptId),
    /// Send FIN. Answer: `Finished` or `Failed`.
    Shutdown(AttemptId),
    /// Close it. The race has forgotten it; no answer.
    Close(AttemptId, Close),
    /// Nothing to do before the next input or this time, which is always in
    /// the future; without a time, before the next input.
    Wait(Option<Instant>),
    /// Nothing will ever be to do: the application has the connection, or
    /// every attempt is out.
    Settled,
}

/// How a socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Close {
    /// By RST, leaving no TIME_WAIT (SO_LINGER 0).
    Abortive,
    /// As an ordinary program would, the kernel delivering what it has.
    Graceful,
}

/// What became of written bytes, from [`Race::write`](super::Race::write).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Accepted {
    /// So many bytes are in the log and will be delivered; at least 1, unless
    /// none were offered.
    Bytes(usize),
    /// None: the log is full until the connection is chosen, or being emptied.
    Full,
    /// None: this attempt is the connection and has all that came before.
    /// [`Race::take`](super::Race::take) it and write to it directly.
    Bound(AttemptId),
    /// None: writing was shut down.
    Finished,
    /// None: every attempt is out.
    Dead,
}
