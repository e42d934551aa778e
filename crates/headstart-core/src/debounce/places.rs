//! The index's larger part: for each slot the place of its entry in the ring.

use alloc::vec::Vec;

use super::batch::Batch;
use super::index::filled;

/// A slot's number in the whole index.
pub(super) type Slot = u32;

/// A place in the ring in the low bits, bits of the digest in the others.
pub(super) type TaggedPlace = u32;

/// For each slot the place of its entry, written in batches.
pub(super) struct Places {
    written: Vec<TaggedPlace>,
    /// The slots that are still to be written, and what is to be written.
    slots: Batch<Slot>,
    places: Batch<TaggedPlace>,
}

impl Places {
    /// Places for this many slots, or none if there is no memory for them.
    pub(super) fn new(slots: usize) -> Option<Self> {
        Some(Self {
            written: filled(slots, 0)?,
            slots: Batch::new(Slot::MAX),
            places: Batch::new(0),
        })
    }

    pub(super) const fn allocated_bytes(&self) -> usize {
        self.written
            .capacity()
            .saturating_mul(size_of::<TaggedPlace>())
    }

    /// What was last set for the slot.
    pub(super) fn get(&self, slot: Slot) -> Option<TaggedPlace> {
        match self.last_put_by(slot) {
            Some(place) => Some(place),
            None => self.written.get(slot as usize).copied(),
        }
    }

    #[inline]
    pub(super) fn set(&mut self, slot: Slot, place: TaggedPlace) {
        self.slots.push(slot);
        self.places.push(place);
        if self.slots.is_full() {
            self.write();
        }
    }

    /// Writes what is put by.
    #[cold]
    fn write(&mut self) {
        for (slot, place) in self.slots.items().iter().zip(self.places.items()) {
            if let Some(written) = self.written.get_mut(*slot as usize) {
                *written = *place;
            }
        }
        self.slots.clear();
        self.places.clear();
    }

    /// What is put by last for the slot. All are looked at, without a branch,
    /// which becomes some vector instructions.
    fn last_put_by(&self, slot: Slot) -> Option<TaggedPlace> {
        let mut last = 0;
        for (at, other) in (1..).zip(self.slots.padded()) {
            last = last.max(if *other == slot { at } else { 0_u32 });
        }
        let at = last.checked_sub(1)?;
        self.places.padded().get(at as usize).copied()
    }
}
