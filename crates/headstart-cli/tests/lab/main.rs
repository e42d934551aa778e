//! The command in the lab: the kernel's Fast Open, over a path of 50 ms.
//!
//! Has a `main` of its own because `headstart_lab::enter` must run before the
//! test harness starts threads.

#[cfg(target_os = "linux")]
mod commands;
#[path = "../common/mod.rs"]
#[cfg(target_os = "linux")]
mod common;
#[cfg(target_os = "linux")]
mod demo;
#[cfg(target_os = "linux")]
mod doctor;
#[cfg(target_os = "linux")]
mod fast_open;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod probe;

/// A test over a lab, as the harness takes it.
#[cfg(target_os = "linux")]
fn trial(name: impl Into<String>, test: fn()) -> libtest_mimic::Trial {
    libtest_mimic::Trial::test(name, move || {
        headstart_lab::steadily(|| {
            test();
            Ok(())
        })
    })
}

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    if let Err(error) = headstart_lab::enter().and_then(|()| headstart_lab::check()) {
        headstart_lab::skip_or_fail(&error);
        return;
    }
    let tests = demo::tests()
        .into_iter()
        .chain(doctor::tests())
        .chain(commands::tests())
        .chain(fast_open::tests())
        .chain(probe::tests())
        .chain(memory::tests())
        .collect();
    libtest_mimic::run(&arguments, tests).exit();
}
