//! What becomes of a race if from here on one attempt's path works (R15, R16),
//! and whether it would sleep through something.

use std::time::Duration;

use headstart_core::race::{Event, FlightPhase, Phase, Progress, Step, SynData};

use super::world::{BEGAN, Socket};
use super::{Action, Flight, Verdict, World};

/// More than any race needs to end.
const STEPS_MAX: usize = 60;

/// Polling again changes nothing, and sleeping as long as `poll` says misses
/// nothing.
pub(super) fn no_lost_wake_up(world: &World) -> Verdict {
    let mut again = world.clone();
    again.act(Action::Pass(Duration::ZERO))?;
    rule!(
        again.step == world.step && again.snap == world.snap,
        "a second poll says {:?} after {:?}",
        again.step,
        world.step
    );
    let sleep = match world.step {
        Step::Wait(None) | Step::Settled => Duration::from_secs(3600),
        Step::Wait(Some(deadline)) => {
            deadline.saturating_since(world.now) - Duration::from_nanos(1)
        }
        _ => return Ok(()),
    };
    again.act(Action::Pass(sleep))?;
    rule!(
        again.step == world.step,
        "time alone brings {:?} where {:?} was said",
        again.step,
        world.step
    );
    Ok(())
}

/// A clock that goes back is one that stands still.
pub(super) fn time_runs_one_way(world: &World) -> Verdict {
    let mut race = world.race.clone();
    let step = race.poll(BEGAN);
    rule!(
        step == world.step && race.snapshot() == world.snap,
        "an earlier time brings {step:?} after {:?}",
        world.step
    );
    Ok(())
}

/// If one attempt's path works and the peer answers on it, the race ends in a
/// connection (R15).
pub(super) fn r15_progress(world: &World, good: usize) -> Verdict {
    let mut world = world.clone();
    let mut replied = false;
    for _ in 0..STEPS_MAX {
        if world.chosen().is_some_and(|chosen| chosen != good) || !world.contends(good) {
            let delivered = world.abandoned && world.legs.iter().any(|leg| leg.fin);
            return match world.snap.chosen.is_some() || delivered || ruled_out(&world, good) {
                true => Ok(()),
                false => Err(format!("R15 attempt {good} is out and nothing is chosen")),
            };
        }
        if replied {
            rule!(
                world.chosen() == Some(good),
                "R15 R3 attempt {good} replied in vain"
            );
            let mut taking = world.clone();
            taking.act(Action::Take)?;
            if taking.is_taken() || world.abandoned {
                return Ok(());
            }
        }
        let action = match answer(&world, good) {
            Some(action) => action,
            None => match world.phase(good) {
                Phase::Handshake { taken, .. } => {
                    let syn_data = match taken {
                        0 => SynData::None,
                        _ => SynData::Acknowledged,
                    };
                    Action::Tell(good, Event::Opened(syn_data))
                }
                Phase::Open {
                    writable: false, ..
                } => Action::Tell(good, Event::Writable),
                Phase::Open { .. } if !replied && has_all(&world, good) => {
                    replied = true;
                    Action::Tell(good, Event::Replied)
                }
                _ if is_spared(&world, good) => return Ok(()),
                _ => onward(&world)?,
            },
        };
        world.act(action)?;
    }
    Err(format!(
        "R15 attempt {good} works, but the race does not end: {:?}",
        world.snap
    ))
}

/// If the application goes now, what it wrote is delivered over an attempt
/// whose path works, though the peer says nothing (R16).
pub(super) fn r16_write_then_drop(world: &World, good: usize) -> Verdict {
    let mut world = world.clone();
    let wrote = world.accepted > 0 || world.finishing;
    world.act(Action::Abandon)?;
    for _ in 0..STEPS_MAX {
        if world.chosen().is_some_and(|chosen| chosen != good) || !world.contends(good) {
            let leg = world.legs[good];
            let delivered = leg.fin && leg.received == world.total();
            let other = world.snap.chosen.is_some_and(|id| id.index() != good)
                || (0..world.legs.len()).any(|other| world.legs[other].fin);
            rule!(
                !wrote || delivered || other || ruled_out(&world, good),
                "R16 what was written is not delivered: {:?}",
                world.snap
            );
            return Ok(());
        }
        let action = match answer(&world, good) {
            Some(action) => action,
            None => match world.phase(good) {
                Phase::Handshake { .. } => Action::Tell(good, Event::Opened(SynData::Sent)),
                Phase::Open {
                    writable: false, ..
                } => Action::Tell(good, Event::Writable),
                _ if is_spared(&world, good) => return Ok(()),
                _ => onward(&world)?,
            },
        };
        world.act(action)?;
    }
    Err(format!("R16 a dropped race does not end: {:?}", world.snap))
}

/// A well-behaved driver's answer to what is asked now.
fn answer(world: &World, good: usize) -> Option<Action> {
    let (id, event) = match world.step {
        Step::Start(id) if world.is_plain(id.index()) => (id, Event::Started(Progress::Handshake)),
        Step::Start(id) => (id, Event::Started(Progress::DataInSyn(usize::MAX))),
        Step::Look(id) => (id, Event::Quiet),
        Step::Write(id) if id.index() == good => (id, Event::Wrote(usize::MAX)),
        Step::Write(id) => (id, Event::Blocked),
        Step::Shutdown(id) => (id, Event::Finished),
        Step::Close(..) | Step::Wait(_) | Step::Settled => return None,
    };
    Some(Action::Tell(id.index(), event))
}

/// Whether it will not start while another is open (R7, RFC 8305 section 5).
fn is_spared(world: &World, good: usize) -> bool {
    world.phase(good) == Phase::Waiting && world.open_plain().is_some()
}

/// What the application and time can do when the good attempt can do nothing.
fn onward(world: &World) -> Result<Action, String> {
    let more = match world.snap.flight {
        FlightPhase::Scanning => true,
        FlightPhase::Gathering | FlightPhase::Uncopied => world.accepted == 0,
        FlightPhase::Complete(_) => false,
    };
    if more && !world.finishing {
        let bytes = match world.setup.flight {
            Flight::Framed(length) => usize::from(length),
            _ => 0,
        };
        return Ok(Action::Write(bytes.max(4)));
    }
    match (world.snap.flight, world.step) {
        (FlightPhase::Gathering, _) if !world.finishing => Ok(Action::EndFlight),
        (_, Step::Wait(Some(_))) => Ok(Action::Deadline),
        _ => Err(format!("R15 nothing moves the race on: {:?}", world.snap)),
    }
}

/// Whether the peer has had all that this attempt may give it.
fn has_all(world: &World, good: usize) -> bool {
    world.legs[good].received >= world.permitted(good)
}

/// Whether it went without a fault of its own or of the race's: it never
/// started, by rule.
fn ruled_out(world: &World, good: usize) -> bool {
    world.legs[good].socket == Socket::Never
        || matches!(world.phase(good), Phase::Fetching { .. })
        || world.legs[good].cause.is_some()
}
