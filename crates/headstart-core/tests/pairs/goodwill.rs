//! What becomes of a pair if from here on one member's path works, or none
//! does, and whether it would sleep through something.

use std::time::Duration;

use headstart_core::pair::{Event, GRACE, LINGER, Outcome, Step};

use super::world::BEGAN;
use super::{Action, Verdict, World};
use crate::rule;

/// More than any pair needs to end.
const STEPS_MAX: usize = 4_000;

/// Polling again changes nothing, and sleeping as long as `poll` says misses
/// nothing.
pub fn no_lost_wake_up(world: &World) -> Verdict {
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
        Step::Wait(Some(at)) => at.saturating_since(world.now) - Duration::from_nanos(1),
        _ => return Ok(()),
    };
    again.act(Action::Pass(sleep))?;
    rule!(
        again.step == world.step
            && again.snap.ended == world.snap.ended
            && again.snap.chosen == world.snap.chosen
            && again.pair.source() == world.pair.source()
            && again.pair.has_room() == world.pair.has_room(),
        "time alone brings {:?} where {:?} was said",
        again.step,
        world.step
    );
    Ok(())
}

/// A clock that goes back is one that stands still.
pub fn time_runs_one_way(world: &World) -> Verdict {
    let mut pair = world.pair.clone();
    let step = pair.poll(BEGAN);
    rule!(
        step == world.step && pair.snapshot() == world.snap,
        "an earlier time brings {step:?} after {:?}",
        world.step
    );
    Ok(())
}

/// P1: if one member's path works, its client gets the whole answer, whatever
/// the other paths do; unless it has shown another to be its choice, or has it
/// all on another.
pub fn p1_whole_answer(world: &World, good: usize, stays: bool) -> Verdict {
    let mut world = world.clone();
    let mut story = Vec::new();
    for _ in 0..STEPS_MAX {
        let leg = world.legs[good];
        let complete = world.finishing;
        if complete && leg.sent == world.written && leg.finished {
            return Ok(());
        }
        if !leg.live {
            return match world.taken == Some(good) || is_excused(&world, good) {
                true => Ok(()),
                false => Err(format!(
                    "P1 member {good} works, but is out: {:?}",
                    world.snap
                )),
            };
        }
        let action = next(&world, good, stays).map_err(|broken| format!("{broken} {story:?}"))?;
        story.push(action);
        world
            .act(action)
            .map_err(|broken| format!("{broken}, then by the last of {story:?}"))?;
    }
    Err(format!(
        "P1 member {good} works, but nothing ends: {:?}",
        world.snap
    ))
}

/// Whether the client chose another, or has everything on another; or the
/// window is long over, and only another was proven.
fn is_excused(world: &World, good: usize) -> bool {
    let elsewhere = world.chosen().is_some_and(|chosen| chosen != good);
    let served = (0..world.legs.len()).any(|leg| world.outcome(leg) == Outcome::Delivered);
    let ahead = |index: usize| index != good && world.legs[index].acked > world.legs[good].sent;
    let proven = |index: usize| index != good && world.legs[index].acked > 0;
    let over = world.now >= world.window_end().saturating_add(GRACE);
    let late = over && world.legs[good].acked == 0 && (0..world.legs.len()).any(proven);
    elsewhere || served || late || (0..world.legs.len()).any(ahead)
}

fn next(world: &World, good: usize, stays: bool) -> Result<Action, String> {
    if let Some((id, event)) = reply(world, Some(good)) {
        return Ok(Action::Tell(id, event));
    }
    let missing = world.setup.answer.saturating_sub(world.written);
    if !world.finishing && missing > 0 && world.pair.has_room() {
        let mut taking = world.clone();
        taking.act(Action::Take)?;
        return Ok(match taking.taken {
            Some(_) => Action::Take,
            None => Action::Write(missing as usize),
        });
    }
    if !world.finishing && missing > 0 && !world.wanting {
        return Ok(Action::Write(missing as usize));
    }
    if !world.legs[good].writable {
        return Ok(Action::Tell(good, Event::Writable));
    }
    if missing == 0 && !world.finishing {
        return Ok(if stays {
            Action::Shutdown
        } else {
            Action::Abandon
        });
    }
    match world.step {
        Step::Wait(Some(_)) => Ok(Action::Deadline),
        step => Err(format!(
            "P1 nothing moves the pair on: {step:?} {:?}",
            world.snap
        )),
    }
}

/// A true answer to what is asked now: the good one's path works, and all
/// others are silent.
fn reply(world: &World, good: Option<usize>) -> Option<(usize, Event)> {
    let leg = |id: headstart_core::pair::MemberId| world.legs[id.index()];
    Some(match world.step {
        Step::Discard(id, _) => (id.index(), Event::Drained),
        Step::Ask(id) if good == Some(id.index()) => (
            id.index(),
            Event::Acked(leg(id).sent + u64::from(leg(id).finished)),
        ),
        Step::Ask(id) => (id.index(), Event::Acked(leg(id).acked)),
        Step::Write(id) if good == Some(id.index()) => (id.index(), Event::Wrote(usize::MAX >> 8)),
        Step::Write(id) => (id.index(), Event::Blocked),
        Step::Shutdown(id) => (id.index(), Event::Finished),
        Step::Close(..) | Step::Wait(_) | Step::Settled => return None,
    })
}

/// P3: once the application is gone, a pair is over within the window and
/// LINGER, though nobody answers.
pub fn p3_ends(world: &World) -> Verdict {
    let mut world = world.clone();
    world.act(Action::Abandon)?;
    let (from, window) = (world.abandoned_at.unwrap_or(world.now), world.window_end());
    let end = window.max(from).saturating_add(LINGER);
    world.act(Action::Pass(end.saturating_since(world.now)))?;
    for _ in 0..STEPS_MAX {
        match reply(&world, None) {
            Some((index, event)) => world.act(Action::Tell(index, event))?,
            None => break,
        }
    }
    rule!(
        world.step == Step::Settled,
        "P3 not over in time, but {:?}: {:?}",
        world.step,
        world.snap
    );
    Ok(())
}

/// All that takes more than a look at a state.
pub fn check(world: &World) -> Verdict {
    no_lost_wake_up(world)?;
    time_runs_one_way(world)?;
    p3_ends(world)?;
    for stays in [true, false] {
        for (good, _) in world.live() {
            p1_whole_answer(world, good, stays)?;
        }
        if world.pair.may_join() {
            let mut late = world.clone();
            late.act(Action::Join(headstart_core::race::AttemptKind::Plain))?;
            rule!(late.legs.len() > world.legs.len(), "P1 the door is shut");
            p1_whole_answer(&late, world.legs.len(), stays)?;
        }
    }
    Ok(())
}
