//! Races over paths that are remembered: how a plan is followed.

use core::time::Duration;

use headstart_core::config::{FirstFlight, Kinds, Peer, RaceBuilder, Schedule};
use headstart_core::path::{Plan, Trouble};
use headstart_core::race::{AttemptKind, Event, Exit, NotStarted, Outcome, Progress};
use headstart_core::{Instant, Race, RaceConfig, Step};

const SUSPENDED: Plan = Plan::Plain {
    trouble: Trouble::Dropped,
    until: Instant::from_nanos(u64::MAX),
};
const HEDGE: Duration = Duration::from_millis(40);

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn settings() -> RaceBuilder {
    RaceConfig::builder()
        .first_flight(FirstFlight::Asserted)
        .peer(Peer::Pairing)
}

fn race(settings: RaceBuilder) -> Race {
    Race::new(settings.build().unwrap(), at(0))
}

/// Which attempts are started at a moment: kind and address of each.
fn started(race: &mut Race, now: Instant) -> Vec<(AttemptKind, usize)> {
    let mut list = Vec::new();
    while let Step::Start(id) = race.poll(now) {
        let attempt = race.attempt(id).unwrap();
        let progress = match attempt.0 {
            AttemptKind::Plain => Progress::Handshake,
            AttemptKind::FastOpen => Progress::DataInSyn(6),
        };
        race.handle(now, id, Event::Started(progress));
        list.push(attempt);
    }
    list
}

fn write(race: &mut Race, now: Instant) {
    let _ = race.write(now, b"flight");
    race.end_flight(now);
}

#[test]
fn plain_alone_is_plain_at_once_whatever_the_schedule() {
    let first = AttemptKind::FastOpen;
    let delay = Duration::from_secs(3);
    for schedule in [
        Schedule::AtOnce,
        Schedule::Staggered { first, delay },
        Schedule::Hedged { first, delay },
    ] {
        let mut race = race(
            settings()
                .schedule(schedule)
                .planned_target(1_400, SUSPENDED),
        );
        assert_eq!(started(&mut race, at(0)), [(AttemptKind::Plain, 0)]);
        write(&mut race, at(0));
        assert_eq!(started(&mut race, at(5_000)), []);
        let report = race.report();
        assert_eq!(report.plans, [SUSPENDED]);
        let why = report.attempts.iter().find(|a| a.kind == first);
        let expected = NotStarted::PathSuspended(Trouble::Dropped);
        let expected = Outcome::Out(Exit::NotStarted(expected));
        assert_eq!(why.unwrap().outcome, expected, "{schedule:?}");
    }
}

#[test]
fn other_reasons_come_first() {
    let unstated = RaceConfig::builder().peer(Peer::Pairing);
    let unaware = RaceConfig::builder().first_flight(FirstFlight::Asserted);
    for (settings, why) in [
        (unstated, NotStarted::NotReplaySafe),
        (unaware, NotStarted::PeerUnaware),
    ] {
        let race = race(settings.planned_target(1_400, SUSPENDED));
        let attempts = race.report().attempts;
        let outcome = Outcome::Out(Exit::NotStarted(why));
        assert!(attempts.iter().any(|attempt| attempt.outcome == outcome));
    }
}

#[test]
fn plans_are_for_races_of_both_kinds() {
    for plan in [SUSPENDED, Plan::Hedged(HEDGE)] {
        let alone = settings().kinds(Kinds::FastOpenOnly);
        let mut fast_open = race(alone.planned_target(1_400, plan));
        write(&mut fast_open, at(0));
        assert_eq!(started(&mut fast_open, at(0)), [(AttemptKind::FastOpen, 0)]);
        let alone = settings().kinds(Kinds::PlainOnly);
        let mut plain = race(alone.planned_target(1_400, plan));
        assert_eq!(started(&mut plain, at(0)), [(AttemptKind::Plain, 0)]);
    }
}

#[test]
fn a_hedge_starts_with_fast_open_and_plain_follows() {
    let mut race = race(settings().planned_target(1_400, Plan::Hedged(HEDGE)));
    write(&mut race, at(0));
    assert_eq!(started(&mut race, at(0)), [(AttemptKind::FastOpen, 0)]);
    assert_eq!(started(&mut race, at(39)), []);
    assert_eq!(started(&mut race, at(40)), [(AttemptKind::Plain, 0)]);
}

/// What cannot be raced is not hedged: plain leaves at once.
#[test]
fn r9_a_hedge_without_a_race_is_plain_at_once() {
    let unstated = RaceConfig::builder().peer(Peer::Pairing);
    let mut race = race(unstated.planned_target(1_400, Plan::Hedged(HEDGE)));
    assert_eq!(started(&mut race, at(0)), [(AttemptKind::Plain, 0)]);
}

#[test]
fn each_address_has_its_own_plan() {
    let settings = settings()
        .address_delay(Duration::from_millis(250))
        .planned_target(1_400, SUSPENDED)
        .planned_target(1_400, Plan::Retry(Trouble::Silent))
        .target(1_400);
    let mut race = race(settings);
    write(&mut race, at(0));
    assert_eq!(started(&mut race, at(0)), [(AttemptKind::Plain, 0)]);
    let both = |target| {
        [
            (AttemptKind::Plain, target),
            (AttemptKind::FastOpen, target),
        ]
    };
    assert_eq!(started(&mut race, at(250)), both(1));
    assert_eq!(started(&mut race, at(500)), both(2));
    let plans = race.report().plans;
    assert_eq!(plans, [SUSPENDED, Plan::Retry(Trouble::Silent), Plan::Race]);
}

#[test]
fn only_settings_that_allow_a_race_need_a_plan() {
    let unaware = RaceConfig::builder().first_flight(FirstFlight::Asserted);
    for (settings, expected) in [
        (settings(), true),
        (settings().kinds(Kinds::PlainOnly), false),
        (settings().kinds(Kinds::FastOpenOnly), false),
        (settings().first_flight(FirstFlight::Unstated), false),
        (unaware.clone(), false),
        (unaware.insist(true), true),
    ] {
        assert_eq!(settings.may_race(), expected);
    }
}
