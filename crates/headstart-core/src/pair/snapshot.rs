//! Where a pair stands, without its clock: for traces and for tests.

use alloc::vec::Vec;
use core::time::Duration;

use super::member::State;
use super::{GRACE, LINGER, MemberId, Outcome, Pair};
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
    /// Time left, zero if past, to what waits for it: the window's end, the
    /// choice by what spoke, the end of all patience, the end of that for who is
    /// not proven, the end of a desertion, the next question; and the pause
    /// between questions.
    pub times: [Option<Duration>; 7],
    /// Most bytes of the answer that are kept.
    pub log_max: usize,
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
    /// Time left, zero if past, until its FIN counts beside another without, and
    /// until its proof counts against others without.
    pub times: [Option<Duration>; 2],
    /// Whether it has been asked since its FIN may count.
    pub sure: bool,
    /// How its socket is to be closed, until that is asked.
    pub close: Option<Close>,
}

impl Pair {
    /// Where the pair stands.
    pub fn snapshot(&self) -> Snapshot {
        let end = self.window_end();
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
                times: [
                    member.ended_at.map(|at| until(at.saturating_add(GRACE))),
                    member
                        .proven_at
                        .map(|at| until(end.max(at).saturating_add(GRACE))),
                ],
                sure: member.is_sure(),
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
                Some(until(end)),
                self.spoken.map(|at| until(at.saturating_add(GRACE))),
                self.abandoned
                    .map(|at| until(end.max(at).saturating_add(LINGER))),
                self.served
                    .map(|(at, _)| until(end.max(at.saturating_add(GRACE)))),
                self.desertion_end().map(until),
                self.asking.again().map(|(at, _)| until(at)),
                self.asking.again().map(|(_, pause)| pause),
            ],
            log_max: self.log.max(),
            ended: self.ended,
        }
    }
}
