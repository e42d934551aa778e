//! What was sent and not yet acknowledged: which of it has come (selective
//! acknowledgement, RFC 2018) and which of it is lost (RACK, RFC 8985).

use std::collections::VecDeque;

use super::millis;
use crate::segment::Blocks;

/// Two ticks of the kernel's clock, that reordering and probes are given more.
pub(super) const TICKS: u64 = millis(6);
/// Segments behind a hole that prove it a loss (RFC 8985 section 6.2, step 4).
const DUPLICATES: usize = 3;

/// Segments under way, in order of their numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flight {
    segments: VecDeque<Sent>,
    newest: Newest,
    /// Losses up to here are being repaired.
    repairs: Option<u32>,
    /// A probe is out until this is acknowledged.
    probed: Option<u32>,
}

/// Of what has come, what was sent last.
#[derive(Clone, Copy, Debug, Default)]
struct Newest {
    /// When it was sent, and the number behind it.
    sent: (u64, u32),
    /// How long its acknowledgement took.
    rtt: u64,
}

/// What was found lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Losses {
    /// So many segments.
    pub(super) count: u32,
    /// Nothing was lost before, or all of it is repaired.
    pub(super) are_first: bool,
    /// When time may tell of more.
    pub(super) again: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    from: u32,
    to: u32,
    at: u64,
    /// Not for the first time.
    again: bool,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    UnderWay,
    Arrived,
    Lost,
}

impl Flight {
    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Segments that may be on the wire.
    pub(super) fn under_way(&self) -> u32 {
        let sent = self.segments.iter();
        let count = sent.filter(|sent| sent.place == Place::UnderWay).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Losses are being repaired.
    pub(super) fn is_repairing(&self) -> bool {
        self.repairs.is_some()
    }

    /// A segment leaves for the first time.
    pub(super) fn push(&mut self, from: u32, to: u32, at: u64) {
        self.segments.push_back(Sent {
            from,
            to,
            at,
            again: false,
            place: Place::UnderWay,
        });
    }

    /// When the first of them was sent.
    pub(super) fn oldest_at(&self) -> Option<u64> {
        self.segments.front().map(|sent| sent.at)
    }

    /// When that was sent whose acknowledgement measures a round trip.
    pub(super) fn sampled(&self, ack: u32) -> Option<u64> {
        let first = self.segments.front().filter(|sent| sent.to <= ack)?;
        (!first.again && first.place == Place::UnderWay).then_some(first.at)
    }

    /// Takes an acknowledgement; how many segments it says have come that were
    /// not known to have.
    pub(super) fn acknowledge(&mut self, ack: u32, blocks: &Blocks, now: u64, rtt: u64) -> u32 {
        let mut news = 0u32;
        for sent in &mut self.segments {
            let within = |(from, to): &(u32, u32)| *from <= sent.from && sent.to <= *to;
            if sent.place == Place::Arrived || !(sent.to <= ack || blocks.iter().any(within)) {
                continue;
            }
            news = news.saturating_add(1);
            sent.place = Place::Arrived;
            let took = now.saturating_sub(sent.at);
            let is_earlier_copy = sent.again && took < rtt;
            if !is_earlier_copy && (sent.at, sent.to) > self.newest.sent {
                self.newest = Newest {
                    sent: (sent.at, sent.to),
                    rtt: took,
                };
            }
        }
        while self.segments.front().is_some_and(|sent| sent.to <= ack) {
            self.segments.pop_front();
        }
        self.repairs = self.repairs.filter(|upto| *upto > ack);
        self.probed = self.probed.filter(|upto| *upto > ack);
        news
    }

    /// Gives up what was sent so long before the newest that has come that it
    /// will not come.
    pub(super) fn detect_losses(&mut self, now: u64, rtt: u64) -> Losses {
        let arrived = |sent: &&Sent| sent.place == Place::Arrived;
        let proven = self.segments.iter().filter(arrived).count() >= DUPLICATES;
        let patience = match self.repairs.is_some() || proven {
            true => 0,
            false => rtt / 4,
        };
        let wait = self.newest.rtt.saturating_add(patience);
        let end = self.segments.back().map(|sent| sent.to);
        let mut losses = Losses {
            count: 0,
            are_first: self.repairs.is_none(),
            again: None,
        };
        for sent in &mut self.segments {
            if sent.place != Place::UnderWay || (sent.at, sent.to) >= self.newest.sent {
                continue;
            }
            let due = sent.at.saturating_add(wait);
            if due <= now {
                sent.place = Place::Lost;
                losses.count = losses.count.saturating_add(1);
                self.repairs = self.repairs.or(end);
            } else {
                losses.again = losses.again.max(Some(due.saturating_add(TICKS)));
            }
        }
        losses
    }

    /// Gives up what has not come (RFC 6298 section 5.4), but for what was
    /// sent just now.
    pub(super) fn time_out(&mut self, now: u64) {
        let rtt = self.newest.rtt;
        for (place, sent) in self.segments.iter_mut().enumerate() {
            let is_old = place == 0 || sent.at.saturating_add(rtt) <= now;
            if sent.place == Place::UnderWay && is_old {
                sent.place = Place::Lost;
            }
        }
        self.repairs = self.segments.back().map(|sent| sent.to);
        self.probed = None;
    }

    /// The first of the lost, which now is sent again.
    pub(super) fn resend_lost(&mut self, now: u64) -> Option<(u32, u32)> {
        let lost = |sent: &&mut Sent| sent.place == Place::Lost;
        self.segments.iter_mut().find(lost).map(|sent| {
            sent.place = Place::UnderWay;
            sent.at = now;
            sent.again = true;
            (sent.from, sent.to)
        })
    }

    /// Whether a probe may be sent if nothing comes: no loss is known or
    /// suspected, and none is out (RFC 8985 section 7.2).
    pub(super) fn may_probe(&self) -> bool {
        let quiet = |sent: &Sent| sent.place == Place::UnderWay;
        self.repairs.is_none() && self.probed.is_none() && self.segments.iter().all(quiet)
    }

    /// Only one segment is out, so that its acknowledgement may be delayed.
    pub(super) fn is_single(&self) -> bool {
        self.segments.len() == 1
    }

    /// A probe leaves; the last segment, unless there is a new one.
    pub(super) fn probe(&mut self, now: u64) -> Option<(u32, u32)> {
        let last = self.segments.back_mut()?;
        self.probed = Some(last.to);
        last.again |= last.at < now;
        last.at = now;
        Some((last.from, last.to))
    }
}
