//! The race and everything around it that a rule speaks of.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use headstart_core::config::{LoserClose, Peer};
use headstart_core::race::{
    Accepted, AttemptId, AttemptKind, Close, Event, Exit, FailureKind, NotStarted, Outcome, Phase,
    Progress, Race, Report, Snapshot, Step, SynData,
};
use headstart_core::time::Instant;

use super::rules;
use super::{Setup, Verdict};

/// Something that happens to a race.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The driver tells an event of an attempt, asked for or not.
    Tell(usize, Event),
    /// The application writes so many of its bytes.
    Write(usize),
    /// The application states its whole first flight.
    FirstFlight(usize),
    /// The application has written its whole first flight.
    EndFlight,
    /// The application shuts writing down.
    Shutdown,
    /// The application drops the stream.
    Abandon,
    /// The driver asks for the connection.
    Take,
    /// Time passes.
    Pass(Duration),
    /// Time passes to the deadline that the race named.
    Deadline,
}

/// What has become of an attempt's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Socket {
    Never,
    Held,
    Closed,
    Taken,
}

/// What made an attempt leave, as its driver saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Cause {
    Ended {
        whole: bool,
    },
    /// By a reset or a refusal.
    Harmless,
    /// By any other failure.
    Harmful,
    Unstarted,
}

/// One attempt, as the network sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Leg {
    pub(super) socket: Socket,
    /// Bytes handed to its kernel.
    pub(super) received: usize,
    pub(super) fin: bool,
    pub(super) cause: Option<Cause>,
    pub(super) looked: bool,
}

/// A race, its sockets, its application and its clock.
#[derive(Clone, Debug)]
pub struct World {
    pub(super) setup: Setup,
    pub(super) race: Race,
    pub(super) now: Instant,
    pub(super) legs: Vec<Leg>,
    /// Bytes that the race has accepted.
    pub(super) accepted: usize,
    pub(super) finishing: bool,
    pub(super) abandoned: bool,
    pub(super) flight: Option<usize>,
    pub(super) held_since: Option<Instant>,
    pub(super) snap: Snapshot,
    pub(super) step: Step,
}

/// What a peer's program is given, besides a handshake, to reset the copy that it
/// did not serve. Not the core's own number: a model does not ask what it judges.
const RESET_TAKES: Duration = Duration::from_millis(250);

/// The moment at which every race under test begins.
pub(super) const BEGAN: Instant = Instant::from_nanos(1000);

impl World {
    /// A race that has just begun, polled for the first time.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn new(setup: Setup) -> Result<Self, String> {
        let race = Race::new(setup.config(), BEGAN);
        let snap = race.snapshot();
        let leg = Leg {
            socket: Socket::Never,
            received: 0,
            fin: false,
            cause: None,
            looked: false,
        };
        let mut legs = vec![leg; snap.attempts.len()];
        for (leg, attempt) in legs.iter_mut().zip(&snap.attempts) {
            leg.cause = (attempt.phase == Phase::Out).then_some(Cause::Unstarted);
        }
        let mut world = Self {
            setup,
            race,
            now: BEGAN,
            legs,
            accepted: 0,
            finishing: false,
            abandoned: false,
            flight: None,
            held_since: None,
            snap,
            step: Step::Settled,
        };
        world.quiesce()?;
        rules::first_step(&world)?;
        rules::standing(&world)?;
        Ok(world)
    }

    /// Does one thing, polls, and asserts every rule.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn apply(&mut self, action: Action) -> Verdict {
        let before = self.snap.clone();
        let asked = self.step;
        self.act(action)?;
        rules::transition(&before, asked, action, self)?;
        // Where nothing changed, what held before still holds.
        if self.snap == before && self.step == asked && !matches!(action, Action::Pass(_)) {
            return Ok(());
        }
        rules::standing(self)
    }

    /// Does one thing and polls; asserts only what the model itself knows.
    pub(super) fn act(&mut self, action: Action) -> Verdict {
        match action {
            Action::Tell(index, event) => self.tell(index, event)?,
            Action::Write(bytes) => self.write(bytes)?,
            Action::FirstFlight(bytes) => self.first_flight(bytes)?,
            Action::EndFlight => self.race.end_flight(self.now),
            Action::Shutdown => {
                self.race.shutdown(self.now);
                self.finishing |= !self.is_taken();
            }
            Action::Abandon => {
                self.race.abandon(self.now);
                self.abandoned |= !self.is_taken();
                self.finishing |= self.race.snapshot().finishing;
            }
            Action::Take => self.take()?,
            Action::Pass(time) => self.now = self.now.saturating_add(time),
            Action::Deadline => {
                if let Step::Wait(Some(deadline)) = self.step {
                    self.now = deadline;
                }
            }
        }
        self.quiesce()
    }

    /// Everything that was or will be on the wire, in bytes.
    pub(super) fn total(&self) -> usize {
        match self.snap.flight {
            _ if self.accepted > 0 => self.setup.header_len() + self.accepted,
            headstart_core::race::FlightPhase::Complete(_) => self.setup.header_len(),
            _ => 0,
        }
    }

    /// Bytes beyond the first flight.
    pub(super) fn held(&self) -> usize {
        self.flight
            .map_or(0, |end| self.total().saturating_sub(end))
    }

    pub(super) fn phase(&self, index: usize) -> Phase {
        self.snap.attempts[index].phase
    }

    pub(super) fn is_plain(&self, index: usize) -> bool {
        self.snap.attempts[index].kind == AttemptKind::Plain
    }

    pub(super) fn chosen(&self) -> Option<usize> {
        self.snap.chosen.map(|id| id.index())
    }

    pub(super) fn is_taken(&self) -> bool {
        self.legs.iter().any(|leg| leg.socket == Socket::Taken)
    }

    pub(super) fn contends(&self, index: usize) -> bool {
        self.phase(index).contends()
    }

    /// The plain attempt that opened first.
    pub(super) fn open_plain(&self) -> Option<usize> {
        let report = self.race.report();
        (0..self.legs.len())
            .filter(|index| self.is_plain(*index) && self.phase(*index).is_open())
            .min_by_key(|index| report.attempts[*index].opened)
    }

    /// What the rules allow an attempt to have been sent (R6, R13).
    pub(super) fn permitted(&self, index: usize) -> usize {
        match self.chosen() {
            Some(chosen) if chosen == index => self.total(),
            Some(_) => 0,
            None => self.flight.unwrap_or(0),
        }
    }

    /// Whether an attempt owes its FIN (R11).
    pub(super) fn owes_fin(&self, index: usize) -> bool {
        let last = match self.chosen() {
            Some(chosen) => chosen == index,
            None => self.held() == 0,
        };
        let open = self.phase(index).is_open() && !self.legs[index].fin;
        open && self.finishing && last && self.legs[index].received == self.total()
    }

    fn tell(&mut self, index: usize, event: Event) -> Verdict {
        let id = self.race.id(index).expect("an attempt of this race");
        let phase = self.phase(index);
        let unsent: Vec<u8> = self.race.unsent(id).concat();
        rule!(
            self.legs[index].received + unsent.len()
                <= self.permitted(index).max(self.legs[index].received),
            "R6 attempt {index} is offered bytes beyond what it may have: {unsent:?}"
        );
        match (phase, event) {
            (Phase::Due, Event::Started(progress)) => {
                self.gets_socket(index);
                if let Progress::DataInSyn(bytes) = progress {
                    rule!(
                        unsent.len() <= self.flight.unwrap_or(0),
                        "R13 a SYN is offered more than the first flight"
                    );
                    self.receives(index, &unsent, bytes)?;
                }
            }
            (Phase::Recalled, Event::Started(_) | Event::Failed(_)) => self.gets_socket(index),
            (Phase::Due, Event::NotStarted(_)) => self.legs[index].cause = Some(Cause::Unstarted),
            (Phase::Due, Event::Failed(failure)) => {
                self.gets_socket(index);
                self.legs[index].cause = Some(cause(failure.kind));
            }
            (Phase::Open { .. }, Event::Wrote(bytes)) => self.receives(index, &unsent, bytes)?,
            (Phase::Open { .. }, Event::Finished) if self.owes_fin(index) => {
                self.legs[index].fin = true;
            }
            (Phase::Handshake { .. } | Phase::Open { .. }, Event::Failed(failure)) => {
                self.legs[index].cause = Some(cause(failure.kind));
            }
            (Phase::Handshake { .. } | Phase::Open { .. }, Event::Ended)
                if self.chosen() != Some(index) =>
            {
                let wanted = match self.accepted {
                    0 => self.flight.unwrap_or(0),
                    _ => self.flight.unwrap_or(self.total()),
                };
                let whole = self.legs[index].received >= wanted;
                self.legs[index].cause = Some(Cause::Ended { whole });
            }
            // A look that was not asked for is as good, while others are due.
            (_, Event::Quiet) if matches!(self.step, Step::Look(_) | Step::Start(_)) => {
                self.legs[index].looked = true;
            }
            _ => {}
        }
        self.race.handle(self.now, id, event);
        Ok(())
    }

    fn gets_socket(&mut self, index: usize) {
        self.legs[index].socket = Socket::Held;
    }

    fn receives(&mut self, index: usize, unsent: &[u8], bytes: usize) -> Verdict {
        let leg = &mut self.legs[index];
        for byte in unsent.iter().take(bytes) {
            rule!(
                *byte == self.setup.log_byte(leg.received, self.flight),
                "R2 attempt {index} is sent another byte at {}",
                leg.received
            );
            leg.received += 1;
        }
        Ok(())
    }

    fn write(&mut self, bytes: usize) -> Verdict {
        let data: Vec<u8> = (self.accepted..self.accepted + bytes)
            .map(|place| self.setup.app_byte(place))
            .collect();
        let taken = self.is_taken();
        // Two pieces, so that vectored writes are tried as well.
        let (first, second) = data.split_at(bytes / 2);
        let accepted = self.race.write_vectored(self.now, [first, second]);
        match accepted {
            Accepted::Bytes(some) => {
                rule!(
                    some > 0 && some <= bytes,
                    "write took {some} of {bytes} bytes"
                );
                rule!(!taken && !self.finishing, "write took bytes after the end");
                self.accepted += some;
            }
            Accepted::Full => {
                let draining = self
                    .chosen()
                    .is_some_and(|index| self.phase(index).is_open());
                let full = self.race.log_len() >= rules::log_bound(self);
                rule!(draining || full, "R1 write says full with room left");
            }
            Accepted::Bound(id) => {
                rule!(
                    self.chosen() == Some(id.index()),
                    "bound to another attempt"
                );
                rule!(
                    taken || self.legs[id.index()].received == self.total(),
                    "bound before the log was drained"
                );
            }
            Accepted::Finished => rule!(self.finishing, "finished without a shutdown"),
            Accepted::Dead => {
                rule!(
                    rules::is_dead(self),
                    "R4 write says dead while an attempt is alive"
                )
            }
        }
        Ok(())
    }

    fn first_flight(&mut self, bytes: usize) -> Verdict {
        let data: Vec<u8> = (self.accepted..self.accepted + bytes)
            .map(|place| self.setup.app_byte(place))
            .collect();
        if self.race.write_first_flight(self.now, &data) {
            rule!(self.accepted == 0, "a first flight after other bytes");
            rule!(!self.is_taken(), "a first flight after the hand-over");
            self.accepted = bytes;
        }
        Ok(())
    }

    fn take(&mut self) -> Verdict {
        let ready = self.chosen().filter(|index| {
            let leg = self.legs[*index];
            let header_pending = self.setup.header_len() > 0 && self.flight.is_none();
            self.phase(*index).is_open()
                && leg.received == self.total()
                && !header_pending
                && (leg.fin || !self.finishing)
                && !self.abandoned
        });
        let taken = self.race.take().map(|id| id.index());
        rule!(
            taken == ready,
            "R5 take gives {taken:?} where {ready:?} is ready"
        );
        if let Some(index) = taken {
            self.legs[index].socket = Socket::Taken;
        }
        Ok(())
    }

    /// Polls until there is something that only the driver can answer.
    fn quiesce(&mut self) -> Verdict {
        for _ in 0..=self.legs.len() {
            let step = self.race.poll(self.now);
            if let Step::Close(id, close) = step {
                self.close(id.index(), close)?;
                continue;
            }
            self.step = step;
            self.observe();
            return Ok(());
        }
        Err("poll does not come to an end".into())
    }

    fn close(&mut self, index: usize, close: Close) -> Verdict {
        let attempt = self.race.report().attempts[index];
        let leg = &mut self.legs[index];
        rule!(
            leg.socket == Socket::Held,
            "attempt {index} is asked to be closed, but its socket is {:?}",
            leg.socket
        );
        leg.socket = Socket::Closed;
        match attempt.outcome {
            Outcome::Out(Exit::Delivered) => rule!(
                close == Close::Graceful && leg.fin,
                "R16 a delivered connection is not closed gracefully"
            ),
            Outcome::Out(Exit::Lost) if self.setup.losers == LoserClose::Graceful => rule!(
                close == Close::Graceful || !self.snap.attempts[index].phase.is_open(),
                "R10 a loser is not closed as set"
            ),
            _ => rule!(
                close == Close::Abortive,
                "R10 a loser leaves a trace: {attempt:?}"
            ),
        }
        Ok(())
    }

    /// Brings the model's own memory up to date.
    fn observe(&mut self) {
        self.snap = self.race.snapshot();
        if self.flight.is_none() {
            self.flight = self.race.report().flight;
        }
        if self.snap.chosen.is_none() && self.held() > 0 {
            self.held_since.get_or_insert(self.now);
        }
        if !matches!(self.step, Step::Look(_) | Step::Start(_)) && self.snap.chosen.is_none() {
            for leg in &mut self.legs {
                leg.looked = false;
            }
        }
    }

    /// When a first-come peer's answer to the copy on Fast Open, or its reset
    /// of plain's, is overdue.
    pub(super) fn grace(&self) -> Option<Instant> {
        let report: Report = self.race.report();
        let plain = &report.attempts[self.open_plain()?];
        let handshake = plain.opened?.saturating_since(plain.started?);
        let quarter = handshake / 4;
        (0..self.legs.len())
            .filter(|index| !self.is_plain(*index))
            .filter_map(|index| {
                let attempt = &report.attempts[index];
                match self.phase(index) {
                    Phase::Handshake { .. } if attempt.syn_data == SynData::Sent => {
                        Some((attempt.started?, quarter))
                    }
                    Phase::Open { taken, .. }
                        if taken > 0 && attempt.syn_data != SynData::Acknowledged =>
                    {
                        Some((attempt.opened.max(plain.opened)?, quarter.max(RESET_TAKES)))
                    }
                    _ => None,
                }
            })
            .map(|(since, more)| since.saturating_add(handshake).saturating_add(more))
            .max()
    }

    /// Whether an attempt went because another was chosen.
    pub(super) fn lost_by_choice(&self, index: usize) -> bool {
        matches!(
            self.snap.attempts[index].outcome,
            Outcome::Out(Exit::Lost | Exit::NotStarted(NotStarted::Decided))
        )
    }

    /// Whether a truthful driver may tell this now: an answer to what it is
    /// asked, or news of a socket that it has or had, be they late or no news.
    pub(super) fn may_happen(&self, index: usize, event: Event) -> bool {
        let asked = |step: fn(AttemptId) -> Step| self.race.id(index).map(step) == Some(self.step);
        let starting = asked(Step::Start) || self.phase(index) == Phase::Recalled;
        let has_news = self.legs[index].socket != Socket::Never;
        match event {
            Event::Started(_) | Event::NotStarted(_) => starting,
            Event::Failed(_) => starting || has_news,
            Event::Opened(_) | Event::Writable | Event::Replied | Event::Ended => has_news,
            Event::Wrote(_) | Event::Blocked => asked(Step::Write),
            Event::Finished => asked(Step::Shutdown),
            Event::Quiet => asked(Step::Look),
        }
    }

    /// Whether nothing has happened between the two.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.now == other.now
            && self.step == other.step
            && self.legs == other.legs
            && self.snap == other.snap
    }

    /// All that decides how this world goes on, but for absolute times.
    pub(super) fn key<H: Hasher>(&self, state: &mut H) {
        let mut snap = self.snap.clone();
        let end = self.flight.unwrap_or(0);
        for (attempt, leg) in snap.attempts.iter_mut().zip(&self.legs) {
            if attempt.phase != Phase::Out {
                leg.hash(state);
                continue;
            }
            // Of the dead, only what they had and why they went matters.
            (leg.received > end, leg.cause, leg.fin).hash(state);
            attempt.syn_data = SynData::None;
            if leg.cause.is_some() {
                attempt.outcome = Outcome::Racing;
            }
        }
        snap.hash(state);
        self.step_kind().hash(state);
        (self.accepted, self.finishing, self.abandoned, self.flight).hash(state);
        if self.snap.chosen.is_some() {
            return;
        }
        self.open_plain().hash(state);
        if self.setup.peer != Peer::Unaware {
            let since = |moment: Option<Instant>| moment.map(|at| self.now.saturating_since(at));
            for attempt in &self.race.report().attempts {
                if !matches!(attempt.outcome, Outcome::Out(_)) {
                    (since(attempt.started), since(attempt.opened)).hash(state);
                }
            }
        }
    }

    fn step_kind(&self) -> (u8, usize) {
        match self.step {
            Step::Start(id) => (0, id.index()),
            Step::Look(id) => (1, id.index()),
            Step::Write(id) => (2, id.index()),
            Step::Shutdown(id) => (3, id.index()),
            Step::Close(id, _) => (4, id.index()),
            Step::Wait(deadline) => (5, usize::from(deadline.is_some())),
            Step::Settled => (6, 0),
        }
    }
}

fn cause(kind: FailureKind) -> Cause {
    match kind {
        FailureKind::Reset | FailureKind::Refused => Cause::Harmless,
        _ => Cause::Harmful,
    }
}
