//! What a socket takes a round trip for (RFC 6298 section 2).

use super::{RTO_FIRST, RTO_MAX, RTO_MIN};

/// Round trips measured so far, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RoundTrips {
    smoothed: Option<u64>,
    deviation: u64,
    least: u64,
}

impl RoundTrips {
    pub(super) fn sample(&mut self, took: u64) {
        match self.smoothed {
            None => {
                self.deviation = took / 2;
                self.least = took;
                self.smoothed = Some(took);
            }
            Some(smoothed) => {
                let off = smoothed.abs_diff(took);
                self.deviation = mix(self.deviation, off, 4);
                self.least = self.least.min(took);
                self.smoothed = Some(mix(smoothed, took, 8));
            }
        }
    }

    pub(super) fn smoothed(&self) -> Option<u64> {
        self.smoothed
    }

    /// The shortest of all.
    pub(super) fn least(&self) -> u64 {
        self.least
    }

    /// When a retransmission is due.
    pub(super) fn timeout(&self) -> u64 {
        self.smoothed.map_or(RTO_FIRST, |smoothed| {
            let more = self.deviation.saturating_mul(4).max(RTO_MIN);
            smoothed.saturating_add(more).min(RTO_MAX)
        })
    }
}

/// The old value, moved towards the new one by one part in so many.
fn mix(old: u64, new: u64, parts: u64) -> u64 {
    let kept = old.saturating_mul(parts.saturating_sub(1));
    kept.saturating_add(new).checked_div(parts).unwrap_or(old)
}
