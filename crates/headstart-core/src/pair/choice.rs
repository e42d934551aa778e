//! Which member is the connection, and when the client's and the pair's ends
//! have come.

use alloc::vec::Vec;

use super::member::{Flow, Member, Outcome, State};
use super::{GRACE, LINGER, MemberId, Pair};
use crate::race::{AttemptKind, Close};
use crate::time::Instant;

impl Pair {
    /// Makes `id` the connection, and losers of the others.
    pub(super) fn choose(&mut self, id: MemberId) {
        if self.chosen.is_some() {
            return;
        }
        self.chosen = Some(id);
        for member in self.live_mut() {
            match member.id == id {
                true => member.won = true,
                false => member.leave(Outcome::Lost, Close::Abortive),
            }
        }
    }

    /// Chooses where the client has, or where there is nothing to choose.
    pub(super) fn decide(&mut self) {
        if self.chosen.is_some() {
            return;
        }
        self.close_window();
        if let Some(id) = self.sole_survivor() {
            return self.choose(id);
        }
        let Some(id) = self.spoken_for() else {
            self.spoken = None;
            return;
        };
        // A client that copies beyond the first message may yet use another.
        let since = *self.spoken.get_or_insert(self.now);
        let alone = self.live().count() == 1;
        if alone || self.config.resets_losers || self.now >= since.saturating_add(GRACE) {
            self.choose(id);
        }
    }

    /// The only eligible member that brought bytes, if no other did.
    fn spoken_for(&self) -> Option<MemberId> {
        let mut speakers = self
            .live()
            .filter(|member| member.flow().is_some_and(Flow::has_brought));
        match (speakers.next(), speakers.next()) {
            (Some(one), None) if one.is_eligible() => Some(one.id),
            // Of two with the same bytes, one that is not proven says nothing.
            (Some(one), Some(other)) if self.config.resets_losers => [one, other]
                .into_iter()
                .find(|member| member.is_eligible())
                .map(|member| member.id),
            _ => None,
        }
    }

    fn sole_survivor(&self) -> Option<MemberId> {
        let mut live = self.live();
        match (live.next(), live.next()) {
            (Some(member), None) if !self.may_join() && !self.is_delivered() => Some(member.id),
            _ => None,
        }
    }

    /// After the window: who is not proven goes if another is, and of several
    /// that are, the best stays.
    fn close_window(&mut self) {
        let end = self.window_end();
        let Some(proven) = self.proven else {
            return;
        };
        if self.now < end.max(proven.saturating_add(GRACE)) {
            return;
        }
        if self.live().any(Member::is_proven)
            && let Some(best) = self.best()
        {
            self.choose(best);
        }
    }

    /// The member that most speaks for: its path works, the client has sent
    /// there, and has received.
    pub(super) fn best(&self) -> Option<MemberId> {
        let merit = |member: &&Member| {
            let flow = member.flow();
            (
                member.is_proven(),
                flow.map_or(0, |flow| flow.received),
                flow.is_some_and(Flow::has_brought),
                member.kind == AttemptKind::Plain,
                flow.map_or(0, |flow| flow.acked),
            )
        };
        self.live().max_by_key(merit).map(|member| member.id)
    }

    /// Whether the client will send no more: where the furthest of its FINs
    /// can be no loser's.
    pub(super) fn see_end(&mut self) {
        let Some(at) = self.end_known_at().filter(|at| self.now >= *at) else {
            return;
        };
        // A loser that was closed has been reset by what it was sent since.
        let unsure: Vec<_> = self
            .enders()
            .filter(|member| !self.end_is_plain() && member.asked_at < Some(at))
            .map(|member| member.id)
            .collect();
        self.ended = unsure.is_empty();
        unsure.into_iter().for_each(|id| self.asking.ask(id));
    }

    /// The members whose end is the end of all that the client has sent.
    fn enders(&self) -> impl Iterator<Item = &Member> {
        self.live().filter(|member| {
            member
                .flow()
                .is_some_and(|flow| flow.ended && flow.received >= self.delivered)
        })
    }

    /// Whether no end of file can be a loser's.
    fn end_is_plain(&self) -> bool {
        let ended = |member: &Member| member.flow().is_some_and(|flow| flow.ended);
        self.config.resets_losers || self.live().all(ended)
    }

    /// When the end of file counts as the client's, if nothing else happens.
    pub(super) fn end_known_at(&self) -> Option<Instant> {
        if self.ended {
            return None;
        }
        let first = self.enders().filter_map(|member| member.ended_at).min()?;
        Some(match self.end_is_plain() {
            true => first,
            false => first.saturating_add(GRACE),
        })
    }

    /// Closes what has delivered the answer of an application that is gone.
    pub(super) fn close_delivered(&mut self) {
        let Some(abandoned) = self.abandoned else {
            return;
        };
        let (end, chosen) = (self.log.end(), self.chosen);
        let elsewhere = self.is_delivered();
        let patience = match elsewhere {
            true => self.window_end(),
            false => self.patience(abandoned),
        };
        let late = self.now >= patience;
        for member in self.live_mut() {
            let Some(flow) = member.flow() else {
                continue;
            };
            let known = flow.acked > end || (flow.ended && flow.acked >= end);
            // Where nobody else needs it, the kernel sees to what it has taken.
            let done = known || elsewhere || chosen == Some(member.id);
            if done && flow.is_drained(end) {
                member.leave(Outcome::Delivered, Close::Graceful);
            } else if late {
                member.leave(Outcome::Lost, Close::Abortive);
            }
        }
    }

    /// When handing over the rest of the answer is given up.
    pub(super) fn patience_end(&self) -> Option<Instant> {
        self.live().next()?;
        Some(match self.is_delivered() {
            true => self.window_end(),
            false => self.patience(self.abandoned?),
        })
    }

    fn patience(&self, abandoned: Instant) -> Instant {
        self.window_end().max(abandoned).saturating_add(LINGER)
    }

    pub(super) fn note_desertion(&mut self) {
        let deserted = self
            .members
            .iter()
            .all(|member| matches!(member.state, State::Out(_)));
        if deserted {
            self.deserted.get_or_insert(self.now);
        }
    }

    /// How long a pair without members waits for a late copy.
    pub(super) fn desertion_end(&self) -> Option<Instant> {
        let since = self.deserted?;
        if self.chosen.is_some() || !self.log.is_whole() || self.is_delivered() {
            return Some(since);
        }
        Some(match self.proven {
            Some(_) => since.saturating_add(GRACE).min(self.window_end()),
            None => self.window_end(),
        })
    }

    /// When the choice is made at the latest.
    pub(super) fn choice_deadlines(&self) -> impl Iterator<Item = Instant> {
        let undecided = self.chosen.is_none() && self.live().next().is_some();
        let spoken = self.spoken.map(|since| since.saturating_add(GRACE));
        let proven = self.proven.map(|since| since.saturating_add(GRACE));
        [
            Some(self.window_end()),
            spoken,
            proven.map(|proven| proven.max(self.window_end())),
        ]
        .into_iter()
        .flatten()
        .filter(move |_| undecided)
    }
}
