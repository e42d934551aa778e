//! Which member is the connection.

use super::member::{Flow, Member, Outcome};
use super::{GRACE, MemberId, Pair};
use crate::race::Close;
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

    /// The eligible member that brought bytes; if a client may copy them, only
    /// where no other brought any.
    fn spoken_for(&self) -> Option<MemberId> {
        let mut speakers = self
            .live()
            .filter(|member| member.flow().is_some_and(Flow::has_brought));
        let speaker = match self.config.resets_losers {
            true => speakers.find(|member| member.is_eligible()),
            false => speakers.next().filter(|_| speakers.next().is_none()),
        };
        speaker.filter(|m| m.is_eligible()).map(|m| m.id)
    }

    fn sole_survivor(&self) -> Option<MemberId> {
        let mut live = self.live();
        match (live.next(), live.next()) {
            (Some(member), None) if !self.may_join() && self.served.is_none() => Some(member.id),
            _ => None,
        }
    }

    /// After the window, who is not proven goes if another is. Several that are
    /// proven stay: the client may use any of them.
    fn close_window(&mut self) {
        if self.window_closes_at().is_none_or(|at| self.now < at) {
            return;
        }
        for member in self.live_mut().filter(|member| !member.is_proven()) {
            member.leave(Outcome::Lost, Close::Abortive);
        }
    }

    /// When who is not proven goes: the others, too, have had time to be asked.
    pub(super) fn window_closes_at(&self) -> Option<Instant> {
        if self.chosen.is_some() || self.live().all(Member::is_proven) {
            return None;
        }
        let first = self.live().filter_map(|member| member.proven_at).min()?;
        Some(self.window_end().max(first).saturating_add(GRACE))
    }

    /// When the choice is made at the latest, but for proofs to come.
    pub(super) fn choice_deadlines(&self) -> impl Iterator<Item = Instant> {
        let undecided = self.chosen.is_none() && self.live().next().is_some();
        let spoken = self.spoken.map(|since| since.saturating_add(GRACE));
        [Some(self.window_end()), spoken]
            .into_iter()
            .flatten()
            .filter(move |_| undecided)
    }
}
