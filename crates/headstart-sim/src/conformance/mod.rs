//! Conformance of a driver: one call runs it through everything here.
//!
//! Whoever drives the core by other means (a runtime of their own, a poll
//! loop, an event loop in C behind a binding) writes a [`Driver`] over
//! [`Transports`] and lets it be judged, as one line of a test:
//!
//! ```
//! use headstart_sim::{Headstart, conformance};
//!
//! // `Headstart` stands for your own driver.
//! conformance::check(conformance::Settings::seeds(500), |dial, net| {
//!     Headstart::dial(dial.config, net)
//! })
//! .assert();
//! ```
//!
//! First come the [`named`] scenarios, a fixed list: every middlebox under
//! every way to use a connection, and every setting of the race once. Then come
//! random ones, by their numbers. What breaks a rule is made smaller, and shown
//! with its trace: who did what, and when.
//!
//! A driver is judged as one whole with its application's reads and writes: by
//! what it puts on the wire and when, by what it gives to read, by whom it
//! wakes, and by the report of its race. So drivers may differ in all else.

mod named;
mod report;

use headstart_core::RaceConfig;

use crate::driver::Driver;
use crate::net::Transports;
use crate::run::{Run, run_with};
use crate::scenario::Scenario;

pub use named::{Named, named};
pub use report::{Broken, Origin, Report};

/// Events and wake-ups that scenarios which break a rule may take together,
/// before the check ends early.
const BROKEN_EVENTS_MAX: u64 = 2_000_000;

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Random scenarios; some 10,000 run in a second of a release build, on one
    /// processor. Default: 20,000.
    pub seeds: u64,
    /// The number of the first. Default: 0.
    pub from: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seeds: 20_000,
            from: 0,
        }
    }
}

impl Settings {
    /// So many random scenarios, besides the [`named`] ones, which always run.
    #[must_use]
    pub const fn seeds(seeds: u64) -> Self {
        Self { seeds, from: 0 }
    }

    /// Begins with the scenario of this number.
    #[must_use]
    pub const fn from(mut self, seed: u64) -> Self {
        self.from = seed;
        self
    }
}

/// What a driver is to dial.
#[derive(Debug)]
#[non_exhaustive]
pub struct Dial<'a> {
    /// The settings of its race.
    pub config: RaceConfig,
    /// The scenario that they are from, for drivers that build their own.
    pub scenario: &'a Scenario,
}

/// Runs a driver through the [`named`] scenarios and the random ones, and
/// judges it by every rule of the race. `dial` begins a race: as with a real
/// connection, its first attempt starts before it returns.
///
/// Ends early if the scenarios that break a rule take too long together: a
/// driver that never rests needs no more proof. Equal calls give equal reports,
/// if the driver is deterministic. A driver's
/// panic is its test's; which scenario it was in is printed.
pub fn check<D: Driver>(
    settings: Settings,
    dial: impl Fn(Dial<'_>, &mut dyn Transports) -> D,
) -> Report {
    let run = |scenario: &Scenario, tracing| {
        run_with(scenario, tracing, |config, net| {
            dial(Dial { config, scenario }, net)
        })
    };
    let mut report = Report::new(settings);
    let fixed = named().into_iter().map(|named| {
        let origin = Origin::Named(named.name);
        (origin, named.scenario)
    });
    let random = (0..settings.seeds).map(|index| {
        let seed = settings.from.wrapping_add(index);
        (Origin::Seed(seed), Scenario::from_seed(seed))
    });
    for (origin, scenario) in fixed.chain(random) {
        let found = run_guarded(&run, &origin, &scenario);
        report.add(origin, &scenario, found);
        if report.broken_events > BROKEN_EVENTS_MAX {
            break;
        }
    }
    report.shrink(run);
    report
}

/// Runs a scenario, and says which it was if the driver panics.
fn run_guarded(run: &impl Fn(&Scenario, bool) -> Run, origin: &Origin, scenario: &Scenario) -> Run {
    struct Guard<'a>(&'a Origin, &'a Scenario);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("in {}: {:#?}", self.0, self.1);
            }
        }
    }
    let _guard = Guard(origin, scenario);
    run(scenario, false)
}
