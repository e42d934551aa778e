//! How many bytes all pairs of a server may take together.

use std::cell::Cell;
use std::rc::Rc;

/// The bytes that all pairs of a server may take together.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    max: usize,
    taken: Rc<Cell<usize>>,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            taken: Rc::default(),
        }
    }

    /// A place for one more pair, with room for its message and for what came
    /// behind it, if there is so much.
    pub(crate) fn place(&self, bytes: usize) -> Option<Place> {
        let mut place = Place {
            budget: self.clone(),
            bytes: 0,
            refused: Rc::default(),
        };
        place.take(bytes).then_some(place)
    }
}

/// A pair's part of the bytes that all pairs of a server may take together;
/// given back when dropped.
#[derive(Debug)]
pub struct Place {
    budget: Budget,
    bytes: usize,
    /// More was asked for than there was.
    refused: Rc<Cell<bool>>,
}

impl Place {
    /// A place without a bound.
    #[must_use]
    pub fn boundless() -> Self {
        Self {
            budget: Budget::new(usize::MAX),
            bytes: 0,
            refused: Rc::default(),
        }
    }

    /// Bytes that it has taken.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes so many more bytes, if all pairs together may.
    pub fn take(&mut self, more: usize) -> bool {
        let fits = more <= self.room();
        match fits {
            true => self.add(more),
            false => self.refused.set(true),
        }
        fits
    }

    /// Takes at most so many more bytes: as many as all pairs together may.
    pub fn take_up_to(&mut self, most: usize) -> usize {
        let granted = most.min(self.room());
        self.refused
            .set(self.refused.get() || most > 0 && granted == 0);
        self.add(granted);
        granted
    }

    /// Holds only so many bytes any more.
    pub fn shrink_to(&mut self, bytes: usize) {
        let fewer = self.bytes.saturating_sub(bytes);
        let taken = &self.budget.taken;
        taken.set(taken.get().saturating_sub(fewer));
        self.bytes = self.bytes.saturating_sub(fewer);
    }

    /// Tells, also when it is gone, whether it was refused.
    pub(crate) fn refused(&self) -> Rc<Cell<bool>> {
        self.refused.clone()
    }

    fn room(&self) -> usize {
        self.budget.max.saturating_sub(self.budget.taken.get())
    }

    fn add(&mut self, more: usize) {
        let taken = &self.budget.taken;
        taken.set(taken.get().saturating_add(more));
        self.bytes = self.bytes.saturating_add(more);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}
