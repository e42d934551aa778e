//! What a pair is told: by its application, its driver, and newcomers.

use super::member::{Effect, Member, Outcome, State};
use super::{Accepted, Event, MemberId, Pair};
use crate::race::{AttemptKind, Close};
use crate::time::Instant;

impl Pair {
    /// Takes in another connection with the same first message, unless it is
    /// too late or there are too many: then it is a duplicate.
    pub fn join(&mut self, now: Instant, kind: AttemptKind) -> Option<MemberId> {
        self.tick(now);
        self.advance();
        if !self.may_join() {
            return None;
        }
        let id = MemberId(self.members.len());
        self.members.push(Member::new(id, kind));
        self.deserted = None;
        self.advance();
        Some(id)
    }

    /// Takes bytes of the answer, as many as the log has room for.
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
        self.advance();
        if let Some(refusal) = self.refusal() {
            self.wanting = refusal == Accepted::Full;
            return refusal;
        }
        let (mut offered, mut taken) = (false, 0_usize);
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            offered = true;
            if self.log.room() == 0 {
                self.wanting = true;
                self.make_room();
            }
            let part = self.log.accept(piece);
            taken = taken.saturating_add(part);
            if part < piece.len() {
                break;
            }
        }
        self.wanting = offered && taken == 0;
        self.advance();
        match offered && taken == 0 {
            true => Accepted::Full,
            false => Accepted::Bytes(taken),
        }
    }

    /// The answer ends with what was written.
    pub fn shutdown(&mut self, now: Instant) {
        self.tick(now);
        self.finishing = true;
        self.wanting = false;
        self.advance();
    }

    /// The application is gone. What it has written is delivered, also to
    /// copies that come late.
    pub fn abandon(&mut self, now: Instant) {
        self.tick(now);
        self.finishing = true;
        self.abandoned.get_or_insert(self.now);
        self.wanting = false;
        self.advance();
    }

    /// Never keeps more of the answer than now (and at least 1 byte): for a
    /// gate whose pairs take too much in all, and that has more to write. The
    /// write waits as it does for a full log.
    pub fn confine(&mut self, now: Instant) {
        self.tick(now);
        self.log.confine();
        self.wanting |=
            self.log.room() == 0 && matches!(self.refusal(), None | Some(Accepted::Full));
        self.advance();
    }

    /// Takes what happened to a member.
    pub fn handle(&mut self, now: Instant, id: MemberId, event: Event) {
        self.tick(now);
        let end = self.log.end();
        let Some(member) = self.members.get_mut(id.0) else {
            return;
        };
        let (next, effect) = member.state.next(event, end);
        member.state = next;
        match event {
            Event::Readable if !member.is_eligible() => self.asking.ask(id),
            Event::Wrote(_) | Event::Writable => self.asking.hurry(self.now),
            _ => {}
        }
        self.take_effect(id, effect);
        self.advance();
    }

    fn take_effect(&mut self, id: MemberId, effect: Effect) {
        let now = self.now;
        let Some(member) = self.members.get_mut(id.0) else {
            return;
        };
        match effect {
            Effect::None => {}
            Effect::Delivered(received) => self.delivered = self.delivered.max(received),
            Effect::Ended => member.ended_at = Some(now),
            Effect::Failed => member.close = Some(Close::Abortive),
            Effect::Acked(more) => {
                if more > 0 {
                    member.proven_at.get_or_insert(now);
                    self.asking.hurry(now);
                }
                member.asked_at = Some(now);
                self.asking.answered(id);
            }
        }
    }

    /// Why the log takes nothing more, however much room it has.
    pub(super) fn refusal(&self) -> Option<Accepted> {
        if self.members.iter().any(|m| m.state == State::Taken) {
            return Some(Accepted::Bound);
        }
        if self.finishing {
            return Some(Accepted::Finished);
        }
        if self.is_dead() {
            return Some(Accepted::Dead);
        }
        let chosen = self.get(self.chosen?)?.flow()?;
        if chosen.sent < self.log.end() {
            // From now on the log only empties, so that it ever does.
            return Some(Accepted::Full);
        }
        // While its next bytes are none that the application reads, it cannot
        // be handed over, nor may that hold up the answer.
        self.is_level(chosen).then_some(Accepted::Bound)
    }

    /// Lets go of what no member needs, and of members that hold up all
    /// others, once there is a need and a proof.
    pub(super) fn make_room(&mut self) {
        if !self.wanting {
            return;
        }
        let (base, end) = (self.log.base(), self.log.end());
        let acked = |m: &Member| m.flow().map_or(0, |flow| flow.acked);
        if self.live().any(|member| acked(member) >= end) {
            for member in self.live_mut() {
                if member.flow().is_some_and(|flow| flow.sent <= base) {
                    member.leave(Outcome::Lost, Close::Abortive);
                }
            }
        }
        if self.chosen.is_some() || self.live().any(Member::is_proven) {
            let floor = self.live().filter_map(Member::flow).map(|f| f.sent).min();
            self.log.forget_before(floor.unwrap_or(base));
        }
        self.wanting &= self.log.room() == 0;
    }
}
