//! Where a pair stands, without its clock: for traces and for tests.

use alloc::vec::Vec;
use core::time::Duration;

use super::member::State;
use super::{MemberId, Outcome, Pair};
use crate::race::{AttemptKind, Close};
use crate::time::Instant;

/// All that decides what a pair does next, free of absolute times: two pairs
/// with equal settings, bytes and snapshots go on alike.
///
/// Costs one small allocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// Each member, in the order of their numbers.
    pub members: Vec<MemberSnapshot>,
    /// Bytes of the answer so far, and of these, bytes that were forgotten.
    pub answer: (u64, u64),
    /// Bytes of the client's that the application has.
    pub delivered: u64,
    /// The member that is the connection.
    pub chosen: Option<MemberId>,
    /// Whether a write was refused for want of room.
    pub wanting: bool,
    /// Whether the answer is complete.
    pub finishing: bool,
    /// Time left to what waits for it, zero if past: the window, bytes that
    /// spoke, a proof, the application's going, a desertion, the next question.
    pub times: [Option<Duration>; 6],
    /// Whether the client will send no more.
    pub ended: bool,
}

/// Where one member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemberSnapshot {
    /// How it came.
    pub kind: AttemptKind,
    /// How it stands in the pair.
    pub outcome: Outcome,
    /// Whether the application has it.
    pub taken: bool,
    /// Bytes of the answer that its kernel took, and that its peer acknowledged.
    pub answered: (u64, u64),
    /// Bytes that were read from it.
    pub received: u64,
    /// Whether there are more; whether its buffer has room; whether FIN was
    /// sent; whether FIN came; whether its acknowledgements are to be asked for.
    pub flags: [bool; 5],
    /// Time since FIN came.
    pub ended: Option<Duration>,
    /// How its socket is to be closed, until that is asked.
    pub close: Option<Close>,
}

impl Pair {
    /// Where the pair stands.
    pub fn snapshot(&self) -> Snapshot {
        let since = |at: Instant| self.now.saturating_since(at);
        let until = |at: Instant| at.saturating_since(self.now);
        let members = self.members.iter().map(|member| {
            let flow = member.flow();
            MemberSnapshot {
                kind: member.kind,
                outcome: member.outcome(),
                taken: member.state == State::Taken,
                answered: flow.map_or((0, 0), |flow| (flow.sent, flow.acked)),
                received: flow.map_or(0, |flow| flow.received),
                flags: flow.map_or([false; 5], |flow| {
                    let due = self.asking.is_due(member.id);
                    [flow.readable, flow.writable, flow.finished, flow.ended, due]
                }),
                ended: member.ended_at.map(since),
                close: member.close,
            }
        });
        Snapshot {
            members: members.collect(),
            answer: (self.log.end(), self.log.base()),
            delivered: self.delivered,
            chosen: self.chosen,
            wanting: self.wanting,
            finishing: self.finishing,
            times: [
                Some(until(self.window_end())),
                self.spoken.map(since),
                self.proven.map(since),
                self.abandoned.map(since),
                self.deserted.map(since),
                self.asking.again().map(until),
            ],
            ended: self.ended,
        }
    }
}
