//! When the client's and the pair's ends have come.

use alloc::vec::Vec;

use super::member::{Flow, Member, Outcome, State};
use super::{GRACE, LINGER, MemberId, Pair};
use crate::race::Close;
use crate::time::Instant;

impl Pair {
    /// Whether the client will send no more: where the furthest of its FINs
    /// can be no loser's.
    pub(super) fn see_end(&mut self) {
        if self.end_known_at().is_none_or(|at| self.now < at) {
            return;
        }
        // A loser that was closed has been reset by what it was sent since.
        self.ended = self.end_is_plain() || self.enders().any(Member::is_sure);
        let long_ago = |member: &&Member| {
            let counts = member.ended_at.map(|ended| ended.saturating_add(GRACE));
            counts.is_some_and(|counts| self.now >= counts)
        };
        let unsure: Vec<_> = match self.ended {
            true => Vec::new(),
            false => self.enders().filter(long_ago).map(|m| m.id).collect(),
        };
        unsure.into_iter().for_each(|id| self.asking.ask(id));
    }

    /// The members whose end may be the end of all that the client has sent.
    fn enders(&self) -> impl Iterator<Item = &Member> {
        let all = self.all_ended();
        self.live().filter(move |member| {
            let far = |flow: Flow| flow.ended && (all || flow.received >= self.delivered);
            member.flow().is_some_and(far)
        })
    }

    fn all_ended(&self) -> bool {
        self.live()
            .all(|member| member.flow().is_some_and(|flow| flow.ended))
    }

    /// Whether no end of file can be a loser's.
    fn end_is_plain(&self) -> bool {
        self.config.resets_losers || self.all_ended()
    }

    /// When the end of file counts as the client's, if nothing else happens.
    pub(super) fn end_known_at(&self) -> Option<Instant> {
        if self.ended || self.live().any(|member| self.is_fresh(member)) {
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
        if self.abandoned.is_none() {
            return;
        }
        if self.served.is_none() {
            self.served = self.first_served().map(|by| (self.now, by));
        }
        for index in 0..self.members.len() {
            if let Some((outcome, close)) = self.members.get(index).and_then(|m| self.leaving(m))
                && let Some(member) = self.members.get_mut(index)
            {
                member.leave(outcome, close);
            }
        }
    }

    /// Who has delivered the answer: of several, the one of which most is known
    /// to have come.
    fn first_served(&self) -> Option<MemberId> {
        let served = self
            .live()
            .filter(|member| matches!(self.leaving(member), Some((Outcome::Delivered, _))));
        let known = |member: &&Member| (member.flow().map(|f| f.acked), member.is_eligible());
        served.max_by_key(known).map(|member| member.id)
    }

    fn leaving(&self, member: &Member) -> Option<(Outcome, Close)> {
        let flow = member.flow()?;
        let end = self.log.end();
        let known = flow.acked > end || (flow.ended && flow.acked >= end);
        // Where nobody else needs it, the kernel sees to what it has taken.
        let enough = known || self.served.is_some() || self.chosen == Some(member.id);
        let late = self.now >= self.patience(member)?;
        match flow.is_drained(end) {
            true if enough || late => Some((Outcome::Delivered, Close::Graceful)),
            false if late => Some((Outcome::Lost, Close::Abortive)),
            _ => None,
        }
    }

    /// When handing over the rest of the answer is given up.
    pub(super) fn patience_end(&self) -> Option<Instant> {
        self.live().filter_map(|m| self.patience(m)).min()
    }

    fn patience(&self, member: &Member) -> Option<Instant> {
        let window = self.window_end();
        let last = window.max(self.abandoned?).saturating_add(LINGER);
        Some(match self.served {
            // The client has all of it, and nothing says that it uses this one.
            Some((served, _)) if !member.is_proven() => {
                window.max(served.saturating_add(GRACE)).min(last)
            }
            _ => last,
        })
    }

    pub(super) fn note_desertion(&mut self) {
        let out = |member: &Member| matches!(member.state, State::Out(_));
        if self.members.iter().all(out) {
            self.deserted.get_or_insert(self.now);
        }
    }

    /// How long a pair without members waits for a late copy.
    pub(super) fn desertion_end(&self) -> Option<Instant> {
        let since = self.deserted?;
        if !self.has_place() {
            return Some(since);
        }
        Some(match self.is_proven() {
            true => since.saturating_add(GRACE).min(self.window_end()),
            false => self.window_end(),
        })
    }

    /// Whether no member is the connection, or can become it.
    pub(super) fn is_dead(&self) -> bool {
        self.desertion_end().is_some_and(|end| self.now >= end)
    }
}
