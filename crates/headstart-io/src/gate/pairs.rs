//! Which messages are kept open for copies, and how much that may take.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use headstart_core::pair::{LOG_DEFAULT, LOG_LIMIT, LOG_RESERVE, WINDOW_DEFAULT};

use super::GateConfigError;
use super::joined::Joined;
use crate::driver::Cell;
use crate::runtime::Runtime;
use crate::sync::{Mutex, lock};

/// Most messages that are kept open at once, by default: 4,096.
pub const PAIRS_DEFAULT: usize = 4096;
/// Most bytes that are kept for copies, by default: 64 MiB.
pub const PAIR_BYTES_DEFAULT: usize = 64 * 1024 * 1024;

/// Shards of the directory, each under a lock of its own.
const SHARDS: usize = 16;

/// What pairs may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) window: Duration,
    pub(super) log_max: usize,
    pub(super) pairs: usize,
    pub(super) bytes: usize,
}

impl Limits {
    /// Room for its answer that each pair has, whatever the others take.
    pub(super) fn reserve(&self) -> usize {
        self.log_max.min(LOG_RESERVE)
    }

    /// Whether they are in range, where the shortest message has so many bytes.
    pub(super) fn check(&self, message_min: usize) -> Result<(), GateConfigError> {
        if self.window.is_zero() {
            return Err(GateConfigError::PairWindow);
        }
        if !(1..=LOG_LIMIT).contains(&self.log_max) {
            return Err(GateConfigError::PairLogMax);
        }
        if self.pairs == 0 {
            return Err(GateConfigError::PairsMax);
        }
        let least = message_min + self.reserve();
        if self.bytes < least {
            return Err(GateConfigError::PairBytesMax { least });
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window: WINDOW_DEFAULT,
            log_max: LOG_DEFAULT,
            pairs: PAIRS_DEFAULT,
            bytes: PAIR_BYTES_DEFAULT,
        }
    }
}

/// The pairs of gates that share their claims, which know where to find them.
pub(super) struct Pairs<R: Runtime> {
    directory: Arc<Directory<R>>,
}

type Shard<R> = HashMap<u64, Arc<Cell<Joined<R>>>>;

struct Directory<R: Runtime> {
    limits: Limits,
    open: AtomicUsize,
    bytes: AtomicUsize,
    /// By the number of the connection that came first.
    shards: [Mutex<Shard<R>>; SHARDS],
}

impl<R: Runtime> Clone for Pairs<R> {
    fn clone(&self) -> Self {
        Self {
            directory: self.directory.clone(),
        }
    }
}

impl<R: Runtime> Pairs<R> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            directory: Arc::new(Directory {
                limits,
                open: AtomicUsize::new(0),
                bytes: AtomicUsize::new(0),
                shards: std::array::from_fn(|_| Mutex::default()),
            }),
        }
    }

    /// Those that [`as_any`](Self::as_any) leads to, if they are this runtime's.
    pub(super) fn from_any(any: Arc<dyn Any + Send + Sync>) -> Option<Self> {
        let directory = any.downcast().ok()?;
        Some(Self { directory })
    }

    /// Whereby it is found again while any of its gates or pairs is there.
    pub(super) fn as_any(&self) -> Weak<dyn Any + Send + Sync> {
        let directory: Arc<dyn Any + Send + Sync> = self.directory.clone();
        Arc::downgrade(&directory)
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.directory.limits
    }

    /// A place for one more pair, if there is one: with room for its message,
    /// for what came behind it, and for the answer's first bytes.
    pub(super) fn place(&self, number: u64, bytes: usize) -> Option<PairPlace<R>> {
        let directory = &self.directory;
        let reserve = directory.limits.reserve();
        if directory.open.fetch_add(1, Ordering::Relaxed) >= directory.limits.pairs {
            directory.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let mut place = PairPlace {
            pairs: self.clone(),
            number,
            bytes: 0,
        };
        place.take(bytes + reserve).then_some(place)
    }

    pub(super) fn insert(&self, number: u64, cell: Arc<Cell<Joined<R>>>) {
        if let Some(shard) = self.shard(number) {
            lock(shard).insert(number, cell);
        }
    }

    /// The pair of the connection that came first with a message.
    pub(super) fn find(&self, number: u64) -> Option<Arc<Cell<Joined<R>>>> {
        lock(self.shard(number)?).get(&number).cloned()
    }

    fn shard(&self, number: u64) -> Option<&Mutex<Shard<R>>> {
        let index = usize::try_from(number % SHARDS as u64).ok()?;
        self.directory.shards.get(index)
    }
}

impl<R: Runtime> fmt::Debug for Pairs<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pairs")
            .field("open", &self.directory.open)
            .field("bytes", &self.directory.bytes)
            .finish_non_exhaustive()
    }
}

/// A pair's place in the directory, and the bytes that it has taken. Given up
/// when dropped.
#[derive(Debug)]
pub(super) struct PairPlace<R: Runtime> {
    pairs: Pairs<R>,
    number: u64,
    bytes: usize,
}

impl<R: Runtime> PairPlace<R> {
    pub(super) fn limits(&self) -> &Limits {
        self.pairs.limits()
    }

    /// Bytes that it has taken.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes so many more bytes, if all pairs together may.
    pub(super) fn take(&mut self, more: usize) -> bool {
        let directory = &self.pairs.directory;
        let before = directory.bytes.fetch_add(more, Ordering::Relaxed);
        let fits = before
            .checked_add(more)
            .is_some_and(|all| all <= directory.limits.bytes);
        match fits {
            true => self.bytes += more,
            false => {
                directory.bytes.fetch_sub(more, Ordering::Relaxed);
            }
        }
        fits
    }

    /// Takes at most so many more bytes: as many as all pairs together may.
    pub(super) fn take_up_to(&mut self, most: usize) -> usize {
        let directory = &self.pairs.directory;
        let room = |taken: usize| directory.limits.bytes.saturating_sub(taken).min(most);
        let before = directory
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                Some(taken + room(taken))
            });
        let granted = before.map_or(0, room);
        self.bytes += granted;
        granted
    }

    /// Holds only so many bytes any more.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        let fewer = self.bytes.saturating_sub(bytes);
        self.pairs
            .directory
            .bytes
            .fetch_sub(fewer, Ordering::Relaxed);
        self.bytes -= fewer;
    }
}

impl<R: Runtime> Drop for PairPlace<R> {
    fn drop(&mut self) {
        self.shrink_to(0);
        self.pairs.directory.open.fetch_sub(1, Ordering::Relaxed);
        let removed = self
            .pairs
            .shard(self.number)
            .map(|shard| lock(shard).remove(&self.number));
        drop(removed);
    }
}
