//! What a check of a driver came to.

use std::fmt;

use super::Settings;
use crate::rules::Violation;
use crate::run::Run;
use crate::scenario::Scenario;
use crate::shrink::shrink;
use crate::trace::Trace;

/// Where a scenario is from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The list of [`named`](super::named) ones.
    Named(String),
    /// Its number: [`Scenario::from_seed`].
    Seed(u64),
}

/// A rule that a driver breaks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Broken {
    /// The rule's name.
    pub rule: &'static str,
    /// In how many scenarios.
    pub times: u64,
    /// Where that was first seen.
    pub origin: Origin,
    /// What was seen there.
    pub violation: Violation,
    /// The scenario, shrunk as far as the same rule stays broken.
    pub scenario: Scenario,
    /// What happens in it.
    pub trace: Trace,
}

/// What a check came to. `Display` tells it to people.
#[derive(Clone, Debug)]
#[must_use]
#[non_exhaustive]
pub struct Report {
    /// What was asked.
    pub settings: Settings,
    /// Named scenarios that ran.
    pub named: u64,
    /// Random scenarios that ran.
    pub seeds: u64,
    /// Those of both in which at least two attempts started.
    pub raced: u64,
    /// Those in which no race could have done as well as plain alone; the
    /// crate's front page lists the reasons.
    pub excused: u64,
    /// Each rule that was broken, once.
    pub broken: Vec<Broken>,
    /// Events and wake-ups of the scenarios that broke one.
    pub(super) broken_events: u64,
}

impl Report {
    pub(super) const fn new(settings: Settings) -> Self {
        Self {
            settings,
            named: 0,
            seeds: 0,
            raced: 0,
            excused: 0,
            broken: Vec::new(),
            broken_events: 0,
        }
    }

    /// Whether no rule is broken.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.broken.is_empty()
    }

    /// For tests: nothing, if no rule is broken.
    ///
    /// # Panics
    /// With the report, if one is.
    #[track_caller]
    pub fn assert(&self) {
        assert!(self.is_sound(), "{self}");
    }

    pub(super) fn add(&mut self, origin: Origin, scenario: &Scenario, run: Run) {
        match origin {
            Origin::Named(_) => self.named = self.named.saturating_add(1),
            Origin::Seed(_) => self.seeds = self.seeds.saturating_add(1),
        }
        let raced = u64::from(run.outcome.report.raced());
        self.raced = self.raced.saturating_add(raced);
        let excused = u64::from(run.excuse.is_some());
        self.excused = self.excused.saturating_add(excused);
        if !run.violations.is_empty() {
            let events = run.counters.events.saturating_add(run.counters.wakes);
            self.broken_events = self.broken_events.saturating_add(events);
        }
        let mut seen = Vec::new();
        for violation in run.violations {
            if !seen.contains(&violation.rule) {
                seen.push(violation.rule);
                self.note(&origin, scenario, violation);
            }
        }
    }

    fn note(&mut self, origin: &Origin, scenario: &Scenario, violation: Violation) {
        let known = |broken: &&mut Broken| broken.rule == violation.rule;
        match self.broken.iter_mut().find(known) {
            Some(broken) => broken.times = broken.times.saturating_add(1),
            None => self.broken.push(Broken {
                rule: violation.rule,
                times: 1,
                origin: origin.clone(),
                violation,
                scenario: scenario.clone(),
                trace: Trace::default(),
            }),
        }
    }

    /// Makes what breaks a rule as small as it gets.
    pub(super) fn shrink(&mut self, run: impl Fn(&Scenario, bool) -> Run) {
        for broken in &mut self.broken {
            let rule = broken.rule;
            broken.scenario = shrink(&broken.scenario, |scenario| {
                let mut run = run(scenario, false);
                run.violations.retain(|violation| violation.rule == rule);
                run
            });
            broken.trace = run(&broken.scenario, true).trace;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "named scenarios  {}", self.named)?;
        writeln!(
            f,
            "random scenarios {} from {}",
            self.seeds, self.settings.from
        )?;
        writeln!(f, "both started     {}", self.raced)?;
        writeln!(f, "excused          {}", self.excused)?;
        write!(f, "rules broken     {}", self.broken.len())?;
        for broken in &self.broken {
            write!(f, "\n{broken}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, times, .. } = self;
        writeln!(
            f,
            "\n{rule} is broken in {times} scenarios, first in {}:",
            self.origin
        )?;
        writeln!(f, "{}", self.violation)?;
        writeln!(f, "shrunk: {:#?}", self.scenario)?;
        write!(f, "{}", self.trace)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => write!(f, "{name:?}"),
            Self::Seed(seed) => write!(f, "seed {seed}"),
        }
    }
}
