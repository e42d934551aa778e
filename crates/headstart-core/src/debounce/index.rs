//! From digests to places in the ring: a hash table that never needs to be
//! cleaned, grown or rebuilt, and of which little is ever waited for.
//!
//! Entries come and go in FIFO order, one each time. A table with tombstones,
//! such as hashbrown's, fills up with them under this, and must now and then
//! rehash or grow: that takes time in proportion to its size, and memory that
//! nobody foresaw. Here each bucket counts the entries that found it full and
//! went on to the next (as in F14, Facebook's table); an entry that leaves
//! takes itself off these counts. The ring knows its digest, hence its way.
//!
//! With a million entries, what costs most is waiting for memory: one miss of
//! all caches can take longer than hashing a message four times. So there are
//! two parts, and one rule:
//!
//! - *Marks*, one byte each: 8 bits of the digest. They are read for every
//!   message. At 2 bytes an entry of capacity they have a chance to stay in a
//!   cache, and of new messages 97% are known to be new from them alone.
//! - *Places*, four bytes for each mark: where in the ring the entry is, and
//!   some more bits of its digest. They are read only where a mark matches.
//! - *What nobody waits for is put by, and done 64 at once*: writing a place,
//!   and removing the mark of an entry that leaves. Many accesses wait for
//!   memory together; one by one, each would wait for itself, and what is
//!   written later queues up in the processor behind what is written now.
//!
//! A mark that is still there though its entry has left leads to a place in the
//! ring where another entry is, or a dead one: it can cost a look, but never a
//! wrong answer.

use alloc::vec::Vec;
use core::fmt;

use super::Digest;
use super::batch::Batch;
use super::places::{Places, Slot, TaggedPlace};
use super::ring::{Place, Ring};

/// Marks in a bucket.
const SLOTS: u32 = 15;
/// Entries of capacity for each bucket. More than twice as many would fit, so
/// that it is full in 1 case of 100, and otherwise a lookup ends in it.
const ENTRIES_PER_BUCKET: u32 = 8;
/// How many buckets, its home first, may hold an entry. That all of them are
/// full happens by chance to none of 10^16 entries.
const REACH: u32 = 16;

/// Where an entry is, given its digest: how many buckets from its home (4
/// bits), and in which slot (4 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location(pub(super) u8);

impl Location {
    const fn hops(self) -> usize {
        (self.0 >> 4) as usize
    }

    const fn slot(self) -> u32 {
        (self.0 & 15) as u32
    }
}

/// From digests to places in the ring.
pub(super) struct Index {
    marks: Vec<Marks>,
    places: Places,
    /// The low bits of a tagged place that are the place.
    place_mask: TaggedPlace,
    /// The homes and locations of entries that have left, but whose marks are
    /// still there.
    leaving: Batch<(u32, Location)>,
}

impl Index {
    /// An empty index for a ring of `capacity`, or none if there is no memory
    /// for it.
    pub(super) fn new(capacity: u32) -> Option<Self> {
        let buckets = usize::try_from(capacity.div_ceil(ENTRIES_PER_BUCKET)).ok()?;
        Some(Self {
            marks: filled(buckets, Marks::EMPTY)?,
            places: Places::new(buckets.checked_mul(SLOTS as usize)?)?,
            place_mask: u32::MAX.checked_shr(capacity.leading_zeros())?,
            leaving: Batch::new((0, Location(0))),
        })
    }

    pub(super) const fn allocated_bytes(&self) -> usize {
        let marks = self.marks.capacity().saturating_mul(size_of::<Marks>());
        marks.saturating_add(self.places.allocated_bytes())
    }

    /// Where in `ring` the live entry with this digest is.
    #[inline]
    pub(super) fn find(&self, digest: Digest, ring: &Ring) -> Option<Place> {
        let home = self.home(digest);
        let marks = self.marks.get(home as usize)?;
        // Nearly always, which is why the rest is elsewhere.
        if marks.first(digest.mark()).is_none() && marks.passed() == 0 {
            return None;
        }
        self.find_from(home, digest, ring)
    }

    /// Adds an entry, and says where; `None` if there is no room for it.
    #[inline]
    pub(super) fn insert(&mut self, digest: Digest, place: Place) -> Option<Location> {
        let home = self.home(digest);
        match self.insert_into(home as usize, digest, place) {
            Some(slot) => Some(Location(slot as u8)),
            None => self.insert_beyond(home, digest, place),
        }
    }

    /// Removes the entry with this digest at this location, which must be dead
    /// or gone from the ring.
    #[inline]
    pub(super) fn remove(&mut self, digest: Digest, location: Location) {
        self.leaving.push((self.home(digest), location));
        if self.leaving.is_full() {
            self.remove_marks();
        }
    }

    /// Of all entries that are where one with this digest could be, the oldest.
    ///
    /// To be asked only if there is no room.
    #[cold]
    pub(super) fn oldest_in_reach(&self, digest: Digest, ring: &Ring) -> Option<Place> {
        self.way(self.home(digest))
            .flat_map(|number| (0..SLOTS).map(move |slot| slot_number(number, slot)))
            .filter_map(|slot| self.places.get(slot))
            .map(|tagged| tagged & self.place_mask)
            .min_by_key(|place| ring.rank(*place))
    }

    #[cold]
    fn find_from(&self, home: u32, digest: Digest, ring: &Ring) -> Option<Place> {
        for number in self.way(home) {
            let marks = self.marks.get(number)?;
            if let Some(first) = marks.first(digest.mark())
                && let Some(place) = self.find_in(number, first, digest, ring)
            {
                return Some(place);
            }
            if marks.passed() == 0 {
                return None;
            }
        }
        None
    }

    fn find_in(&self, number: usize, first: u32, digest: Digest, ring: &Ring) -> Option<Place> {
        let marks = self.marks.get(number)?;
        (first..SLOTS)
            .filter(|slot| marks.get(*slot) == digest.mark())
            .filter_map(|slot| self.places.get(slot_number(number, slot)))
            .filter(|tagged| (tagged ^ digest.tag()) & !self.place_mask == 0)
            .map(|tagged| tagged & self.place_mask)
            .find(|place| {
                ring.get(*place)
                    .is_some_and(|entry| entry.is_live_of(digest))
            })
    }

    /// Adds an entry to this bucket, and says in which slot, if one is free.
    #[inline]
    fn insert_into(&mut self, number: usize, digest: Digest, place: Place) -> Option<u32> {
        let marks = self.marks.get_mut(number)?;
        let slot = marks.first(FREE)?;
        marks.set(slot, digest.mark());
        let tagged = digest.tag() & !self.place_mask | place;
        self.places.set(slot_number(number, slot), tagged);
        Some(slot)
    }

    #[cold]
    fn insert_beyond(&mut self, home: u32, digest: Digest, place: Place) -> Option<Location> {
        // What has left may have been in the way.
        for attempt in 0..2 {
            for (hops, number) in (0..).zip(self.way(home)) {
                if let Some(slot) = self.insert_into(number, digest, place) {
                    self.add_passed(home, hops);
                    return Some(Location((hops << 4 | slot) as u8));
                }
            }
            if attempt == 0 {
                self.remove_marks();
            }
        }
        None
    }

    fn add_passed(&mut self, home: u32, hops: u32) {
        for (_, number) in (0..hops).zip(self.way(home)) {
            if let Some(marks) = self.marks.get_mut(number) {
                marks.add_passed();
            }
        }
    }

    /// Removes the marks of all entries that have left.
    #[cold]
    fn remove_marks(&mut self) {
        let leaving = self.leaving;
        for (home, location) in leaving.items() {
            for (_, number) in (0..location.hops()).zip(self.way(*home)) {
                if let Some(marks) = self.marks.get_mut(number) {
                    marks.subtract_passed();
                }
            }
            let last = self.way(*home).nth(location.hops());
            if let Some(marks) = last.and_then(|number| self.marks.get_mut(number)) {
                marks.clear(location.slot());
            }
        }
        self.leaving.clear();
    }

    /// The first bucket that an entry may be in.
    fn home(&self, digest: Digest) -> u32 {
        digest.home(u32::try_from(self.marks.len()).unwrap_or(u32::MAX))
    }

    /// The buckets that an entry may be in, in order.
    fn way(&self, home: u32) -> impl Iterator<Item = usize> + use<> {
        let (home, buckets) = (home as usize, self.marks.len());
        let reach = buckets.min(REACH as usize);
        (home..home.saturating_add(reach)).map(move |number| {
            if number < buckets {
                number
            } else {
                number.saturating_sub(buckets)
            }
        })
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index")
            .field("buckets", &self.marks.len())
            .finish_non_exhaustive()
    }
}

/// The mark of a free slot. No entry has it.
const FREE: u8 = 0;

/// One bucket's marks, from the lowest byte, and in the highest byte how many
/// entries have this bucket on their way but are beyond it. These are in the 15
/// buckets that follow, so that there are 225 at most.
#[derive(Clone, Copy)]
struct Marks(u128);

impl Marks {
    const EMPTY: Self = Self(0);
    /// Bits of the marks, the count of those passed left out.
    const PASSED_SHIFT: u32 = SLOTS * 8;
    const ONES: u128 = (u128::MAX >> 8) / 0xFF;
    const TOPS: u128 = Self::ONES << 7;

    /// The first slot that has this mark.
    ///
    /// A byte of the difference is zero where the mark is found. Subtracting
    /// one borrows from the top bit of such a byte, and of no lower one.
    const fn first(self, mark: u8) -> Option<u32> {
        let difference = self.0 ^ (Self::ONES * mark as u128);
        let zeros = difference.wrapping_sub(Self::ONES) & !difference & Self::TOPS;
        if zeros == 0 {
            None
        } else {
            Some(zeros.trailing_zeros() / 8)
        }
    }

    const fn get(self, slot: u32) -> u8 {
        (self.0 >> (slot * 8)) as u8
    }

    /// Fills a free slot.
    const fn set(&mut self, slot: u32, mark: u8) {
        self.0 |= (mark as u128) << (slot * 8);
    }

    const fn clear(&mut self, slot: u32) {
        self.0 &= !(0xFF << (slot * 8));
    }

    const fn passed(self) -> u8 {
        (self.0 >> Self::PASSED_SHIFT) as u8
    }

    const fn add_passed(&mut self) {
        self.0 = self.0.wrapping_add(1 << Self::PASSED_SHIFT);
    }

    const fn subtract_passed(&mut self) {
        self.0 = self.0.wrapping_sub(1 << Self::PASSED_SHIFT);
    }
}

/// The number of a bucket's slot in the whole index.
const fn slot_number(bucket: usize, slot: u32) -> Slot {
    (bucket as u32).saturating_mul(SLOTS).saturating_add(slot)
}

/// A vector of exactly this length, or none if there is no memory for it.
pub(super) fn filled<T: Clone>(len: usize, item: T) -> Option<Vec<T>> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(len).ok()?;
    vec.resize(len, item);
    Some(vec)
}
