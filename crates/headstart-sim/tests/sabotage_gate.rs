//! Every rule of the pair can fail: gates that break one on purpose are found
//! out, and by its name.

mod crook;

use std::time::Duration;

use crook::{Crook, Wrong};
use headstart_core::config::LoserClose;
use headstart_sim::{Act, End, Headstart, Rule, Run, Scenario, Trigger, run_with_gate};

fn behind(scenario: &Scenario, wrong: Wrong) -> Run {
    run_with_gate(scenario, false, Headstart::dial, Box::new(Crook(wrong)))
}

#[track_caller]
fn expect(scenario: &Scenario, wrong: Wrong, rule: &str) {
    let honest = behind(scenario, Wrong::Nothing);
    assert_eq!(honest.violations, [], "the control");
    assert_eq!(honest.excuse, None, "the control");
    let found = behind(scenario, wrong).violations;
    let named = found.iter().any(|violation| violation.rule == rule);
    assert!(named, "{wrong:?} breaks {rule}, but found was {found:?}");
}

fn paired(rule: Rule) -> Scenario {
    Scenario::plainest(rule, Duration::from_millis(50)).paired()
}

/// Fast Open's copy is claimed, and nothing comes back to it.
fn dead_claim() -> Scenario {
    paired(Rule::BlackholeAfterHandshake)
}

/// The answer is larger than log and send buffer, and the application leaves.
fn large() -> Scenario {
    let mut scenario = dead_claim();
    scenario.server.send_buffer = 80_000;
    scenario.server.answer = 300_000;
    scenario.server.end = End::Close;
    scenario
}

/// More than the first message is sent before the answer.
fn upload() -> Scenario {
    let mut scenario = paired(Rule::Transparent);
    scenario.client.script = vec![
        Act::Write(600),
        Act::Read,
        Act::AwaitReply,
        Act::Write(5_000),
        Act::Shutdown,
        Act::AwaitEnd,
    ];
    scenario
}

#[test]
fn p1_a_gate_that_resets_copies() {
    expect(&dead_claim(), Wrong::FirstCome, "P1");
    expect(&dead_claim(), Wrong::FirstCome, "R15");
}

#[test]
fn p1_one_lost_packet_makes_a_reset_late() {
    expect(&paired(Rule::LoseFirstSynAck), Wrong::FirstCome, "R9");
    expect(&paired(Rule::LoseFirstServerData), Wrong::FirstCome, "R9");
}

#[test]
fn p1_an_answer_to_one_member_only() {
    expect(&dead_claim(), Wrong::OneSided, "P1");
    expect(&large(), Wrong::OneSided, "P1");
}

#[test]
fn p1_all_members_go_when_one_does() {
    expect(&large(), Wrong::Panicky, "P1");
}

#[test]
fn p1_an_application_that_waits_for_room_is_not_woken() {
    expect(&large(), Wrong::Silent, "P1");
}

#[test]
fn p2_a_copy_is_acted_on() {
    expect(&dead_claim(), Wrong::Forgetful, "P2");
}

#[test]
fn p2_bytes_are_read_twice() {
    let mut scenario = upload();
    scenario.server.trigger = Trigger::Eof;
    scenario.client.script.remove(2);
    // Of a client that may keep its losers, bytes alone choose nothing at once.
    scenario.race.losers = LoserClose::Graceful;
    expect(&scenario, Wrong::Stuttering, "P2");
}

#[test]
fn p3_a_log_that_takes_more() {
    expect(&large(), Wrong::Roomy, "P3");
}

#[test]
fn p3_more_pairs_than_there_may_be() {
    let mut scenario = paired(Rule::Transparent);
    if let Some(pairing) = &mut scenario.server.pairing {
        pairing.pairs_max = 0;
    }
    expect(&scenario, Wrong::Generous, "P3");
}

#[test]
fn p3_more_bytes_than_all_pairs_may_take() {
    let mut scenario = large();
    // The first copy's way is no shorter, and works.
    scenario.rule = Rule::Transparent;
    if let Some(pairing) = &mut scenario.server.pairing {
        pairing.bytes_max = 10_000;
    }
    expect(&scenario, Wrong::Greedy, "P3");
    let run = behind(&scenario, Wrong::Nothing);
    assert_eq!(run.counters.cut_short, 1);
    assert_eq!(run.outcome.read, 300_000);
}

/// Whatever becomes of either copy, and though both are kept in less than the
/// answer takes.
#[test]
fn p1_an_answer_beyond_the_bytes_of_pairs_waits_for_a_proof() {
    let (mut joined, mut cut_short) = (0, 0);
    for rule in Rule::ALL {
        for bytes_max in [1_200, 10_000] {
            for end in [End::HalfClose, End::Close, End::AfterEof] {
                let mut scenario = large();
                scenario.rule = rule;
                scenario.server.end = end;
                if let Some(pairing) = &mut scenario.server.pairing {
                    pairing.bytes_max = bytes_max;
                }
                let run = behind(&scenario, Wrong::Nothing);
                assert_eq!(run.violations, [], "{rule}, {bytes_max}, {end:?}");
                let short = run.excuse.filter(|excuse| excuse.contains("bytes"));
                assert_eq!(short, None, "{rule}, {bytes_max}, {end:?}");
                joined += run.counters.joined;
                cut_short += run.counters.cut_short;
            }
        }
    }
    assert!(joined > 30, "{joined} joined");
    assert!(cut_short > 30, "{cut_short} cut short");
}

#[test]
fn p3_a_pair_that_is_never_settled() {
    let mut scenario = dead_claim();
    scenario.server.end = End::Close;
    scenario.client.script = vec![Act::Write(600), Act::Read, Act::AwaitEnd];
    expect(&scenario, Wrong::Forsaken, "P3");
}

#[test]
fn r9_a_copy_that_joins_late() {
    expect(&dead_claim(), Wrong::Dawdling, "R9");
}

#[test]
fn a_deadline_slept_through() {
    expect(&large(), Wrong::Drowsy, "poll");
}

#[test]
fn deadlines_lie_in_the_future() {
    expect(&dead_claim(), Wrong::Stale, "poll");
}

#[test]
fn every_run_ends() {
    expect(&dead_claim(), Wrong::Restless, "end");
}
