//! What a memory holds, as values that a store can keep: with wall time.

use alloc::vec::Vec;
use core::time::Duration;

use super::evidence::Trouble;
use super::phase::{Open, Phase, Relapse};
use super::settings::{DOUBLINGS_MAX, TRUST_MAX};
use super::{PathKey, PathMemory, Record};
use crate::time::Instant;

/// A moment of the wall clock: milliseconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallTime(u64);

impl WallTime {
    /// The moment so many milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This wall time, `now`, as it was or will be at another moment.
    fn at(self, now: Instant, moment: Instant) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self(
            self.0
                .saturating_add(millis(moment.saturating_since(now)))
                .saturating_sub(millis(now.saturating_since(moment))),
        )
    }
}

/// How much later something must have been heard to be newer: clocks are read
/// one after the other, and wall clocks are corrected.
const NEWS: Duration = Duration::from_secs(1);

/// Where a path stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Fast Open is used.
    Open {
        /// How many failures are forgiven; at most [`TRUST_MAX`].
        trust: u8,
        /// Whether the latest race had no cookie and asked for one.
        asked: bool,
        /// After a stall: the doublings of the back-off that it came from, and
        /// until when another stall goes on doubling it.
        relapse: Option<(u8, WallTime)>,
    },
    /// Fast Open is not used.
    Suspended {
        /// What was wrong with it.
        trouble: Trouble,
        /// How often the first back-off was doubled.
        doublings: u8,
        /// When one race may try again.
        until: WallTime,
    },
}

/// A path and all that is remembered of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Remembered {
    /// The path.
    pub path: PathKey,
    /// When something was last heard of it.
    pub noted: WallTime,
    /// Where it stands.
    pub standing: Standing,
}

impl PathMemory {
    /// Everything that is remembered and not too old, those first that would be
    /// given up first. `wall` is what the wall clock shows at `now`.
    ///
    /// A retry that is under way is not remembered: it is due.
    pub fn snapshot(&self, now: Instant, wall: WallTime) -> Vec<Remembered> {
        let now = self.now.max(now);
        let too_old = |record: &Record| now >= record.noted.saturating_add(self.settings.keep);
        self.order
            .values()
            .filter_map(|path| Some((path, self.records.get(path)?)))
            .filter(|(_, record)| !too_old(record))
            .map(|(path, record)| Remembered {
                path: *path,
                noted: wall.at(now, record.noted),
                standing: standing(record.phase, now, wall),
            })
            .collect()
    }

    /// Takes back what a snapshot said of a path, unless what is known of it is
    /// as new, give or take a second; whether it was taken. Restore the paths of a snapshot in its order.
    ///
    /// Wall clocks jump, and files are edited: what lies in the future was heard
    /// now, and no back-off lasts longer than it would if it began now.
    pub fn restore(&mut self, now: Instant, wall: WallTime, remembered: Remembered) -> bool {
        self.tick(now);
        let now = self.now;
        let age = wall.saturating_since(remembered.noted);
        let since_epoch = now.saturating_since(Instant::default());
        if age >= self.settings.keep {
            return false;
        }
        let noted = Instant::default().saturating_add(since_epoch.saturating_sub(age));
        let known = self.take(remembered.path);
        let is_newer = |known: &Record| noted > known.noted.saturating_add(NEWS);
        if let Some(known) = known.filter(|known| !is_newer(known)) {
            self.put(remembered.path, known);
            return false;
        }
        let ends = |doublings: u8, until: WallTime| {
            let left = until.saturating_since(wall);
            now.saturating_add(left.min(self.settings.backoff(doublings)))
        };
        let phase = match remembered.standing {
            Standing::Open {
                trust,
                asked,
                relapse,
            } => Phase::Open(Open {
                trust: trust.min(TRUST_MAX),
                asked,
                counted: None,
                relapse: relapse.map(|(doublings, until)| Relapse {
                    doublings: doublings.min(DOUBLINGS_MAX),
                    since: now,
                    until: ends(doublings, until),
                }),
            }),
            Standing::Suspended {
                trouble,
                doublings,
                until,
            } => Phase::Suspended {
                trouble,
                doublings: doublings.min(DOUBLINGS_MAX),
                until: ends(doublings, until),
            },
        };
        self.put(
            remembered.path,
            Record {
                phase,
                noted,
                place: 0,
            },
        );
        true
    }
}

fn standing(phase: Phase, now: Instant, wall: WallTime) -> Standing {
    match phase {
        Phase::Open(open) => Standing::Open {
            trust: open.trust,
            asked: open.asked,
            relapse: open
                .relapse
                .filter(|relapse| now < relapse.until)
                .map(|relapse| (relapse.doublings, wall.at(now, relapse.until))),
        },
        Phase::Suspended {
            trouble,
            doublings,
            until,
        } => Standing::Suspended {
            trouble,
            doublings,
            until: wall.at(now, until),
        },
        Phase::Trying {
            trouble,
            doublings,
            since,
        } => Standing::Suspended {
            trouble,
            doublings,
            until: wall.at(now, since),
        },
    }
}
