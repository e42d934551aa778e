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
        low | high | self.passed(mark) != 0
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
