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
//!   message. At 1.8 bytes an entry of capacity they have a chance to stay in a
//!   cache, and by them alone new messages are known to be new: nine of ten
//!   when the ring is full, 49 of 50 when it is half full.
//! - *Places*, four bytes for each mark: where in the ring the entry is, and
//!   some more bits of its digest. They are read only where a mark matches. All
//!   first slots are together, then all second ones, and so on: low slots are
//!   filled first, and of the high ones little is ever in a cache.
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
use core::hint::black_box;

use super::Digest;
use super::batch::Batch;
use super::marks::{Marks, SLOTS};
use super::places::{Places, Slot, TaggedPlace};
use super::ring::{Place, Ring};

/// Entries of capacity for each bucket. When the ring is full, 1 entry of 40
/// finds its bucket full; otherwise hardly any. Fewer entries for each would
/// make the marks too large for the caches, more would often go beyond.
const ENTRIES_PER_BUCKET: u32 = 9;
/// How many buckets, its home first, may hold an entry. That all of them are
/// full happens by chance to less than one of 10^11 entries.
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
    /// How many there are.
    buckets: u32,
    places: Places,
    /// The low bits of a tagged place that are the place.
    place_mask: TaggedPlace,
    /// The slots of entries that have left, but whose marks are still there:
    /// the bucket, and in the lowest 4 bits which of its slots.
    leaving: Batch<u32>,
}

impl Index {
    /// An empty index for a ring of `capacity`, or none if there is no memory
    /// for it.
    pub(super) fn new(capacity: u32) -> Option<Self> {
        let buckets = capacity.div_ceil(ENTRIES_PER_BUCKET);
        let len = usize::try_from(buckets).ok()?;
        Some(Self {
            buckets,
            marks: filled(len, Marks::EMPTY)?,
            places: Places::new(len.checked_mul(SLOTS as usize)?)?,
            place_mask: u32::MAX.checked_shr(capacity.leading_zeros())?,
            leaving: Batch::new(0),
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
        if !marks.may_lead_to(digest.mark()) {
            return None;
        }
        self.find_from(home, digest, ring)
    }

    /// Adds an entry, and says where; `None` if there is no room for it.
    #[inline(always)] // knows by then what `find` has worked out
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
        let mut number = self.home(digest);
        if location.hops() > 0 {
            number = self.subtract_passed(number, digest.mark(), location.hops());
        }
        if self.leaving.push(number << 4 | location.slot()) {
            self.remove_marks();
        }
    }

    /// Of all entries that are where one with this digest could be, the oldest.
    ///
    /// To be asked only if there is no room.
    #[cold]
    pub(super) fn oldest_in_reach(&self, digest: Digest, ring: &Ring) -> Option<Place> {
        self.way(self.home(digest))
            .flat_map(|number| (0..SLOTS).map(move |slot| (number, slot)))
            .filter_map(|(number, slot)| self.places.get(self.slot_number(number, slot)))
            .map(|tagged| tagged & self.place_mask)
            .min_by_key(|place| ring.rank(*place))
    }

    #[cold]
    fn find_from(&self, home: u32, digest: Digest, ring: &Ring) -> Option<Place> {
        for number in self.way(home) {
            let marks = self.marks.get(number)?;
            let found = self.find_in(number, *marks, digest, ring);
            if found.is_some() || marks.passed(digest.mark()) == 0 {
                return found;
            }
        }
        None
    }

    fn find_in(&self, number: usize, marks: Marks, digest: Digest, ring: &Ring) -> Option<Place> {
        (0..SLOTS)
            .filter(|slot| marks.get(*slot) == digest.mark())
            .filter_map(|slot| self.places.get(self.slot_number(number, slot)))
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
        let tagged = digest.tag() & !self.place_mask | place;
        let marks = self.marks.get_mut(number)?;
        let slot = marks.free()?;
        marks.set(slot, digest.mark());
        self.places.set(self.slot_number(number, slot), tagged);
        Some(slot)
    }

    #[cold]
    fn insert_beyond(&mut self, home: u32, digest: Digest, place: Place) -> Option<Location> {
        // What has left may have been in the way.
        for attempt in 0..2 {
            for (hops, number) in (0..).zip(self.way(home)) {
                if let Some(slot) = self.insert_into(number, digest, place) {
                    self.add_passed(home, digest.mark(), hops);
                    return Some(Location((hops << 4 | slot) as u8));
                }
            }
            if attempt == 0 {
                self.remove_marks();
            }
        }
        None
    }

    fn add_passed(&mut self, home: u32, mark: u8, hops: u32) {
        for (_, number) in (0..hops).zip(self.way(home)) {
            if let Some(marks) = self.marks.get_mut(number) {
                marks.add_passed(mark);
            }
        }
    }

    /// Takes an entry off the counts on its way, and says where that ends.
    #[cold]
    fn subtract_passed(&mut self, home: u32, mark: u8, hops: usize) -> u32 {
        let mut way = self.way(home);
        for number in way.by_ref().take(hops) {
            if let Some(marks) = self.marks.get_mut(number) {
                marks.subtract_passed(mark);
            }
        }
        way.next().map_or(home, |number| number as u32)
    }

    /// Removes the marks of all entries that have left.
    #[cold]
    fn remove_marks(&mut self) {
        self.read_ahead();
        for slot in self.leaving.items() {
            if let Some(marks) = self.marks.get_mut((slot >> 4) as usize) {
                marks.clear(slot & 15);
            }
        }
        self.leaving.clear();
    }

    /// Reads what is written next: reads wait for memory side by side, writes
    /// would one after the other.
    #[inline]
    fn read_ahead(&self) {
        let numbers = self.leaving.items().iter().map(|slot| (slot >> 4) as usize);
        let read = numbers.filter_map(|number| self.marks.get(number));
        black_box(read.fold(0, |all, marks| all ^ marks.get(0)));
    }

    /// The number of a bucket's slot in the whole index.
    #[inline]
    const fn slot_number(&self, bucket: usize, slot: u32) -> Slot {
        slot.wrapping_mul(self.buckets).wrapping_add(bucket as u32)
    }

    /// The first bucket that an entry may be in.
    #[inline]
    fn home(&self, digest: Digest) -> u32 {
        digest.home(self.buckets)
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

/// A vector of exactly this length, or none if there is no memory for it.
pub(super) fn filled<T: Clone>(len: usize, item: T) -> Option<Vec<T>> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(len).ok()?;
    vec.resize(len, item);
    Some(vec)
}
