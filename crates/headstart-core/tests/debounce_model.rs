//! The debouncer against models of it, and against digests chosen to hurt.

#[path = "model/debouncer.rs"]
mod model;

use std::time::Duration;

use headstart_core::Instant;
use headstart_core::debounce::{CAPACITY_MAX, Config, ConfigError, Debouncer, Digest, Verdict};
use model::{Kind, Model, TICK, WINDOW, counters, spread};
use proptest::prelude::*;

fn debouncer(capacity: usize) -> Debouncer {
    Debouncer::new(Config {
        capacity,
        window: WINDOW,
    })
    .unwrap()
}

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

/// Steps of time in ticks, backwards too, and numbers of messages.
fn steps() -> impl Strategy<Value = Vec<(i64, u64)>> {
    let time = prop_oneof![
        20 => 0..3_i64,
        6 => 0..60_i64,
        1 => 95..106_i64,
        1 => -300..0_i64,
        1 => 200..2000_i64,
    ];
    let number = prop_oneof![4 => 0..12_u64, 4 => 0..60_u64, 2 => 0..1000_u64];
    prop::collection::vec((time, number), 1..600)
}

/// More than elsewhere, unless `PROPTEST_CASES` in the environment says how many.
fn cases() -> u32 {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default().cases,
        None => 2000,
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Spread),
        Just(Kind::OneHome),
        Just(Kind::OneMark),
        Just(Kind::TwoEnds),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn d1_d2_says_word_for_word_what_the_model_says(
        // Up to 240, any digests at all fit in the part of the index where they may be.
        capacity in prop_oneof![1..12_usize, 1..240_usize],
        kind in kinds(),
        steps in steps(),
    ) {
        let (mut debouncer, mut model) = (debouncer(capacity), Model::new(capacity));
        let mut now = 1_000_000 * TICK;
        for (connection, (time, number)) in steps.into_iter().enumerate() {
            now = now.saturating_add_signed(time * TICK as i64 + 1);
            let (bits, connection) = (kind.bits(number), connection as u64);
            prop_assert_eq!(
                debouncer.observe(at(now), Digest::from_bits(bits), connection),
                model.observe(now, bits, connection)
            );
            prop_assert_eq!(debouncer.len(), model.live.len());
            prop_assert_eq!(counters(debouncer.stats()), model.stats);
        }
    }

    #[test]
    fn d1_exactly_one_first_within_window_and_capacity(
        capacity in 1..300_usize,
        steps in prop::collection::vec((0..30 * TICK, 0..400_u64), 1..1000),
    ) {
        let mut debouncer = debouncer(capacity);
        let mut now = 0;
        // All that were first, in order; said by the rule, not by any model.
        let mut firsts: Vec<(u64, u64)> = Vec::new();
        for (time, number) in steps {
            now += time / 8;
            let verdict = debouncer.observe(at(now), Digest::from_bits(spread(number)), number);
            let last = firsts.iter().rposition(|(other, _)| *other == number);
            let age = last.map(|index| now - firsts[index].1);
            let since = last.map(|index| firsts.len() - index);
            match verdict {
                Verdict::First => {
                    let forgotten = age.is_none_or(|age| u128::from(age) > WINDOW.as_nanos())
                        || since.is_none_or(|since| since > capacity);
                    prop_assert!(forgotten, "a second first");
                    firsts.push((number, now));
                }
                Verdict::Duplicate { of, age: said, .. } => {
                    let age = age.unwrap();
                    prop_assert_eq!(of, number);
                    prop_assert!(since.unwrap() <= capacity);
                    prop_assert!(u128::from(age) <= WINDOW.as_nanos() + 2 * u128::from(TICK));
                    prop_assert!((said.as_nanos() as u64).abs_diff(age) < TICK);
                }
            }
        }
    }
}

#[test]
fn says_what_the_model_says_over_a_million_observations() {
    for capacity in [1_000, 50_000] {
        let (mut debouncer, mut model) = (debouncer(capacity), Model::new(capacity));
        let mut random = 1_u64;
        for connection in 0..1_000_000_u64 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // Two copies of most, many of some, in and out of the window.
            let back = (random >> 60) * (random >> 40 & 0xFF);
            let number = (connection / 2).saturating_sub(back);
            let now = connection * (TICK / 64) * (1 + connection / 300_000);
            let bits = spread(number);
            assert_eq!(
                debouncer.observe(at(now), Digest::from_bits(bits), connection),
                model.observe(now, bits, connection)
            );
            assert_eq!(debouncer.len(), model.live.len());
        }
        assert_eq!(counters(debouncer.stats()), model.stats);
        let (first, duplicates, expired, forced_out) = model.stats;
        assert!(first > 100_000 && duplicates > 100_000, "{:?}", model.stats);
        assert!(
            expired > 1_000 && (forced_out > 1_000 || capacity > 1_000),
            "{:?}",
            model.stats
        );
    }
}

#[test]
fn d1_nothing_is_forgotten_after_the_second_copy() {
    let mut debouncer = debouncer(10);
    let digest = Digest::from_bits(spread(1));
    assert!(debouncer.is_empty());
    assert_eq!(debouncer.observe(at(0), digest, 7), Verdict::First);
    assert!(!debouncer.is_empty());
    for copies in 2..5_000 {
        let duplicate = Verdict::Duplicate {
            of: 7,
            age: Duration::ZERO,
            copies: copies.min(4_095),
        };
        assert_eq!(debouncer.observe(at(1), digest, 8), duplicate);
    }
    assert_eq!(debouncer.len(), 1);
}

#[test]
fn d2_below_capacity_nothing_is_ever_forced_out() {
    // Filled to the brim again and again, with time for all to expire.
    for capacity in [130, 1_000, 10_000, 100_000] {
        let mut debouncer = debouncer(capacity);
        for round in 0..10_u64 {
            for number in 0..capacity as u64 {
                let digest = Digest::from_bits(spread(round << 32 | number));
                let now = at(round * 102 * TICK + number * TICK / capacity as u64);
                assert_eq!(debouncer.observe(now, digest, number), Verdict::First);
            }
        }
        assert_eq!(debouncer.stats().forced_out, 0, "capacity {capacity}");
    }
}

#[test]
fn d2_entries_forced_out_before_their_time_are_counted() {
    let mut debouncer = debouncer(100);
    for number in 0..250 {
        _ = debouncer.observe(at(number), Digest::from_bits(spread(number)), number);
    }
    assert_eq!(debouncer.len(), 100);
    assert_eq!(debouncer.stats().forced_out, 150);
}

#[test]
fn d3_at_most_two_entries_expire_at_once() {
    let mut debouncer = debouncer(1_000);
    for number in 0..1_000 {
        _ = debouncer.observe(at(0), Digest::from_bits(spread(number)), number);
    }
    for more in 1..=1_000 {
        let digest = Digest::from_bits(spread(5_000 + more));
        _ = debouncer.observe(at(200 * TICK), digest, more);
        assert_eq!(debouncer.stats().expired, (2 * more).min(1_000));
    }
    assert_eq!(debouncer.len(), 1_000);
    assert_eq!(debouncer.stats().forced_out, 0);
}

#[test]
fn d3_digests_aimed_at_one_bucket_cost_themselves_only() {
    for kind in [Kind::OneHome, Kind::OneMark, Kind::TwoEnds] {
        let mut debouncer = debouncer(100_000);
        let innocent = |number| Digest::from_bits(spread(1 << 40 | number) | 1 << 127);
        for number in 0..1_000 {
            _ = debouncer.observe(at(0), innocent(number), number);
        }
        let aimed = |number| Digest::from_bits(kind.bits(number));
        for number in 0..10_000 {
            assert_eq!(
                debouncer.observe(at(0), aimed(number), number),
                Verdict::First
            );
        }
        // What is left of them is what has room in their reach: the latest.
        let left = debouncer.len() - 1_000;
        assert!((200..=480).contains(&left), "{kind:?}: {left}");
        assert_eq!(debouncer.stats().forced_out as usize, 10_000 - left);
        for number in (10_000 - 200..10_000).rev() {
            let verdict = debouncer.observe(at(0), aimed(number), 0);
            assert!(matches!(verdict, Verdict::Duplicate { of, .. } if of == number));
        }
        assert_eq!(debouncer.observe(at(0), aimed(3), 3), Verdict::First);
        for number in 0..1_000 {
            let verdict = debouncer.observe(at(0), innocent(number), 0);
            assert!(
                matches!(verdict, Verdict::Duplicate { of, .. } if of == number),
                "{kind:?}"
            );
        }
    }
}

#[test]
fn clocks_may_jump_and_may_end() {
    let mut debouncer = debouncer(4);
    let (one, two) = (Digest::from_bits(spread(1)), Digest::from_bits(spread(2)));
    assert_eq!(debouncer.observe(at(u64::MAX), one, 1), Verdict::First);
    // Back by all of time: the entry is from the future, and still a copy is a copy.
    let duplicate = |copies| Verdict::Duplicate {
        of: 1,
        age: Duration::ZERO,
        copies,
    };
    assert_eq!(debouncer.observe(at(0), one, 2), duplicate(2));
    assert_eq!(debouncer.observe(at(0), two, 3), Verdict::First);
    assert_eq!(debouncer.observe(at(u64::MAX), one, 4), duplicate(3));
    // Long ago, behind an entry that is not: expired when it is met.
    assert_eq!(debouncer.observe(at(u64::MAX), two, 5), Verdict::First);
    assert_eq!(debouncer.stats().expired, 1);
    assert_eq!(debouncer.len(), 2);
}

#[test]
fn windows_of_all_lengths() {
    let digest = Digest::from_bits(spread(1));
    for (window, still) in [
        (Duration::from_nanos(1), 1),
        (Duration::from_nanos(TICK), TICK),
        (Duration::from_nanos(TICK + 1), TICK + 1),
        (Duration::from_secs(600), 600_000_000_000),
        (Duration::MAX, u64::MAX),
    ] {
        let mut debouncer = Debouncer::new(Config {
            capacity: 2,
            window,
        })
        .unwrap();
        assert_eq!(debouncer.observe(at(0), digest, 1), Verdict::First);
        let verdict = debouncer.observe(at(still), digest, 2);
        assert!(
            matches!(verdict, Verdict::Duplicate { of: 1, .. }),
            "{window:?}"
        );
        if let Some(later) = still.checked_add(2 * TICK) {
            assert_eq!(debouncer.observe(at(later), digest, 3), Verdict::First);
        }
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    let new = |capacity, window| Debouncer::new(Config { capacity, window }).map(|_| ());
    assert_eq!(new(0, WINDOW), Err(ConfigError::NoCapacity));
    assert_eq!(
        new(CAPACITY_MAX + 1, WINDOW),
        Err(ConfigError::CapacityTooLarge)
    );
    assert_eq!(new(usize::MAX, WINDOW), Err(ConfigError::CapacityTooLarge));
    assert_eq!(new(1, Duration::ZERO), Err(ConfigError::NoWindow));
    assert_eq!(new(1, Duration::from_nanos(1)), Ok(()));
    assert_eq!(Config::default().window, Duration::from_secs(600));
}
