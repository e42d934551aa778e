//! A debouncer as one would write it without a care for time or memory, and
//! digests chosen to hurt the real one. For its tests and for the fuzzer.
// Each user has its own part.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use headstart_core::debounce::{Stats, Verdict};

/// The debouncer's unit of time, in nanoseconds.
pub const TICK: u64 = 1 << 20;
pub const WINDOW: Duration = Duration::from_nanos(100 * TICK);

/// Says what the debouncer must say, word for word.
pub struct Model {
    capacity: usize,
    window_ticks: u64,
    /// Oldest first; dead ones are no longer in `live`.
    entries: VecDeque<Entry>,
    /// From digests to serial numbers.
    pub live: HashMap<u128, u64>,
    popped: u64,
    /// First, duplicates, expired, forced out.
    pub stats: (u64, u64, u64, u64),
}

struct Entry {
    bits: u128,
    connection: u64,
    seen: u64,
    copies: u32,
}

impl Model {
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            window_ticks: WINDOW.as_nanos() as u64 / TICK,
            entries: VecDeque::new(),
            live: HashMap::new(),
            popped: 0,
            stats: (0, 0, 0, 0),
        }
    }

    pub fn observe(&mut self, now: u64, bits: u128, connection: u64) -> Verdict {
        let now = now / TICK;
        for _ in 0..2 {
            let old = |entry: &Entry| now.saturating_sub(entry.seen) > self.window_ticks;
            if self
                .entries
                .front()
                .is_some_and(|entry| old(entry) || !self.is_live(0, entry))
            {
                self.pop(now);
            }
        }
        if let Some(serial) = self.live.get(&bits) {
            let entry = &mut self.entries[(serial - self.popped) as usize];
            let age = now.saturating_sub(entry.seen);
            if age <= self.window_ticks {
                entry.copies = (entry.copies + 1).min(4095);
                self.stats.1 += 1;
                return Verdict::Duplicate {
                    of: entry.connection,
                    age: Duration::from_nanos(age * TICK),
                    copies: entry.copies,
                };
            }
            self.live.remove(&bits);
            self.stats.2 += 1;
        }
        if self.entries.len() == self.capacity {
            self.pop(now);
        }
        self.live
            .insert(bits, self.popped + self.entries.len() as u64);
        self.entries.push_back(Entry {
            bits,
            connection,
            seen: now,
            copies: 1,
        });
        self.stats.0 += 1;
        Verdict::First
    }

    fn is_live(&self, index: u64, entry: &Entry) -> bool {
        self.live.get(&entry.bits) == Some(&(self.popped + index))
    }

    fn pop(&mut self, now: u64) {
        let entry = self.entries.pop_front().unwrap();
        if self.is_live(0, &entry) {
            self.live.remove(&entry.bits);
            if now.saturating_sub(entry.seen) > self.window_ticks {
                self.stats.2 += 1;
            } else {
                self.stats.3 += 1;
            }
        }
        self.popped += 1;
    }
}

/// As [`Model::stats`].
pub fn counters(stats: Stats) -> (u64, u64, u64, u64) {
    (
        stats.first,
        stats.duplicates,
        stats.expired,
        stats.forced_out,
    )
}

/// Evenly spread bits, as a hash gives.
pub fn spread(number: u64) -> u128 {
    let mix = |mut x: u64| {
        x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ x >> 31
    };
    u128::from(mix(number)) << 64 | u128::from(mix(!number))
}

/// How digests are made of small numbers.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// As a hash gives them.
    Spread,
    /// All with the same home.
    OneHome,
    /// All with the same home and the same mark.
    OneMark,
    /// All at home at the end of the index, or at its start.
    TwoEnds,
}

impl Kind {
    pub fn bits(self, number: u64) -> u128 {
        let low = u128::from(u32::MAX);
        match self {
            Self::Spread => spread(number),
            Self::OneHome => spread(number) & (u128::MAX >> 32) | 5 << 96,
            Self::OneMark => u128::from(number) << 40 | 77,
            Self::TwoEnds if number.is_multiple_of(2) => {
                spread(number) & (u128::MAX >> 32) | low << 96
            }
            Self::TwoEnds => spread(number) & (u128::MAX >> 32),
        }
    }
}
