//! A bound on the attempts that racing adds (R12).

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use crate::sync::AtomicUsize;

/// Extra attempts that one process may have open at a time, unless a
/// [`Budget`] of the caller's says otherwise.
pub const BUDGET_DEFAULT: usize = 4096;

/// How many Fast Open attempts may be open at a time beside others of their
/// race. Plain attempts, which a program without races would make too, are
/// never refused. Clones share it.
#[derive(Clone, Debug)]
pub struct Budget {
    left: Arc<AtomicUsize>,
}

impl Budget {
    /// A budget of its own, of so many extra attempts; 0 means no races.
    pub fn new(extra_attempts: usize) -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(extra_attempts)),
        }
    }

    /// The budget of this process: [`BUDGET_DEFAULT`].
    pub fn process() -> Self {
        static PROCESS: LazyLock<Budget> = LazyLock::new(|| Budget::new(BUDGET_DEFAULT));
        PROCESS.clone()
    }

    /// Extra attempts that may still be opened.
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self) -> Option<Permit> {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .ok()
            .map(|_| Permit {
                left: self.left.clone(),
            })
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::process()
    }
}

/// One extra attempt, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    left: Arc<AtomicUsize>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r12_the_budget_is_given_back() {
        let budget = Budget::new(1);
        let permit = budget.take();
        assert!(permit.is_some() && budget.take().is_none());
        drop(permit);
        assert_eq!(budget.left(), 1);
    }
}
