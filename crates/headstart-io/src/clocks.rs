//! One time for what runtimes share, each of which has a clock of its own.

use headstart_core::Instant;

use crate::epoch::Epoch;
use crate::runtime::Runtime;

/// How often two clocks are compared.
const READINGS: usize = 5;

/// One moment on a runtime's clock and on that of something shared, by which
/// all later ones are translated. Those before it become it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clocks {
    own: Instant,
    shared: Instant,
}

impl Clocks {
    /// Reads both clocks, a few times: whoever is interrupted between them
    /// would call one moment two.
    pub(crate) fn compare(runtime: &impl Runtime, shared: Epoch) -> Self {
        let readings = (0..READINGS).map(|_| {
            let before = runtime.std_now();
            let own = runtime.now();
            let between = runtime.std_now().saturating_duration_since(before);
            (between, own, before)
        });
        let closest = readings.min();
        closest.map_or_else(Self::default, |(_, own, before)| Self {
            own,
            shared: shared.instant(before),
        })
    }

    /// A moment on the runtime's clock, on the shared one.
    pub(crate) fn to_shared(self, moment: Instant) -> Instant {
        self.shared
            .saturating_add(moment.saturating_since(self.own))
    }

    /// A moment on the shared clock, on the runtime's.
    pub(crate) fn to_own(self, moment: Instant) -> Instant {
        self.own
            .saturating_add(moment.saturating_since(self.shared))
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn moments_are_translated_both_ways_and_saturate_at_both_ends() {
        let at = Instant::from_nanos;
        let clocks = Clocks {
            own: at(100),
            shared: at(u64::MAX - 10),
        };
        assert_eq!(clocks.to_shared(at(107)), at(u64::MAX - 3));
        assert_eq!(clocks.to_own(at(u64::MAX - 3)), at(107));
        // A clock that has jumped back, and one that has run out.
        assert_eq!(clocks.to_shared(at(0)), at(u64::MAX - 10));
        assert_eq!(clocks.to_own(at(0)), at(100));
        assert_eq!(clocks.to_shared(at(u64::MAX)), at(u64::MAX));
    }
}
