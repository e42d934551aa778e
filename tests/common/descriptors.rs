//! Descriptors: counting them, and running out of them. For tests that have a
//! process of their own.
#![allow(dead_code, reason = "every test binary uses its own part")]

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::common::Outcome;
use crate::harness::until;

/// How many are open.
pub fn descriptors() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count())
}

/// Leaves room for so many more descriptors.
pub fn leave(room: u64) -> io::Result<()> {
    // The folder that is counted is open itself; numbers have no gaps here,
    // or those gaps are filled first.
    let mut filler = Vec::new();
    let highest = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok())
        .max()
        .unwrap_or(0);
    loop {
        let file = std::fs::File::open("/dev/null")?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&file);
        filler.push(file);
        if u64::try_from(number).is_ok_and(|number| number > highest) {
            let limit = u64::try_from(number).map_err(io::Error::other)? + 1 + room;
            // Kept open for good: the process is this test's.
            std::mem::forget(filler);
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
            return Ok(setrlimit(Resource::RLIMIT_NOFILE, limit, hard)?);
        }
    }
}

/// Leaves as much room as can be had.
pub fn unlimited() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// Waits until as many are open as before.
pub fn back_to(before: usize) -> Outcome {
    until("every descriptor closed", || {
        descriptors().is_ok_and(|now| now <= before)
    })
    .map_err(|error| format!("{error}: {before} before, {:?} now", descriptors()).into())
}
