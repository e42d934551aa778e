//! The rules, each asserted by name on everything that a run has shown.

mod binding;
mod bytes;
mod claims;
mod ends;
mod pairs;
mod reports;
mod strangers;
mod times;

use std::fmt;
use std::time::Duration;

use headstart_core::config::{Kinds, Schedule};
use headstart_core::framing::FLIGHT_MAX;
use headstart_core::race::AttemptKind;

use crate::app::{App, ReadEnd};
use crate::driver::{Driver, look_at};
use crate::run::Finished;
use crate::world::{Flow, World};

pub(crate) use pairs::at_end as gate_at_end;
pub(crate) use strangers::judge as judge_stranger;

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The rule's name: R1 to R16, D1 to D5, P1 to P3, or `poll` and `end` for those of
    /// every state machine: deadlines in the future, and an end.
    pub rule: &'static str,
    /// When it was seen, after the dial.
    pub at: Duration,
    /// What was seen.
    pub text: String,
}

impl Violation {
    pub(crate) fn new(rule: &'static str, at: u64, text: impl Into<String>) -> Self {
        Self {
            rule,
            at: Duration::from_nanos(at),
            text: text.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:?}: {}", self.rule, self.at, self.text)
    }
}

/// Judges a run that is over, and compares it with what plain alone did.
pub(crate) fn judge(run: &mut Finished<'_>, reference: Option<&Finished<'_>>) {
    if !run.violations.is_empty() {
        return;
    }
    let mut found = Found {
        list: std::mem::take(&mut run.violations),
        excuse: None,
        at: run.world.now,
    };
    binding::judge(run, &mut found);
    bytes::judge(run, &mut found);
    claims::judge(&run.world, &mut found);
    ends::judge(run, &mut found);
    pairs::judge(run, &mut found);
    reports::judge(run, &mut found);
    times::judge(run, &mut found);
    if let Some(reference) = reference {
        if let Some(violation) = reference.violations.first() {
            found.list.push(violation.clone());
        }
        times::compare(run, reference, &mut found);
        ends::compare(run, reference, &mut found);
    }
    run.violations = found.list;
    run.excuse = found.excuse;
}

/// R1, R9: when the dial returns, the leader's SYN is out.
pub(crate) fn after_dial(world: &World<'_>, violations: &mut Vec<Violation>) {
    let race = &world.scenario.race;
    let leads = race.kinds != Kinds::FastOpenOnly
        && match race.schedule {
            Schedule::AtOnce => true,
            Schedule::Staggered { first, .. } | Schedule::Hedged { first, .. } => {
                first == AttemptKind::Plain
            }
        };
    let first = world.flows.first().map(|flow| flow.kind);
    if leads && race.sockets > 0 && first != Some(AttemptKind::Plain) {
        let text = format!("after the dial the first SYN is {first:?}");
        violations.push(Violation::new("R1", world.now, text));
    }
}

/// What must hold whenever nothing more happens at a moment.
pub(crate) fn at_rest(
    driver: &dyn Driver,
    app: &App<'_>,
    world: &World<'_>,
) -> Result<(), Violation> {
    let failed = matches!(app.read_end, Some(ReadEnd::Failed(_)));
    if let Some(at) = app.flushed_in_vain {
        let text = "a flush was done when neither a connection nor a kernel had the bytes";
        return Err(Violation::new("R16", at, text));
    }
    let seen = look_at(driver, |race| {
        let racing = failed && race.ending().is_none() && race.chosen().is_none();
        (racing, race.log_len())
    });
    let Some((racing, length)) = seen else {
        let text = "the driver does not show its race";
        return Err(Violation::new("report", world.now, text));
    };
    if racing {
        let text = "reading failed while an attempt was in the race";
        return Err(Violation::new("R4", world.now, text));
    }
    let most = FLIGHT_MAX.saturating_add(world.scenario.race.held_max);
    if length > most {
        let text = format!("the log holds {length} bytes of {most}");
        return Err(Violation::new("R6", world.now, text));
    }
    server_at_rest(world)
}

/// What must hold of every server then.
pub(crate) fn server_at_rest(world: &World<'_>) -> Result<(), Violation> {
    let (remembered, capacity) = world.host.remembered();
    if remembered > capacity {
        let text = format!("{remembered} messages remembered of {capacity}");
        return Err(Violation::new("D2", world.now, text));
    }
    pairs::at_rest(world)
}

/// What was found.
pub(crate) struct Found {
    list: Vec<Violation>,
    /// Why what would be a violation is none.
    excuse: Option<&'static str>,
    at: u64,
}

impl Found {
    /// Notes a violation unless the condition holds.
    fn require(&mut self, holds: bool, rule: &'static str, text: impl FnOnce() -> String) {
        if !holds {
            self.list.push(Violation::new(rule, self.at, text()));
        }
    }
}

impl Finished<'_> {
    /// The way of an attempt, by its number.
    fn flow_of(&self, index: usize) -> Option<&Flow> {
        let attempt = self.report.attempts.get(index)?;
        self.flow(attempt.kind, attempt.target)
    }

    fn flow(&self, kind: AttemptKind, target: usize) -> Option<&Flow> {
        self.world
            .flows
            .iter()
            .find(|flow| flow.kind == kind && flow.target == target)
    }

    /// The way of the connection.
    fn won(&self) -> Option<&Flow> {
        self.flow_of(self.chosen?)
    }
}
