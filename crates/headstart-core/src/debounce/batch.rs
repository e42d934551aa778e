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

    /// Adds an item. When that makes the batch full it must be cleared before
    /// the next, or that is lost.
    #[inline]
    pub(super) fn push(&mut self, item: T) {
        if let Some(free) = self.items.get_mut(self.len) {
            *free = item;
            self.len = self.len.saturating_add(1);
        }
    }

    pub(super) const fn is_full(&self) -> bool {
        self.len == BATCH
    }

    /// All items, in order.
    pub(super) fn items(&self) -> &[T] {
        self.items.get(..self.len).unwrap_or_default()
    }

    /// All items, and after them as many times `none` as there is room.
    pub(super) const fn padded(&self) -> &[T; BATCH] {
        &self.items
    }

    /// Drops all items.
    pub(super) const fn clear(&mut self) {
        self.items = [self.none; BATCH];
        self.len = 0;
    }
}
