//! When each attempt's turn comes (R7, R12, R14).

use alloc::vec::Vec;
use core::time::Duration;

use super::attempt::State;
use super::flight::Boundary;
use super::{
    Attempt, AttemptId, AttemptKind, AttemptReport, Close, Exit, NotStarted, Outcome, Race, SynData,
};
use crate::config::{COOKIE_WAIT, FirstFlight, Kinds, RaceConfig, Schedule};
use crate::path::Plan;
use crate::time::Instant;

/// A turn: attempts that start together, some time after the turn before.
#[derive(Clone, Copy, Debug)]
struct Turn {
    /// Time after the turn before.
    after: Duration,
    /// Not started once plain has opened (RFC 8305 section 5).
    stops_at_open: bool,
}

/// Whose turn it is. The first attempt of a turn is its leader: if it fails,
/// the next turn comes at once.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    list: Vec<Turn>,
    /// Turns that have come.
    come: usize,
    /// When the last of them came or, if later, its leader started.
    since: Instant,
}

impl Turns {
    pub(super) fn leader_started(&mut self, turn: usize, now: Instant) {
        if turn + 1 == self.come {
            self.since = self.since.max(now);
        }
    }

    pub(super) fn come(&self) -> usize {
        self.come
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        let next = self.list.get(self.come)?;
        Some(self.since.saturating_add(next.after))
    }
}

/// Lays out the attempts of a race and their turns.
pub(super) fn plan(config: &RaceConfig, now: Instant) -> (Vec<Attempt>, Turns) {
    let mut attempts = Vec::new();
    let mut list = Vec::new();
    for (target, address) in config.targets.iter().enumerate() {
        let schedule = match address.plan {
            Plan::Hedged(delay) => Schedule::Hedged {
                first: AttemptKind::FastOpen,
                delay,
            },
            Plan::Race | Plan::Retry(_) | Plan::Plain { .. } => config.schedule,
        };
        let (first, delay, stops_at_open) = match schedule {
            Schedule::AtOnce => (AttemptKind::Plain, None, true),
            Schedule::Staggered { first, delay } => (first, Some(delay), true),
            Schedule::Hedged { first, delay } => (first, Some(delay), false),
        };
        let kinds = match (config.kinds, first) {
            (Kinds::PlainOnly, _) => [Some(AttemptKind::Plain), None],
            (Kinds::FastOpenOnly, _) => [Some(AttemptKind::FastOpen), None],
            (Kinds::Both, AttemptKind::Plain) => {
                [Some(AttemptKind::Plain), Some(AttemptKind::FastOpen)]
            }
            (Kinds::Both, AttemptKind::FastOpen) => {
                [Some(AttemptKind::FastOpen), Some(AttemptKind::Plain)]
            }
        };
        for (position, kind) in kinds.into_iter().flatten().enumerate() {
            match (position, delay) {
                (0, _) => list.push(Turn {
                    after: config.address_delay,
                    stops_at_open: true,
                }),
                (_, Some(after)) => list.push(Turn {
                    after,
                    stops_at_open,
                }),
                (_, None) => {}
            }
            let why = kept_from_starting(config, address.plan, kind);
            attempts.push(Attempt {
                state: if why.is_some() {
                    State::Out
                } else {
                    State::Waiting
                },
                turn: list.len().saturating_sub(1),
                syn_payload: address.syn_payload,
                close: None,
                report: AttemptReport {
                    id: AttemptId(attempts.len()),
                    kind,
                    target,
                    started: None,
                    opened: None,
                    first_byte: None,
                    ended: None,
                    bytes: 0,
                    syn_data: SynData::None,
                    cookie_requested: false,
                    outcome: match why {
                        Some(why) => Outcome::Out(Exit::NotStarted(why)),
                        None => Outcome::Racing,
                    },
                },
            });
        }
    }
    (
        attempts,
        Turns {
            list,
            come: 0,
            since: now,
        },
    )
}

fn kept_from_starting(config: &RaceConfig, plan: Plan, kind: AttemptKind) -> Option<NotStarted> {
    match kind {
        AttemptKind::Plain => None,
        AttemptKind::FastOpen if config.first_flight == FirstFlight::Unstated => {
            Some(NotStarted::NotReplaySafe)
        }
        AttemptKind::FastOpen if !config.copies() => Some(NotStarted::PeerUnaware),
        AttemptKind::FastOpen => match plan {
            Plan::Plain { trouble, .. } if config.kinds == Kinds::Both => {
                Some(NotStarted::PathSuspended(trouble))
            }
            _ => None,
        },
    }
}

impl Race {
    /// Starts every turn that is due.
    pub(super) fn keep_turns(&mut self) {
        while self.turn_is_due() {
            let turn = self.turns.come;
            self.turns.come += 1;
            self.turns.since = self.now;
            for attempt in &mut self.attempts {
                if attempt.turn == turn
                    && attempt.state == State::Waiting
                    && attempt.is(AttemptKind::Plain)
                {
                    attempt.state = State::Due;
                }
            }
        }
    }

    /// When the next turn comes, if time alone brings it.
    pub(super) fn next_turn(&self) -> Option<Instant> {
        match self.next_turn_is_stopped() {
            true => None,
            false => self.turns.next_due(),
        }
    }

    fn turn_is_due(&self) -> bool {
        let Some(due) = self.turns.next_due() else {
            return false;
        };
        if self.turns.come == 0 {
            return true;
        }
        !self.next_turn_is_stopped() && (self.now >= due || self.leader_is_out())
    }

    fn next_turn_is_stopped(&self) -> bool {
        let stops_at_open = |turn: &Turn| turn.stops_at_open;
        self.chosen.is_some()
            || self.open_plain().is_some()
                && self
                    .turns
                    .list
                    .get(self.turns.come)
                    .is_some_and(stops_at_open)
    }

    /// The first attempt of a turn, from which the time to the next counts.
    pub(super) fn leader_of(&self, turn: usize) -> Option<AttemptId> {
        self.find(|_, attempt| attempt.turn == turn)
    }

    fn leader_is_out(&self) -> bool {
        self.attempts
            .iter()
            .find(|attempt| attempt.turn + 1 == self.turns.come)
            .is_none_or(|leader| !leader.state.contends())
    }

    /// Starts Fast Open where its flight is in hand, and rules it out where it
    /// can no longer help.
    pub(super) fn gate_fast_open(&mut self) {
        for id in self.ids() {
            let Some(attempt) = self.attempts.get(id.index()) else {
                continue;
            };
            if !matches!(attempt.state, State::Waiting | State::Due)
                || !attempt.is(AttemptKind::FastOpen)
            {
                continue;
            }
            let fits = |end: usize| end <= attempt.syn_payload || self.fast_open_only();
            let why = match self.log.boundary() {
                _ if self.open_plain().is_some() => Some(NotStarted::PlainOpen),
                Boundary::Uncopied => Some(NotStarted::NotReplaySafe),
                Boundary::Complete(0) => Some(NotStarted::NoFlight),
                Boundary::Complete(end) if !fits(*end) => Some(NotStarted::TooLong),
                Boundary::Complete(_) => None,
                Boundary::Scanning(_) | Boundary::Gathering { .. } if self.is_stalled() => {
                    Some(NotStarted::NoFlight)
                }
                Boundary::Scanning(_) | Boundary::Gathering { .. } => continue,
            };
            match why {
                Some(why) => self.leave(id, Exit::NotStarted(why)),
                None if attempt.turn < self.turns.come => {
                    if let Some(attempt) = self.attempts.get_mut(id.index()) {
                        attempt.state = State::Due;
                    }
                }
                None => {}
            }
        }
        // A leader ruled out brings the next turn.
        self.keep_turns();
    }

    /// Plain has failed, and all that is left is Fast Open without a flight:
    /// plain alone would report the failure now.
    pub(super) fn is_stalled(&self) -> bool {
        !self.fast_open_only()
            && self.attempts.iter().all(|attempt| match attempt.state {
                State::Waiting => attempt.is(AttemptKind::FastOpen),
                state => !state.contends(),
            })
    }

    /// A handshake that asked for a cookie stops contending once plain is
    /// open, and is given up some time after that.
    pub(super) fn retire_fetchers(&mut self) {
        let plain_open = self.open_plain().is_some();
        for id in self.ids() {
            match self.state(id) {
                State::Handshake {
                    cookie_request: true,
                    ..
                } if plain_open => self.fetch_only(id),
                State::Fetching { until } if self.now >= until => {
                    if let Some(attempt) = self.attempts.get_mut(id.index()) {
                        attempt.state = State::Out;
                        attempt.close = Some(Close::Abortive);
                    }
                }
                _ => {}
            }
        }
    }

    /// Takes an attempt out of the race, but lets its handshake bring the cookie.
    pub(super) fn fetch_only(&mut self, id: AttemptId) {
        let until = self.now.saturating_add(COOKIE_WAIT);
        if let Some(attempt) = self.attempts.get_mut(id.index()) {
            attempt.state = State::Fetching { until };
            attempt.report.outcome = Outcome::Out(Exit::CookieOnly);
            attempt.report.ended = Some(self.now);
        }
    }

    pub(super) fn fetch_deadline(&self) -> Option<Instant> {
        self.attempts
            .iter()
            .filter_map(|attempt| match attempt.state {
                State::Fetching { until } => Some(until),
                _ => None,
            })
            .min()
    }
}
