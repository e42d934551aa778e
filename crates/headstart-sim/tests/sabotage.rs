//! Every rule can fail: drivers that break one on purpose are found out, and
//! by its name.

mod saboteur;

use std::time::Duration;

use headstart_core::config::{LoserClose, Peer, Schedule};
use headstart_core::race::AttemptKind;
use headstart_sim::{Act, End, Rule, Run, Scenario, Trigger, run_with};
use saboteur::{Saboteur, Wrong};

fn sabotaged(scenario: &Scenario, wrong: Wrong) -> Run {
    run_with(scenario, false, |config, net| {
        Saboteur::dial(wrong, config, net)
    })
}

#[track_caller]
fn expect(scenario: &Scenario, wrong: Wrong, rule: &str) {
    let honest = sabotaged(scenario, Wrong::Nothing);
    assert_eq!(honest.violations, [], "the control");
    let found = sabotaged(scenario, wrong).violations;
    let named = found.iter().any(|violation| violation.rule == rule);
    assert!(named, "{wrong:?} breaks {rule}, but found was {found:?}");
}

fn plainest() -> Scenario {
    Scenario::plainest(Rule::Transparent, Duration::from_millis(50))
}

/// Plain wins, since the middlebox eats SYNs with data.
fn plain_wins() -> Scenario {
    Scenario::plainest(Rule::DropSynWithData, Duration::from_millis(50))
}

/// A server that acts on both copies, and a client that insists.
fn both_answer() -> Scenario {
    let mut scenario = plainest();
    scenario.race.peer = Peer::Unaware;
    scenario.race.insist = true;
    scenario.server.debounce = None;
    scenario
}

/// More than the flight is written, and answered.
fn upload() -> Scenario {
    let mut scenario = both_answer();
    scenario.client.script = vec![
        Act::Write(600),
        Act::Flush,
        Act::Write(5_000),
        Act::Read,
        Act::Shutdown,
        Act::AwaitEnd,
    ];
    scenario.server.trigger = Trigger::Eof;
    scenario
}

#[test]
fn r2_other_bytes_on_one_connection() {
    expect(&plain_wins(), Wrong::Garble, "R2");
}

#[test]
fn r3_bytes_of_another_connection() {
    let mut scenario = both_answer();
    scenario.client.script = vec![
        Act::Write(600),
        Act::Flush,
        Act::Pause(Duration::from_secs(1)),
        Act::Read,
        Act::Shutdown,
        Act::AwaitEnd,
    ];
    expect(&scenario, Wrong::ReadFromAny, "R3");
}

#[test]
fn r3_an_end_is_no_reply() {
    let mut scenario = plainest();
    scenario.server.answer = 0;
    scenario.server.end = End::HalfClose;
    expect(&scenario, Wrong::HearReplies, "R3");
}

#[test]
fn r4_an_error_while_the_race_goes_on() {
    expect(&plainest(), Wrong::GiveUpReading, "R4");
}

#[test]
fn r6_bytes_beyond_the_flight_on_two_connections() {
    let mut scenario = upload();
    scenario.race.targets[0].plain.delay = Duration::from_millis(26);
    expect(&scenario, Wrong::WriteToAll, "R6");
}

#[test]
fn r7_a_needless_copy() {
    expect(&plain_wins(), Wrong::StartLate, "R7");
}

#[test]
fn r1_something_before_plain() {
    expect(&plainest(), Wrong::StartEarly, "R1");
}

#[test]
fn r8_an_unused_race_leaves_a_connection() {
    let mut scenario = plainest();
    scenario.client.script = vec![Act::Pause(Duration::from_secs(1)), Act::Drop];
    expect(&scenario, Wrong::CloseGently, "R8");
}

#[test]
fn r9_the_flight_leaves_late() {
    expect(&plain_wins(), Wrong::Oversleep, "R9");
}

#[test]
fn r10_losers_closed_by_fin() {
    expect(&plain_wins(), Wrong::CloseGently, "R10");
}

#[test]
fn r11_fin_before_the_last_byte() {
    let mut scenario = upload();
    scenario.race.peer = Peer::FirstCome;
    scenario.race.targets[0].fast_open.delay = Duration::from_millis(40);
    expect(&scenario, Wrong::FinishEarly, "R11");
}

#[test]
fn r13_a_syn_with_more_than_the_flight() {
    expect(&plainest(), Wrong::FattenSyn, "R13");
}

#[test]
fn r14_a_second_attempt_before_its_time() {
    let mut scenario = plain_wins();
    scenario.race.schedule = Schedule::Hedged {
        first: AttemptKind::Plain,
        delay: Duration::from_millis(300),
    };
    expect(&scenario, Wrong::StartLate, "R14");
}

#[test]
fn r15_a_race_that_hears_no_reply() {
    expect(&plain_wins(), Wrong::Deaf, "R15");
}

#[test]
fn r16_a_wake_up_slept_through() {
    expect(&plain_wins(), Wrong::SleepOn, "R16");
}

#[test]
fn r16_a_reader_that_is_never_woken() {
    expect(&plain_wins(), Wrong::SwallowWake, "R16");
}

#[test]
fn r16_a_flush_that_is_done_too_soon() {
    let mut scenario = upload();
    // Fast Open carries nothing: no kernel has a byte before one is open.
    scenario.race.cookie = None;
    expect(&scenario, Wrong::FlushAtOnce, "R16");
}

#[test]
fn r12_a_socket_that_could_not_be_had_is_no_failure() {
    let mut scenario = plainest();
    scenario.race.sockets = 1;
    expect(&scenario, Wrong::BlameTheNetwork, "R12");
}

#[test]
fn r10_losers_are_closed_as_set() {
    let mut scenario = both_answer();
    scenario.race.losers = LoserClose::Graceful;
    scenario.race.targets[0].fast_open.delay = Duration::from_millis(30);
    expect(&scenario, Wrong::AlwaysReset, "R10");
}

#[test]
fn d1_a_copy_that_looks_like_another_message() {
    let mut scenario = plainest();
    scenario.race.targets[0].fast_open.delay = Duration::from_millis(60);
    expect(&scenario, Wrong::Garble, "D1");
}

#[test]
fn a_report_that_lies() {
    let mut scenario = plainest();
    scenario.race.cookie = None;
    expect(&scenario, Wrong::LieAboutSyn, "report");
}

#[test]
fn deadlines_lie_in_the_future() {
    expect(&plainest(), Wrong::StaleDeadline, "poll");
}

#[test]
fn every_run_ends() {
    expect(&plainest(), Wrong::Restless, "end");
}
