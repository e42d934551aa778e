//! Which attempt is the connection (R3, R5, R6), and what follows.

use super::attempt::State;
use super::flight::Boundary;
use super::{AttemptId, AttemptKind, Exit, Outcome, Race, SynData};
use crate::config::{Peer, RESET_WAIT};
use crate::time::Instant;

/// The state of a choice that held bytes force.
#[derive(Clone, Debug, Default)]
pub(super) struct Cutover {
    /// When the first byte beyond the first flight was taken.
    held_since: Option<Instant>,
    /// Attempts that had nothing to say at the last look, by number.
    looked: u32,
}

impl Cutover {
    pub(super) fn looked(&mut self, id: AttemptId) {
        self.looked |= bit(id);
    }

    pub(super) fn looked_at(&self) -> u32 {
        self.looked
    }
}

fn bit(id: AttemptId) -> u32 {
    u32::try_from(id.index())
        .ok()
        .and_then(|index| 1u32.checked_shl(index))
        .unwrap_or(0)
}

impl Race {
    /// Makes `id` the connection, and losers of the others.
    pub(super) fn choose(&mut self, id: AttemptId) {
        if self.chosen.is_some() {
            return;
        }
        self.chosen = Some(id);
        for other in self.ids().filter(|other| *other != id) {
            match self.state(other) {
                // It goes on to fetch its cookie: see `retire_fetchers`.
                State::Handshake {
                    cookie_request: true,
                    ..
                } => self.fetch_only(other),
                State::Waiting | State::Due | State::Handshake { .. } | State::Open { .. } => {
                    self.leave(other, Exit::Lost);
                }
                State::Fetching { .. } | State::Taken | State::Recalled | State::Out => {}
            }
        }
        if let Some(attempt) = self.attempts.get_mut(id.index()) {
            attempt.report.outcome = Outcome::Won;
        }
    }

    /// Chooses where the state leaves one choice, or held bytes force one.
    pub(super) fn settle(&mut self) {
        if self.chosen.is_some() {
            return;
        }
        if let Some(id) = self.sole_survivor() {
            return self.choose(id);
        }
        // Bytes that must not be copied, or not yet, go to the first connection
        // that opens, and to no other.
        let uncopied = match self.log.boundary() {
            _ if !self.config.copies() => true,
            Boundary::Uncopied => true,
            Boundary::Scanning(_) => !self.log.is_empty(),
            Boundary::Gathering { .. } | Boundary::Complete(_) => false,
        };
        if let Some(id) = self.open_plain()
            && uncopied
        {
            return self.choose(id);
        }
        if self.log.held() == 0 {
            self.cutover.looked = 0;
            return;
        }
        let now = self.now;
        self.cutover.held_since.get_or_insert(now);
        match self.cutover_target() {
            None => self.cutover.looked = 0,
            Some(id) if self.to_look_at().is_none() => self.choose(id),
            Some(_) => {}
        }
    }

    /// The next attempt to be looked at before held bytes decide.
    pub(super) fn to_look_at(&self) -> Option<AttemptId> {
        if self.chosen.is_some() || self.log.held() == 0 {
            return None;
        }
        self.cutover_target()?;
        self.find(|id, attempt| attempt.state.has_socket() && self.cutover.looked & bit(id) == 0)
    }

    /// When the next thing happens that only time brings.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let cutover = match self.chosen {
            Some(_) => None,
            None => self.cutover_deadline(),
        };
        [
            self.next_turn(),
            self.fetch_deadline(),
            self.delivery_deadline(),
            cutover,
        ]
        .into_iter()
        .flatten()
        .filter(|deadline| *deadline > self.now)
        .min()
    }

    fn sole_survivor(&self) -> Option<AttemptId> {
        let mut contenders = self.ids().filter(|id| self.state(*id).contends());
        match (contenders.next(), contenders.next()) {
            (Some(id), None) => Some(id),
            _ => None,
        }
    }

    /// The attempt that held bytes would go to now.
    fn cutover_target(&self) -> Option<AttemptId> {
        let fast_open =
            self.find(|_, attempt| attempt.is(AttemptKind::FastOpen) && attempt.state.is_open());
        let accepted = self.find(|_, attempt| {
            attempt.state.is_open() && attempt.report.syn_data == SynData::Acknowledged
        });
        match self.open_plain() {
            Some(plain) => match self.config.peer {
                Peer::Unaware => Some(plain),
                Peer::FirstCome if accepted.is_some() => accepted,
                Peer::FirstCome | Peer::Pairing if self.is_in_grace() => None,
                Peer::FirstCome | Peer::Pairing => Some(plain),
            },
            None if self.held_too_long() || !self.plain_may_open() => fast_open,
            None => None,
        }
    }

    fn plain_may_open(&self) -> bool {
        self.attempts
            .iter()
            .any(|attempt| attempt.is(AttemptKind::Plain) && attempt.state.contends())
    }

    fn is_in_grace(&self) -> bool {
        self.grace().is_some_and(|end| self.now < end)
    }

    /// A first-come peer serves the copy that it saw first, and resets the
    /// other; so does one that pairs, unless the first came in a SYN. Where
    /// data in a SYN has not been out for as long as plain's handshake took,
    /// its answer is not due yet: it gets that time, and a quarter more. Where
    /// it was not acknowledged, the kernel has sent it again, perhaps before
    /// plain's copy: the reset, which takes the peer's program and not only
    /// its kernel, gets that time and [`RESET_WAIT`].
    fn grace(&self) -> Option<Instant> {
        let plain = self.attempts.get(self.open_plain()?.index())?;
        let opened = plain.report.opened?;
        let handshake = opened.saturating_since(plain.report.started?);
        let quarter = handshake / 4;
        self.attempts
            .iter()
            .filter(|attempt| attempt.is(AttemptKind::FastOpen))
            .filter_map(|attempt| {
                let (since, more) = match attempt.state {
                    State::Handshake { .. } if attempt.report.syn_data == SynData::Sent => {
                        (attempt.report.started?, quarter)
                    }
                    State::Open { taken: 1.., .. }
                        if attempt.report.syn_data != SynData::Acknowledged =>
                    {
                        let since = attempt.report.opened.max(Some(opened))?;
                        (since, quarter.max(RESET_WAIT))
                    }
                    _ => return None,
                };
                Some(since.saturating_add(handshake).saturating_add(more))
            })
            .max()
    }

    fn held_too_long(&self) -> bool {
        self.cutover_end().is_some_and(|end| self.now >= end)
    }

    /// When held bytes have waited long enough for plain.
    pub(super) fn cutover_end(&self) -> Option<Instant> {
        let since = self.cutover.held_since?;
        Some(since.saturating_add(self.config.cutover_wait))
    }

    fn cutover_deadline(&self) -> Option<Instant> {
        let end = self.cutover_end()?;
        match self.open_plain() {
            Some(_) => self.grace(),
            None => Some(end),
        }
    }
}
