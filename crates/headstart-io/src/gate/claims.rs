//! Which first messages have been seen: the core's debouncer, shared between
//! threads (D5), and with it the pairs that are open for copies.

use std::any::Any;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant as StdInstant;

use headstart_core::debounce::{
    Config, ConfigError, Debouncer, Digest, SECRET_LEN, Secret, Stats, Verdict,
};
use headstart_core::time::Instant;

use super::GateConfigError;
use super::pairs::{Limits, Pairs};
use crate::clocks::Clocks;
use crate::epoch::Epoch;
use crate::runtime::Runtime;
use crate::sync::{Mutex, lock};

/// Most shards of a memory, each under a lock of its own.
const SHARDS_MAX: usize = 16;
/// Messages that a shard is worth having for: fewer would need much room beside
/// them, as shards do not fill evenly.
const SHARD_MIN: usize = 256;
/// Room of a shard for messages beyond its share, in standard deviations: their
/// number is Poisson's, whose variance is its mean.
const DEVIATIONS: usize = 6;
/// And some more, as small numbers deviate further. So a shard of a memory that
/// is full overflows less than once in 500 million.
const SPARE: usize = 8;

/// First messages that any default memory holds: about 11 MiB, and 10 minutes
/// of 430 connections a second.
pub const CLAIMS_DEFAULT: usize = 1 << 18;

/// The memory of first messages, and of the connections that are open for
/// copies of them. Clones share it, and so may several gates of one process,
/// whose copies are then told apart, and joined, whichever of the gates accepts
/// them. It makes no promise against replay by an attacker: whoever can
/// send a message after the window, or to another process, is served again.
#[derive(Clone)]
pub struct Claims {
    shared: Arc<Shared>,
}

/// What became of a message that was observed.
pub(super) struct Seen {
    pub(super) verdict: Verdict,
    /// Messages that were forgotten before their time, to make room for it.
    pub(super) forced_out: u64,
}

impl Seen {
    fn by(shard: &mut Debouncer, now: Instant, digest: Digest, connection: u64) -> Self {
        let before = shard.stats().forced_out;
        Self {
            verdict: shard.observe(now, digest, connection),
            forced_out: shard.stats().forced_out.wrapping_sub(before),
        }
    }
}

impl Default for Seen {
    /// The first, where nothing is remembered.
    fn default() -> Self {
        Self {
            verdict: Verdict::First,
            forced_out: 0,
        }
    }
}

struct Shared {
    epoch: Epoch,
    secret: Secret,
    shards: Box<[Mutex<Debouncer>]>,
    next_number: AtomicU64,
    /// The pairs of the gates that share it, while there are any: a runtime's
    /// `Directory`.
    pairs: Mutex<Option<Weak<dyn Any + Send + Sync>>>,
}

impl Claims {
    /// A memory of the capacity and window of `config`, under a fresh secret.
    /// From 512 messages on it is of several parts, each under a lock of its
    /// own, and takes more memory than stated there, since they do not fill
    /// evenly: 40 % at 512, 5 % at 262,144, and less beyond.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for settings out of their
    /// range; the system's error if it has no random bytes.
    pub fn new(config: Config) -> io::Result<Self> {
        let mut secret = [0; SECRET_LEN];
        getrandom::fill(&mut secret).map_err(io::Error::other)?;
        let (shards, capacity) = shards(config.capacity);
        let shard = Config { capacity, ..config };
        let shards: Result<Box<[_]>, ConfigError> = (0..shards)
            .map(|_| Debouncer::new(shard).map(Mutex::new))
            .collect();
        let shards = shards.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(Self {
            shared: Arc::new(Shared {
                epoch: Epoch::at(StdInstant::now()),
                secret: Secret::from_bytes(&secret),
                shards,
                next_number: AtomicU64::new(0),
                pairs: Mutex::default(),
            }),
        })
    }

    /// The time on the clock of this memory, into which each gate translates
    /// its own.
    pub fn now(&self) -> Instant {
        self.shared.epoch.instant(StdInstant::now())
    }

    /// Whether `message` is the first of its kind, and claims it if so. `now`
    /// is on one clock for all who share this memory: on [its own](Self::now),
    /// if gates do.
    pub fn observe(&self, now: Instant, message: &[u8], connection: u64) -> Verdict {
        self.claim(now, message, connection, |seen| seen.verdict)
    }

    /// As [`observe`](Self::observe), and acts on it before anybody else can
    /// observe the same message.
    pub(super) fn claim<T>(
        &self,
        now: Instant,
        message: &[u8],
        connection: u64,
        act: impl FnOnce(Seen) -> T,
    ) -> T {
        let digest = self.shared.secret.digest(message);
        let shards = &self.shared.shards;
        match shards.get(digest.shard(shards.len())) {
            Some(shard) => {
                let mut shard = lock(shard);
                act(Seen::by(&mut shard, now, digest, connection))
            }
            None => act(Seen::default()),
        }
    }

    /// The pairs of all gates that share this memory: whoever knows of a message
    /// finds what is open for it.
    pub(super) fn pairs<R: Runtime>(&self, limits: Limits) -> Result<Pairs<R>, GateConfigError> {
        let mut shared = lock(&self.shared.pairs);
        let Some(directory) = shared.as_ref().and_then(Weak::upgrade) else {
            let pairs = Pairs::new(limits);
            *shared = Some(pairs.as_any());
            return Ok(pairs);
        };
        drop(shared);
        let pairs = Pairs::from_any(directory).ok_or(GateConfigError::OtherRuntime)?;
        match *pairs.limits() == limits {
            true => Ok(pairs),
            false => Err(GateConfigError::OtherBounds),
        }
    }

    /// The clock of a gate that shares this memory, and the memory's.
    pub(super) fn clocks(&self, runtime: &impl Runtime) -> Clocks {
        Clocks::compare(runtime, self.shared.epoch)
    }

    /// A number for a connection that none of those have who share this memory.
    pub(super) fn number(&self) -> u64 {
        self.shared.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// Counters over all shards.
    pub fn stats(&self) -> Stats {
        let mut total = Stats::default();
        for shard in &self.shared.shards {
            let stats = lock(shard).stats();
            total.first += stats.first;
            total.duplicates += stats.duplicates;
            total.expired += stats.expired;
            total.forced_out += stats.forced_out;
        }
        total
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// How many shards there are for so many messages, and the capacity of each:
/// enough for all that come to it, though not all get the same.
fn shards(messages: usize) -> (usize, usize) {
    let shards = (messages / SHARD_MIN).clamp(1, SHARDS_MAX);
    if shards == 1 {
        return (1, messages);
    }
    let mean = messages.div_ceil(shards);
    (shards, mean + DEVIATIONS * mean.isqrt() + SPARE)
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn d1_within_capacity_nothing_is_forgotten_however_shards_fill() {
        let capacities = [1, 2, 15, 16, 255, 511, 512, 700, 1 << 10, 1 << 12, 1 << 16];
        // Each is under a secret of its own.
        let many = capacities.map(|capacity| (capacity, 20));
        for (capacity, secrets) in many.into_iter().chain([(CLAIMS_DEFAULT, 2)]) {
            for _ in 0..secrets {
                let config = Config {
                    capacity,
                    ..Config::default()
                };
                let claims = Claims::new(config).unwrap();
                let now = Instant::default();
                let number = |n: usize| n as u64;
                for n in 0..capacity {
                    let message = n.to_be_bytes();
                    assert_eq!(claims.observe(now, &message, number(n)), Verdict::First);
                }
                assert_eq!(claims.stats().forced_out, 0, "capacity {capacity}");
                for n in 0..capacity {
                    let again = claims.observe(now, &n.to_be_bytes(), 0);
                    assert!(matches!(again, Verdict::Duplicate { of, .. } if of == number(n)));
                }
            }
        }
    }

    #[test]
    fn d2_room_beyond_the_capacity_is_bounded() {
        for messages in (1..10_000).chain([1 << 16, CLAIMS_DEFAULT, 1 << 26]) {
            let (shards, capacity) = shards(messages);
            let most = if messages < CLAIMS_DEFAULT {
                messages * 3 / 2
            } else {
                messages * 21 / 20
            };
            assert!(
                (messages..=most).contains(&(shards * capacity)),
                "{messages}"
            );
        }
        assert_eq!((shards(0), shards(511)), ((1, 0), (1, 511)));
        // Refused, and nothing overflows on the way.
        let capacity = usize::MAX;
        let config = Config {
            capacity,
            ..Config::default()
        };
        assert!(Claims::new(config).is_err());
    }
}
