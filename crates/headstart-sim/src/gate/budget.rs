//! How many bytes all pairs of a server may take together.

use std::cell::Cell;
use std::rc::Rc;

use headstart_core::pair::LOG_RESERVE;

/// What a pair has done without, as all together had taken too much.
#[derive(Debug, Default)]
pub(crate) struct Shortage {
    /// Room for all of its log.
    pub(crate) log: Cell<bool>,
    /// A copy, for what that had brought.
    pub(crate) copy: Cell<bool>,
}

/// The bytes that all pairs of a server may take together.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    max: usize,
    /// Room for its answer that each pair has, whatever the others take.
    reserve: usize,
    taken: Rc<Cell<usize>>,
}

impl Budget {
    /// `log_max` is what each pair may keep of its answer.
    pub(crate) fn new(max: usize, log_max: usize) -> Self {
        Self {
            max,
            reserve: log_max.min(LOG_RESERVE),
            taken: Rc::default(),
        }
    }

    /// A place for one more pair, with room for its message, for what came
    /// behind it, and for the answer's first bytes, if there is so much.
    pub(crate) fn place(&self, bytes: usize) -> Option<Place> {
        let mut place = Place {
            budget: self.clone(),
            bytes: 0,
            shortage: Rc::default(),
        };
        let all = bytes.saturating_add(self.reserve);
        place.take(all).then_some(place)
    }
}

/// A pair's part of the bytes that all pairs of a server may take together;
/// given back when dropped.
#[derive(Debug)]
pub struct Place {
    budget: Budget,
    bytes: usize,
    shortage: Rc<Shortage>,
}

impl Place {
    /// A place without a bound.
    #[must_use]
    pub fn boundless() -> Self {
        Self {
            budget: Budget::new(usize::MAX, 0),
            bytes: 0,
            shortage: Rc::default(),
        }
    }

    /// Bytes that it has taken.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Of these, the bytes that are for the answer, also while there is less.
    #[must_use]
    pub const fn reserve(&self) -> usize {
        self.budget.reserve
    }

    /// Takes so many more bytes, if all pairs together may.
    pub fn take(&mut self, more: usize) -> bool {
        let fits = more <= self.room();
        match fits {
            true => self.add(more),
            false => self.shortage.copy.set(true),
        }
        fits
    }

    /// Takes at most so many more bytes: as many as all pairs together may.
    pub fn take_up_to(&mut self, most: usize) -> usize {
        let granted = most.min(self.room());
        if granted == 0 && most > 0 {
            self.shortage.log.set(true);
        }
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

    /// Tells, also when it is gone, what it has done without.
    pub(crate) fn shortage(&self) -> Rc<Shortage> {
        self.shortage.clone()
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
