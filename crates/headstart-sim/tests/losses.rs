//! What lost packets cost, in round trips, where there is no lab: each figure
//! is what Linux takes, and the twins in the lab hold it to that.

use std::time::Duration;

use headstart_sim::{Act, Fault, Mishap, Packet, Rule, Scenario, run};

const RTT: Duration = Duration::from_millis(50);
/// Six packets.
const ANSWER: u32 = 8_000;

/// Round trips to the last byte of an answer by Fast Open, of which these
/// packets are lost, and whose server closes only so long behind its first.
fn last_byte(lost: impl IntoIterator<Item = u32>, open: Duration) -> f64 {
    let mut scenario = Scenario::plainest(Rule::Transparent, RTT);
    scenario.server.answer = ANSWER;
    let script = &mut scenario.client.script;
    let replied = script.iter().position(|act| *act == Act::AwaitReply);
    script.insert(replied.unwrap() + 1, Act::Pause(open));
    let faults = &mut scenario.race.targets[0].fast_open.faults;
    for (place, nth) in faults.iter_mut().zip(lost) {
        *place = Some(Fault {
            packet: Packet::ServerData,
            nth,
            mishap: Mishap::Lost,
        });
    }
    let run = run(&scenario);
    assert_eq!(run.violations, []);
    assert_eq!(run.outcome.read, ANSWER as usize);
    run.outcome.last_byte.unwrap().as_secs_f64() / RTT.as_secs_f64()
}

#[track_caller]
fn expect(took: f64, round_trips: f64) {
    assert!((took - round_trips).abs() < 0.2, "{took} round trips");
}

#[test]
fn nothing_lost_costs_nothing() {
    expect(last_byte([], Duration::ZERO), 1.0);
}

#[test]
fn three_segments_behind_a_hole_prove_it() {
    for nth in [2, 3] {
        expect(last_byte([nth], Duration::ZERO), 2.0);
    }
}

#[test]
fn fewer_prove_it_a_quarter_of_a_round_trip_later() {
    for nth in [4, 5] {
        expect(last_byte([nth], Duration::ZERO), 2.4);
    }
}

#[test]
fn a_fin_shows_that_the_last_one_is_lost() {
    expect(last_byte([6], Duration::ZERO), 3.0);
}

#[test]
fn without_a_fin_the_last_one_waits_for_a_timer() {
    expect(last_byte([6], RTT * 24), 7.0);
}

#[test]
fn of_several_the_last_is_sent_again_as_a_probe() {
    expect(last_byte(5..=6, RTT * 24), 5.1);
}

#[test]
fn many_are_repaired_in_ever_larger_parts() {
    for (first, round_trips) in [(5, 4.0), (4, 4.0), (3, 5.0), (2, 5.0)] {
        expect(last_byte(first..=6, Duration::ZERO), round_trips);
    }
}
