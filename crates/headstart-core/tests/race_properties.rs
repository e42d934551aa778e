//! Random races beyond the bounds of the exhaustive test: up to 16 attempts
//! over 8 addresses, flights of real size, clocks that jump, drivers that say
//! anything at any time. The rules are those of `common::rules`. More cases
//! by `PROPTEST_CASES` in the environment.

mod common;

use std::time::Duration;

use common::moves::{Move, play};
use common::{Action, Flight, Setup};
use headstart_core::config::{Kinds, LoserClose, Peer, Schedule};
use headstart_core::framing::FLIGHT_MAX;
use headstart_core::race::{AttemptKind, Event, Failure, FailureKind, Progress, SynData};
use proptest::prelude::*;
use proptest::sample::select;

proptest! {
    #![proptest_config(ProptestConfig {
        // Found cases become scenarios of `race_rules`.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_rule_holds_of_every_race(setup in setups(), moves in prop::collection::vec(moves(), 1..120)) {
        play(setup, moves).map_err(TestCaseError::fail)?;
    }
}

fn setups() -> impl Strategy<Value = Setup> {
    let flight = prop_oneof![
        select(vec![2, 100, 256, 257, 1399, 1400, 1401, FLIGHT_MAX as u16])
            .prop_map(Flight::Framed),
        Just(Flight::Malformed),
        Just(Flight::Asserted),
        Just(Flight::Token),
        Just(Flight::Unstated),
    ];
    let first = select(vec![AttemptKind::Plain, AttemptKind::FastOpen]);
    let schedule = (0..3, first, durations()).prop_map(|(which, first, delay)| match which {
        0 => Schedule::AtOnce,
        1 => Schedule::Staggered { first, delay },
        _ => Schedule::Hedged { first, delay },
    });
    let peer = select(vec![Peer::Unaware, Peer::FirstCome, Peer::Pairing]);
    let losers = select(vec![LoserClose::Abortive, LoserClose::Graceful]);
    let kinds = select(vec![
        Kinds::Both,
        Kinds::Both,
        Kinds::PlainOnly,
        Kinds::FastOpenOnly,
    ]);
    let sizes = (
        1..=8usize,
        0..=2usize,
        select(vec![0, 1, 1400, 1 << 20]),
        select(vec![1, 1000, 64 * 1024]),
    );
    let times = (durations(), durations());
    (
        flight,
        schedule,
        peer,
        losers,
        kinds,
        any::<bool>(),
        sizes,
        times,
    )
        .prop_map(
            |(flight, schedule, peer, losers, kinds, insist, sizes, times)| Setup {
                flight,
                peer,
                insist,
                // Fast Open alone must be told what it carries.
                kinds: if flight == Flight::Unstated {
                    Kinds::Both
                } else {
                    kinds
                },
                schedule,
                losers,
                targets: sizes.0,
                suspended: sizes.1,
                syn_payload: sizes.2,
                held_max: sizes.3,
                address_delay: times.0,
                cutover_wait: times.1,
            },
        )
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => (events(), progresses()).prop_map(|(event, progress)| Move::Answer(event, progress)),
        3 => (0..16usize, events()).prop_map(|(index, event)| Move::Tell(index, event)),
        3 => others().prop_map(Move::Other),
    ]
}

fn others() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => sizes().prop_map(|bytes| Action::Write(bytes.max(1))),
        1 => sizes().prop_map(Action::FirstFlight),
        2 => Just(Action::EndFlight),
        1 => Just(Action::Shutdown),
        1 => Just(Action::Abandon),
        2 => Just(Action::Take),
        4 => Just(Action::Deadline),
        3 => durations().prop_map(Action::Pass),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    let syn_data = select(vec![
        SynData::None,
        SynData::Sent,
        SynData::Acknowledged,
        SynData::Ignored,
    ]);
    let failures = || {
        select(vec![
            FailureKind::Refused,
            FailureKind::Reset,
            FailureKind::Unreachable,
            FailureKind::TimedOut,
            FailureKind::NoResources,
            FailureKind::NotPermitted,
            FailureKind::Unsupported,
            FailureKind::Other,
        ])
        .prop_map(Failure::new)
    };
    prop_oneof![
        1 => progresses().prop_map(Event::Started),
        1 => failures().prop_map(Event::NotStarted),
        6 => syn_data.prop_map(Event::Opened),
        4 => sizes().prop_map(Event::Wrote),
        2 => Just(Event::Blocked),
        2 => Just(Event::Writable),
        1 => Just(Event::Finished),
        1 => Just(Event::Quiet),
        1 => Just(Event::Replied),
        1 => Just(Event::Ended),
        1 => failures().prop_map(Event::Failed),
    ]
}

fn progresses() -> impl Strategy<Value = Progress> {
    prop_oneof![
        Just(Progress::Handshake),
        sizes().prop_map(Progress::DataInSyn),
        Just(Progress::CookieRequest),
    ]
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![
        0..4usize,
        0..2000usize,
        0..100_000usize,
        Just(usize::from(u16::MAX))
    ]
}

fn durations() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        (1..100u64).prop_map(Duration::from_nanos),
        (1..5000u64).prop_map(Duration::from_millis),
        Just(Duration::MAX),
    ]
}
