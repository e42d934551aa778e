//! The lab on the real kernel: every rule, both IP versions, and what goes beside.
//!
//! Has a `main` of its own because [`headstart_lab::enter`] must run before the
//! test harness starts threads.

#[cfg(target_os = "linux")]
mod exchange;
#[cfg(target_os = "linux")]
mod refusal;
#[cfg(target_os = "linux")]
mod rules;
#[cfg(target_os = "linux")]
mod ways;
#[cfg(target_os = "linux")]
mod wire;

/// A test over a lab, as the harness takes it.
#[cfg(target_os = "linux")]
fn trial(
    name: impl Into<String>,
    test: impl Fn() -> Result<(), libtest_mimic::Failed> + Send + 'static,
) -> libtest_mimic::Trial {
    libtest_mimic::Trial::test(name, move || headstart_lab::steadily(&test))
}

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() {
    if let Some(code) = refusal::child() {
        std::process::exit(code);
    }
    let mut arguments = libtest_mimic::Arguments::from_args();
    // The tests wait most of the time; more at once would make them late.
    arguments.test_threads = arguments.test_threads.or(Some(4));
    if let Err(error) = headstart_lab::enter().and_then(|()| headstart_lab::check()) {
        headstart_lab::skip_or_fail(&error);
        return;
    }
    let tests = rules::tests()
        .into_iter()
        .chain(ways::tests())
        .chain(wire::tests())
        .chain(refusal::tests())
        .collect();
    libtest_mimic::run(&arguments, tests).exit();
}
