//! The core's plain-number time, and the standard library's.

use std::time::{Duration, Instant as StdInstant};

use headstart_core::Instant;

/// Where the anchor lies on the core's scale: far enough from both ends (146
/// years behind it, 438 before it) that conversion loses nothing.
const ANCHOR: Instant = Instant::from_nanos(1 << 62);

/// Translates between [`std::time::Instant`] and [`Instant`], both ways
/// without loss.
#[derive(Clone, Copy, Debug)]
pub struct Epoch {
    anchor: StdInstant,
}

impl Epoch {
    /// An epoch anchored at a moment, any moment.
    pub fn at(anchor: StdInstant) -> Self {
        Self { anchor }
    }

    /// The core's name for a moment.
    pub fn instant(&self, moment: StdInstant) -> Instant {
        match moment.checked_duration_since(self.anchor) {
            Some(later) => ANCHOR.saturating_add(later),
            None => {
                let earlier = self.anchor.saturating_duration_since(moment);
                let earlier = u64::try_from(earlier.as_nanos()).unwrap_or(u64::MAX);
                Instant::from_nanos(ANCHOR.as_nanos().saturating_sub(earlier))
            }
        }
    }

    /// The moment that the core means.
    pub fn std(&self, instant: Instant) -> StdInstant {
        let later = instant.saturating_since(ANCHOR);
        let earlier = ANCHOR.saturating_since(instant);
        let far = Duration::from_secs(u64::from(u32::MAX));
        let at = self
            .anchor
            .checked_add(later)
            .or_else(|| self.anchor.checked_add(far));
        at.and_then(|at| at.checked_sub(earlier))
            .unwrap_or(self.anchor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversion_loses_nothing_either_side_of_the_anchor() {
        let now = StdInstant::now();
        let epoch = Epoch::at(now);
        for nanos in [0, 1, 999, 1_000_000_007] {
            let step = Duration::from_nanos(nanos);
            for moment in [now + step, now.checked_sub(step).unwrap()] {
                assert_eq!(epoch.std(epoch.instant(moment)), moment);
            }
        }
        let (early, late) = (now.checked_sub(Duration::from_nanos(5)).unwrap(), now);
        let gap = epoch.instant(late).saturating_since(epoch.instant(early));
        assert_eq!(gap, Duration::from_nanos(5));
    }
}
