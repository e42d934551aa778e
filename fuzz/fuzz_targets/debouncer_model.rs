//! The debouncer against a naive one, word for word: capacities from 1, clocks
//! that jump both ways, digests aimed at one place.

#![no_main]

#[path = "../../crates/headstart-core/tests/model/debouncer.rs"]
mod model;

use headstart_core::Instant;
use headstart_core::debounce::{Config, Debouncer, Digest};
use libfuzzer_sys::fuzz_target;
use model::{Kind, Model, TICK, WINDOW, counters};

/// Up to this capacity any digests at all fit in the part of the index where
/// they may be, and the model is exact.
const EXACT_MAX: usize = 240;

fuzz_target!(|bytes: &[u8]| {
    let [capacity, kind, steps @ ..] = bytes else {
        return;
    };
    let capacity = 1 + usize::from(*capacity) % EXACT_MAX;
    let kind = match kind % 4 {
        0 => Kind::Spread,
        1 => Kind::OneHome,
        2 => Kind::OneMark,
        _ => Kind::TwoEnds,
    };
    let config = Config {
        capacity,
        window: WINDOW,
    };
    let mut debouncer = Debouncer::new(config).expect("settings in range");
    let mut model = Model::new(capacity);
    let allocated = debouncer.allocated_bytes();
    let mut now = 1_000_000 * TICK;
    for (connection, step) in (0..).zip(steps.chunks_exact(2)) {
        now = pass(now, step[0]);
        let bits = kind.bits(u64::from(step[1]));
        let said = debouncer.observe(
            Instant::from_nanos(now),
            Digest::from_bits(bits),
            connection,
        );
        assert_eq!(said, model.observe(now, bits, connection));
        assert_eq!(debouncer.len(), model.live.len());
        assert_eq!(counters(debouncer.stats()), model.stats);
    }
    assert_eq!(debouncer.allocated_bytes(), allocated, "D2");
});

/// Mostly small steps, some about as long as the window, some anywhere.
fn pass(now: u64, by: u8) -> u64 {
    match by {
        0..160 => now.saturating_add(u64::from(by) * TICK / 32),
        160..200 => now.saturating_add(u64::from(by - 150) * TICK),
        200..220 => now.saturating_add(u64::from(by - 110) * TICK),
        220..240 => now.saturating_sub(u64::from(by - 219) * 16 * TICK),
        240 => 0,
        241 => u64::MAX,
        _ => now.saturating_add(u64::from(by) << 30),
    }
}
