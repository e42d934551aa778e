//! What a race shows of Fast Open on a path.

use core::time::Duration;

use headstart_core::config::{FirstFlight, Peer};
use headstart_core::path::{Evidence, Trouble};
use headstart_core::race::{
    AttemptReport, Event, Exit, Failure, FailureKind, Outcome, Progress, Report, SynData,
};
use headstart_core::{Instant, Race, RaceConfig, Step};

const PLAIN: usize = 0;
const FAST_OPEN: usize = 1;
const RTT: u64 = 50;

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// A race whose two attempts have started, Fast Open after some time.
fn started(fast_open_after: u64, progress: Progress) -> Race {
    let config = RaceConfig::builder()
        .target(1_400)
        .first_flight(FirstFlight::Asserted)
        .peer(Peer::Pairing)
        .build()
        .unwrap();
    let mut race = Race::new(config, at(0));
    let plain = race.id(PLAIN).unwrap();
    assert_eq!(race.poll(at(0)), Step::Start(plain));
    race.handle(at(0), plain, Event::Started(Progress::Handshake));
    let _ = race.write(at(fast_open_after), b"flight");
    race.end_flight(at(fast_open_after));
    let fast_open = race.id(FAST_OPEN).unwrap();
    assert_eq!(race.poll(at(fast_open_after)), Step::Start(fast_open));
    race.handle(at(fast_open_after), fast_open, Event::Started(progress));
    race
}

fn racing() -> Race {
    started(0, Progress::DataInSyn(6))
}

fn tell(race: &mut Race, millis: u64, attempt: usize, event: Event) {
    let id = race.id(attempt).unwrap();
    race.handle(at(millis), id, event);
    while let Step::Write(id) = race.poll(at(millis)) {
        let taken = race.unsent(id).concat().len();
        race.handle(at(millis), id, Event::Wrote(taken));
    }
}

/// Plain opens after a round trip and is answered after another.
fn plain_answers(race: &mut Race) {
    tell(race, RTT, PLAIN, Event::Opened(SynData::None));
    tell(race, 2 * RTT, PLAIN, Event::Replied);
}

fn failed(kind: FailureKind) -> Event {
    Event::Failed(Failure::new(kind))
}

fn shown(race: &Race) -> Evidence {
    Evidence::of(&race.report(), 0)
}

fn trouble(race: &Race) -> Option<Trouble> {
    match shown(race) {
        Evidence::Trouble(trouble) => Some(trouble),
        _ => None,
    }
}

#[test]
fn an_answer_to_data_in_the_syn_is_an_answer() {
    let mut race = racing();
    tell(
        &mut race,
        RTT,
        FAST_OPEN,
        Event::Opened(SynData::Acknowledged),
    );
    assert_eq!(shown(&race), Evidence::Nothing);
    tell(&mut race, RTT, FAST_OPEN, Event::Replied);
    assert_eq!(shown(&race), Evidence::Answered);
}

#[test]
fn an_answer_to_data_that_was_ignored_is_none() {
    let mut race = racing();
    tell(&mut race, RTT, FAST_OPEN, Event::Opened(SynData::Ignored));
    assert_eq!(trouble(&race), Some(Trouble::Ignored));
    tell(&mut race, 2 * RTT, FAST_OPEN, Event::Replied);
    assert_eq!(trouble(&race), Some(Trouble::Ignored));
}

#[test]
fn no_cookie_is_asked_for_whoever_wins() {
    let mut race = started(0, Progress::CookieRequest);
    assert_eq!(shown(&race), Evidence::Asked);
    plain_answers(&mut race);
    assert_eq!(shown(&race), Evidence::Asked);
}

/// A kernel that does ordinary handshakes for Fast Open asks for nothing.
#[test]
fn a_plain_handshake_asks_for_nothing() {
    let mut race = started(0, Progress::Handshake);
    plain_answers(&mut race);
    assert_eq!(shown(&race), Evidence::Nothing);
}

#[test]
fn a_syn_that_is_not_answered_beside_plain_is_dropped() {
    let mut race = racing();
    tell(&mut race, RTT, PLAIN, Event::Opened(SynData::None));
    assert_eq!(shown(&race), Evidence::Nothing, "plain is not answered yet");
    tell(&mut race, 2 * RTT, PLAIN, Event::Replied);
    assert_eq!(trouble(&race), Some(Trouble::Dropped));
}

#[test]
fn a_syn_that_left_late_had_no_time_to_be_answered() {
    // It left 26 ms after plain's: at 100 ms it has had 74, half a round trip
    // more than the 50 of plain's handshake would be 75.
    let mut race = started(26, Progress::DataInSyn(6));
    plain_answers(&mut race);
    assert_eq!(shown(&race), Evidence::Nothing);
    let mut race = started(25, Progress::DataInSyn(6));
    plain_answers(&mut race);
    assert_eq!(trouble(&race), Some(Trouble::Dropped));
    // Nor had its answer.
    for (after, expected) in [(26, None), (25, Some(Trouble::Silent))] {
        let mut race = started(after, Progress::DataInSyn(6));
        tell(&mut race, RTT, PLAIN, Event::Opened(SynData::None));
        let opened = Event::Opened(SynData::Acknowledged);
        tell(&mut race, RTT + after, FAST_OPEN, opened);
        tell(&mut race, 2 * RTT, PLAIN, Event::Replied);
        assert_eq!(trouble(&race), expected, "{after}");
    }
}

#[test]
fn silence_after_an_acknowledgement_is_told_from_a_lost_race() {
    let mut race = racing();
    tell(
        &mut race,
        RTT,
        FAST_OPEN,
        Event::Opened(SynData::Acknowledged),
    );
    plain_answers(&mut race);
    assert_eq!(trouble(&race), Some(Trouble::Silent));

    // Its driver saw an answer on it when it closed it.
    let mut report = race.report();
    report.attempts[FAST_OPEN].first_byte = Some(at(2 * RTT));
    assert_eq!(Evidence::of(&report, 0), Evidence::Answered);

    // Plain had to be taken for held bytes, before any answer.
    let mut report = race.report();
    report.attempts[PLAIN].first_byte = Some(at(2 * RTT + 1));
    assert_eq!(Evidence::of(&report, 0), Evidence::Nothing);
    report.attempts[PLAIN].first_byte = None;
    assert_eq!(Evidence::of(&report, 0), Evidence::Nothing);
}

#[test]
fn what_ended_before_plain_answered_was_not_silent() {
    let mut race = racing();
    tell(
        &mut race,
        RTT,
        FAST_OPEN,
        Event::Opened(SynData::Acknowledged),
    );
    tell(&mut race, RTT + 1, FAST_OPEN, Event::Ended);
    plain_answers(&mut race);
    assert_eq!(shown(&race), Evidence::Nothing);
}

#[test]
fn a_refusal_counts_if_plain_is_let_in() {
    for (kind, expected) in [
        (FailureKind::Refused, Some(Trouble::Refused)),
        (FailureKind::Reset, Some(Trouble::Refused)),
        (FailureKind::Unreachable, Some(Trouble::Refused)),
        (FailureKind::TimedOut, Some(Trouble::Dropped)),
        (FailureKind::NotPermitted, None),
        (FailureKind::Other, None),
    ] {
        for progress in [Progress::DataInSyn(6), Progress::CookieRequest] {
            let mut race = started(0, progress);
            tell(&mut race, RTT / 2, FAST_OPEN, failed(kind));
            assert_eq!(shown(&race), Evidence::Nothing, "nobody is let in yet");
            tell(&mut race, RTT, PLAIN, Event::Opened(SynData::None));
            assert_eq!(trouble(&race), expected, "{kind:?}");
        }
    }
    let mut race = racing();
    tell(&mut race, RTT / 2, FAST_OPEN, failed(FailureKind::Refused));
    tell(&mut race, RTT / 2, PLAIN, failed(FailureKind::Refused));
    assert_eq!(shown(&race), Evidence::Nothing, "nobody listens there");
}

/// A server that debounces resets the second copy.
#[test]
fn a_reset_after_the_handshake_is_no_refusal() {
    let mut race = racing();
    tell(
        &mut race,
        RTT,
        FAST_OPEN,
        Event::Opened(SynData::Acknowledged),
    );
    tell(&mut race, RTT + 5, FAST_OPEN, failed(FailureKind::Reset));
    plain_answers(&mut race);
    assert_eq!(shown(&race), Evidence::Nothing);
}

#[test]
fn an_attempt_that_did_not_start_shows_nothing() {
    let config = RaceConfig::builder().target(1_400).build().unwrap();
    let race = Race::new(config, at(0));
    assert_eq!(shown(&race), Evidence::Nothing);
}

/// Another address's attempts say nothing of this one's path.
#[test]
fn paths_are_judged_apart() {
    let mut race = racing();
    plain_answers(&mut race);
    let mut report = race.report();
    assert_eq!(Evidence::of(&report, 1), Evidence::Nothing);
    report.attempts[FAST_OPEN].target = 1;
    assert_eq!(Evidence::of(&report, 0), Evidence::Nothing);
    assert_eq!(
        Evidence::of(&report, 1),
        Evidence::Nothing,
        "no plain beside it"
    );
}

/// Whatever a report says, it is judged, and an answer is never called trouble.
#[test]
fn every_report_is_judged() {
    let mut race = racing();
    plain_answers(&mut race);
    let base = race.report();
    let times = [
        None,
        Some(at(0)),
        Some(at(75)),
        Some(at(Duration::from_secs(9).as_secs())),
    ];
    let exits = [
        Exit::Lost,
        Exit::CookieOnly,
        Exit::Delivered,
        Exit::Ended { whole: true },
        Exit::Failed(Failure::new(FailureKind::Refused)),
    ];
    let outcomes = exits.into_iter().map(Outcome::Out);
    let outcomes = outcomes.chain([Outcome::Racing, Outcome::Won]);
    let outcomes: Vec<_> = outcomes.collect();
    let data = [
        SynData::None,
        SynData::Sent,
        SynData::Acknowledged,
        SynData::Ignored,
    ];
    let mut seen = [0_u32; 2];
    for (opened, first_byte) in times
        .iter()
        .flat_map(|a| times.iter().map(move |b| (*a, *b)))
    {
        for (syn_data, outcome) in data
            .iter()
            .flat_map(|a| outcomes.iter().map(move |b| (*a, *b)))
        {
            let mut report: Report = base.clone();
            let fast_open: &mut AttemptReport = &mut report.attempts[FAST_OPEN];
            (fast_open.opened, fast_open.first_byte) = (opened, first_byte);
            (fast_open.syn_data, fast_open.outcome) = (syn_data, outcome);
            let shown = *fast_open;
            let evidence = Evidence::of(&report, 0);
            let answered = syn_data == SynData::Acknowledged && first_byte.is_some();
            let failed = matches!(outcome, Outcome::Out(Exit::Failed(_))) && opened.is_none();
            assert_eq!(
                evidence == Evidence::Answered,
                answered && !failed,
                "{shown:?}"
            );
            seen[usize::from(matches!(evidence, Evidence::Trouble(_)))] += 1;
        }
    }
    assert!(seen.iter().all(|count| *count > 20), "{seen:?}");
}
