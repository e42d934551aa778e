//! Running a scenario, to its end.

use headstart_core::race::{AttemptKind, Ending, Reasons, Report, SynData};
use headstart_core::{Instant, RaceConfig};
use std::time::Duration;

use crate::app::{App, ReadEnd};
use crate::driver::{Driver, look_at};
use crate::gate::{Doorman, Gate};
use crate::headstart::Headstart;
use crate::net::Transports;
use crate::party::{Ours, Party};
use crate::rules::{self, Violation};
use crate::scenario::Scenario;
use crate::stranger::{Bare, Stranger};
use crate::trace::Trace;
use crate::world::{Counters, World};

/// Events of one run, of which no honest one comes near.
const EVENTS_MAX: u64 = 100_000;
/// Steps at one moment, of which no honest driver needs so many.
const STEPS_MAX: u32 = 10_000;

/// What a run came to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Run {
    /// What both applications saw.
    pub outcome: Outcome,
    /// What happened, if it was recorded.
    pub trace: Trace,
    /// Rules that did not hold; none, if all is well.
    pub violations: Vec<Violation>,
    /// Where plain alone would have done better and no race could: why. The
    /// crate's front page lists the reasons.
    pub excuse: Option<&'static str>,
    /// What was counted, in the run itself and not in its reference.
    pub counters: Counters,
}

/// What both applications saw.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// Bytes that the client's application wrote.
    pub wrote: usize,
    /// Bytes that it read.
    pub read: usize,
    /// How reading ended.
    pub end: ReadEnd,
    /// From the dial to the first byte of reply.
    pub first_byte: Option<Duration>,
    /// From the dial to the last byte that was read.
    pub last_byte: Option<Duration>,
    /// How often a handler was called.
    pub handled: u32,
    /// The connection: its kind, and what became of data in its SYN.
    pub winner: Option<(AttemptKind, SynData)>,
    /// What the race says of itself.
    pub report: Report,
}

/// A run that is over, with all that can be known of it.
pub(crate) struct Finished<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) world: World<'a>,
    pub(crate) app: App<'a>,
    pub(crate) upload: &'a [u8],
    pub(crate) report: Report,
    /// The connection, by number, though it may have failed since.
    pub(crate) chosen: Option<usize>,
    /// Why the attempts that are out are out.
    pub(crate) reasons: Reasons,
    /// How it ended, if without a connection.
    pub(crate) ending: Option<Ending>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) excuse: Option<&'static str>,
}

/// Runs a scenario with the driver of this crate, and judges it by every rule.
#[must_use]
pub fn run(scenario: &Scenario) -> Run {
    run_with(scenario, false, Headstart::dial)
}

/// The same, with a trace.
#[must_use]
pub fn run_traced(scenario: &Scenario) -> Run {
    run_with(scenario, true, Headstart::dial)
}

/// Runs a scenario with a driver of the caller's, and judges it. What plain
/// alone would have done is found with the driver of this crate. A client that
/// is not ours ([`Client::stranger`](crate::Client::stranger)) needs no driver.
pub fn run_with<D: Driver>(
    scenario: &Scenario,
    tracing: bool,
    dial: impl FnOnce(RaceConfig, &mut dyn Transports) -> D,
) -> Run {
    run_with_gate(scenario, tracing, dial, Box::new(Doorman))
}

/// The same, with a gate of the caller's too.
pub fn run_with_gate<D: Driver>(
    scenario: &Scenario,
    tracing: bool,
    dial: impl FnOnce(RaceConfig, &mut dyn Transports) -> D,
    gate: Box<dyn Gate>,
) -> Run {
    let upload = scenario
        .client
        .statement
        .upload(scenario.client.message, scenario.written());
    if let Some(stranger) = &scenario.client.stranger {
        return run_stranger(scenario, stranger, &upload, tracing, gate);
    }
    let alone = scenario.plain_alone();
    let reference = (alone != *scenario)
        .then(|| simulate(&alone, &upload, false, Headstart::dial, Box::new(Doorman)))
        .flatten();
    let Some(mut run) = simulate(scenario, &upload, tracing, dial, gate) else {
        return Run::refused();
    };
    rules::judge(&mut run, reference.as_ref());
    let winner = run.report.winner();
    Run {
        outcome: Outcome {
            wrote: run.app.written,
            read: run.app.read.len(),
            end: run.app.read_end.unwrap_or(ReadEnd::Left),
            first_byte: run.app.first_byte.map(Duration::from_nanos),
            last_byte: run.app.last_byte.map(Duration::from_nanos),
            handled: run.world.counters.handled,
            winner: winner.map(|winner| (winner.kind, winner.syn_data)),
            report: run.report,
        },
        trace: run.world.trace,
        violations: run.violations,
        excuse: run.excuse,
        counters: run.world.counters,
    }
}

impl Run {
    /// A scenario that the core refuses to be told.
    fn refused() -> Self {
        Self {
            outcome: Outcome {
                wrote: 0,
                read: 0,
                end: ReadEnd::Left,
                first_byte: None,
                last_byte: None,
                handled: 0,
                winner: None,
                report: no_report(),
            },
            trace: Trace::default(),
            violations: vec![Violation::new(
                "scenario",
                0,
                "the core refuses these settings",
            )],
            excuse: None,
            counters: Counters::default(),
        }
    }
}

/// What is reported where nobody raced.
const fn no_report() -> Report {
    Report {
        began: Instant::from_nanos(0),
        flight: None,
        plans: Vec::new(),
        attempts: Vec::new(),
    }
}

/// Runs a client that is not ours, and judges its server.
fn run_stranger(
    scenario: &Scenario,
    stranger: &Stranger,
    upload: &[u8],
    tracing: bool,
    gate: Box<dyn Gate>,
) -> Run {
    let mut world = World::new(scenario, tracing, gate);
    let mut client = Bare::dial(scenario, stranger, upload, &mut world);
    let lived = live(&mut client, &mut world).err();
    let mut violations: Vec<_> = lived.into_iter().collect();
    let mut excuse = None;
    if violations.is_empty() {
        (violations, excuse) = rules::judge_stranger(&world, &client, stranger, upload);
    }
    let used = client.used.and_then(|used| client.wires.get(used));
    Run {
        outcome: Outcome {
            wrote: used.map_or(0, |wire| wire.said),
            read: used.map_or(0, |wire| wire.got.len()),
            end: used.and_then(|wire| wire.read_end).unwrap_or(ReadEnd::Left),
            first_byte: None,
            last_byte: None,
            handled: world.counters.handled,
            winner: None,
            report: no_report(),
        },
        trace: world.trace,
        violations,
        excuse,
        counters: world.counters,
    }
}

fn simulate<'a, D: Driver>(
    scenario: &'a Scenario,
    upload: &'a [u8],
    tracing: bool,
    dial: impl FnOnce(RaceConfig, &mut dyn Transports) -> D,
    gate: Box<dyn Gate>,
) -> Option<Finished<'a>> {
    let mut world = World::new(scenario, tracing, gate);
    let driver = dial(scenario.config().ok()?, &mut world);
    let mut ours = Ours {
        driver,
        app: App::new(scenario, upload),
    };
    let mut violations = Vec::new();
    rules::after_dial(&world, &mut violations);
    if let Err(violation) = live(&mut ours, &mut world) {
        violations.push(violation);
    }
    let Ours { driver, app } = ours;
    let (report, chosen) = look_at(&driver, |race| (race.report(), race.chosen()))?;
    let (reasons, ending) = look_at(&driver, |race| (race.reasons(), race.ending()))?;
    if violations.is_empty() && !driver.is_settled() {
        let text = "nothing will ever happen, and the race is not settled";
        violations.push(Violation::new("R16", world.now, text));
    }
    Some(Finished {
        scenario,
        world,
        app,
        upload,
        report,
        chosen: chosen.map(|id| id.index()),
        reasons,
        ending,
        violations,
        excuse: None,
    })
}

/// Lets time pass until nothing will ever happen.
fn live(party: &mut dyn Party, world: &mut World<'_>) -> Result<(), Violation> {
    loop {
        settle(party, world)?;
        party.at_rest(world)?;
        let next = [world.next_at(), party.next_at(world)];
        let Some(next) = next.into_iter().flatten().min() else {
            return rules::gate_at_end(world);
        };
        world.now = world.now.max(next);
        party.before(world)?;
        let Counters {
            events,
            wakes,
            gate_wakes,
            ..
        } = world.counters;
        if events.max(wakes).max(gate_wakes) > EVENTS_MAX {
            return Err(Violation::new("end", world.now, "the run does not end"));
        }
    }
}

/// Lets everything happen that happens now.
fn settle(party: &mut dyn Party, world: &mut World<'_>) -> Result<(), Violation> {
    for _ in 0..STEPS_MAX {
        if let Some(violation) = world.host.broken.take() {
            return Err(violation);
        }
        let due = party.is_due(world);
        if std::mem::take(&mut world.woken) || due {
            world.counters.wakes = world.counters.wakes.saturating_add(1);
            party.wake(world)?;
        } else if !party.act(world) && !world.step() {
            return Ok(());
        }
    }
    Err(Violation::new("poll", world.now, "a busy loop"))
}
