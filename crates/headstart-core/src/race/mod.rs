//! The race: several connection attempts to one peer for one logical
//! connection, of which the first to answer is kept.
//!
//! A [`Race`] does no I/O. Its driver feeds it what happened
//! ([`write`](Race::write), [`handle`](Race::handle)) and does what
//! [`poll`](Race::poll) says; the crate's front page shows the loop.

mod attempt;
mod choice;
mod ending;
mod flight;
mod input;
mod leaving;
mod output;
mod query;
mod report;
mod schedule;
mod snapshot;
mod step;
#[cfg(test)]
mod table;

use alloc::vec::Vec;

pub use attempt::{AttemptId, AttemptKind, Event, Progress};
pub use ending::{Ending, Exit, Failure, FailureKind, NotStarted, Reasons};
pub use report::{AttemptReport, Outcome, Report, SynData};
pub use snapshot::{AttemptSnapshot, FlightPhase, Phase, Snapshot};
pub use step::{Accepted, Close, Step};

use crate::config::{Kinds, LoserClose, RaceConfig};
use crate::time::Instant;
use attempt::State;
use choice::Cutover;
use flight::{Boundary, Log};
use schedule::Turns;

/// An attempt, its story, and what is still to be done about its socket.
#[derive(Clone, Debug)]
struct Attempt {
    state: State,
    turn: usize,
    syn_payload: usize,
    close: Option<Close>,
    report: AttemptReport,
}

impl Attempt {
    fn is(&self, kind: AttemptKind) -> bool {
        self.report.kind == kind
    }
}

/// A race between connection attempts.
///
/// Order of calls: after any input, [`poll`](Self::poll) until it says
/// [`Step::Wait`] or [`Step::Settled`]. [`take`](Self::take) may succeed after
/// any of them. Late events, and events for attempts that are out, are harmless.
#[derive(Clone, Debug)]
pub struct Race {
    now: Instant,
    began: Instant,
    config: RaceConfig,
    attempts: Vec<Attempt>,
    turns: Turns,
    log: Log,
    cutover: Cutover,
    chosen: Option<AttemptId>,
    finishing: bool,
    abandoned: bool,
    /// When plain, or the connection, had delivered what was written before
    /// the application went.
    delivered: Option<Instant>,
}

impl Race {
    /// Starts a race: the first [`poll`](Self::poll) asks for its first attempt.
    pub fn new(config: RaceConfig, now: Instant) -> Self {
        let (attempts, turns) = schedule::plan(&config, now);
        let resets_losers = config.losers == LoserClose::Abortive;
        let mut race = Self {
            now,
            began: now,
            log: Log::new(&config.first_flight, config.held_max, resets_losers),
            config,
            attempts,
            turns,
            cutover: Cutover::default(),
            chosen: None,
            finishing: false,
            abandoned: false,
            delivered: None,
        };
        race.advance();
        race
    }

    /// The connection, once the application has it.
    fn handed_over(&self) -> Option<AttemptId> {
        self.chosen.filter(|id| self.state(*id) == State::Taken)
    }

    /// Clocks may jump; for the race, time only goes forward.
    fn tick(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn ids(&self) -> impl Iterator<Item = AttemptId> + use<> {
        (0..self.attempts.len()).map(AttemptId)
    }

    fn find(&self, wanted: impl Fn(AttemptId, &Attempt) -> bool) -> Option<AttemptId> {
        self.ids()
            .zip(&self.attempts)
            .find(|(id, attempt)| wanted(*id, attempt))
            .map(|(id, _)| id)
    }

    fn state(&self, id: AttemptId) -> State {
        self.attempts
            .get(id.index())
            .map_or(State::Out, |attempt| attempt.state)
    }

    /// The plain attempt that opened first.
    fn open_plain(&self) -> Option<AttemptId> {
        self.attempts
            .iter()
            .filter(|attempt| attempt.state.is_open() && attempt.is(AttemptKind::Plain))
            .min_by_key(|attempt| attempt.report.opened)
            .map(|attempt| attempt.report.id)
    }

    /// Brings everything that follows from the state and the time up to date.
    fn advance(&mut self) {
        self.end_flight_if_due();
        self.keep_turns();
        self.gate_fast_open();
        self.retire_fetchers();
        self.settle();
        self.close_delivered();
    }

    /// Once plain is open, what was written so far is the flight: plain alone
    /// would send it now (R9). Also when Fast Open is all that is left, which
    /// does not open before its flight has ended.
    fn end_flight_if_due(&mut self) {
        if !matches!(self.log.boundary(), Boundary::Gathering { .. }) || self.log.is_empty() {
            return;
        }
        if self.open_plain().is_some() || self.is_stalled() {
            self.log.end_flight();
        }
    }

    fn fast_open_only(&self) -> bool {
        self.config.kinds == Kinds::FastOpenOnly
    }
}
