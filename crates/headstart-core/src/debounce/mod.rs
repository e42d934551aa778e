//! Tells the first copy of a message from those that follow.
//!
//! A client that races sends the same first message on two connections; the
//! network may repeat a SYN with its data, and so deliver it once more. A
//! server that asks the [`Debouncer`] about each first message acts on exactly
//! one copy of each, however many come.
//!
//! ```
//! use core::time::Duration;
//! use headstart_core::Instant;
//! use headstart_core::debounce::{Config, Debouncer, Secret, Verdict};
//!
//! # let random = [7; 192];
//! let secret = Secret::from_bytes(&random); // 192 random bytes, once per process
//! let mut debouncer = Debouncer::new(Config::default())?;
//! let digest = secret.digest(b"first message");
//! let (now, later) = (Instant::from_nanos(0), Instant::from_nanos(1_000_000_000));
//! assert_eq!(debouncer.observe(now, digest, 1), Verdict::First);
//! assert!(matches!(
//!     debouncer.observe(later, digest, 2),
//!     Verdict::Duplicate { of: 1, copies: 2, .. }
//! ));
//! # Ok::<(), headstart_core::debounce::ConfigError>(())
//! ```
//!
//! # What it is not
//!
//! It is no protection against replay. It forgets after its window, when its
//! capacity is used up, and when the process ends; it does not know what other
//! servers have seen. What must not happen twice needs a guard of its own.
//!
//! Digests are keyed with a [`Secret`], so that nobody who does not know it
//! can aim at places in the table, but XXH3 is no cryptographic hash. Somebody
//! who finds two messages with one digest gains that the second of *their own*
//! messages counts as a copy. To have another's message dropped, they must
//! send one with its digest first; knowing that message they could as well
//! send it itself.
//!
//! # Memory and time
//!
//! All memory is taken when the debouncer is built: 41 bytes for each entry of
//! capacity. Nothing is ever swept, grown or rebuilt: an observation adds one
//! entry at most, and lets three go at most.

mod batch;
mod config;
mod digest;
mod index;
mod marks;
mod places;
mod ring;

use core::time::Duration;

pub use config::{CAPACITY_MAX, Config, ConfigError};
pub use digest::{Digest, MessageHasher, SECRET_LEN, Secret};

use crate::Instant;
use index::{Index, Location};
use ring::{Entry, Place, Ring, Tick};

/// How many entries at most one observation lets expire. One is added at most,
/// so that two never fall behind.
const EXPIRED_PER_OBSERVATION: usize = 2;

/// What an observed message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// The first copy: act on it.
    First,
    /// A copy of a message that has come before: do not act on it.
    Duplicate {
        /// The connection on which the first copy came.
        of: u64,
        /// How long ago the first copy came, to within 1.05 milliseconds; zero
        /// if the clock has gone backwards since.
        age: Duration,
        /// How many copies have come, this one and the first included.
        /// Stays at 4,095 when it gets there.
        copies: u32,
    },
}

/// Counters since the debouncer was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages that were the first of their kind.
    pub first: u64,
    /// Messages that were copies.
    pub duplicates: u64,
    /// Entries that were forgotten because the window had passed.
    pub expired: u64,
    /// Entries that were forgotten before the window had passed, to make room.
    /// If this grows, a copy may be taken for a first: the capacity is too
    /// small for the rate.
    pub forced_out: u64,
}

/// Remembers first messages by their digests, for a time and up to a number.
///
/// - Within window and capacity exactly one copy of a message is
///   [`First`](Verdict::First), however many come.
/// - Its memory is bounded and taken at once; an entry forced out before its
///   time is counted ([`Stats::forced_out`]).
/// - An observation costs a constant, expiry included. Some work is put by, so
///   that one observation in 64 does it for all: about a microsecond.
/// - A clock that jumps backwards does no harm: entries from its future have
///   the age zero, and are kept for as much longer, or until forced out.
#[derive(Debug)]
pub struct Debouncer {
    ring: Ring,
    index: Index,
    /// Entries above this age are past the window.
    window: Tick,
    stats: Stats,
}

impl Debouncer {
    /// A debouncer that has seen nothing. Allocates all that it will ever use.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if a setting is out of range, or if the memory cannot
    /// be had.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let capacity = config.checked_capacity()?;
        Ok(Self {
            ring: Ring::new(capacity).ok_or(ConfigError::OutOfMemory)?,
            index: Index::new(capacity).ok_or(ConfigError::OutOfMemory)?,
            window: Tick::covering(config.window),
            stats: Stats::default(),
        })
    }

    /// Says whether this is the first copy of a message, and remembers it if
    /// so. `connection` is what later copies are told that they are copies of.
    ///
    /// Never allocates.
    pub fn observe(&mut self, now: Instant, digest: Digest, connection: u64) -> Verdict {
        let now = Tick::of(now);
        self.expire_some(now);
        if let Some(place) = self.index.find(digest, &self.ring) {
            if let Some(duplicate) = self.count_copy(now, place) {
                return duplicate;
            }
            self.forget(place);
            self.stats.expired = self.stats.expired.wrapping_add(1);
        }
        self.remember(now, digest, connection);
        Verdict::First
    }

    /// How many messages are remembered, including those that are past the
    /// window but not yet forgotten.
    pub const fn len(&self) -> usize {
        let forgotten = self.stats.expired.wrapping_add(self.stats.forced_out);
        self.stats.first.wrapping_sub(forgotten) as usize
    }

    /// Whether no message is remembered.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most messages that are ever remembered at once.
    pub const fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    /// What has happened so far.
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Memory on the heap, in bytes; the same from the start to the end.
    pub const fn allocated_bytes(&self) -> usize {
        self.ring
            .allocated_bytes()
            .saturating_add(self.index.allocated_bytes())
    }

    /// Counts a copy of the entry, if that is within the window.
    fn count_copy(&mut self, now: Tick, place: Place) -> Option<Verdict> {
        let entry = self.ring.get_mut(place)?;
        let age = now.since(entry.seen());
        if age > self.window {
            return None;
        }
        let copies = entry.add_copy();
        self.stats.duplicates = self.stats.duplicates.wrapping_add(1);
        Some(Verdict::Duplicate {
            of: entry.connection(),
            age: age.as_duration(),
            copies,
        })
    }

    /// Adds a new entry.
    fn remember(&mut self, now: Tick, digest: Digest, connection: u64) {
        if self.ring.is_full() {
            self.pop_oldest(now);
        }
        let place = self.ring.next();
        let location = match self.index.insert(digest, place) {
            Some(location) => Some(location),
            None => self.crowd_in(digest, place),
        };
        if let Some(location) = location {
            self.ring
                .push(Entry::new(digest, connection, now, location));
        }
        self.stats.first = self.stats.first.wrapping_add(1);
    }

    /// Adds an entry to the index in the place of the oldest that is where it
    /// could be.
    ///
    /// Happens only with digests that somebody has aimed at one bucket. To
    /// search further for room would let them choose the cost.
    #[cold]
    fn crowd_in(&mut self, digest: Digest, place: Place) -> Option<Location> {
        let oldest = self.index.oldest_in_reach(digest, &self.ring)?;
        self.forget(oldest);
        self.stats.forced_out = self.stats.forced_out.wrapping_add(1);
        self.index.insert(digest, place)
    }

    /// Drops what is dead or past the window from the old end of the ring, but
    /// only so much of it at once.
    fn expire_some(&mut self, now: Tick) {
        for _ in 0..EXPIRED_PER_OBSERVATION {
            match self.ring.oldest() {
                Some(entry) if entry.is_dead() || now.since(entry.seen()) > self.window => {
                    self.pop_oldest(now);
                }
                _ => return,
            }
        }
    }

    /// Drops the oldest entry from the ring, whatever its age.
    #[inline(always)] // for every first message, and hardly more than a call
    fn pop_oldest(&mut self, now: Tick) {
        let Some(entry) = self.ring.pop().filter(|entry| !entry.is_dead()) else {
            return;
        };
        self.index.remove(entry.digest(), entry.location());
        let counter = if now.since(entry.seen()) > self.window {
            &mut self.stats.expired
        } else {
            &mut self.stats.forced_out
        };
        *counter = counter.wrapping_add(1);
    }

    /// Takes a live entry out of the index. Its place in the ring is freed in
    /// its turn.
    fn forget(&mut self, place: Place) {
        if let Some(entry) = self.ring.get_mut(place) {
            self.index.remove(entry.digest(), entry.location());
            entry.kill();
        }
    }
}
