//! A lab that cannot be had says why.
//!
//! What a process lacks cannot be given back to it, so each case is a process
//! of its own: this program again, told by an environment variable what to try.

use std::{error::Error, io, process::Command, sync::mpsc, thread, time::Duration};

use headstart_lab::{Lab, LabError, enter};
use libtest_mimic::{Failed, Trial};
use nix::sys::resource::{Resource, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// Says which case a child process is.
const CASE: &str = "HEADSTART_LAB_REFUSAL";
/// What a child prints if its case cannot be made on this machine.
const IMPOSSIBLE: &str = "impossible here";

type Case = (
    &'static str,
    fn() -> Result<String, Box<dyn Error>>,
    &'static [&'static str],
);

/// Each case, and words that its error must have.
const CASES: [Case; 5] = [
    (
        "without_rights",
        without_rights,
        &["CAP_NET_ADMIN", "CAP_SYS_ADMIN", "enter()"],
    ),
    ("with_threads", with_threads, &["2 threads", "main"]),
    ("without_descriptors", without_descriptors, &["open files"]),
    (
        "with_a_long_round_trip",
        with_a_long_round_trip,
        &["rtt", "10 s"],
    ),
    (
        "without_user_namespaces",
        without_user_namespaces,
        &["user namespaces", "max_user_namespaces = 0"],
    ),
];

pub(crate) fn tests() -> Vec<Trial> {
    let trial = |&(name, _, words): &Case| Trial::test(name, move || expect(name, words));
    CASES.iter().map(trial).collect()
}

/// Runs a case if this process is the child for one.
pub(crate) fn child() -> Option<i32> {
    let name = std::env::var(CASE).ok()?;
    let (_, case, _) = CASES.iter().find(|(case, ..)| *case == name)?;
    match case() {
        Ok(error) => println!("{error}"),
        Err(error) => {
            println!("{IMPOSSIBLE}: {error}");
        }
    }
    Some(0)
}

fn expect(name: &str, words: &[&str]) -> Result<(), Failed> {
    let output = Command::new(std::env::current_exe()?)
        .env(CASE, name)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    if said.starts_with(IMPOSSIBLE) {
        println!("skipped: {said}");
        return Ok(());
    }
    match words.iter().find(|word| !said.contains(*word)) {
        None => Ok(()),
        Some(word) => Err(format!("{word:?} is not in {said:?}").into()),
    }
}

/// Gives up all rights that a lab needs, if there are any. What is kept lets
/// root, too, make a user namespace in which it is root.
fn become_ordinary() -> io::Result<()> {
    let kept = CapabilitySet::SETFCAP;
    let all = capabilities(None)?;
    let sets = CapabilitySets {
        effective: all.effective & kept,
        permitted: all.permitted & kept,
        inheritable: CapabilitySet::empty(),
    };
    Ok(set_capabilities(None, sets)?)
}

fn refusal<T>(outcome: Result<T, LabError>) -> Result<String, Box<dyn Error>> {
    Ok(outcome
        .err()
        .map_or_else(|| "no error".to_owned(), |error| error.to_string()))
}

fn without_rights() -> Result<String, Box<dyn Error>> {
    become_ordinary()?;
    refusal(Lab::builder().build())
}

fn with_threads() -> Result<String, Box<dyn Error>> {
    become_ordinary()?;
    let (stop, stopped) = mpsc::channel::<()>();
    let thread = thread::spawn(move || stopped.recv());
    let said = refusal(enter());
    drop(stop);
    let _ = thread.join();
    said
}

fn without_descriptors() -> Result<String, Box<dyn Error>> {
    enter()?;
    setrlimit(Resource::RLIMIT_NOFILE, 8, 8)?;
    refusal(Lab::builder().build())
}

fn with_a_long_round_trip() -> Result<String, Box<dyn Error>> {
    refusal(Lab::builder().rtt(Duration::from_secs(11)).build())
}

/// The limit is set in a user namespace of the child's own, not on this machine.
fn without_user_namespaces() -> Result<String, Box<dyn Error>> {
    become_ordinary()?;
    enter()?;
    std::fs::write("/proc/sys/user/max_user_namespaces", "0")?;
    become_ordinary()?;
    refusal(enter())
}
