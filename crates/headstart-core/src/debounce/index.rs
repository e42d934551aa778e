//! From digests to places in the ring: a hash table that never needs to be
//! cleaned, grown or rebuilt.
//!
//! Entries come and go in FIFO order, one each time. A table with tombstones,
//! such as hashbrown's, fills up with them under this, and must now and then
//! rehash or grow, which takes time in proportion to its size and, when it
//! grows, memory that was not foreseen. Here the buckets know how many entries
//! have gone past them (as in F14, Facebook's table), and an entry that leaves
//! takes itself off these counts. The ring knows its digest, hence its way.
//!
//! A bucket is one cache line: 15 places and the count. There are eight entries
//! of capacity for each bucket, so that it is full in 1 case of 70, and a
//! lookup ends in its first bucket in all the others.

use alloc::vec::Vec;
use core::fmt;

use super::Digest;
use super::ring::{Place, Ring};

/// Places in a bucket.
const SLOTS: usize = 15;
/// Entries of capacity for each bucket.
const ENTRIES_PER_BUCKET: u32 = 8;
/// How many buckets, its home first, may hold an entry. That all of them are
/// full happens by chance to none of 10^19 entries.
const REACH: u32 = 16;

/// A place in its low bits, plus one so that zero is free; above them as many
/// bits of the digest as there is room for, to tell most others apart without
/// a look at the ring.
type Slot = u32;
const FREE: Slot = 0;

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Bucket {
    slots: [Slot; SLOTS],
    /// How many entries have this bucket on their way, but are beyond it.
    passed: u32,
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    const EMPTY: Self = Self {
        slots: [FREE; SLOTS],
        passed: 0,
    };

    /// Bit `i` is set if slot `i` equals `wanted` in the bits of `mask`.
    ///
    /// All slots are compared, without a branch, which becomes a few vector
    /// instructions.
    fn matches(&self, wanted: Slot, mask: Slot) -> u32 {
        let mut found = 0;
        for (bit, slot) in self.slots.iter().enumerate() {
            found |= u32::from(slot & mask == wanted) << bit;
        }
        found
    }
}

/// Which buckets an entry may be in, in order.
struct Way {
    bucket: u32,
    left: u32,
    buckets: u32,
}

impl Iterator for Way {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let bucket = self.bucket;
        let next = bucket.saturating_add(1);
        self.bucket = if next == self.buckets { 0 } else { next };
        usize::try_from(bucket).ok()
    }
}

/// From digests to places in the ring.
pub(super) struct Index {
    buckets: Vec<Bucket>,
    /// Bits of a slot that hold the place.
    place_mask: Slot,
}

impl Index {
    /// An empty index of places below `capacity`, or none if there is no
    /// memory for it.
    pub(super) fn new(capacity: u32) -> Option<Self> {
        let len = usize::try_from(capacity.div_ceil(ENTRIES_PER_BUCKET)).ok()?;
        let mut buckets = Vec::new();
        buckets.try_reserve_exact(len).ok()?;
        buckets.resize(len, Bucket::EMPTY);
        Some(Self {
            buckets,
            place_mask: u32::MAX.checked_shr(capacity.leading_zeros())?,
        })
    }

    pub(super) const fn allocated_bytes(&self) -> usize {
        self.buckets.capacity().saturating_mul(size_of::<Bucket>())
    }

    /// Where in `ring` the entry with this digest is.
    pub(super) fn find(&self, digest: Digest, ring: &Ring) -> Option<Place> {
        let tag = digest.tag() & !self.place_mask;
        for number in self.way(digest) {
            let bucket = self.buckets.get(number)?;
            let mut candidates = bucket.matches(tag, !self.place_mask);
            while candidates != 0 {
                let slot = bucket.slots.get(candidates.trailing_zeros() as usize)?;
                candidates &= candidates.saturating_sub(1);
                if let Some(place) = self.place(*slot)
                    && ring.get(place)?.digest() == digest
                {
                    return Some(place);
                }
            }
            if bucket.passed == 0 {
                return None;
            }
        }
        None
    }

    /// Adds an entry; says whether there was room for it.
    pub(super) fn insert(&mut self, digest: Digest, place: Place) -> bool {
        let slot = self.slot(digest, place);
        let Some(target) = self.way(digest).position(|number| self.has_room(number)) else {
            return false;
        };
        for (step, number) in self.way(digest).take(target.saturating_add(1)).enumerate() {
            let Some(bucket) = self.buckets.get_mut(number) else {
                return false;
            };
            if step < target {
                bucket.passed = bucket.passed.saturating_add(1);
            } else {
                let free = bucket.matches(FREE, Slot::MAX).trailing_zeros() as usize;
                if let Some(free) = bucket.slots.get_mut(free) {
                    *free = slot;
                }
            }
        }
        true
    }

    /// Removes the entry at `place`, which must have this digest.
    pub(super) fn remove(&mut self, digest: Digest, place: Place) {
        let slot = self.slot(digest, place);
        for number in self.way(digest) {
            let Some(bucket) = self.buckets.get_mut(number) else {
                return;
            };
            let found = bucket.matches(slot, Slot::MAX).trailing_zeros() as usize;
            if let Some(found) = bucket.slots.get_mut(found) {
                *found = FREE;
                return;
            }
            bucket.passed = bucket.passed.saturating_sub(1);
        }
    }

    /// Of all entries that are where an entry with this digest could be, the
    /// oldest.
    pub(super) fn oldest_in_reach(&self, digest: Digest, ring: &Ring) -> Option<Place> {
        self.way(digest)
            .filter_map(|number| self.buckets.get(number))
            .flat_map(|bucket| bucket.slots)
            .filter_map(|slot| self.place(slot))
            .min_by_key(|place| ring.rank(*place))
    }

    fn has_room(&self, number: usize) -> bool {
        self.buckets
            .get(number)
            .is_some_and(|bucket| bucket.matches(FREE, Slot::MAX) != 0)
    }

    fn way(&self, digest: Digest) -> Way {
        let buckets = u32::try_from(self.buckets.len()).unwrap_or(u32::MAX);
        Way {
            bucket: digest.home(buckets),
            left: REACH.min(buckets),
            buckets,
        }
    }

    fn slot(&self, digest: Digest, place: Place) -> Slot {
        digest.tag() & !self.place_mask | place.saturating_add(1)
    }

    /// The place in a slot, if it is not free.
    const fn place(&self, slot: Slot) -> Option<Place> {
        (slot & self.place_mask).checked_sub(1)
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index")
            .field("buckets", &self.buckets.len())
            .finish_non_exhaustive()
    }
}
