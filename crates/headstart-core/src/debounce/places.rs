//! The index's larger part: for each slot the place of its entry in the ring.

use alloc::vec::Vec;
use core::hint::black_box;

use super::batch::Batch;
use super::index::filled;

/// A slot's number in the whole index.
pub(super) type Slot = u32;

/// A place in the ring in the low bits, bits of the digest in the others.
pub(super) type TaggedPlace = u32;

/// For each slot the place of its entry, written in batches.
pub(super) struct Places {
    written: Vec<TaggedPlace>,
    /// What is still to be written, and where.
    put_by: Batch<(Slot, TaggedPlace)>,
}

impl Places {
    /// Places for this many slots, or none if there is no memory for them.
    pub(super) fn new(slots: usize) -> Option<Self> {
        Some(Self {
            written: filled(slots, 0)?,
            put_by: Batch::new((0, 0)),
        })
    }

    pub(super) const fn allocated_bytes(&self) -> usize {
        self.written
            .capacity()
            .saturating_mul(size_of::<TaggedPlace>())
    }

    /// What was last set for the slot.
    #[inline]
    pub(super) fn get(&self, slot: Slot) -> Option<TaggedPlace> {
        // All are looked at, without a branch, by vector instructions.
        let put_by = self.put_by.items();
        if put_by
            .iter()
            .fold(false, |any, (other, _)| any | (*other == slot))
        {
            let mut latest = put_by.iter().rev();
            latest
                .find(|(other, _)| *other == slot)
                .map(|(_, place)| *place)
        } else {
            self.written.get(slot as usize).copied()
        }
    }

    #[inline]
    pub(super) fn set(&mut self, slot: Slot, place: TaggedPlace) {
        if self.put_by.push((slot, place)) {
            self.write();
        }
    }

    /// Writes what is put by.
    #[cold]
    fn write(&mut self) {
        self.read_ahead();
        for (slot, place) in self.put_by.items() {
            if let Some(written) = self.written.get_mut(*slot as usize) {
                *written = *place;
            }
        }
        self.put_by.clear();
    }

    /// Reads what is written next: reads wait for memory side by side, writes
    /// would one after the other.
    #[inline]
    fn read_ahead(&self) {
        let slots = self.put_by.items().iter().map(|(slot, _)| *slot as usize);
        let read = slots.filter_map(|slot| self.written.get(slot));
        black_box(read.fold(0, |all, place| all ^ place));
    }
}
