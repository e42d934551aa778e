//! The entries, oldest first: a ring of fixed size.

use alloc::vec::Vec;
use core::time::Duration;

use super::Digest;
use crate::Instant;

/// Where in the ring an entry is: below the capacity.
pub(super) type Place = u32;

/// Time in units of 2^16 nanoseconds (65.5 microseconds). All that an
/// [`Instant`] can hold fits in 48 bits of it, so that it never wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(u64);

/// Bits of a nanosecond count that a tick leaves out.
const TICK_BITS: u32 = 16;

impl Tick {
    pub(super) const fn of(now: Instant) -> Self {
        Self(now.as_nanos() >> TICK_BITS)
    }

    /// The longest difference of ticks that is possible within `window`. What
    /// is above is older than the window for certain.
    pub(super) fn covering(window: Duration) -> Self {
        Self(
            u64::try_from(window.as_nanos())
                .unwrap_or(u64::MAX)
                .div_ceil(1 << TICK_BITS),
        )
    }

    /// The time since `earlier`; zero if that is later.
    pub(super) const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    pub(super) const fn as_duration(self) -> Duration {
        Duration::from_nanos(self.0 << TICK_BITS)
    }
}

/// One remembered message: half a cache line.
#[derive(Clone, Copy)]
#[repr(align(32))]
pub(super) struct Entry {
    digest: Digest,
    connection: u64,
    /// 48 bits: the tick of the first copy. 16 bits: how many copies have
    /// come, or zero if the entry is dead, that is no longer in the index.
    seen_and_copies: u64,
}

const _: () = assert!(size_of::<Entry>() == 32);

/// Bits of `seen_and_copies` that count copies.
const COPIES_BITS: u32 = 16;
/// The largest number of copies that is counted.
const COPIES_MAX: u64 = (1 << COPIES_BITS) - 1;

impl Entry {
    const DEAD: Self = Self {
        digest: Digest::from_bits(0),
        connection: 0,
        seen_and_copies: 0,
    };

    /// A live entry with one copy.
    pub(super) const fn new(digest: Digest, connection: u64, seen: Tick) -> Self {
        Self {
            digest,
            connection,
            seen_and_copies: seen.0 << COPIES_BITS | 1,
        }
    }

    pub(super) const fn digest(&self) -> Digest {
        self.digest
    }

    pub(super) const fn connection(&self) -> u64 {
        self.connection
    }

    pub(super) const fn seen(&self) -> Tick {
        Tick(self.seen_and_copies >> COPIES_BITS)
    }

    /// Counts one more, and says how many there are now.
    pub(super) const fn add_copy(&mut self) -> u32 {
        if self.copies() < COPIES_MAX {
            self.seen_and_copies = self.seen_and_copies.saturating_add(1);
        }
        self.copies() as u32
    }

    pub(super) const fn is_dead(&self) -> bool {
        self.copies() == 0
    }

    pub(super) const fn kill(&mut self) {
        self.seen_and_copies &= !COPIES_MAX;
    }

    const fn copies(&self) -> u64 {
        self.seen_and_copies & COPIES_MAX
    }
}

/// The entries, oldest first.
pub(super) struct Ring {
    entries: Vec<Entry>,
    /// The oldest entry's place.
    head: Place,
    len: u32,
}

impl Ring {
    /// An empty ring of this capacity, or none if there is no memory for it.
    pub(super) fn new(capacity: u32) -> Option<Self> {
        let len = usize::try_from(capacity).ok()?;
        let mut entries = Vec::new();
        entries.try_reserve_exact(len).ok()?;
        entries.resize(len, Entry::DEAD);
        Some(Self {
            entries,
            head: 0,
            len: 0,
        })
    }

    pub(super) const fn capacity(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn allocated_bytes(&self) -> usize {
        self.entries.capacity().saturating_mul(size_of::<Entry>())
    }

    pub(super) const fn is_full(&self) -> bool {
        self.len as usize == self.entries.len()
    }

    pub(super) fn get(&self, place: Place) -> Option<&Entry> {
        self.entries.get(place as usize)
    }

    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut Entry> {
        self.entries.get_mut(place as usize)
    }

    /// The oldest entry, dead or alive.
    pub(super) fn oldest(&self) -> Option<(Place, &Entry)> {
        if self.len == 0 {
            return None;
        }
        Some((self.head, self.get(self.head)?))
    }

    /// Frees the oldest entry's place.
    pub(super) const fn pop(&mut self) {
        if self.len > 0 {
            self.head = self.wrapped(self.head as u64 + 1);
            self.len = self.len.saturating_sub(1);
        }
    }

    /// Adds the newest entry, and says where; `None` if the ring is full.
    pub(super) fn push(&mut self, entry: Entry) -> Option<Place> {
        if self.is_full() {
            return None;
        }
        let place = self.wrapped(u64::from(self.head) + u64::from(self.len));
        *self.get_mut(place)? = entry;
        self.len = self.len.saturating_add(1);
        Some(place)
    }

    /// How many entries are older than the one at `place`.
    pub(super) const fn rank(&self, place: Place) -> u32 {
        let behind = place as u64 + self.entries.len() as u64 - self.head as u64;
        self.wrapped(behind)
    }

    /// `at`, which is below twice the capacity, as a place.
    const fn wrapped(&self, at: u64) -> Place {
        let capacity = self.entries.len() as u64;
        if at < capacity {
            at as Place
        } else {
            (at - capacity) as Place
        }
    }
}

impl core::fmt::Debug for Ring {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Ring")
            .field("capacity", &self.capacity())
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
