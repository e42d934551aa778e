//! Simulated races: scenarios that the simulator makes of numbers, their parts
//! exchanged and their values changed; the longest have a client that is not
//! ours. None breaks a rule.

#![no_main]

use std::time::Duration;

use headstart_core::config::Peer;
use headstart_sim::{Act, Scenario, Statement};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

/// Longest script: the simulator makes none so long.
const ACTS_MAX: usize = 24;
/// Most changes to one scenario.
const CHANGES_MAX: usize = 16;
/// Most pieces of an answer that fills a log again and again.
const PIECES_MAX: u32 = 1_000;

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = Unstructured::new(bytes);
    let Ok(scenario) = scenario(&mut bytes) else {
        return;
    };
    let run = headstart_sim::run(&scenario);
    if !run.violations.is_empty() {
        let run = headstart_sim::run_traced(&scenario);
        panic!("{:#?} of {scenario:#?}\n{}", run.violations, run.trace);
    }
});

/// The parts of up to five scenarios, made to fit each other.
fn scenario(bytes: &mut Unstructured<'_>) -> Result<Scenario> {
    let mut scenario = Scenario::from_seed(bytes.arbitrary::<u16>()?.into());
    let other = |bytes: &mut Unstructured<'_>| Some(part(bytes)).filter(|_| !bytes.is_empty());
    if let Some(part) = other(bytes) {
        scenario.client = part.client;
    }
    if let Some(part) = other(bytes) {
        scenario.server = part.server;
    }
    if let Some(part) = other(bytes) {
        scenario.race = part.race;
    }
    if let Some(part) = other(bytes) {
        scenario.rule = part.rule;
    }
    if let Some(part) = other(bytes) {
        scenario.noise = part.noise;
    }
    for _ in 0..CHANGES_MAX {
        if bytes.is_empty() {
            break;
        }
        change(&mut scenario, bytes)?;
    }
    // Last, so that what older inputs mean stays.
    if !bytes.is_empty() {
        let seed = bytes.arbitrary::<u16>()?.into();
        let part = Scenario::stranger_from_seed(seed);
        scenario.client.stranger = part.client.stranger;
        scenario.server = part.server;
    }
    if scenario.client.statement == Statement::Malformed {
        scenario.server.debounce = None;
    }
    let server = &mut scenario.server;
    scenario.race.peer = match (server.debounce, &server.pairing) {
        (Some(_), Some(pairing)) => {
            // A log of a few bytes makes a packet of each few.
            let log = u32::try_from(pairing.log_max).unwrap_or(u32::MAX);
            server.answer = server.answer.min(log.saturating_mul(PIECES_MAX));
            Peer::Pairing
        }
        (Some(_), None) => Peer::FirstCome,
        (None, _) => Peer::Unaware,
    };
    Ok(scenario)
}

fn part(bytes: &mut Unstructured<'_>) -> Scenario {
    Scenario::from_seed(bytes.arbitrary::<u16>().unwrap_or_default().into())
}

fn change(scenario: &mut Scenario, bytes: &mut Unstructured<'_>) -> Result<()> {
    let any = usize::from(bytes.arbitrary::<u8>()?);
    let link = |scenario: &mut Scenario, change: &dyn Fn(&mut headstart_sim::Link)| {
        let targets = &mut scenario.race.targets;
        if let Some(index) = any.checked_rem(2 * targets.len()) {
            let target = &mut targets[index / 2];
            match index % 2 {
                0 => change(&mut target.plain),
                _ => change(&mut target.fast_open),
            }
        }
    };
    match bytes.int_in_range(0..=9)? {
        0 => {
            let millis = bytes.int_in_range(0..=2_000)?;
            link(scenario, &|link| link.delay = Duration::from_millis(millis));
        }
        1 => {
            let millis = bytes.int_in_range(0..=500)?;
            link(scenario, &|link| {
                link.jitter = Duration::from_millis(millis)
            });
        }
        2 => {
            let loss = bytes.int_in_range(0..=300)?;
            link(scenario, &|link| link.loss = loss);
        }
        3 => {
            let packets = bytes.int_in_range(0..=24)?;
            link(scenario, &|link| link.dies_after = Some(packets));
        }
        4 => scenario.server.think = Duration::from_millis(bytes.int_in_range(0..=5_000)?),
        5 => scenario.server.answer = bytes.int_in_range(0..=90_000)?,
        6 => scenario.race.held_max = bytes.int_in_range(1..=70_000)?,
        7 => scenario.race.sockets = bytes.int_in_range(0..=4)?,
        // Before the last act, which ends the script.
        8 if scenario.client.script.len() < ACTS_MAX => {
            let at = any % scenario.client.script.len().max(1);
            let act = act(bytes)?;
            scenario.client.script.insert(at, act);
        }
        _ => scenario.seed = bytes.arbitrary()?,
    }
    Ok(())
}

fn act(bytes: &mut Unstructured<'_>) -> Result<Act> {
    Ok(match bytes.int_in_range(0..=3)? {
        0 => Act::Pause(Duration::from_millis(bytes.int_in_range(0..=3_000)?)),
        1 => Act::Flush,
        2 => Act::Read,
        _ => Act::Write(bytes.int_in_range(1..=40_000)?),
    })
}
