//! Sequences of moves, chosen before it is known how the race goes.

use headstart_core::race::{Event, Progress, Step};

use super::{Action, Setup, Verdict, World, goodwill};

/// What a race does next, before it is known how many attempts it has.
#[derive(Clone, Debug)]
pub enum Move {
    /// Any event, of any attempt.
    Tell(usize, Event),
    /// What a driver truly answers to what is asked: well, or not.
    Answer(Event, Progress),
    /// Anything else.
    Other(Action),
}

impl Move {
    fn action(&self, world: &World) -> Action {
        let (id, event) = match *self {
            Self::Other(action) => return action,
            Self::Tell(index, event) => return Action::Tell(index % world.legs.len(), event),
            Self::Answer(event, progress) => match world.step {
                Step::Start(id) => (id, Event::Started(progress)),
                Step::Look(id) => (id, Event::Quiet),
                Step::Write(id) => match event {
                    Event::Wrote(_) | Event::Blocked => (id, event),
                    _ => (id, Event::Wrote(usize::MAX)),
                },
                Step::Shutdown(id) => (id, Event::Finished),
                Step::Wait(_) | Step::Close(..) | Step::Settled => return Action::Deadline,
            },
        };
        Action::Tell(id.index(), event)
    }
}

/// Makes all the moves. Asserts every rule after each, and at the end what may
/// still become of the race.
///
/// # Errors
/// The rule that is broken, and by what moves.
pub fn play(setup: Setup, moves: impl IntoIterator<Item = Move>) -> Verdict {
    let mut world = World::new(setup)?;
    let mut actions = Vec::new();
    for step in moves {
        let action = step.action(&world);
        actions.push(action);
        world
            .apply(action)
            .and_then(|()| goodwill::no_lost_wake_up(&world))
            .and_then(|()| goodwill::time_runs_one_way(&world))
            .map_err(|broken| format!("{broken}, by the last of {actions:?}"))?;
    }
    for good in (0..world.legs.len()).filter(|good| world.contends(*good)) {
        goodwill::r15_progress(&world, good)
            .and_then(|()| goodwill::r16_write_then_drop(&world, good))
            .map_err(|broken| format!("{broken}, after {actions:?}"))?;
    }
    Ok(())
}
