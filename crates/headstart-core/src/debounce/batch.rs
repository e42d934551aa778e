//! Work that is put by, to be done many at once.

/// How much is put by.
pub(super) const BATCH: usize = 64;

/// Up to [`BATCH`] items, in the order in which they came.
#[derive(Clone, Copy)]
pub(super) struct Batch<T> {
    items: [T; BATCH],
    len: usize,
    /// What places without an item hold.
    none: T,
}

impl<T: Copy> Batch<T> {
    /// An empty batch. `none` is what no item is.
    pub(super) const fn new(none: T) -> Self {
        Self {
            items: [none; BATCH],
            len: 0,
            none,
        }
    }

    /// Adds an item. When that makes the batch full it must be taken before the
    /// next, or that is lost.
    pub(super) fn push(&mut self, item: T) {
        if let Some(free) = self.items.get_mut(self.len) {
            *free = item;
            self.len = self.len.saturating_add(1);
        }
    }

    pub(super) const fn is_full(&self) -> bool {
        self.len == BATCH
    }

    /// All items, and after them as many times `none` as there is room.
    pub(super) const fn padded(&self) -> &[T; BATCH] {
        &self.items
    }

    /// Empties the batch.
    pub(super) fn take(&mut self) -> impl Iterator<Item = T> + use<T> {
        let taken = core::mem::replace(self, Self::new(self.none));
        taken.items.into_iter().take(taken.len)
    }
}
