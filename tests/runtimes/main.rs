//! What programs do with streams, written once and run on every runtime, over
//! the real kernel.
//!
//! Tests that count descriptors, or run on global executors, have a process of
//! their own.

#![allow(unreachable_pub, reason = "a test binary is all there is")]

#[cfg(target_os = "linux")]
#[path = "../common/mod.rs"]
mod common;
#[cfg(target_os = "linux")]
mod crowds;
#[cfg(target_os = "linux")]
#[path = "../common/descriptors.rs"]
mod descriptors;
#[cfg(target_os = "linux")]
mod global;
#[cfg(target_os = "linux")]
#[path = "../common/harness.rs"]
mod harness;
#[cfg(target_os = "linux")]
mod hesitant;
#[cfg(target_os = "linux")]
mod names;
#[cfg(target_os = "linux")]
mod streams;

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() {
    use common::runtimes::{AsyncStdOne, Rt, SmolOne, TokioMany, TokioOne};
    use libtest_mimic::{Arguments, Trial};

    if !common::lab_or_skip() {
        return;
    }
    fn shared<X: Rt>() -> Vec<Trial> {
        let tests = streams::tests::<X>()
            .into_iter()
            .chain(hesitant::tests::<X>());
        tests.map(|test| harness::trial(X::NAME, test)).collect()
    }
    fn alone<X: Rt>() -> Vec<(&'static str, harness::Test)> {
        let tests = crowds::tests::<X>();
        tests.into_iter().map(|test| (X::NAME, test)).collect()
    }
    let mut own = alone::<TokioOne>();
    own.extend(alone::<TokioMany>());
    own.extend(alone::<SmolOne>());
    own.extend(alone::<AsyncStdOne>());
    own.extend(global::tests().into_iter().map(|test| ("global", test)));
    own.extend(names::tests().into_iter().map(|test| ("names", test)));
    if let Some(name) = std::env::var_os(harness::ALONE) {
        harness::run_alone(&own, &name);
    }
    let arguments = Arguments::from_args();
    let mut trials = shared::<TokioOne>();
    trials.extend(shared::<TokioMany>());
    trials.extend(shared::<SmolOne>());
    trials.extend(shared::<AsyncStdOne>());
    trials.extend(
        own.into_iter()
            .map(|(module, test)| harness::trial_alone(module, test)),
    );
    libtest_mimic::run(&arguments, trials).exit();
}
