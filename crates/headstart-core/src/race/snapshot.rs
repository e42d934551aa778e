//! Where a race stands, without its clock: for traces and for tests.

use alloc::vec::Vec;
use core::time::Duration;

use super::attempt::State;
use super::flight::Boundary;
use super::{AttemptId, AttemptKind, Close, Outcome, Race, SynData};
use crate::time::Instant;

/// All that decides what a race does next, free of absolute times: two races
/// with equal settings, bytes and snapshots go on alike, but for how long
/// handshakes have taken (see [`Report`](super::Report)).
///
/// Costs one small allocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// Each attempt, in the order of their numbers.
    pub attempts: Vec<AttemptSnapshot>,
    /// Where the first flight ends.
    pub flight: FlightPhase,
    /// Bytes in the log, a Token's header included.
    pub written: usize,
    /// The attempt that is the connection.
    pub chosen: Option<AttemptId>,
    /// Whether no byte will follow.
    pub finishing: bool,
    /// Whether the application is gone.
    pub abandoned: bool,
    /// Turns that have come.
    pub turns: usize,
    /// Time to the next turn, zero if only something else keeps it.
    pub turn_in: Option<Duration>,
    /// Time until held bytes may go to Fast Open without plain, zero if past.
    pub cutover_in: Option<Duration>,
    /// Time left to handshakes that the application did not wait for, zero if past.
    pub gives_up_in: Option<Duration>,
    /// Attempts that had nothing to say at the last look, by number.
    pub looked: u32,
}

/// Where one attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptSnapshot {
    /// Its kind.
    pub kind: AttemptKind,
    /// What it is at.
    pub phase: Phase,
    /// What became of data in its SYN.
    pub syn_data: SynData,
    /// How it stands in the race.
    pub outcome: Outcome,
    /// How its socket is to be closed, until that is asked.
    pub close: Option<Close>,
}

/// What an attempt is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Its turn has not come, or its flight is not in hand.
    Waiting,
    /// To be started now.
    Due,
    /// The SYN is out.
    Handshake {
        /// Bytes of the log that the kernel took with it.
        taken: usize,
        /// Whether it asks for a cookie and carries nothing.
        cookie_request: bool,
    },
    /// Out, but its handshake may bring a cookie.
    Fetching {
        /// Time left to it.
        gives_up_in: Duration,
    },
    /// Both ways are open.
    Open {
        /// Bytes of the log that the kernel took.
        taken: usize,
        /// Whether the kernel may take more.
        writable: bool,
        /// Whether FIN was handed over.
        finished: bool,
    },
    /// The application has it.
    Taken,
    /// Out while it was being started.
    Recalled,
    /// Out.
    Out,
}

impl Phase {
    /// Whether it can still become the connection.
    pub const fn contends(self) -> bool {
        matches!(
            self,
            Self::Waiting | Self::Due | Self::Handshake { .. } | Self::Open { .. }
        )
    }

    /// Whether both ways are open.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open { .. })
    }
}

/// Where the first flight ends, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlightPhase {
    /// No byte may be copied.
    Uncopied,
    /// Its framing wants more bytes.
    Scanning,
    /// It ends at the next read, flush or shutdown.
    Gathering,
    /// After so many bytes.
    Complete(usize),
}

impl Race {
    /// Where the race stands now.
    pub fn snapshot(&self) -> Snapshot {
        let left = |deadline: Instant| deadline.saturating_since(self.now);
        Snapshot {
            attempts: self
                .attempts
                .iter()
                .map(|attempt| AttemptSnapshot {
                    kind: attempt.report.kind,
                    phase: phase(attempt.state, self.now),
                    syn_data: attempt.report.syn_data,
                    outcome: attempt.report.outcome,
                    close: attempt.close,
                })
                .collect(),
            flight: match self.log.boundary() {
                Boundary::Uncopied => FlightPhase::Uncopied,
                Boundary::Scanning(_) => FlightPhase::Scanning,
                Boundary::Gathering { .. } => FlightPhase::Gathering,
                Boundary::Complete(end) => FlightPhase::Complete(*end),
            },
            written: self.log.len(),
            chosen: self.chosen,
            finishing: self.finishing,
            abandoned: self.abandoned,
            turns: self.turns.come(),
            turn_in: self.turns.next_due().map(left),
            cutover_in: self.cutover_end().map(left),
            gives_up_in: self.delivery_deadline().map(left),
            looked: self.cutover.looked_at(),
        }
    }
}

fn phase(state: State, now: Instant) -> Phase {
    match state {
        State::Waiting => Phase::Waiting,
        State::Due => Phase::Due,
        State::Handshake {
            taken,
            cookie_request,
        } => Phase::Handshake {
            taken,
            cookie_request,
        },
        State::Fetching { until } => Phase::Fetching {
            gives_up_in: until.saturating_since(now),
        },
        State::Open {
            taken,
            writable,
            finished,
        } => Phase::Open {
            taken,
            writable,
            finished,
        },
        State::Taken => Phase::Taken,
        State::Recalled => Phase::Recalled,
        State::Out => Phase::Out,
    }
}
