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
use attempt::{Effect, State};
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
        };
        race.advance();
        race
    }

    /// Takes bytes of the application's, as many as the log has room for.
    pub fn write(&mut self, now: Instant, bytes: &[u8]) -> Accepted {
        self.write_vectored(now, [bytes])
    }

    /// As [`write`](Self::write), for several pieces that are one write.
    pub fn write_vectored<'a>(
        &mut self,
        now: Instant,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Accepted {
        self.tick(now);
        if let Some(id) = self.handed_over() {
            return Accepted::Bound(id);
        }
        if self.finishing {
            return Accepted::Finished;
        }
        if self.is_dead() {
            return Accepted::Dead;
        }
        if let Some(id) = self.chosen
            && self.open_attempt(id).is_some()
            && !matches!(self.log.boundary(), Boundary::Gathering { .. })
        {
            // Once it is open, the log only empties, so that it ever does.
            return match self.drained(id) {
                true => Accepted::Bound(id),
                false => Accepted::Full,
            };
        }
        let mut offered = false;
        let pieces = pieces
            .into_iter()
            .inspect(|piece| offered |= !piece.is_empty());
        let taken = self.log.accept(pieces);
        if offered && taken == 0 {
            return Accepted::Full;
        }
        self.advance();
        Accepted::Bytes(taken)
    }

    /// Takes these bytes, all of them, as the whole first flight, where the
    /// flight is known only by what is written and nothing was. Otherwise
    /// takes nothing and says `false`.
    pub fn write_first_flight(&mut self, now: Instant, bytes: &[u8]) -> bool {
        self.tick(now);
        let taken = !self.finishing
            && !self.is_dead()
            && self.handed_over().is_none()
            && self.log.accept_flight(bytes);
        self.advance();
        taken
    }

    /// Ends the first flight where it is known only by what is written
    /// ([`FirstFlight::Asserted`], [`FirstFlight::Token`]): called on the
    /// first read, flush or shutdown. Otherwise nothing.
    pub fn end_flight(&mut self, now: Instant) {
        self.tick(now);
        if matches!(self.log.boundary(), Boundary::Gathering { .. }) && self.handed_over().is_none()
        {
            self.log.end_flight();
            self.advance();
        }
    }

    /// No byte follows what was written: FIN goes after the flight's last byte
    /// on every attempt, or after held bytes on the chosen one (R11).
    pub fn shutdown(&mut self, now: Instant) {
        self.tick(now);
        if self.handed_over().is_some() {
            return;
        }
        self.finishing = true;
        self.log.end_flight();
        self.advance();
    }

    /// The application is gone. What was written is delivered as a plain
    /// connection would deliver it (R16), then everything is closed.
    pub fn abandon(&mut self, now: Instant) {
        self.tick(now);
        if self.handed_over().is_some() {
            return;
        }
        self.abandoned = true;
        if self.log.is_empty() && !self.finishing {
            for id in self.ids() {
                self.leave(id, Exit::Lost);
            }
            return;
        }
        self.finishing = true;
        self.log.end_flight();
        self.advance();
    }

    /// What this attempt may be sent and has not been, in order: empty if
    /// nothing.
    pub fn unsent(&self, id: AttemptId) -> [&[u8]; 2] {
        let taken = match self.state(id) {
            State::Due => 0,
            State::Handshake { taken, .. } | State::Open { taken, .. } => taken,
            State::Waiting
            | State::Fetching { .. }
            | State::Taken
            | State::Recalled
            | State::Out => {
                return [&[], &[]];
            }
        };
        let limit = self.limit(id);
        let middle = self
            .log
            .flight()
            .unwrap_or(limit)
            .clamp(taken, limit.max(taken));
        [self.log.range(taken, middle), self.log.range(middle, limit)]
    }

    /// Takes what happened to an attempt.
    pub fn handle(&mut self, now: Instant, id: AttemptId, event: Event) {
        self.tick(now);
        if self.says_nothing(id, event) {
            return;
        }
        let limit = self.limit(id);
        let Some(attempt) = self.attempts.get_mut(id.index()) else {
            return;
        };
        let (next, effect) = attempt.state.next(event, limit);
        attempt.state = next;
        if let State::Handshake { taken, .. } | State::Open { taken, .. } = next {
            attempt.report.bytes = taken;
        }
        match effect {
            Effect::None => {}
            Effect::Started(progress) => {
                attempt.report.started.get_or_insert(now);
                match progress {
                    Progress::Handshake => {}
                    Progress::DataInSyn(_) => attempt.report.syn_data = SynData::Sent,
                    Progress::CookieRequest => attempt.report.cookie_requested = true,
                }
                self.turns.leader_started(attempt.turn, now);
            }
            Effect::Opened(syn_data) => {
                attempt.report.opened.get_or_insert(now);
                // What was not sent cannot be acknowledged.
                if attempt.report.syn_data == SynData::Sent {
                    attempt.report.syn_data = syn_data;
                }
            }
            Effect::Quiet => self.cutover.looked(id),
            Effect::Replied => {
                attempt.report.opened.get_or_insert(now);
                attempt.report.first_byte.get_or_insert(now);
                self.choose(id);
            }
            Effect::Exit(exit) => self.leave_with(id, exit, Some(Close::Abortive)),
            Effect::Ended { taken } => {
                let whole = taken >= self.whole_flight();
                self.leave_with(id, Exit::Ended { whole }, Some(Close::Abortive));
            }
            Effect::Fetched => attempt.close = Some(Close::Abortive),
            Effect::Stray => attempt.close = Some(Close::Abortive),
        }
        self.advance();
    }

    /// What to do next.
    pub fn poll(&mut self, now: Instant) -> Step {
        self.tick(now);
        self.advance();
        if let Some(step) = self.close_step() {
            return step;
        }
        if let Some(id) = self.find(|_, attempt| attempt.state == State::Due) {
            if let Some(attempt) = self.attempts.get_mut(id.index()) {
                attempt.report.started.get_or_insert(now);
            }
            return Step::Start(id);
        }
        if let Some(id) = self.to_look_at() {
            return Step::Look(id);
        }
        if let Some(id) = self.find(|id, attempt| match attempt.state {
            State::Open {
                taken,
                writable: true,
                ..
            } => taken < self.limit(id),
            _ => false,
        }) {
            return Step::Write(id);
        }
        if let Some(id) = self.find(|id, _| self.owes_fin(id)) {
            return Step::Shutdown(id);
        }
        if self.is_over() {
            return Step::Settled;
        }
        Step::Wait(self.deadline())
    }

    /// The attempt that is the connection, chosen by a reply, as the sole
    /// survivor, or to take held bytes.
    pub fn chosen(&self) -> Option<AttemptId> {
        self.chosen
    }

    /// Hands the connection to the application, once it is chosen and open,
    /// everything written has been handed to it and, after a
    /// [`shutdown`](Self::shutdown), FIN as well. From then on its bytes are
    /// none of the race's business. `Some` once.
    pub fn take(&mut self) -> Option<AttemptId> {
        let id = self.chosen?;
        let ready = self.drained(id) && !self.abandoned;
        let attempt = self.attempts.get_mut(id.index())?;
        match attempt.state {
            State::Open { finished, .. } if ready && (finished || !self.finishing) => {
                attempt.state = State::Taken;
                Some(id)
            }
            _ => None,
        }
    }

    /// Whether a flush is done: the connection is chosen, or a kernel holds
    /// everything written (R16).
    pub fn is_flushed(&self) -> bool {
        self.chosen.is_some()
            || self.attempts.iter().any(|attempt| match attempt.state {
                State::Handshake { taken, .. } | State::Open { taken, .. } => {
                    taken >= self.log.len()
                }
                _ => false,
            })
    }

    /// Whether FIN was handed to a kernel, on the connection once it is chosen.
    pub fn is_finished(&self) -> bool {
        self.attempts.iter().any(|attempt| match attempt.state {
            State::Open { finished, .. } => finished,
            State::Taken => self.finishing,
            _ => attempt.report.outcome == Outcome::Out(Exit::Delivered),
        })
    }

    /// How the race ended, if it ended without a connection.
    pub fn ending(&self) -> Option<Ending> {
        self.is_dead().then(|| self.reasons().ending())
    }

    /// Why the attempts that are out are out.
    pub fn reasons(&self) -> Reasons {
        let mut reasons = Reasons::default();
        for attempt in &self.attempts {
            if let Outcome::Out(exit) = attempt.report.outcome {
                reasons.push(attempt.report.id, attempt.report.kind, exit);
            }
        }
        reasons
    }

    /// The story so far.
    pub fn report(&self) -> Report {
        Report {
            began: self.began,
            flight: self.log.flight(),
            attempts: self.attempts.iter().map(|attempt| attempt.report).collect(),
        }
    }

    /// The attempt with this number, if there is one.
    pub fn id(&self, index: usize) -> Option<AttemptId> {
        (index < self.attempts.len()).then_some(AttemptId(index))
    }

    /// The kind of an attempt, and the position of its address.
    pub fn attempt(&self, id: AttemptId) -> Option<(AttemptKind, usize)> {
        let attempt = self.attempts.get(id.index())?;
        Some((attempt.report.kind, attempt.report.target))
    }

    /// Whether this attempt's handshake is under way: its driver waits for it
    /// to open.
    pub fn is_opening(&self, id: AttemptId) -> bool {
        matches!(
            self.state(id),
            State::Handshake { .. } | State::Fetching { .. }
        )
    }

    /// Whether this attempt has something to send and waits for room.
    pub fn is_blocked(&self, id: AttemptId) -> bool {
        match self.state(id) {
            State::Open {
                taken,
                writable: false,
                ..
            } => taken < self.limit(id),
            _ => false,
        }
    }

    /// Bytes in the log; at most [`FLIGHT_MAX`](crate::framing::FLIGHT_MAX) and `held_max`.
    pub fn log_len(&self) -> usize {
        self.log.len()
    }

    /// Whether an event is an answer that nobody asked for, or the end of the
    /// connection, which the application will read there itself.
    fn says_nothing(&self, id: AttemptId, event: Event) -> bool {
        match event {
            Event::Finished => !self.owes_fin(id),
            Event::Quiet => self.to_look_at().is_none(),
            Event::Ended => self.chosen == Some(id),
            _ => false,
        }
    }

    /// What an attempt must have taken so that its end of file answers all of
    /// the first flight (R4).
    fn whole_flight(&self) -> usize {
        match self.log.is_empty() {
            true => 0,
            false => self.log.flight().unwrap_or(self.log.len()),
        }
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

    fn open_attempt(&self, id: AttemptId) -> Option<&Attempt> {
        self.attempts
            .get(id.index())
            .filter(|attempt| attempt.state.is_open())
    }

    /// The plain attempt that opened first.
    fn open_plain(&self) -> Option<AttemptId> {
        self.attempts
            .iter()
            .filter(|attempt| attempt.state.is_open() && attempt.is(AttemptKind::Plain))
            .min_by_key(|attempt| attempt.report.opened)
            .map(|attempt| attempt.report.id)
    }

    /// How far into the log an attempt may go.
    fn limit(&self, id: AttemptId) -> usize {
        let flight = self.log.flight().unwrap_or(0);
        let Some(attempt) = self.attempts.get(id.index()) else {
            return 0;
        };
        match (self.chosen, self.log.boundary()) {
            (Some(chosen), _) if chosen != id => 0,
            // The network may deliver a SYN twice: it carries the flight, no
            // more (R13), and plain's carries nothing.
            _ if attempt.state == State::Due && attempt.is(AttemptKind::Plain) => 0,
            _ if attempt.state == State::Due => flight,
            (None, _) => flight,
            (Some(_), Boundary::Gathering { .. }) => 0,
            (Some(_), Boundary::Uncopied | Boundary::Scanning(_) | Boundary::Complete(_)) => {
                self.log.len()
            }
        }
    }

    /// Whether the chosen attempt has taken everything, a Token included.
    fn drained(&self, id: AttemptId) -> bool {
        match self.state(id) {
            State::Open { taken, .. } => {
                taken >= self.log.len()
                    && !matches!(self.log.boundary(), Boundary::Gathering { token: Some(_) })
            }
            _ => false,
        }
    }

    /// FIN goes behind the last byte that there will be.
    fn may_finish(&self, id: AttemptId, taken: usize) -> bool {
        self.finishing
            && taken >= self.log.len()
            && (self.chosen == Some(id) || self.chosen.is_none() && self.log.held() == 0)
    }

    fn owes_fin(&self, id: AttemptId) -> bool {
        match self.state(id) {
            State::Open {
                taken,
                finished: false,
                ..
            } => self.may_finish(id, taken),
            _ => false,
        }
    }

    fn is_over(&self) -> bool {
        self.attempts
            .iter()
            .all(|attempt| matches!(attempt.state, State::Taken | State::Recalled | State::Out))
    }

    /// Whether no attempt is, or can become, the connection.
    fn is_dead(&self) -> bool {
        !self
            .attempts
            .iter()
            .any(|attempt| attempt.state.contends() || attempt.state == State::Taken)
    }

    fn close_step(&mut self) -> Option<Step> {
        self.attempts.iter_mut().find_map(|attempt| {
            let close = attempt.close.take()?;
            Some(Step::Close(attempt.report.id, close))
        })
    }

    /// Takes an attempt out of the race, closing its socket as losers are closed.
    fn leave(&mut self, id: AttemptId, exit: Exit) {
        let close = match (self.config.losers, self.state(id)) {
            (LoserClose::Graceful, State::Open { .. }) => Close::Graceful,
            _ => Close::Abortive,
        };
        self.leave_with(id, exit, Some(close));
    }

    fn leave_with(&mut self, id: AttemptId, exit: Exit, close: Option<Close>) {
        let now = self.now;
        let Some(attempt) = self.attempts.get_mut(id.index()) else {
            return;
        };
        if let Outcome::Out(_) = attempt.report.outcome {
            return;
        }
        let started = !matches!(attempt.state, State::Waiting | State::Due)
            && !matches!(exit, Exit::NotStarted(_));
        let recalled = attempt.state == State::Due && attempt.report.started.is_some();
        attempt.report.outcome = Outcome::Out(match exit {
            Exit::Lost if !started => Exit::NotStarted(NotStarted::Decided),
            exit => exit,
        });
        if started {
            attempt.report.ended = Some(now);
            attempt.close = close;
        } else {
            attempt.report.started = None;
        }
        attempt.state = match recalled {
            true => State::Recalled,
            false => State::Out,
        };
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

    /// Once a connection is open, what was written so far is the flight:
    /// plain alone would send it now (R9). Also when Fast Open is all that is left.
    fn end_flight_if_due(&mut self) {
        if !matches!(self.log.boundary(), Boundary::Gathering { .. }) || self.log.is_empty() {
            return;
        }
        let open = self.open_plain().is_some()
            || self
                .chosen
                .is_some_and(|id| self.open_attempt(id).is_some());
        if open || self.is_stalled() {
            self.log.end_flight();
        }
    }

    fn fast_open_only(&self) -> bool {
        self.config.kinds == Kinds::FastOpenOnly
    }
}
