//! Clients that are not ours, each by its name and before every middlebox:
//! what a server that keeps messages open promises holds for them too, and
//! each of these promises can be seen broken.

mod crook;

use std::time::Duration;

use crook::{Crook, Wrong};
use headstart_core::config::LoserClose;
use headstart_core::race::AttemptKind::{FastOpen, Plain};
use headstart_sim::{
    End, Headstart, Rule, Run, Scenario, Statement, Stranger, Trigger, run, run_with_gate,
};

const RTT: Duration = Duration::from_millis(50);

/// Longer than anything ambiguous is given to clear up.
const LONG: Duration = Duration::from_millis(1_500);

/// What clients do with two live copies.
fn strangers() -> Vec<(&'static str, Stranger)> {
    let usual = Stranger::default;
    vec![
        ("a half-closed winner, the other open", usual()),
        (
            "both open for a while, and read",
            Stranger {
                keeps: Some(LONG),
                hears_out: true,
                more: 3_000,
                ..usual()
            },
        ),
        (
            "both open for a while, one read",
            Stranger {
                reads_both: false,
                keeps: Some(LONG),
                ..usual()
            },
        ),
        (
            "a loser closed by FIN",
            Stranger {
                loser: LoserClose::Graceful,
                keeps: Some(RTT),
                pause: RTT * 2,
                more: 3_000,
                hears_out: true,
                ..usual()
            },
        ),
        (
            "bytes copied beyond the message",
            Stranger {
                copied: 40_000,
                piece: 3_700,
                pause: RTT / 10,
                more: 20_000,
                loser: LoserClose::Graceful,
                ..usual()
            },
        ),
        (
            "bytes copied with the message",
            Stranger {
                copied: 500,
                upfront: true,
                more: 20_000,
                ..usual()
            },
        ),
        (
            "a copy that is behind",
            Stranger {
                copied: 9_000,
                piece: 1_000,
                lag: RTT * 2,
                keeps: Some(RTT),
                ..usual()
            },
        ),
    ]
}

/// Fast Open's way is the longer, so that the plain copy comes before anything
/// is decided.
fn scenario(rule: Rule, stranger: Stranger) -> Scenario {
    let mut scenario = Scenario::plainest(rule, RTT).paired();
    scenario.race.targets[0].fast_open.delay = RTT * 6 / 5;
    scenario.server.send_buffer = 80_000;
    scenario.with_stranger(stranger)
}

/// Every stranger under every rule, whichever connection it prefers, before
/// servers that answer at once, at the end of file, and more than they keep.
#[test]
fn p1_p2_p3_hold_for_every_stranger_before_every_middlebox() {
    let mut joined = 0;
    for (name, stranger) in strangers() {
        for prefers in [None, Some(Plain), Some(FastOpen)] {
            let stranger = Stranger {
                prefers,
                ..stranger.clone()
            };
            for rule in Rule::ALL {
                for (statement, trigger, answer, end) in [
                    (Statement::Token, Trigger::Message, 600, End::AfterEof),
                    (Statement::Noise, Trigger::Message, 600, End::HalfClose),
                    (Statement::Noise, Trigger::Eof, 200_000, End::AfterEof),
                    (Statement::Token, Trigger::Message, 200_000, End::Close),
                ] {
                    let mut scenario = scenario(rule, stranger.clone());
                    scenario.client.statement = statement;
                    scenario.server.trigger = trigger;
                    scenario.server.answer = answer;
                    scenario.server.end = end;
                    let run = run(&scenario);
                    let what = format!("{name}, {prefers:?}, {rule}: {scenario:#?}");
                    assert_eq!(run.violations, [], "{what}");
                    joined += run.counters.joined;
                }
            }
        }
    }
    // Otherwise nothing was asked.
    assert!(joined > 700, "{joined} joined");
}

/// Each copy is then a client, and its handler reads the message too.
#[test]
fn a_server_that_debounces_nothing_is_judged_by_all_that_it_reads() {
    for (name, stranger) in strangers() {
        let mut scenario = scenario(Rule::Transparent, stranger);
        scenario.server.debounce = None;
        scenario.server.pairing = None;
        let run = run(&scenario);
        assert_eq!(run.violations, [], "{name}");
        assert_eq!(run.outcome.handled, 2, "{name}");
    }
}

#[track_caller]
fn expect(scenario: &Scenario, wrong: Wrong, rule: &str, words: &str) {
    let behind =
        |wrong| -> Run { run_with_gate(scenario, false, Headstart::dial, Box::new(Crook(wrong))) };
    let honest = behind(Wrong::Nothing);
    assert_eq!(honest.violations, [], "the control");
    assert_eq!(honest.excuse, None, "the control");
    assert!(honest.counters.joined > 0, "the control");
    let found = behind(wrong).violations;
    let named = found
        .iter()
        .any(|violation| violation.rule == rule && violation.text.contains(words));
    assert!(named, "{wrong:?} breaks {rule}, but found was {found:?}");
}

fn prefers(kind: headstart_core::race::AttemptKind) -> Stranger {
    Stranger {
        prefers: Some(kind),
        ..Stranger::default()
    }
}

#[test]
fn p1_the_answer_is_clipped() {
    let scenario = scenario(Rule::Transparent, prefers(Plain));
    expect(&scenario, Wrong::Clipping, "P1", "are not the answer");
}

#[test]
fn p1_nobody_answers() {
    let scenario = scenario(Rule::BlackholeAfterHandshake, Stranger::default());
    expect(&scenario, Wrong::OneSided, "P1", "nothing was heard");
}

#[test]
fn p1_a_copy_is_turned_away() {
    let scenario = scenario(Rule::Transparent, Stranger::default());
    expect(&scenario, Wrong::FirstCome, "P1", "was turned away");
}

#[test]
fn p1_the_used_one_gets_nothing() {
    let mut scenario = scenario(Rule::Transparent, prefers(Plain));
    scenario.server.trigger = Trigger::Eof;
    expect(&scenario, Wrong::OneSided, "P1", "the path of plain works");
}

#[test]
fn p1_the_other_gets_nothing() {
    let scenario = scenario(Rule::Transparent, prefers(FastOpen));
    expect(&scenario, Wrong::OneSided, "P1", "the path of plain works");
}

#[test]
fn p2_a_losers_end_is_the_end() {
    let stranger = Stranger {
        loser: LoserClose::Graceful,
        keeps: Some(RTT),
        more: 5_000,
        lag: RTT * 4,
        ..prefers(Plain)
    };
    let scenario = scenario(Rule::Transparent, stranger);
    expect(
        &scenario,
        Wrong::Hasty,
        "P2",
        "beyond the message were read",
    );
}

#[test]
fn p2_copied_bytes_are_read_twice() {
    let stranger = Stranger {
        copied: 5_000,
        ..Stranger::default()
    };
    let scenario = scenario(Rule::Transparent, stranger);
    expect(&scenario, Wrong::Stuttering, "P2", "not those that follow");
}

#[test]
fn p2_a_copy_is_acted_on() {
    let scenario = scenario(Rule::Transparent, Stranger::default());
    expect(&scenario, Wrong::Forgetful, "P2", "acted on twice");
}

#[test]
fn p3_a_pair_that_is_never_settled() {
    let mut scenario = scenario(Rule::Transparent, Stranger::default());
    scenario.server.end = End::Close;
    expect(&scenario, Wrong::Forsaken, "P3", "");
}

#[test]
fn every_run_ends() {
    let scenario = scenario(Rule::Transparent, Stranger::default());
    expect(&scenario, Wrong::Restless, "end", "");
}
