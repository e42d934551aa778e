//! What a race asks of its driver, and what it hands over.

use super::attempt::State;
use super::flight::Boundary;
use super::{AttemptId, AttemptKind, Race, Step};
use crate::time::Instant;

impl Race {
    /// What to do next.
    pub fn poll(&mut self, now: Instant) -> Step {
        self.tick(now);
        self.advance();
        if let Some(step) = self.close_step().or_else(|| self.start_step()) {
            return step;
        }
        if let Some(id) = self.to_look_at() {
            return Step::Look(id);
        }
        if let Some(id) = self.find(|id, attempt| self.is_to_write(id, attempt.state)) {
            return Step::Write(id);
        }
        if let Some(id) = self.find(|id, _| self.owes_fin(id)) {
            return Step::Shutdown(id);
        }
        match self.is_over() {
            true => Step::Settled,
            false => Step::Wait(self.deadline()),
        }
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

    /// Frees the memory of the log, up to
    /// [`FLIGHT_MAX`](crate::framing::FLIGHT_MAX) and `held_max`, once the
    /// application has the connection; before, does nothing. For drivers that
    /// keep a race for its report.
    pub fn release_log(&mut self) {
        if self.handed_over().is_some() {
            self.log.release();
        }
    }

    /// How far into the log an attempt may go.
    pub(super) fn limit(&self, id: AttemptId) -> usize {
        let flight = self.log.flight().unwrap_or(0);
        let Some(attempt) = self.attempts.get(id.index()) else {
            return 0;
        };
        match (self.chosen, self.log.boundary()) {
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
    pub(super) fn drained(&self, id: AttemptId) -> bool {
        match self.state(id) {
            State::Open { taken, .. } => {
                taken >= self.log.len()
                    && !matches!(self.log.boundary(), Boundary::Gathering { token: Some(_) })
            }
            _ => false,
        }
    }

    pub(super) fn owes_fin(&self, id: AttemptId) -> bool {
        match self.state(id) {
            State::Open {
                taken,
                finished: false,
                ..
            } => self.may_finish(id, taken),
            _ => false,
        }
    }

    /// FIN goes behind the last byte that there will be.
    fn may_finish(&self, id: AttemptId, taken: usize) -> bool {
        self.finishing && taken >= self.log.len() && self.chosen.is_none_or(|chosen| chosen == id)
    }

    fn is_over(&self) -> bool {
        self.attempts
            .iter()
            .all(|attempt| matches!(attempt.state, State::Taken | State::Recalled | State::Out))
    }

    fn close_step(&mut self) -> Option<Step> {
        self.attempts.iter_mut().find_map(|attempt| {
            let close = attempt.close.take()?;
            Some(Step::Close(attempt.report.id, close))
        })
    }

    fn start_step(&mut self) -> Option<Step> {
        let now = self.now;
        let attempt = self
            .attempts
            .iter_mut()
            .find(|attempt| attempt.state == State::Due)?;
        attempt.report.started.get_or_insert(now);
        Some(Step::Start(attempt.report.id))
    }

    fn is_to_write(&self, id: AttemptId, state: State) -> bool {
        match state {
            State::Open {
                taken,
                writable: true,
                ..
            } => taken < self.limit(id),
            _ => false,
        }
    }
}
