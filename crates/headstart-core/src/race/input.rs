//! What a race is told: by its application, and by its driver.

use super::attempt::{Effect, State};
use super::flight::Boundary;
use super::{Accepted, AttemptId, Close, Event, Exit, Race};
use crate::time::Instant;

impl Race {
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
        if let Some(refusal) = self.refusal() {
            return refusal;
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
    /// ([`FirstFlight::Asserted`], [`FirstFlight::Token`]): called on the first
    /// read, flush or shutdown. Otherwise nothing.
    ///
    /// [`FirstFlight::Asserted`]: crate::FirstFlight::Asserted
    /// [`FirstFlight::Token`]: crate::FirstFlight::Token
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
        self.take_effect(id, effect);
        self.advance();
    }

    /// Why the log takes nothing more, however much room it has.
    fn refusal(&self) -> Option<Accepted> {
        if let Some(id) = self.handed_over() {
            return Some(Accepted::Bound(id));
        }
        if self.finishing {
            return Some(Accepted::Finished);
        }
        if self.is_dead() {
            return Some(Accepted::Dead);
        }
        let id = self.chosen?;
        if !self.state(id).is_open() || matches!(self.log.boundary(), Boundary::Gathering { .. }) {
            return None;
        }
        // Once the connection is open the log only empties, so that it ever does.
        Some(match self.drained(id) {
            true => Accepted::Bound(id),
            false => Accepted::Full,
        })
    }

    fn take_effect(&mut self, id: AttemptId, effect: Effect) {
        let now = self.now;
        let Some(attempt) = self.attempts.get_mut(id.index()) else {
            return;
        };
        match effect {
            Effect::None => {}
            Effect::Started(progress) => {
                attempt.report.start(now, progress);
                let turn = attempt.turn;
                if self.leader_of(turn) == Some(id) {
                    self.turns.leader_started(turn, now);
                }
            }
            Effect::Opened(syn_data) => attempt.report.open(now, syn_data),
            Effect::Quiet => self.cutover.looked(id),
            Effect::Replied => {
                attempt.report.reply(now);
                self.choose(id);
            }
            Effect::Exit(exit) => self.leave_with(id, exit, Some(Close::Abortive)),
            Effect::Ended { taken } => {
                let whole = taken >= self.whole_flight();
                self.leave_with(id, Exit::Ended { whole }, Some(Close::Abortive));
            }
            Effect::Fetched | Effect::Stray => attempt.close = Some(Close::Abortive),
        }
    }

    /// Whether an event is an answer that nobody asked for, or the end of the
    /// connection, which the application will read there itself.
    fn says_nothing(&self, id: AttemptId, event: Event) -> bool {
        match event {
            Event::Finished => !self.owes_fin(id),
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
}
