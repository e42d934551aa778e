//! Random pairs beyond the bounds of the exhaustive test: up to 4 members, logs
//! of all sizes, windows of all lengths, clocks that jump, drivers that say
//! anything at any time. The rules are those of `pairs`. More cases by
//! `PROPTEST_CASES` in the environment.

mod pairs;

use std::time::Duration;

use headstart_core::pair::{Config, Event, GRACE, LINGER, WINDOW_DEFAULT};
use headstart_core::race::AttemptKind;
use pairs::moves::{Move, lie, play};
use pairs::{Action, Setup};
use proptest::prelude::*;
use proptest::sample::select;

proptest! {
    #![proptest_config(ProptestConfig {
        // Found cases become scenarios of `pair_rules`.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// A driver that tells the truth, in any order.
    #[test]
    fn every_rule_holds_of_every_pair(setup in setups(), moves in prop::collection::vec(moves(), 1..150)) {
        play(setup, moves).map_err(TestCaseError::fail)?;
    }

    /// A driver that says anything: the pair keeps its bounds, and ends.
    #[test]
    fn p3_nothing_said_breaks_a_bound(setup in setups(), moves in prop::collection::vec(moves(), 1..150)) {
        lie(setup, moves).map_err(TestCaseError::fail)?;
    }
}

fn setups() -> impl Strategy<Value = Setup> {
    let windows = select(vec![
        Duration::ZERO,
        Duration::from_millis(3),
        GRACE,
        WINDOW_DEFAULT,
        Duration::from_secs(30_000_000),
    ]);
    let logs = select(vec![1, 2, 7, 64, 65_536]);
    let sizes = (select(vec![0, 1, 5, 70, 500]), select(vec![0, 1, 3, 40]));
    (windows, logs, any::<bool>(), sizes).prop_map(
        |(window, log_max, resets_losers, (answer, upload))| Setup {
            config: Config {
                window,
                log_max,
                resets_losers,
            },
            answer,
            upload,
        },
    )
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        3 => (0..4usize, events()).prop_map(|(index, event)| Move::Tell(index, event)),
        5 => (prop::bool::weighted(0.8), 1..100usize).prop_map(|(well, bytes)| Move::Answer(well, bytes)),
        3 => others().prop_map(Move::Other),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Readable),
        4 => (1..20usize).prop_map(Event::Delivered),
        1 => (0..20usize).prop_map(Event::Discarded),
        2 => Just(Event::Drained),
        1 => Just(Event::Ended),
        1 => Just(Event::Failed),
        1 => (0..90usize).prop_map(Event::Wrote),
        1 => Just(Event::Blocked),
        3 => Just(Event::Writable),
        1 => Just(Event::Finished),
        3 => (0..600u64).prop_map(Event::Acked),
    ]
}

fn others() -> impl Strategy<Value = Action> {
    let times = select(vec![
        Duration::from_nanos(1),
        Duration::from_millis(40),
        GRACE / 2,
        GRACE,
        WINDOW_DEFAULT,
        LINGER,
    ]);
    prop_oneof![
        3 => select(vec![AttemptKind::Plain, AttemptKind::Plain, AttemptKind::FastOpen]).prop_map(Action::Join),
        8 => (1..90usize).prop_map(Action::Write),
        1 => Just(Action::Shutdown),
        1 => Just(Action::Abandon),
        1 => Just(Action::Confine),
        1 => Just(Action::Take),
        4 => Just(Action::Deadline),
        4 => times.prop_map(Action::Pass),
    ]
}
