//! What every benchmark here does: it measures a thing beside its limit, in
//! the same run and in interleaved rounds, and tells both, their ratio, the
//! spread, and the bar that the ratio is held against.
//!
//! `cargo bench` runs the long form; `cargo bench -- --quick`, and
//! `cargo test --benches`, a short one whose figures mean little. `--json`
//! prints one object instead of a table.
#![allow(
    dead_code,
    unused_imports,
    reason = "every benchmark uses its own part"
)]

mod clock;
mod report;
mod series;
mod syscalls;

pub use clock::{Stopwatch, thread_cpu};
pub use report::{Bar, Report};
pub use series::{Series, interleave};
pub use syscalls::{Counts, system_calls};

/// What a benchmark returns: `Err` with words ends it with status 1.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What the command line asks for.
#[derive(Clone, Copy, Debug)]
pub struct Args {
    /// The short form.
    pub quick: bool,
    /// An object instead of a table.
    pub json: bool,
}

impl Args {
    /// Reads the command line. `cargo bench` says `--bench`; without that, or
    /// with `--test`, this is a test run.
    pub fn parse() -> Self {
        let given: Vec<String> = std::env::args().skip(1).collect();
        let has = |wanted: &str| given.iter().any(|arg| arg == wanted);
        Self {
            quick: !has("--bench") || has("--test") || has("--quick"),
            json: has("--json"),
        }
    }

    /// `long`, or `quick` in the short form.
    pub fn pick<T>(self, long: T, quick: T) -> T {
        if self.quick { quick } else { long }
    }
}
