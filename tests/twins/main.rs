//! The simulated network and its twin: every middlebox, with a cookie in the
//! cache and without, the server speaking Fast Open or not, before a gate that
//! debounces first-come and one that pairs, in the simulator and on the real
//! kernel. A test fails when winner, data in the SYN, bytes, handler calls or
//! round trips differ. So with addresses of every kind, plain paths that die,
//! and paths of one attempt's own.

#![allow(unreachable_pub, reason = "a test binary is all there is")]

#[cfg(target_os = "linux")]
mod cell;
#[cfg(target_os = "linux")]
#[path = "../common/mod.rs"]
mod common;
#[cfg(target_os = "linux")]
#[path = "../common/harness.rs"]
mod harness;
#[cfg(target_os = "linux")]
mod link;
#[cfg(target_os = "linux")]
mod reach;

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() {
    use common::trial;
    use headstart_lab::{Family, Rule};
    use libtest_mimic::Arguments;

    let mut arguments = Arguments::from_args();
    // The tests wait most of the time; more at once would make them late.
    arguments.test_threads = arguments.test_threads.or(Some(6));
    if !common::lab_or_skip() {
        return;
    }
    let mut trials = vec![
        trial("every_rule_has_a_twin".into(), cell::every_rule_has_a_twin),
        trial(
            "every_packet_has_a_twin".into(),
            link::every_packet_has_a_twin,
        ),
    ];
    // Counted packets: before the SYN-ACK, before the answer, behind it.
    let counted = [1, 2, 3].map(Rule::BlackholeAfter);
    let rules: Vec<_> = Rule::ALL.into_iter().chain(counted).collect();
    let of_gate = |gate| Family::ALL.map(|family| (family, gate));
    for (family, gate) in cell::Gate::ALL.into_iter().flat_map(of_gate) {
        for rule in &rules {
            for (cookie, server) in [(true, true), (true, false), (false, true), (false, false)] {
                // Few rules meet a SYN without data, whatever carries it.
                if family == Family::V6 && !cookie {
                    continue;
                }
                let cell = cell::Cell {
                    family,
                    rule: cell::on_cue(*rule),
                    cookie,
                    server,
                    gate,
                };
                trials.push(trial(cell.name(), move || cell.run()));
            }
        }
    }
    for cell in reach::cells() {
        trials.push(trial(cell.name(), move || cell.run()));
    }
    for cell in link::cells() {
        trials.push(trial(cell.name().to_owned(), move || cell.run()));
    }
    libtest_mimic::run(&arguments, trials).exit();
}
