//! Random pairs beyond the bounds of the exhaustive test: up to 4 members, logs
//! of all sizes, windows of all lengths, clocks that jump, drivers that say
//! anything at any time. The rules are those of `pairs`. More cases by
//! `PROPTEST_CASES` in the environment.

mod pairs;

use std::time::Duration;

use headstart_core::pair::{Config, Event, GRACE, LINGER, Step, WINDOW_DEFAULT};
use headstart_core::race::AttemptKind;
use pairs::{Action, Setup, Verdict, World, goodwill};
use proptest::prelude::*;
use proptest::sample::select;

proptest! {
    #![proptest_config(ProptestConfig {
        // Found cases become scenarios of `pair_rules`.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// A driver that tells the truth, in any order.
    #[test]
    fn every_rule_holds_of_every_pair(setup in setups(), moves in prop::collection::vec(moves(), 1..150)) {
        play(setup, moves).map_err(TestCaseError::fail)?;
    }

    /// A driver that says anything: the pair keeps its bounds, and ends.
    #[test]
    fn p3_nothing_said_breaks_a_bound(setup in setups(), moves in prop::collection::vec(moves(), 1..150)) {
        lie(setup, moves).map_err(TestCaseError::fail)?;
    }
}

/// What happens next, before it is known how the pair stands.
#[derive(Clone, Copy, Debug)]
enum Move {
    Tell(usize, Event),
    /// A driver's true answer to what is asked: well, or not.
    Answer(bool, usize),
    Other(Action),
}

fn play(setup: Setup, moves: Vec<Move>) -> Verdict {
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

fn lie(setup: Setup, moves: Vec<Move>) -> Verdict {
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
        let (len, max) = (world.pair.log_len(), setup.config.log_max.max(1));
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

fn setups() -> impl Strategy<Value = Setup> {
    let windows = select(vec![
        Duration::ZERO,
        Duration::from_millis(3),
        GRACE,
        WINDOW_DEFAULT,
        Duration::from_secs(30_000_000),
    ]);
    let logs = select(vec![1, 2, 7, 64, 65_536]);
    let sizes = (select(vec![0, 1, 5, 70, 500]), select(vec![0, 1, 3, 40]));
    (windows, logs, any::<bool>(), sizes).prop_map(
        |(window, log_max, resets_losers, (answer, upload))| Setup {
            config: Config {
                window,
                log_max,
                resets_losers,
            },
            answer,
            upload,
        },
    )
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        3 => (0..4usize, events()).prop_map(|(index, event)| Move::Tell(index, event)),
        5 => (prop::bool::weighted(0.8), 1..100usize).prop_map(|(well, bytes)| Move::Answer(well, bytes)),
        3 => others().prop_map(Move::Other),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Readable),
        4 => (1..20usize).prop_map(Event::Delivered),
        1 => (0..20usize).prop_map(Event::Discarded),
        2 => Just(Event::Drained),
        1 => Just(Event::Ended),
        1 => Just(Event::Failed),
        1 => (0..90usize).prop_map(Event::Wrote),
        1 => Just(Event::Blocked),
        3 => Just(Event::Writable),
        1 => Just(Event::Finished),
        3 => (0..600u64).prop_map(Event::Acked),
    ]
}

fn others() -> impl Strategy<Value = Action> {
    let times = select(vec![
        Duration::from_nanos(1),
        Duration::from_millis(40),
        GRACE / 2,
        GRACE,
        WINDOW_DEFAULT,
        LINGER,
    ]);
    prop_oneof![
        3 => select(vec![AttemptKind::Plain, AttemptKind::Plain, AttemptKind::FastOpen]).prop_map(Action::Join),
        8 => (1..90usize).prop_map(Action::Write),
        1 => Just(Action::Shutdown),
        1 => Just(Action::Abandon),
        1 => Just(Action::Take),
        4 => Just(Action::Deadline),
        4 => times.prop_map(Action::Pass),
    ]
}
