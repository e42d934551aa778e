//! Pairing on the real kernel: every middlebox with and without it, clients
//! that are not ours, its bounds, many threads, and futures dropped halfway.
//!
//! A test here counts only because answers are longer than the pair's log and
//! a send buffer, applications drop their streams at once in some cells, and
//! some clients are bare sockets.

#![allow(unreachable_pub, reason = "a test binary is all there is")]

#[cfg(target_os = "linux")]
mod bounds;
#[cfg(target_os = "linux")]
mod cancel;
#[cfg(target_os = "linux")]
mod cell;
#[cfg(target_os = "linux")]
#[path = "../common/mod.rs"]
mod common;
#[cfg(target_os = "linux")]
mod copies;
#[cfg(target_os = "linux")]
mod crowds;
#[cfg(target_os = "linux")]
#[path = "../common/descriptors.rs"]
mod descriptors;
#[cfg(target_os = "linux")]
mod endings;
#[cfg(target_os = "linux")]
mod expect;
#[cfg(target_os = "linux")]
#[path = "../common/harness.rs"]
mod harness;
#[cfg(target_os = "linux")]
mod late;
#[cfg(target_os = "linux")]
mod story;
#[cfg(target_os = "linux")]
mod strangers;
#[cfg(target_os = "linux")]
mod threads;

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() {
    use libtest_mimic::{Arguments, Trial};

    let arguments = Arguments::from_args();
    if !common::lab_or_skip() {
        return;
    }
    let alone: Vec<_> = crowds::tests()
        .into_iter()
        .map(|test| ("crowds", test))
        .collect();
    if let Some(name) = std::env::var_os(harness::ALONE) {
        harness::run_alone(&alone, &name);
    }
    let mut trials: Vec<Trial> = cell::all()
        .map(|cell| common::trial(cell.name(), move || cell.run()))
        .collect();
    for (module, tests) in [
        ("bounds", bounds::tests()),
        ("cancel", cancel::tests()),
        ("endings", endings::tests()),
        ("late", late::tests()),
        ("strangers", strangers::tests()),
        ("threads", threads::tests()),
    ] {
        trials.extend(tests.into_iter().map(|test| harness::trial(module, test)));
    }
    trials.extend(
        alone
            .into_iter()
            .map(|(module, test)| harness::trial_alone(module, test)),
    );
    libtest_mimic::run(&arguments, trials).exit();
}
