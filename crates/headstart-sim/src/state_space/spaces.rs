//! Which races are explored, and how far.
//!
//! Bounds: flights of 2 bytes (Token: 24 more), up to 2 bytes held, 4
//! bytes in all; two attempts, or three.

use std::time::Duration;

use headstart_core::config::{Kinds, LoserClose, Peer, Schedule};
use headstart_core::race::AttemptKind;

use super::explore::explore;
use super::{Bounds, Broken, Flight, Setup, Size};

const FLIGHT: Flight = Flight::Framed(2);
const DELAY: Duration = Duration::from_nanos(10);
const FIRSTS: [AttemptKind; 2] = [AttemptKind::Plain, AttemptKind::FastOpen];

const SMALL: Bounds = Bounds {
    bytes: 4,
    pauses: 0,
    all_failures: false,
    hostile: false,
    coarse: false,
};
const FEW: Bounds = Bounds { bytes: 3, ..SMALL };
const COARSE: Bounds = Bounds {
    coarse: true,
    ..FEW
};
const HOSTILE: Bounds = Bounds {
    hostile: true,
    ..FEW
};

/// Races that are explored alike.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Space {
    /// What they have in common.
    pub name: &'static str,
    /// The races.
    pub setups: Vec<Setup>,
    /// How far the exploration goes.
    pub bounds: Bounds,
}

impl Space {
    /// Explores each race; the size of all together.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn explore(&self) -> Result<Size, Broken> {
        self.setups.iter().try_fold(Size::default(), |size, setup| {
            Ok(size.plus(&explore(*setup, self.bounds)?))
        })
    }
}

/// Every kind of race, as far as takes seconds.
#[must_use]
pub fn spaces() -> Vec<Space> {
    vec![
        space("at once to a pairing peer", SMALL, vec![Setup::new(FLIGHT)]),
        space("at once to a first-come peer", FEW, vec![first_come()]),
        // Which grant the answer more time.
        space(
            "handshakes of different lengths",
            Bounds {
                pauses: 2,
                ..COARSE
            },
            vec![first_come()],
        ),
        // Every event at every state, whether or not anybody asked.
        space("hostile drivers", HOSTILE, vec![Setup::new(FLIGHT)]),
        space("staggered and hedged", COARSE, scheduled()),
        space(
            "flights that end when the application says so",
            COARSE,
            vec![Setup::new(Flight::Asserted), Setup::new(Flight::Token)],
        ),
        space("bytes that may not be copied", HOSTILE, uncopied().to_vec()),
        space(
            "bytes that may not be copied, to two addresses",
            COARSE,
            uncopied()
                .map(|setup| Setup {
                    targets: 2,
                    kinds: Kinds::PlainOnly,
                    ..setup
                })
                .to_vec(),
        ),
        space(
            "one kind alone",
            Bounds {
                bytes: 4,
                ..HOSTILE
            },
            vec![
                kinds(Kinds::PlainOnly),
                kinds(Kinds::FastOpenOnly),
                Setup {
                    held_max: 1,
                    ..kinds(Kinds::PlainOnly)
                },
            ],
        ),
        space("other settings", COARSE, other_settings()),
        space("three attempts of one kind", COARSE, three_attempts()),
        space("three attempts of both kinds", COARSE, mixed(1)),
    ]
}

/// Every combination of settings to one address, under hostile drivers, with every kind of
/// failure and 5 bytes: for a release build, and an hour.
#[must_use]
pub fn every_setting() -> Space {
    let mut schedules = vec![Schedule::AtOnce];
    for first in FIRSTS {
        let delay = DELAY;
        schedules.push(Schedule::Staggered { first, delay });
        schedules.push(Schedule::Hedged { first, delay });
    }
    let flights = [
        FLIGHT,
        Flight::Malformed,
        Flight::Asserted,
        Flight::Token,
        Flight::Unstated,
    ];
    let mut setups = Vec::new();
    for schedule in schedules {
        for flight in flights {
            for peer in [Peer::Unaware, Peer::FirstCome, Peer::Pairing] {
                for losers in [LoserClose::Abortive, LoserClose::Graceful] {
                    setups.push(Setup {
                        schedule,
                        peer,
                        losers,
                        insist: peer == Peer::Unaware,
                        ..Setup::new(flight)
                    });
                }
            }
        }
    }
    let bounds = Bounds {
        bytes: 5,
        pauses: 1,
        all_failures: true,
        hostile: true,
        coarse: false,
    };
    space("every combination of settings", bounds, setups)
}

/// Both kinds of attempt to two addresses, further than [`spaces`] goes: for a
/// release build, and minutes.
#[must_use]
pub fn two_addresses() -> Vec<Space> {
    vec![
        space("three attempts, with every event", FEW, mixed(1)),
        space("four attempts", COARSE, mixed(0)),
    ]
}

fn space(name: &'static str, bounds: Bounds, setups: Vec<Setup>) -> Space {
    Space {
        name,
        setups,
        bounds,
    }
}

const fn first_come() -> Setup {
    Setup {
        peer: Peer::FirstCome,
        ..Setup::new(FLIGHT)
    }
}

const fn kinds(kinds: Kinds) -> Setup {
    Setup {
        kinds,
        ..Setup::new(FLIGHT)
    }
}

fn scheduled() -> Vec<Setup> {
    let delay = DELAY;
    FIRSTS
        .iter()
        .flat_map(|first| {
            let first = *first;
            [
                Schedule::Staggered { first, delay },
                Schedule::Hedged { first, delay },
            ]
        })
        .map(|schedule| Setup {
            schedule,
            ..Setup::new(FLIGHT)
        })
        .collect()
}

const fn uncopied() -> [Setup; 3] {
    [
        Setup::new(Flight::Malformed),
        Setup::new(Flight::Unstated),
        Setup {
            peer: Peer::Unaware,
            ..Setup::new(Flight::Asserted)
        },
    ]
}

fn other_settings() -> Vec<Setup> {
    vec![
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
    ]
}

/// Two addresses at once, to some of which plain goes alone.
fn mixed(suspended: usize) -> Vec<Setup> {
    [Peer::Pairing, Peer::FirstCome]
        .map(|peer| Setup {
            peer,
            targets: 2,
            suspended,
            address_delay: Duration::ZERO,
            ..Setup::new(FLIGHT)
        })
        .to_vec()
}

/// Three attempts of one kind, all at once.
fn three_attempts() -> Vec<Setup> {
    [Kinds::FastOpenOnly, Kinds::PlainOnly]
        .map(|only| Setup {
            targets: 3,
            address_delay: Duration::ZERO,
            ..kinds(only)
        })
        .to_vec()
}
