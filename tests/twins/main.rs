//! The simulated network and its twin: every middlebox, with a cookie in the
//! cache and without, the server speaking Fast Open or not, in the simulator
//! and on the real kernel. A test fails when winner, data in the SYN, bytes,
//! handler calls or round trips differ.

#![allow(unreachable_pub, reason = "a test binary is all there is")]

#[cfg(target_os = "linux")]
mod cell;
#[cfg(target_os = "linux")]
#[path = "../common/mod.rs"]
mod common;

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() {
    use headstart_lab::Rule;
    use libtest_mimic::{Arguments, Failed, Trial};

    let arguments = Arguments::from_args();
    if !common::lab_or_skip() {
        return;
    }
    let mut trials = vec![Trial::test("every_rule_has_a_twin", || {
        cell::every_rule_has_a_twin().map_err(|error| Failed::from(error.to_string()))
    })];
    // Counted packets: before the SYN-ACK, before the answer, behind it.
    let counted = [1, 2, 3].map(Rule::BlackholeAfter);
    for rule in Rule::ALL.into_iter().chain(counted) {
        for cookie in [true, false] {
            for server in [true, false] {
                let cell = cell::Cell {
                    rule: cell::on_cue(rule),
                    cookie,
                    server,
                };
                trials.push(Trial::test(cell.name(), move || {
                    cell.run().map_err(|error| Failed::from(error.to_string()))
                }));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}
