//! The whole reachable state space of small races, every rule asserted on
//! every edge (R1 to R16).
//!
//! Breadth first over cloned races: in every state every event of every
//! attempt is told, asked for or not; the application does all that it can;
//! time passes to the deadline and, a few times, a little. Bounds: flights of
//! 2 bytes (Token: 24 more), up to 2 bytes held, 4 bytes in all. With
//! `HEADSTART_STATE_SPACE=full` in the environment every combination of
//! settings is explored by hostile drivers, with every kind of failure and 5
//! bytes: for a release build, and an hour.

mod common;

use std::collections::HashSet;
use std::hash::Hasher;
use std::time::Duration;

use common::{Action, Flight, Setup, World, goodwill};
use headstart_core::config::{Kinds, LoserClose, Peer, Schedule};
use headstart_core::race::{AttemptKind, Event, Failure, FailureKind, Progress, SynData};

const FLIGHT: Flight = Flight::Framed(2);
const DELAY: Duration = Duration::from_nanos(10);
const PAUSE: Duration = Duration::from_nanos(4);

/// How far an exploration goes.
#[derive(Clone, Copy)]
struct Bounds {
    /// Bytes that the application writes at most.
    bytes: usize,
    /// Times that a little time passes.
    pauses: u8,
    /// Every kind of failure, or one of each class.
    all_failures: bool,
    /// Anything at any time, not only what a driver may truly say.
    hostile: bool,
    /// Whole writes and one event of each kind.
    coarse: bool,
}

const SMALL: Bounds = Bounds {
    bytes: 4,
    pauses: 0,
    all_failures: false,
    hostile: false,
    coarse: false,
};

fn is_full() -> bool {
    std::env::var_os("HEADSTART_STATE_SPACE").is_some_and(|value| value == "full")
}

#[test]
fn at_once_to_a_pairing_peer() {
    explore_all(&[Setup::new(FLIGHT)], SMALL);
}

#[test]
fn at_once_to_a_first_come_peer() {
    let setup = Setup {
        peer: Peer::FirstCome,
        ..Setup::new(FLIGHT)
    };
    explore_all(&[setup], Bounds { bytes: 3, ..SMALL });
    // Handshakes of different lengths, which grant the answer more time.
    explore_all(
        &[setup],
        Bounds {
            bytes: 3,
            pauses: 2,
            coarse: true,
            ..SMALL
        },
    );
}

/// Every event at every state, whether or not anybody asked.
#[test]
fn hostile_drivers() {
    let bounds = Bounds {
        bytes: 3,
        hostile: true,
        ..SMALL
    };
    explore_all(&[Setup::new(FLIGHT)], bounds);
}

#[test]
fn staggered_and_hedged() {
    let mut setups = Vec::new();
    for first in [AttemptKind::Plain, AttemptKind::FastOpen] {
        let staggered = Schedule::Staggered {
            first,
            delay: DELAY,
        };
        let hedged = Schedule::Hedged {
            first,
            delay: DELAY,
        };
        for schedule in [staggered, hedged] {
            setups.push(Setup {
                schedule,
                ..Setup::new(FLIGHT)
            });
        }
    }
    explore_all(
        &setups,
        Bounds {
            bytes: 3,
            coarse: true,
            ..SMALL
        },
    );
}

#[test]
fn flights_that_end_when_the_application_says_so() {
    let setups = [Setup::new(Flight::Asserted), Setup::new(Flight::Token)];
    explore_all(
        &setups,
        Bounds {
            bytes: 3,
            coarse: true,
            ..SMALL
        },
    );
}

#[test]
fn bytes_that_may_not_be_copied() {
    let unaware = Setup {
        peer: Peer::Unaware,
        ..Setup::new(Flight::Asserted)
    };
    let setups = [
        Setup::new(Flight::Malformed),
        Setup::new(Flight::Unstated),
        unaware,
    ];
    explore_all(
        &setups,
        Bounds {
            bytes: 3,
            hostile: true,
            ..SMALL
        },
    );
    let two = setups.map(|setup| Setup {
        targets: 2,
        kinds: Kinds::PlainOnly,
        ..setup
    });
    explore_all(
        &two,
        Bounds {
            bytes: 3,
            coarse: true,
            ..SMALL
        },
    );
}

#[test]
fn one_kind_alone_and_other_settings() {
    let kinds = |kinds| Setup {
        kinds,
        ..Setup::new(FLIGHT)
    };
    let alone = [
        kinds(Kinds::PlainOnly),
        kinds(Kinds::FastOpenOnly),
        Setup {
            held_max: 1,
            ..kinds(Kinds::PlainOnly)
        },
    ];
    explore_all(
        &alone,
        Bounds {
            hostile: true,
            ..SMALL
        },
    );
    let setups = [
        Setup {
            losers: LoserClose::Graceful,
            ..Setup::new(FLIGHT)
        },
        Setup {
            peer: Peer::Unaware,
            insist: true,
            ..Setup::new(FLIGHT)
        },
        Setup {
            syn_payload: 1,
            ..Setup::new(FLIGHT)
        },
    ];
    explore_all(
        &setups,
        Bounds {
            bytes: 3,
            coarse: true,
            ..SMALL
        },
    );
}

/// Three attempts of one kind, all at once.
#[test]
fn three_attempts() {
    let three = Setup {
        targets: 3,
        address_delay: Duration::ZERO,
        ..Setup::new(FLIGHT)
    };
    let setups = [
        Setup {
            kinds: Kinds::FastOpenOnly,
            ..three
        },
        Setup {
            kinds: Kinds::PlainOnly,
            ..three
        },
    ];
    explore_all(
        &setups,
        Bounds {
            bytes: 3,
            coarse: true,
            ..SMALL
        },
    );
}

#[test]
fn every_combination_of_settings() {
    if !is_full() {
        return;
    }
    let firsts = [AttemptKind::Plain, AttemptKind::FastOpen];
    let mut schedules = vec![Schedule::AtOnce];
    for first in firsts {
        schedules.push(Schedule::Staggered {
            first,
            delay: DELAY,
        });
        schedules.push(Schedule::Hedged {
            first,
            delay: DELAY,
        });
    }
    let flights = [
        FLIGHT,
        Flight::Malformed,
        Flight::Asserted,
        Flight::Token,
        Flight::Unstated,
    ];
    let peers = [Peer::Unaware, Peer::FirstCome, Peer::Pairing];
    let mut setups = Vec::new();
    for schedule in schedules {
        for flight in flights {
            for peer in peers {
                for losers in [LoserClose::Abortive, LoserClose::Graceful] {
                    let insist = peer == Peer::Unaware;
                    setups.push(Setup {
                        schedule,
                        peer,
                        losers,
                        insist,
                        ..Setup::new(flight)
                    });
                }
            }
        }
    }
    explore_all(
        &setups,
        Bounds {
            bytes: 5,
            pauses: 1,
            all_failures: true,
            hostile: true,
            ..SMALL
        },
    );
}

fn explore_all(setups: &[Setup], bounds: Bounds) {
    for setup in setups {
        let (states, edges) = explore(*setup, bounds);
        let Setup {
            flight,
            peer,
            kinds,
            schedule,
            targets,
            ..
        } = setup;
        println!(
            "{states:>8} states {edges:>9} edges: {flight:?} {peer:?} {kinds:?} {schedule:?} {targets}"
        );
    }
}

/// A state, and how it was reached.
struct Node {
    world: World,
    pauses: u8,
    path: usize,
}

/// Every path's last action, and the path before it.
type Paths = Vec<(usize, Option<Action>)>;

fn explore(setup: Setup, bounds: Bounds) -> (usize, usize) {
    let mut paths: Paths = vec![(0, None)];
    let start = World::new(setup).unwrap_or_else(|broken| panic!("{setup:?}: {broken}"));
    let mut seen = HashSet::from([key(&start, 0)]);
    let mut frontier = vec![Node {
        world: start,
        pauses: 0,
        path: 0,
    }];
    let mut edges = 0;
    while !frontier.is_empty() {
        let mut next = Vec::new();
        for node in &frontier {
            judge(setup, &paths, node.path, None, state_rules(&node.world));
            for action in actions(&node.world, node.pauses, bounds) {
                edges += 1;
                let mut world = node.world.clone();
                let verdict = world.apply(action);
                judge(setup, &paths, node.path, Some(action), verdict);
                if world.is_like(&node.world) {
                    continue;
                }
                let pauses = node.pauses + u8::from(matches!(action, Action::Pass(_)));
                if seen.insert(key(&world, pauses)) {
                    paths.push((node.path, Some(action)));
                    next.push(Node {
                        world,
                        pauses,
                        path: paths.len() - 1,
                    });
                }
            }
        }
        frontier = next;
    }
    (seen.len(), edges)
}

/// What must hold of every state, and takes more than a look at it.
fn state_rules(world: &World) -> Result<(), String> {
    goodwill::no_lost_wake_up(world)?;
    for good in 0..world.legs.len() {
        if world.contends(good) {
            goodwill::r15_progress(world, good)?;
            goodwill::r16_write_then_drop(world, good)?;
        }
    }
    Ok(())
}

fn judge(
    setup: Setup,
    paths: &Paths,
    mut path: usize,
    last: Option<Action>,
    verdict: Result<(), String>,
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

fn key(world: &World, pauses: u8) -> u128 {
    let mut mix = Mix(u128::from(pauses));
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

fn actions(world: &World, pauses: u8, bounds: Bounds) -> Vec<Action> {
    let mut actions = Vec::new();
    for index in 0..world.legs.len() {
        let events = events(bounds);
        actions.extend(
            events
                .into_iter()
                .filter(|event| bounds.hostile || world.may_happen(index, *event))
                .map(|event| Action::Tell(index, event)),
        );
    }
    let sizes = if bounds.coarse {
        bounds.bytes..=bounds.bytes
    } else {
        1..=3
    };
    for bytes in sizes {
        if world.accepted + bytes <= bounds.bytes {
            actions.push(Action::Write(bytes));
        }
    }
    if world.accepted == 0 {
        actions.push(Action::FirstFlight(2));
    }
    actions.extend([
        Action::EndFlight,
        Action::Shutdown,
        Action::Abandon,
        Action::Take,
        Action::Deadline,
    ]);
    if pauses < bounds.pauses {
        actions.push(Action::Pass(PAUSE));
    }
    actions
}

fn events(bounds: Bounds) -> Vec<Event> {
    if bounds.coarse {
        return vec![
            Event::Started(Progress::Handshake),
            Event::Started(Progress::DataInSyn(99)),
            Event::NotStarted(Failure::new(FailureKind::NoResources)),
            Event::Opened(SynData::Acknowledged),
            Event::Wrote(16),
            Event::Blocked,
            Event::Writable,
            Event::Finished,
            Event::Quiet,
            Event::Replied,
            Event::Ended,
            Event::Failed(Failure::new(FailureKind::Reset)),
        ];
    }
    let mut events = vec![
        Event::Started(Progress::Handshake),
        Event::Started(Progress::DataInSyn(1)),
        Event::Started(Progress::DataInSyn(99)),
        Event::Started(Progress::CookieRequest),
        Event::NotStarted(Failure::new(FailureKind::NoResources)),
        Event::Opened(SynData::None),
        Event::Opened(SynData::Acknowledged),
        Event::Opened(SynData::Ignored),
        Event::Wrote(0),
        Event::Wrote(1),
        Event::Wrote(99),
        Event::Blocked,
        Event::Writable,
        Event::Finished,
        Event::Quiet,
        Event::Replied,
        Event::Ended,
        Event::Failed(Failure::new(FailureKind::Reset)),
        Event::Failed(Failure::new(FailureKind::TimedOut)),
    ];
    if bounds.all_failures {
        let more = [
            FailureKind::Refused,
            FailureKind::Unreachable,
            FailureKind::NoResources,
            FailureKind::NotPermitted,
            FailureKind::Unsupported,
            FailureKind::Other,
        ];
        events.extend(more.map(|kind| Event::Failed(Failure::new(kind))));
    }
    events
}
