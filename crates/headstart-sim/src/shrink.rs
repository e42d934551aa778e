//! Smaller scenarios that still break the same rule.

use std::time::Duration;

use headstart_core::config::{LoserClose, Schedule};

use crate::link::Link;
use crate::rule::Rule;
use crate::run::Run;
use crate::scenario::{Act, End, Noise, Pairing, Reach, Scenario, Trigger};
use crate::stranger::Stranger;

/// Runs that one shrinking may take.
const RUNS_MAX: u32 = 5_000;
/// Events and wake-ups that all its runs may take together: one that does not
/// end has a hundred thousand.
const EVENTS_MAX: u64 = 1_000_000;

/// Simplifies a scenario one field at a time, as long as `run` finds that the
/// same rule is broken first. One that breaks none comes back as it is.
pub fn shrink(scenario: &Scenario, mut run: impl FnMut(&Scenario) -> Run) -> Scenario {
    let mut events = 0u64;
    let mut broken = |scenario: &Scenario| {
        let run = run(scenario);
        let happened = run.counters.events.saturating_add(run.counters.wakes);
        events = events.saturating_add(happened);
        let rule = run.violations.first().map(|violation| violation.rule);
        (rule, events)
    };
    let (Some(rule), _) = broken(scenario) else {
        return scenario.clone();
    };
    let mut best = scenario.clone();
    let mut runs = 0u32;
    loop {
        let mut smaller = None;
        for candidate in candidates(&best) {
            runs = runs.saturating_add(1);
            if candidate == best {
                continue;
            }
            let (found, events) = broken(&candidate);
            if found == Some(rule) {
                smaller = Some(candidate);
                break;
            }
            if runs > RUNS_MAX || events > EVENTS_MAX {
                return best;
            }
        }
        match smaller {
            Some(smaller) => best = smaller,
            None => return best,
        }
    }
}

/// Scenarios with one thing less, the largest things first.
fn candidates(scenario: &Scenario) -> Vec<Scenario> {
    let mut list = Vec::new();
    let mut with = |change: &dyn Fn(&mut Scenario)| {
        let mut candidate = scenario.clone();
        change(&mut candidate);
        list.push(candidate);
    };
    with(&|s| s.rule = Rule::Transparent);
    with(&|s| s.noise = Noise::default());
    with(&|s| s.noise.order = false);
    with(&|s| s.noise.spurious = false);
    with(&|s| s.noise.write_max = None);
    with(&|s| s.noise.blocks = false);
    with(&|s| s.noise.jump = None);
    for index in 0..scenario.race.targets.len() {
        if scenario.race.targets.len() > 1 {
            with(&|s| {
                s.race.targets.remove(index);
            });
        }
        with(&|s| simplify_target(s, index));
    }
    with(&|s| s.race.schedule = Schedule::AtOnce);
    with(&|s| s.race.losers = LoserClose::Abortive);
    with(&|s| s.race.held_max = 64 * 1024);
    with(&|s| s.race.send_buffer = 80_000);
    with(&|s| s.race.sockets = 64);
    with(&|s| s.race.fast_open = true);
    with(&|s| s.race.cookie = Some(crate::OptionKind::Standard));
    with(&|s| s.server.crowd = None);
    with(&|s| s.server.fast_open = true);
    with(&|s| s.server.send_buffer = u32::MAX);
    with(&|s| s.server.pairing = s.server.pairing.map(|_| Pairing::default()));
    with(&|s| s.server.think = Duration::ZERO);
    with(&|s| s.server.trigger = Trigger::Message);
    with(&|s| s.server.end = End::AfterEof);
    with(&|s| s.server.answer = s.server.answer.min(1));
    with(&|s| s.client.patience = Duration::from_secs(10_000));
    let usual = Stranger::default;
    with(&|s| stranger(s, |one| one.copied /= 2));
    with(&|s| stranger(s, |one| one.upfront = false));
    with(&|s| stranger(s, |one| one.more /= 2));
    with(&|s| stranger(s, |one| one.piece = u32::MAX));
    with(&|s| stranger(s, |one| one.pause = usual().pause));
    with(&|s| stranger(s, |one| one.lag = usual().lag));
    with(&|s| stranger(s, |one| one.keeps = usual().keeps));
    with(&|s| stranger(s, |one| one.hears_out = false));
    with(&|s| stranger(s, |one| one.prefers = None));
    for place in 0..scenario.client.script.len() {
        with(&|s| shorten(s, place));
        with(&|s| halve(s, place));
    }
    list
}

fn stranger(scenario: &mut Scenario, change: impl Fn(&mut Stranger)) {
    scenario.client.stranger.iter_mut().for_each(change);
}

fn simplify_target(scenario: &mut Scenario, index: usize) {
    if let Some(target) = scenario.race.targets.get_mut(index) {
        target.reach = Reach::Server;
        target.cookie = true;
        target.plain = Link::clean(Duration::from_millis(25));
        target.fast_open = target.plain;
    }
}

/// Leaves an act out; what it wrote of the first message goes with it.
fn shorten(scenario: &mut Scenario, place: usize) {
    let message = scenario.client.message;
    let before: u32 = scenario
        .client
        .script
        .iter()
        .take(place)
        .filter_map(|act| match act {
            Act::Write(bytes) => Some(*bytes),
            _ => None,
        })
        .sum();
    match scenario.client.script.get(place) {
        Some(Act::Write(_)) if before < message => {}
        Some(_) => {
            scenario.client.script.remove(place);
        }
        None => {}
    }
}

fn halve(scenario: &mut Scenario, place: usize) {
    match scenario.client.script.get_mut(place) {
        Some(Act::Pause(time)) => *time /= 2,
        Some(Act::Write(bytes)) if *bytes > 1 && place > 1 => *bytes /= 2,
        _ => {}
    }
}
