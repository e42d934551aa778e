//! How attempts leave a race (R4, R10), and what is left to deliver when the
//! application has gone (R16).

use super::attempt::State;
use super::{Attempt, AttemptId, AttemptKind, Close, Exit, NotStarted, Outcome, Race};
use crate::config::{COOKIE_WAIT, LoserClose, Peer};
use crate::time::Instant;

impl Race {
    /// Takes an attempt out of the race, closing its socket as losers are closed.
    pub(super) fn leave(&mut self, id: AttemptId, exit: Exit) {
        let close = match (self.config.losers, self.state(id)) {
            (LoserClose::Graceful, State::Open { .. }) => Close::Graceful,
            _ => Close::Abortive,
        };
        self.leave_with(id, exit, Some(close));
    }

    pub(super) fn leave_with(&mut self, id: AttemptId, exit: Exit, close: Option<Close>) {
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

    /// Closes what has delivered all that an application wrote before it went.
    pub(super) fn close_delivered(&mut self) {
        if !self.abandoned {
            return;
        }
        for id in self.ids() {
            if let State::Open { finished: true, .. } = self.state(id) {
                self.leave_with(id, Exit::Delivered, Some(Close::Graceful));
                // A plain connection would have done no more than this one.
                if self.chosen == Some(id) || self.is_plain(id) {
                    self.delivered.get_or_insert(self.now);
                }
            }
        }
        if self.delivered.is_some() {
            self.leave_unopened();
        }
    }

    /// When handshakes are given up that only their peer still needs.
    pub(super) fn delivery_deadline(&self) -> Option<Instant> {
        let unopened = |attempt: &Attempt| matches!(attempt.state, State::Handshake { .. });
        let end = self.delivered?.saturating_add(COOKIE_WAIT);
        self.attempts.iter().any(unopened).then_some(end)
    }

    fn leave_unopened(&mut self) {
        let overdue = self.delivery_deadline().is_some_and(|end| self.now >= end);
        for id in self.ids() {
            match self.state(id) {
                State::Handshake {
                    cookie_request: true,
                    ..
                } => self.fetch_only(id),
                // A peer that tells copies apart may have taken the one in
                // this SYN for the first: reset, it would be no delivery.
                State::Handshake { taken: 1.., .. }
                    if self.config.peer != Peer::Unaware && !overdue => {}
                State::Waiting | State::Due | State::Handshake { .. } => {
                    self.leave(id, Exit::Lost);
                }
                State::Open { .. }
                | State::Fetching { .. }
                | State::Taken
                | State::Recalled
                | State::Out => {}
            }
        }
    }

    fn is_plain(&self, id: AttemptId) -> bool {
        self.attempts
            .get(id.index())
            .is_some_and(|attempt| attempt.is(AttemptKind::Plain))
    }
}
