//! What a pair asks of its driver, and what it hands over.

use super::member::{Flow, Member, State};
use super::{MemberId, Pair};
use crate::race::Close;
use crate::time::Instant;

/// The next thing to do, from [`Pair::poll`].
///
/// Every step but [`Wait`](Self::Wait) and [`Settled`](Self::Settled) is to be
/// done at once and, where an answer is named, answered with
/// [`Pair::handle`]. An unanswered step is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Step {
    /// Read at most so many bytes and throw them away: the application has
    /// them from another member. Answer: `Discarded`, `Drained`, `Ended` or
    /// `Failed`.
    Discard(MemberId, usize),
    /// Find out how much its peer has acknowledged, or whether it has failed.
    /// Answer: `Acked` or `Failed`.
    Ask(MemberId),
    /// Write [`Pair::unsent`]. Answer: `Wrote`, `Blocked` or `Failed`.
    Write(MemberId),
    /// Send FIN. Answer: `Finished` or `Failed`.
    Shutdown(MemberId),
    /// Close it. The pair has forgotten it; no answer.
    Close(MemberId, Close),
    /// Nothing to do before the next input or this time, which is always in
    /// the future; without a time, before the next input.
    Wait(Option<Instant>),
    /// Nothing will ever be to do: the application has the connection, or it
    /// is over.
    Settled,
}

/// What became of bytes of the answer, from [`Pair::write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Accepted {
    /// So many bytes are in the log and will be delivered; at least 1, unless
    /// none were offered.
    Bytes(usize),
    /// None: the log is full until a member is proven, or being emptied.
    Full,
    /// None: the connection is chosen and has all that came before.
    /// [`Pair::take`] succeeds: write to it directly.
    Bound,
    /// None: the answer was ended.
    Finished,
    /// None: every member is out, and no other will come.
    Dead,
}

/// Where the application's next bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Nowhere yet.
    Nowhere,
    /// Read this member, and say `Delivered`, `Drained`, `Ended` or `Failed`.
    From(MemberId),
    /// The client has ended its side.
    End,
    /// Every member is out, and no other will come.
    Dead,
}

impl Pair {
    /// What to do next.
    pub fn poll(&mut self, now: Instant) -> Step {
        self.tick(now);
        self.advance();
        if let Some(step) = self.close_step() {
            return step;
        }
        let end = self.log.end();
        for member in self.live() {
            let (id, flow) = match member.flow() {
                Some(flow) => (member.id, flow),
                None => continue,
            };
            if self.asking.is_due(id) {
                return Step::Ask(id);
            }
            let known = self.delivered.saturating_sub(flow.received);
            if flow.readable && known > 0 {
                return Step::Discard(id, usize::try_from(known).unwrap_or(usize::MAX));
            }
            if flow.writable && flow.sent < end {
                return Step::Write(id);
            }
            if self.finishing && flow.sent >= end && !flow.finished {
                return Step::Shutdown(id);
            }
        }
        match self.is_settled() {
            true => Step::Settled,
            false => Step::Wait(self.deadline()),
        }
    }

    /// What this member may be sent and has not been, in order: empty if
    /// nothing.
    pub fn unsent(&self, id: MemberId) -> [&[u8]; 2] {
        match self.get(id).and_then(Member::flow) {
            Some(flow) => self.log.since(flow.sent),
            None => [&[], &[]],
        }
    }

    /// Where the application is to read.
    pub fn source(&self) -> Source {
        let fresh = |member: &&Member| self.is_fresh(member);
        // From the one that is likely to stay, if it may be chosen.
        let from = self
            .live()
            .filter(fresh)
            .max_by_key(|member| member.is_eligible());
        match from {
            Some(member) => Source::From(member.id),
            None if self.ended => Source::End,
            None if self.is_dead() => Source::Dead,
            None => Source::Nowhere,
        }
    }

    /// Hands the connection to the application, once it is chosen, has all of
    /// the answer so far (and FIN, after a [`shutdown`](Self::shutdown)), and
    /// what it brings next is new to the application. From then on its bytes
    /// are none of the pair's business. `Some` once.
    pub fn take(&mut self) -> Option<MemberId> {
        let id = self.chosen?;
        let flow = self.get(id)?.flow()?;
        let sent = flow.sent >= self.log.end() && (flow.finished || !self.finishing);
        if !sent || !self.is_level(flow) || self.abandoned.is_some() {
            return None;
        }
        self.members.get_mut(id.0)?.state = State::Taken;
        self.log.release();
        Some(id)
    }

    /// Whether a write that was refused as [`Accepted::Full`] would now be taken,
    /// or refused for good.
    pub fn has_room(&self) -> bool {
        match self.refusal() {
            None => self.log.room() > 0,
            Some(refusal) => refusal != Accepted::Full,
        }
    }

    /// Whether a kernel holds all of the answer so far, on the connection once
    /// it is chosen.
    pub fn is_flushed(&self) -> bool {
        let end = self.log.end();
        self.members.iter().any(|member| match member.state {
            State::Live(flow) => flow.sent >= end,
            State::Taken => true,
            State::Out(_) => false,
        })
    }

    /// Whether FIN was handed to a kernel, on the connection once it is chosen.
    pub fn is_finished(&self) -> bool {
        self.members.iter().any(|member| match member.state {
            State::Live(flow) => flow.finished,
            State::Taken => self.finishing,
            State::Out(_) => member.is_delivered(),
        })
    }

    /// Whether this member has something to send and waits for room.
    pub fn is_blocked(&self, id: MemberId) -> bool {
        self.get(id)
            .and_then(Member::flow)
            .is_some_and(|flow| !flow.writable && flow.sent < self.log.end())
    }

    /// Whether this member is to be told of when it may be read: it is not
    /// known to have something, nor to have ended.
    pub fn is_quiet(&self, id: MemberId) -> bool {
        self.get(id)
            .and_then(Member::flow)
            .is_some_and(|flow| !flow.readable && !flow.ended)
    }

    /// Bytes of the answer that are kept; at most [`Config::log_max`](super::Config::log_max).
    pub fn log_len(&self) -> usize {
        self.log.len()
    }

    /// Bytes by which the log would grow at most, if much were written now.
    pub fn room(&self) -> usize {
        match self.refusal() {
            None => self.log.room(),
            Some(_) => 0,
        }
    }

    /// Whether what this member brings next is what the application reads next.
    pub(super) fn is_level(&self, flow: Flow) -> bool {
        flow.received >= self.delivered || flow.ended
    }

    pub(super) fn is_fresh(&self, member: &Member) -> bool {
        member
            .flow()
            .is_some_and(|flow| flow.is_fresh(self.delivered))
    }

    fn close_step(&mut self) -> Option<Step> {
        self.members.iter_mut().find_map(|member| {
            let close = member.close.take()?;
            Some(Step::Close(member.id, close))
        })
    }

    fn is_settled(&self) -> bool {
        let taken = |member: &Member| member.state == State::Taken;
        self.members.iter().any(taken) || self.is_dead()
    }

    fn deadline(&self) -> Option<Instant> {
        [
            self.asking.again().map(|(at, _)| at),
            self.end_known_at(),
            self.window_closes_at(),
            self.patience_end(),
            self.desertion_end(),
        ]
        .into_iter()
        .flatten()
        .chain(self.choice_deadlines())
        .filter(|deadline| *deadline > self.now)
        .min()
    }
}
