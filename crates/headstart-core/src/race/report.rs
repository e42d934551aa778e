//! What happened, and when.

use alloc::vec::Vec;

use super::{AttemptId, AttemptKind, Exit, Progress};
use crate::path::Plan;
use crate::time::Instant;

/// What a SYN with data came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum SynData {
    /// The SYN carried none.
    #[default]
    None,
    /// It carried data if the system had a cookie, and nothing is known of it
    /// yet.
    Sent,
    /// The data was acknowledged with the SYN.
    Acknowledged,
    /// The handshake ended without an acknowledgement of the data.
    Ignored,
}

/// How an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is still in the race.
    Racing,
    /// It is the connection.
    Won,
    /// It is out.
    Out(Exit),
}

/// The story of one attempt. Times are moments of the caller's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptReport {
    /// Its number in this race.
    pub id: AttemptId,
    /// Its kind.
    pub kind: AttemptKind,
    /// The position of its address.
    pub target: usize,
    /// When it started, before its first system call.
    pub started: Option<Instant>,
    /// When its handshake was seen to be complete.
    pub opened: Option<Instant>,
    /// When the first byte of reply was seen.
    pub first_byte: Option<Instant>,
    /// When it left the race.
    pub ended: Option<Instant>,
    /// Bytes handed to the kernel by the race.
    pub bytes: usize,
    /// What became of the data in its SYN.
    pub syn_data: SynData,
    /// Whether it had no cookie and asked for one.
    pub cookie_requested: bool,
    /// How it stands.
    pub outcome: Outcome,
}

impl AttemptReport {
    pub(super) fn start(&mut self, now: Instant, progress: Progress) {
        self.started.get_or_insert(now);
        match progress {
            Progress::Handshake => {}
            Progress::DataInSyn(_) => self.syn_data = SynData::Sent,
            Progress::CookieRequest => self.cookie_requested = true,
        }
    }

    pub(super) fn open(&mut self, now: Instant, syn_data: SynData) {
        self.opened.get_or_insert(now);
        // What was not sent cannot be acknowledged.
        if self.syn_data == SynData::Sent {
            self.syn_data = syn_data;
        }
    }

    pub(super) fn reply(&mut self, now: Instant) {
        self.opened.get_or_insert(now);
        self.first_byte.get_or_insert(now);
    }
}

/// The story of a race (R16): who ran, who won, what it cost.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// When the race began, before any system call.
    pub began: Instant,
    /// Length of the first flight in bytes, once it is known.
    pub flight: Option<usize>,
    /// How the path to each address was used, and why, in their order.
    pub plans: Vec<Plan>,
    /// Each attempt, in the order of their numbers.
    pub attempts: Vec<AttemptReport>,
}

impl Report {
    /// The attempt that is the connection.
    pub fn winner(&self) -> Option<&AttemptReport> {
        self.attempts
            .iter()
            .find(|attempt| attempt.outcome == Outcome::Won)
    }

    /// Bytes that were handed to attempts other than the connection.
    pub fn bytes_copied(&self) -> usize {
        let total: usize = self.attempts.iter().map(|attempt| attempt.bytes).sum();
        let kept = match self.winner() {
            Some(winner) => winner.bytes,
            None => self.attempts.iter().map(|a| a.bytes).max().unwrap_or(0),
        };
        total.saturating_sub(kept)
    }

    /// Whether at least two attempts started.
    pub fn raced(&self) -> bool {
        self.attempts.iter().filter(|a| a.started.is_some()).count() > 1
    }
}
