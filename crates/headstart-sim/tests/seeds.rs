//! Scenarios by their numbers: none breaks a rule, and each runs the same
//! every time.

use headstart_sim::{Rule, Scenario, run, run_traced, shrink};
use std::time::Duration;

/// Seeds that a debug build runs in some seconds.
const SEEDS: u64 = 10_000;

/// Seeds that once broke a rule, and why.
const ONCE_BROKEN: [(u64, &str); 9] = [
    (
        10_748,
        "a member that failed with bytes unread was ready to be written for ever",
    ),
    (
        5_462_216,
        "R3: a reset that a driver had heard was read as end of file",
    ),
    (
        8_141_696,
        "R3: the same, with more than the flight to be written",
    ),
    (
        209,
        "R9: a late Fast Open attempt delayed plain to the next address",
    ),
    (450, "R9: the same, with a pause before the first write"),
    (
        94,
        "a connection that fails with bytes unsent was still the connection",
    ),
    (
        1411,
        "a failure that a write has taken is not told again by a read",
    ),
    (
        61_992,
        "noise that differs from that of plain alone looks like lateness",
    ),
    (
        44_143,
        "an application that leaves at will has read what it has",
    ),
];

#[test]
fn thousands_of_scenarios_break_no_rule() {
    for seed in 0..SEEDS {
        check(seed, "");
    }
}

#[test]
fn thousands_of_pairs_break_no_rule() {
    for seed in 0..SEEDS / 2 {
        judge(seed, &Scenario::paired_from_seed(seed), "");
    }
}

#[test]
fn thousands_of_strangers_break_no_rule() {
    let mut joined = 0;
    for seed in 0..SEEDS {
        let scenario = Scenario::stranger_from_seed(seed);
        judge(seed, &scenario, "");
        joined += run(&scenario).counters.joined;
    }
    // Otherwise nothing was asked.
    assert!(joined > 1_000, "{joined} joined");
}

#[test]
fn what_was_mended_stays_mended() {
    for (seed, why) in ONCE_BROKEN {
        check(seed, why);
    }
    let why = "a pair that a loser's FIN had ended was excused only to copies accepted later";
    judge(1_145_420, &Scenario::paired_from_seed(1_145_420), why);
    let why = "P3: a pair without bytes kept a survivor that was behind, and took as much as ever";
    judge(3_108_104, &Scenario::stranger_from_seed(3_108_104), why);
}

fn check(seed: u64, why: &str) {
    judge(seed, &Scenario::from_seed(seed), why);
}

fn judge(seed: u64, scenario: &Scenario, why: &str) {
    let verdict = run(scenario);
    if let Some(violation) = verdict.violations.first() {
        let small = shrink(scenario, run);
        let trace = run_traced(&small).trace;
        panic!("seed {seed} ({why}): {violation}\nshrunk: {small:#?}\n{trace}");
    }
}

#[test]
fn a_seed_runs_the_same_every_time() {
    for seed in 0..300 {
        let once = run_traced(&Scenario::from_seed(seed));
        let twice = run_traced(&Scenario::from_seed(seed));
        assert_eq!(once.trace.hash(), twice.trace.hash(), "seed {seed}");
        assert_eq!(once.outcome, twice.outcome, "seed {seed}");
        let untraced = run(&Scenario::from_seed(seed));
        assert_eq!(once.outcome, untraced.outcome, "seed {seed}");
    }
    let traces = (0..300).map(|seed| run_traced(&Scenario::from_seed(seed)).trace.hash());
    let distinct: std::collections::HashSet<u64> = traces.collect();
    assert!(distinct.len() > 280, "{} stories of 300", distinct.len());
}

/// What the scenarios are worth: most race, and every kind of end is seen.
#[test]
fn scenarios_are_worth_running() {
    let mut raced = 0;
    let mut won = [0; 2];
    for seed in 0..1_000 {
        let outcome = run(&Scenario::from_seed(seed)).outcome;
        raced += u32::from(outcome.report.raced());
        if let Some((kind, _)) = outcome.winner {
            won[usize::from(kind == headstart_core::race::AttemptKind::FastOpen)] += 1;
        }
    }
    assert!(raced > 300, "{raced} of 1000 raced");
    assert!(won.iter().all(|won| *won > 80), "won: {won:?}");
}

/// The measured table: round trips to the first byte.
#[test]
fn the_plainest_race_takes_as_long_as_measured() {
    let rtt = Duration::from_millis(50);
    let cases = [
        (Rule::Transparent, Some(1.0..1.01)),
        (Rule::DropSynWithData, Some(2.0..2.01)),
        (Rule::DropSynWithOption, Some(2.0..2.01)),
        (Rule::StripOption, Some(2.0..2.01)),
        (Rule::ResetSyn, Some(2.0..2.01)),
        (Rule::DropSynAck, None),
        (Rule::BlackholeAfterHandshake, None),
        (Rule::LoseFirstSynAck, Some(25.0..29.0)),
        (Rule::LoseFirstServerData, Some(6.5..8.0)),
    ];
    for (rule, expected) in cases {
        let run = run(&Scenario::plainest(rule, rtt));
        assert_eq!(run.violations, [], "{rule}");
        let trips = run
            .outcome
            .first_byte
            .map(|first| first.as_secs_f64() / rtt.as_secs_f64());
        let right = match (&expected, trips) {
            (Some(range), Some(trips)) => range.contains(&trips),
            (None, None) => true,
            _ => false,
        };
        assert!(right, "{rule}: {trips:?} round trips, not {expected:?}");
    }
}
