//! Work that is put by, to be done many at once.

/// How much is put by.
const BATCH: usize = 64;

/// Up to [`BATCH`] items, in the order in which they came.
pub(super) struct Batch<T> {
    items: [T; BATCH],
    len: usize,
}

impl<T: Copy> Batch<T> {
    /// An empty batch. `blank` is any item at all.
    pub(super) const fn new(blank: T) -> Self {
        Self {
            items: [blank; BATCH],
            len: 0,
        }
    }

    /// Adds an item, and says whether the batch is full now. Then it must be
    /// cleared before the next, or that is lost.
    #[inline]
    pub(super) fn push(&mut self, item: T) -> bool {
        if let Some(free) = self.items.get_mut(self.len % BATCH) {
            *free = item;
        }
        self.len = self.len.wrapping_add(1);
        self.len == BATCH
    }

    /// All items, in order.
    #[inline]
    pub(super) fn items(&self) -> &[T] {
        self.items.get(..self.len).unwrap_or_default()
    }

    /// Drops all items.
    pub(super) const fn clear(&mut self) {
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d3_a_batch_is_full_with_its_last_item_and_not_before() {
        let mut batch = Batch::new(0);
        for _ in 0..2 {
            for item in 1..BATCH {
                assert!(!batch.push(item), "item {item}");
            }
            assert!(batch.push(BATCH));
            assert!(batch.items().iter().copied().eq(1..=BATCH));
            batch.clear();
            assert!(batch.items().is_empty());
        }
    }
}
