//! What is told of a pair, in the order in which it happens.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::GateEvent;
use super::builder::Watcher;
use super::counters::Counts;
use crate::driver;

/// Who is told of what pairs do: a gate's counters, and its watcher.
#[derive(Clone)]
pub(super) struct Witness {
    pub(super) counts: Arc<Counts>,
    pub(super) watcher: Option<Watcher>,
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness").finish_non_exhaustive()
    }
}

/// Events that are to be told: of a pair by the gate that opened it, of a copy
/// by the gate that accepted it. They are noted under a lock and told without,
/// by one at a time, so that nobody overtakes anybody.
#[derive(Debug, Default)]
pub(super) struct News {
    queue: VecDeque<(GateEvent, Witness)>,
    telling: bool,
}

impl News {
    pub(super) fn note(&mut self, event: GateEvent, by: Witness) {
        self.queue.push_back((event, by));
    }

    /// The next, unless the one before is still being told.
    pub(super) fn take(&mut self) -> Option<driver::News> {
        if self.telling {
            return None;
        }
        let (event, by) = self.queue.pop_front()?;
        self.telling = true;
        Some(Box::new(move || event.tell(by.watcher.as_ref())))
    }

    pub(super) fn told(&mut self) {
        self.telling = false;
    }
}
