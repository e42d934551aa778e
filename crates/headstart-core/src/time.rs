//! Time as a plain number, so that a run can be stored, replayed and fuzzed.

use core::fmt;
use core::time::Duration;

/// A moment, in nanoseconds since an epoch that the caller chooses.
///
/// The core never asks for the time: every input carries it. 64 bits of
/// nanoseconds are 584 years; arithmetic saturates at both ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The moment `nanos` nanoseconds after the caller's epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the caller's epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this moment; zero if `earlier` is later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment and `later`; the last representable moment if that is past it.
    pub const fn saturating_add(self, later: Duration) -> Self {
        let nanos = later.as_nanos();
        if nanos > u64::MAX as u128 {
            return Self(u64::MAX);
        }
        Self(self.0.saturating_add(nanos as u64))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Duration::from_nanos(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let early = Instant::from_nanos(5);
        let late = Instant::from_nanos(u64::MAX - 1);
        assert_eq!(early.saturating_since(late), Duration::ZERO);
        assert_eq!(late.saturating_add(Duration::MAX).as_nanos(), u64::MAX);
        assert_eq!(early.saturating_add(Duration::from_nanos(7)).as_nanos(), 12);
        let more_than_all = Duration::from_nanos(u64::MAX) + Duration::from_nanos(1);
        assert_eq!(early.saturating_add(more_than_all).as_nanos(), u64::MAX);
    }
}
