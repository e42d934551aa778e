//! The whole reachable state space of small pairs, every rule asserted on every
//! edge (P1 to P3).
//!
//! Breadth first over cloned pairs: in every state every event that a driver
//! may truly tell of every member, copies that come, all that the application
//! can do, and steps of time. In every state, too: if one member's path works
//! from here on, its client gets the whole answer; if none does, the pair ends;
//! and sleeping as long as `poll` says misses nothing.

mod pairs;
mod tables;

use std::collections::{BTreeSet, HashSet};
use std::hash::Hasher;
use std::time::Duration;

use headstart_core::pair::{Config, Event, GRACE, LINGER, Step};
use headstart_core::race::AttemptKind;
use pairs::{Action, Setup, Verdict, World, goodwill, taken};
use tables::{Pairs, Table};

/// The transition table that is reviewed.
const TABLE: &str = include_str!("../src/pair/table.txt");

/// How far an exploration goes.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    members: usize,
    /// How copies come.
    kinds: &'static [AttemptKind],
    /// Steps of time.
    ticks: &'static [Duration],
    /// Whether the gate may run out of bytes.
    confined: bool,
    /// Parts of writes, of reads and of proofs, and proofs that nobody asked for.
    fine: bool,
    /// Buffers that fill, and ends of the client's.
    stuck: bool,
}

const HALF: Duration = Duration::from_millis(500);

const TWO: Bounds = Bounds {
    members: 2,
    kinds: &[AttemptKind::Plain],
    ticks: &[GRACE],
    confined: false,
    fine: false,
    stuck: true,
};

fn setup(log_max: usize, answer: u64, upload: u64, resets_losers: bool) -> Setup {
    Setup {
        config: Config {
            window: GRACE,
            log_max,
            resets_losers,
        },
        answer,
        upload,
    }
}

fn is_full() -> bool {
    std::env::var_os("HEADSTART_STATE_SPACE").is_some_and(|value| value == "full")
}

/// Clients that go on. Every pair of state and event that the table lists as happening happens;
/// those listed as never do not, here and in every test below.
#[test]
fn every_state_meets_every_event_but_those_of_never() {
    let taken = explore(setup(9, 1, 1, true), TWO);
    Table::new(TABLE).assert_taken(taken.into_iter());
}

#[test]
fn answers_without_a_word_from_the_client() {
    explore(setup(9, 1, 0, false), Bounds { fine: true, ..TWO });
}

#[test]
fn a_log_that_fills() {
    explore(setup(1, 2, 0, false), TWO);
    let parts = Bounds {
        fine: true,
        stuck: false,
        ..TWO
    };
    explore(setup(2, 3, 0, false), parts);
}

#[test]
fn clients_that_may_copy_and_an_application_that_only_listens() {
    explore(setup(9, 0, 1, false), TWO);
}

#[test]
fn a_gate_that_runs_out_of_bytes() {
    let bounds = Bounds {
        confined: true,
        stuck: false,
        ..TWO
    };
    explore(setup(2, 2, 1, false), bounds);
}

#[test]
fn copies_by_fast_open_alone_and_half_seconds() {
    let bounds = Bounds {
        kinds: &[AttemptKind::FastOpen],
        ticks: &[HALF],
        stuck: false,
        ..TWO
    };
    explore(setup(9, 1, 1, false), bounds);
}

#[test]
fn three_members() {
    let bounds = Bounds {
        members: 3,
        stuck: false,
        ..TWO
    };
    explore(setup(1, 1, 0, false), bounds);
}

/// For a release build, and some minutes.
#[test]
fn every_combination() {
    if !is_full() {
        return;
    }
    let two = Bounds {
        kinds: &[AttemptKind::Plain, AttemptKind::FastOpen],
        fine: true,
        ..TWO
    };
    for resets_losers in [false, true] {
        let three = Bounds {
            members: 3,
            stuck: false,
            ..TWO
        };
        explore(setup(1, 1, 1, resets_losers), three);
        explore(setup(9, 1, 1, resets_losers), two);
        explore(setup(1, 2, 1, resets_losers), two);
        let halves = Bounds {
            ticks: &[HALF],
            ..TWO
        };
        explore(setup(1, 1, 1, resets_losers), halves);
    }
}

/// What each member was told in what state.
fn explore(setup: Setup, bounds: Bounds) -> Pairs<'static> {
    let mut paths: Vec<(usize, Option<Action>)> = vec![(0, None)];
    let start = World::new(setup).unwrap_or_else(|broken| panic!("{broken}"));
    let mut seen = HashSet::from([key(&start)]);
    let mut frontier = vec![(start, 0)];
    let mut edges = 0;
    let mut met = BTreeSet::new();
    while !frontier.is_empty() {
        let mut next = Vec::new();
        for (node, path) in &frontier {
            judge(setup, &paths, *path, None, goodwill::check(node));
            for action in actions(node, bounds) {
                edges += 1;
                if let Action::Tell(index, event) = action {
                    met.insert(taken::names(node, index, event));
                }
                let mut world = node.clone();
                let verdict = world.apply(action);
                judge(setup, &paths, *path, Some(action), verdict);
                if !world.is_like(node) && seen.insert(key(&world)) {
                    paths.push((*path, Some(action)));
                    next.push((world, paths.len() - 1));
                }
            }
        }
        frontier = next;
    }
    let states = seen.len();
    println!("{states:>8} states {edges:>9} edges: {setup:?} {bounds:?}");
    Table::new(TABLE).assert_allows(met.iter().copied());
    met
}

fn judge(
    setup: Setup,
    paths: &[(usize, Option<Action>)],
    mut path: usize,
    last: Option<Action>,
    verdict: Verdict,
) {
    let Err(broken) = verdict else {
        return;
    };
    let mut story: Vec<_> = last.into_iter().collect();
    while let (before, Some(action)) = paths[path] {
        story.push(action);
        path = before;
    }
    story.reverse();
    panic!("{broken}\nin {setup:?}\nafter {story:#?}");
}

fn actions(world: &World, bounds: Bounds) -> Vec<Action> {
    let mut actions = Vec::new();
    for index in 0..world.legs.len() {
        let leg = world.legs[index];
        if !leg.live {
            let late = [
                Event::Readable,
                Event::Ended,
                Event::Failed,
                Event::Writable,
                Event::Acked(1),
            ];
            actions.extend(late.map(|event| Action::Tell(index, event)));
            continue;
        }
        let all = (world.written - leg.sent) as usize;
        let known = world.read.saturating_sub(leg.received) as usize;
        let most = leg.sent + u64::from(leg.finished);
        let mut events = vec![
            Event::Readable,
            Event::Delivered(1),
            Event::Discarded(known),
            Event::Drained,
            Event::Failed,
            Event::Wrote(all),
            Event::Finished,
        ];
        if bounds.stuck {
            events.extend([Event::Ended, Event::Blocked, Event::Writable]);
        }
        if bounds.fine {
            events.extend([Event::Wrote(1), Event::Discarded(1), Event::Acked(1)]);
        }
        if bounds.fine || matches!(world.step, Step::Ask(id) if id.index() == index) {
            events.extend([Event::Acked(leg.acked), Event::Acked(most)]);
        }
        events.retain(|event| world.may_happen(index, *event));
        actions.extend(events.into_iter().map(|event| Action::Tell(index, event)));
    }
    if world.legs.len() < bounds.members {
        actions.extend(bounds.kinds.iter().copied().map(Action::Join));
    }
    if world.written < world.setup.answer && !world.finishing {
        actions.push(Action::Write((world.setup.answer - world.written) as usize));
        if bounds.fine {
            actions.push(Action::Write(1));
        }
    }
    if world.abandoned_at.is_none() {
        actions.push(Action::Abandon);
        if !world.finishing {
            actions.push(Action::Shutdown);
        }
        actions.push(Action::Take);
    }
    if bounds.confined && world.log_max > 1 {
        actions.push(Action::Confine);
    }
    actions.extend(bounds.ticks.iter().copied().map(Action::Pass));
    if world.abandoned_at.is_some() {
        actions.push(Action::Pass(LINGER));
    }
    actions
}

fn key(world: &World) -> u128 {
    let mut mix = Mix(0);
    world.key(&mut mix);
    mix.0
}

/// A hash of 128 bits that is quick without an optimizer. No state is missed
/// by a collision in practice: a million states collide once in 2^88 runs.
struct Mix(u128);

impl Mix {
    fn mix(&mut self, value: u64) {
        const ODD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
        self.0 = (self.0 ^ u128::from(value)).wrapping_mul(ODD);
        self.0 ^= self.0 >> 71;
    }
}

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 as u64
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.mix(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.mix(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.mix(value as u64);
    }
}
