//! Which members' paths are known to work both ways.
//!
//! No kernel tells when an acknowledgement comes, so somebody has to ask; only
//! while the answer matters, and less and less often.

use core::time::Duration;

use super::Pair;
use super::member::{Flow, Member, MemberId};
use crate::time::Instant;

/// First pause between questions.
const PAUSE_MIN: Duration = Duration::from_millis(2);
/// Longest pause between questions.
const PAUSE_MAX: Duration = Duration::from_millis(256);

/// The questions that are asked, and when again.
#[derive(Clone, Debug, Default)]
pub(super) struct Asking {
    /// Members that are to be asked now, by number.
    due: u32,
    /// When all are to be asked again, and the pause after that.
    again: Option<(Instant, Duration)>,
}

impl Asking {
    pub(super) fn ask(&mut self, id: MemberId) {
        self.due |= bit(id);
    }

    pub(super) fn is_due(&self, id: MemberId) -> bool {
        self.due & bit(id) != 0
    }

    pub(super) fn answered(&mut self, id: MemberId) {
        self.due &= !bit(id);
    }

    /// Something has moved: more may come soon.
    pub(super) fn hurry(&mut self, now: Instant) {
        if let Some((at, pause)) = &mut self.again {
            *at = now.saturating_add(PAUSE_MIN).min(*at);
            *pause = PAUSE_MIN.saturating_mul(2);
        }
    }

    /// When all are to be asked again, and the pause after that.
    pub(super) fn again(&self) -> Option<(Instant, Duration)> {
        self.again
    }
}

fn bit(id: MemberId) -> u32 {
    u32::try_from(id.0)
        .ok()
        .and_then(|index| 1u32.checked_shl(index))
        .unwrap_or(0)
}

impl Pair {
    pub(super) fn keep_asking(&mut self) {
        if !self.needs_proof() {
            self.asking.again = None;
            return;
        }
        let pause = match self.asking.again {
            Some((at, _)) if self.now < at => return,
            Some((_, pause)) => pause,
            None => PAUSE_MIN,
        };
        for index in 0..self.members.len() {
            let id = MemberId(index);
            if self.is_outstanding(id) {
                self.asking.ask(id);
            }
        }
        let next = pause.saturating_mul(2).min(PAUSE_MAX);
        self.asking.again = Some((self.now.saturating_add(pause), next));
    }

    /// Whether anything waits for an acknowledgement.
    fn needs_proof(&self) -> bool {
        if self.chosen.is_some() || !self.live().any(|member| self.is_outstanding(member.id)) {
            return false;
        }
        let spoken = |member: &Member| member.flow().is_some_and(Flow::has_brought);
        self.wanting
            || self.abandoned.is_some()
            || (self.now >= self.window_end() && self.live().any(|m| !m.is_proven()))
            || self.live().any(|m| !m.is_eligible() && spoken(m))
    }

    fn is_outstanding(&self, id: MemberId) -> bool {
        self.get(id)
            .and_then(Member::flow)
            .is_some_and(Flow::is_outstanding)
    }
}
