//! One bucket of the index's smaller part: a byte for each slot, by which most
//! new messages are known to be new.

/// Marks in a bucket.
pub(super) const SLOTS: u32 = 15;

/// The mark of a free slot. No entry has it.
const FREE: u8 = 0;

/// One bucket's marks, from the lowest byte of the first half on. The highest
/// byte of the second counts those that have this bucket on their way but are
/// beyond it: entries of even marks in four bits, of odd marks in the others.
///
/// Nothing here branches on what the marks are: as nobody could foretell it,
/// the processor would have to wait for them, where it can go on meanwhile.
#[derive(Clone, Copy)]
#[repr(align(16))]
pub(super) struct Marks([u64; 2]);

const ONES: u64 = u64::MAX / 0xFF;
const TOPS: u64 = ONES << 7;

const PASSED_SHIFT: u32 = 56;
/// A count that gets here stays. It may then be too large, which costs looks;
/// too small, it would lose entries. It takes digests aimed at the bucket.
const PASSED_MAX: u64 = 15;

impl Marks {
    pub(super) const EMPTY: Self = Self([0; 2]);

    /// Whether an entry with this mark may be here or beyond.
    #[inline]
    pub(super) const fn may_lead_to(self, mark: u8) -> bool {
        let [low, high] = self.slots_of(mark);
        (low | high) + self.passed(mark) != 0
    }

    /// The first free slot.
    #[inline]
    pub(super) const fn free(self) -> Option<u32> {
        let [low, high] = self.slots_of(FREE);
        if low | high == 0 {
            return None;
        }
        let (half, first) = if low == 0 { (high, 8) } else { (low, 0) };
        Some(first + half.trailing_zeros() / 8)
    }

    #[inline]
    pub(super) fn get(self, slot: u32) -> u8 {
        let half = self.0.get(half_of(slot)).copied().unwrap_or(0);
        (half >> shift_of(slot)) as u8
    }

    /// Fills a free slot.
    #[inline]
    pub(super) fn set(&mut self, slot: u32, mark: u8) {
        if let Some(half) = self.0.get_mut(half_of(slot)) {
            *half |= u64::from(mark) << shift_of(slot);
        }
    }

    #[inline]
    pub(super) fn clear(&mut self, slot: u32) {
        if let Some(half) = self.0.get_mut(half_of(slot)) {
            *half &= !(0xFF << shift_of(slot));
        }
    }

    /// How many entries are beyond, of this mark or of others like it.
    #[inline]
    pub(super) const fn passed(self, mark: u8) -> u64 {
        self.0[1] >> passed_shift(mark) & PASSED_MAX
    }

    pub(super) const fn add_passed(&mut self, mark: u8) {
        if self.passed(mark) < PASSED_MAX {
            self.0[1] = self.0[1].wrapping_add(1 << passed_shift(mark));
        }
    }

    pub(super) const fn subtract_passed(&mut self, mark: u8) {
        if self.passed(mark) < PASSED_MAX {
            self.0[1] = self.0[1].wrapping_sub(1 << passed_shift(mark));
        }
    }

    /// The top bits of all bytes that are this mark, and perhaps of some above
    /// the first that is.
    ///
    /// A byte of the difference is zero where the mark is found. Subtracting
    /// one borrows from the top bit of such a byte, and of no lower one.
    #[inline]
    const fn slots_of(self, mark: u8) -> [u64; 2] {
        let Self([low, high]) = self;
        let wanted = ONES * mark as u64;
        let (low, high) = (low ^ wanted, high ^ wanted);
        [
            low.wrapping_sub(ONES) & !low & TOPS,
            // Without the counts.
            high.wrapping_sub(ONES) & !high & (TOPS >> 8),
        ]
    }
}

const fn half_of(slot: u32) -> usize {
    (slot / 8 % 2) as usize
}

const fn shift_of(slot: u32) -> u32 {
    slot % 8 * 8
}

const fn passed_shift(mark: u8) -> u32 {
    PASSED_SHIFT + mark as u32 % 2 * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bucket with these marks in its first slots, free ones among them.
    fn bucket(marks: &[u8]) -> Marks {
        let mut bucket = Marks::EMPTY;
        for (slot, mark) in (0..).zip(marks) {
            bucket.set(slot, *mark);
        }
        bucket
    }

    #[test]
    fn every_pattern_of_free_slots_has_its_first() {
        for pattern in 0..1_u32 << SLOTS {
            let marks: [u8; SLOTS as usize] =
                core::array::from_fn(|slot| (pattern >> slot & 1) as u8 * 200);
            let bucket = bucket(&marks);
            let free = marks.iter().position(|mark| *mark == FREE);
            assert_eq!(bucket.free(), free.map(|slot| slot as u32), "{marks:?}");
        }
    }

    #[test]
    fn slots_hold_their_marks_and_leave_those_of_others() {
        let all: [u8; SLOTS as usize] = core::array::from_fn(|slot| slot as u8 * 17 + 1);
        for cleared in 0..SLOTS {
            let mut bucket = bucket(&all);
            bucket.add_passed(1);
            bucket.clear(cleared);
            for (slot, mark) in (0..).zip(all) {
                let expected = if slot == cleared { FREE } else { mark };
                assert_eq!(bucket.get(slot), expected, "slot {slot}, {cleared} cleared");
            }
            assert_eq!((bucket.passed(1), bucket.passed(2)), (1, 0));
        }
    }

    #[test]
    fn d3_a_mark_that_is_nowhere_leads_nowhere() {
        for mark in 1..=u8::MAX {
            let others = [
                mark ^ 1,
                mark ^ 0x80,
                mark.wrapping_add(1),
                mark.wrapping_sub(1),
            ];
            assert!(!bucket(&others).may_lead_to(mark), "{mark}");
            assert!(!Marks::EMPTY.may_lead_to(mark), "{mark}");
            // In one slot, and in two that are alike in both halves.
            for slot in 0..SLOTS {
                let mut bucket = Marks::EMPTY;
                bucket.set(slot, mark);
                assert!(bucket.may_lead_to(mark), "{mark} in {slot}");
                if slot + 8 < SLOTS {
                    bucket.set(slot + 8, mark);
                    assert!(bucket.may_lead_to(mark), "{mark} in {slot} and later");
                }
            }
        }
    }

    #[test]
    fn counts_of_even_and_odd_marks_are_apart_and_stay_at_their_most() {
        for (mark, other) in [(2, 3), (3, 2)] {
            let mut bucket = Marks::EMPTY;
            for count in 1..PASSED_MAX {
                bucket.add_passed(mark);
                assert_eq!((bucket.passed(mark), bucket.passed(other)), (count, 0));
                assert!(bucket.may_lead_to(mark) && !bucket.may_lead_to(other));
            }
            for count in (1..PASSED_MAX - 1).rev() {
                bucket.subtract_passed(mark);
                assert_eq!((bucket.passed(mark), bucket.passed(other)), (count, 0));
            }
            for _ in 0..2 * PASSED_MAX {
                bucket.add_passed(mark);
            }
            bucket.subtract_passed(mark);
            assert_eq!((bucket.passed(mark), bucket.passed(other)), (PASSED_MAX, 0));
            assert_eq!(bucket.free(), Some(0), "counts are in no slot");
        }
    }
}
