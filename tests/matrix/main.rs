//! The matrix: Fast Open on and off at either end, every middlebox, both IP
//! versions, every runtime, on the real kernel. Every cell has its expected
//! winner, round trips, content and number of handler calls.

#![allow(unreachable_pub, reason = "a test binary is all there is")]

#[cfg(target_os = "linux")]
mod cell;
#[cfg(target_os = "linux")]
#[path = "../common/mod.rs"]
mod common;
#[cfg(target_os = "linux")]
mod expect;

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() {
    use common::runtimes::{AsyncStdOne, SmolOne, TokioMany, TokioOne};

    let mut arguments = libtest_mimic::Arguments::from_args();
    if !common::lab_or_skip() {
        return;
    }
    // Cells wait for most of their time.
    arguments.test_threads.get_or_insert(4);
    let mut trials = cells::<TokioOne>();
    trials.extend(cells::<TokioMany>());
    trials.extend(cells::<SmolOne>());
    trials.extend(cells::<AsyncStdOne>());
    libtest_mimic::run(&arguments, trials).exit();
}

/// The matrix of one runtime.
#[cfg(target_os = "linux")]
fn cells<X: common::runtimes::Rt>() -> Vec<libtest_mimic::Trial> {
    use headstart_lab::{Family, Rule};

    let mut trials = Vec::new();
    for family in [Family::V4, Family::V6] {
        for client in [true, false] {
            for server in [true, false] {
                for rule in Rule::ALL {
                    let cell = cell::Cell {
                        family,
                        client,
                        server,
                        rule,
                    };
                    trials.push(common::trial(cell.name(X::NAME), move || cell.run::<X>()));
                }
            }
        }
    }
    trials
}
