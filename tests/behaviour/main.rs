//! What races and gates promise, on the real kernel: each test is named by its
//! rule.
//!
//! Tests that count descriptors, or limit them, run in a process of their own.

#![allow(unreachable_pub, reason = "a test binary is all there is")]

#[cfg(target_os = "linux")]
#[path = "../common/mod.rs"]
mod common;
#[cfg(target_os = "linux")]
mod delivery;
#[cfg(target_os = "linux")]
#[path = "../common/descriptors.rs"]
mod descriptors;
#[cfg(target_os = "linux")]
mod dial;
#[cfg(target_os = "linux")]
mod endings;
#[cfg(target_os = "linux")]
mod gate;
#[cfg(target_os = "linux")]
#[path = "../common/harness.rs"]
mod harness;
#[cfg(target_os = "linux")]
mod limits;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod schedules;
#[cfg(target_os = "linux")]
mod statements;
#[cfg(target_os = "linux")]
mod support;
#[cfg(target_os = "linux")]
mod uploads;

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() {
    use libtest_mimic::{Arguments, Trial};

    if !common::lab_or_skip() {
        return;
    }
    let alone: Vec<_> = limits::tests()
        .into_iter()
        .map(|test| ("limits", test))
        .collect();
    if let Some(name) = std::env::var_os(support::ALONE) {
        support::run_alone(&alone, &name);
    }
    let arguments = Arguments::from_args();
    let mut trials: Vec<Trial> = Vec::new();
    for (module, tests) in [
        ("delivery", delivery::tests()),
        ("dial", dial::tests()),
        ("endings", endings::tests()),
        ("gate", gate::tests()),
        ("memory", memory::tests()),
        ("schedules", schedules::tests()),
        ("statements", statements::tests()),
        ("uploads", uploads::tests()),
    ] {
        trials.extend(tests.into_iter().map(|test| support::trial(module, test)));
    }
    trials.extend(
        alone
            .into_iter()
            .map(|(module, test)| support::trial_alone(module, test)),
    );
    libtest_mimic::run(&arguments, trials).exit();
}
