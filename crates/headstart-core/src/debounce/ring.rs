//! The entries, oldest first: a ring of fixed size.

use alloc::vec::Vec;
use core::time::Duration;

use super::Digest;
use super::index::Location;
use crate::Instant;

/// Where in the ring an entry is: below the capacity.
pub(super) type Place = u32;

/// Time in units of 2^20 nanoseconds (1.05 milliseconds). All that an
/// [`Instant`] can hold fits in 44 bits of it, so that it never wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(u64);

/// Bits of a nanosecond count that a tick leaves out.
const TICK_BITS: u32 = 20;

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
    /// From the top, 44 bits: the tick of the first copy. 8 bits: the location
    /// in the index. 12 bits: how many copies have come, or zero if the entry
    /// is dead, that is no longer in the index.
    packed: u64,
}

const _: () = assert!(size_of::<Entry>() == 32);

const SEEN_SHIFT: u32 = 20;
const LOCATION_SHIFT: u32 = 12;
/// The largest number of copies that is counted, and the bits that hold it.
const COPIES: u64 = (1 << LOCATION_SHIFT) - 1;

impl Entry {
    const DEAD: Self = Self {
        digest: Digest::from_bits(0),
        connection: 0,
        packed: 0,
    };

    /// A live entry with one copy.
    pub(super) const fn new(digest: Digest, connection: u64, seen: Tick, at: Location) -> Self {
        Self {
            digest,
            connection,
            packed: seen.0 << SEEN_SHIFT | (at.0 as u64) << LOCATION_SHIFT | 1,
        }
    }

    pub(super) const fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether this is what is remembered of `digest`.
    pub(super) fn is_live_of(&self, digest: Digest) -> bool {
        self.digest == digest && !self.is_dead()
    }

    pub(super) const fn connection(&self) -> u64 {
        self.connection
    }

    pub(super) const fn seen(&self) -> Tick {
        Tick(self.packed >> SEEN_SHIFT)
    }

    pub(super) const fn location(&self) -> Location {
        Location((self.packed >> LOCATION_SHIFT) as u8)
    }

    /// Counts one more, and says how many there are now.
    pub(super) const fn add_copy(&mut self) -> u32 {
        if self.copies() < COPIES {
            self.packed = self.packed.saturating_add(1);
        }
        self.copies() as u32
    }

    pub(super) const fn is_dead(&self) -> bool {
        self.copies() == 0
    }

    pub(super) const fn kill(&mut self) {
        self.packed &= !COPIES;
    }

    const fn copies(&self) -> u64 {
        self.packed & COPIES
    }
}

/// The entries, oldest first.
pub(super) struct Ring {
    entries: Vec<Entry>,
    /// The oldest entry's place.
    head: Place,
    /// The place of the entry that is pushed next.
    next: Place,
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
            next: 0,
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
    pub(super) fn oldest(&self) -> Option<&Entry> {
        if self.len == 0 {
            None
        } else {
            self.get(self.head)
        }
    }

    /// Takes out the oldest entry, and leaves it dead where it was.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Entry> {
        if self.len == 0 {
            return None;
        }
        let oldest = self.entries.get_mut(self.head as usize)?;
        let entry = *oldest;
        oldest.kill();
        self.head = self.wrapped(self.head.wrapping_add(1));
        self.len = self.len.wrapping_sub(1);
        Some(entry)
    }

    /// The place of the entry that is pushed next.
    #[inline]
    pub(super) const fn next(&self) -> Place {
        self.next
    }

    /// Adds the newest entry. The ring must not be full.
    #[inline]
    pub(super) fn push(&mut self, entry: Entry) {
        if let Some(free) = self.entries.get_mut(self.next as usize) {
            *free = entry;
            self.next = self.wrapped(self.next.wrapping_add(1));
            self.len = self.len.wrapping_add(1);
        }
    }

    /// How many entries are older than the one at `place`.
    pub(super) const fn rank(&self, place: Place) -> u32 {
        let behind = place.wrapping_add(self.entries.len() as u32);
        self.wrapped(behind.wrapping_sub(self.head))
    }

    /// `at`, which is below twice the capacity, as a place.
    #[inline]
    const fn wrapped(&self, at: u32) -> Place {
        let capacity = self.entries.len() as u32;
        if at < capacity {
            at
        } else {
            at.wrapping_sub(capacity)
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
