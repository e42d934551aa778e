//! Random things that happen to a pair, made such as can.

use headstart_core::pair::{Event, Step};

use super::{Action, Setup, Verdict, World, goodwill};

/// What happens next, before it is known how the pair stands.
#[derive(Clone, Copy, Debug)]
pub enum Move {
    Tell(usize, Event),
    /// A driver's true answer to what is asked: well, or not.
    Answer(bool, usize),
    Other(Action),
}

/// A driver that tells the truth.
pub fn play(setup: Setup, moves: impl IntoIterator<Item = Move>) -> Verdict {
    let mut world = World::new(setup)?;
    let mut actions = Vec::new();
    for step in moves {
        let Some(action) = action(&world, step) else {
            continue;
        };
        actions.push(action);
        world
            .apply(action)
            .and_then(|()| goodwill::no_lost_wake_up(&world))
            .and_then(|()| goodwill::time_runs_one_way(&world))
            .map_err(|broken| format!("{broken}, by the last of {actions:?}"))?;
    }
    goodwill::check(&world).map_err(|broken| format!("{broken}, after {actions:?}"))
}

/// The true thing that a move can be here.
fn action(world: &World, step: Move) -> Option<Action> {
    match step {
        Move::Other(action) => Some(action),
        Move::Tell(index, event) => {
            let index = index % world.legs.len();
            let leg = world.legs[index];
            let event = match event {
                Event::Delivered(bytes) => {
                    let left = world.setup.upload - leg.received;
                    Event::Delivered(bytes.min(left as usize).max(1))
                }
                Event::Acked(acked) => {
                    let most = leg.sent + u64::from(leg.finished);
                    Event::Acked(acked.clamp(leg.acked, most.max(leg.acked)))
                }
                event => event,
            };
            world
                .may_happen(index, event)
                .then_some(Action::Tell(index, event))
        }
        Move::Answer(well, bytes) => {
            let (id, event) = match world.step {
                Step::Discard(id, most) if well => (id, Event::Discarded(bytes.clamp(1, most))),
                Step::Discard(id, _) => (id, Event::Drained),
                Step::Ask(id) => {
                    let leg = world.legs[id.index()];
                    let most = leg.sent + u64::from(leg.finished);
                    let more = if well { bytes as u64 } else { 0 };
                    (id, Event::Acked((leg.acked + more).min(most)))
                }
                Step::Write(id) if well => {
                    let leg = world.legs[id.index()];
                    let most = (world.written - leg.sent) as usize;
                    (id, Event::Wrote(bytes.clamp(1, most)))
                }
                Step::Write(id) => (id, Event::Blocked),
                Step::Shutdown(id) => (id, Event::Finished),
                Step::Close(..) | Step::Wait(_) | Step::Settled => return Some(Action::Deadline),
            };
            Some(Action::Tell(id.index(), event))
        }
    }
}

/// A driver that says anything: the pair keeps its bounds, and ends.
pub fn lie(setup: Setup, moves: impl IntoIterator<Item = Move>) -> Verdict {
    let mut world = World::new(setup)?;
    for step in moves {
        let action = match step {
            Move::Other(action) => action,
            Move::Tell(index, event) => Action::Tell(index % world.legs.len(), event),
            Move::Answer(..) => match action(&world, step) {
                Some(action) => action,
                None => continue,
            },
        };
        world.act(action)?;
        let (len, max) = (world.pair.log_len(), world.log_max);
        if len > max {
            return Err(format!("P3 the log holds {len} of {max}"));
        }
        if let Step::Wait(Some(at)) = world.step
            && at <= world.now
        {
            return Err(format!("P3 waits until {at:?}, at {:?}", world.now));
        }
    }
    goodwill::p3_ends(&world)
}
