//! Gates on a virtual network: each first message once, nothing lost, nobody
//! forgotten. The rules are those of `support::world`; more of their scenarios
//! come from the fuzzer.

mod support;

use std::time::Duration;

use headstart_io::AfterAcceptError;
use support::world::{Plan, Shape};
use support::{Act, Setup, World};

const SHAPES: [Shape; 6] = [
    Shape::Noise,
    Shape::Storj,
    Shape::Token,
    Shape::TokenBehind,
    Shape::Prefix,
    Shape::Tls,
];

fn setup(shape: Shape) -> Setup {
    Setup {
        shape,
        debounce: true,
        message_max: 16 * 1024,
        message_timeout: Duration::from_secs(10),
        waiting_max: 100,
        admitted_max: 100,
    }
}

fn connect(message: u8) -> Act {
    Act::Connect(Plan {
        message,
        body: 20,
        tail: 9,
        ..Plan::default()
    })
}

fn play(setup: Setup, acts: impl IntoIterator<Item = Act>) {
    let mut world = World::new(setup);
    for act in acts {
        if let Err(broken) = world.apply(act) {
            panic!("{broken}, by {act:?} of {setup:?}");
        }
    }
    world.finish().unwrap();
}

#[test]
fn d1_each_message_is_admitted_once_in_whatever_pieces_it_comes() {
    for shape in SHAPES {
        for piece in [1, 2, 7, 24, 1000] {
            let mut acts = vec![Act::Accept, connect(1), connect(2), connect(1)];
            for round in 0..100 {
                acts.extend((0..3).map(|client| Act::Deliver(client, piece)));
                acts.push(Act::Read(round, piece));
            }
            acts.extend([Act::Take, Act::End(0), Act::Fail(1)]);
            play(setup(shape), acts);
        }
    }
}

#[test]
fn slow_spoilt_and_broken_clients_hold_up_nobody() {
    let spoilt = Act::Connect(Plan {
        message: 3,
        body: 20,
        spoilt: Some(1),
        ..Plan::default()
    });
    for shape in SHAPES {
        let acts = [
            connect(1),
            Act::Deliver(0, 1),
            Act::CryWolf(0),
            spoilt,
            connect(2),
            Act::Fail(2),
            connect(3),
            Act::End(3),
            Act::FailAccept(AfterAcceptError::Retry),
            Act::FailAccept(AfterAcceptError::BackOff),
            connect(4),
            Act::Alarm,
            Act::Deliver(4, 1000),
            Act::Deliver(1, 1000),
            Act::Take,
            Act::Pass(Duration::from_secs(11)),
        ];
        play(setup(shape), acts);
    }
}

#[test]
fn a_full_hall_loses_nobody() {
    for (waiting_max, admitted_max) in [(1, 1), (3, 1), (100, 2)] {
        let mut acts = Vec::new();
        for client in 0..10 {
            acts.extend([connect(client), Act::Deliver(client.into(), 1000)]);
        }
        acts.extend([
            Act::Pass(Duration::from_secs(60)),
            Act::Accept,
            Act::GiveUp(0),
        ]);
        let setup = Setup {
            waiting_max,
            admitted_max,
            ..setup(Shape::Token)
        };
        play(setup, acts);
    }
}

#[test]
fn a_listener_that_breaks_ends_the_gate_behind_the_admitted() {
    let acts = [
        connect(1),
        Act::Deliver(0, 1000),
        connect(2),
        Act::FailAccept(AfterAcceptError::Stop),
        Act::Accept,
        Act::Accept,
        Act::Take,
    ];
    play(setup(Shape::Noise), acts);
}

#[test]
fn a_gate_that_closes_says_what_became_of_everyone() {
    for admitted_max in [1, 100] {
        let mut acts: Vec<Act> = (0..5).map(connect).collect();
        acts.extend([
            Act::Deliver(0, 1000),
            Act::Deliver(1, 1),
            Act::Deliver(2, 1000),
            Act::Busy(3),
            Act::Deliver(3, 1000),
            Act::End(1),
            Act::Close,
            Act::Take,
            Act::Accept,
        ]);
        let setup = Setup {
            admitted_max,
            ..setup(Shape::Token)
        };
        play(setup, acts);
    }
}

#[test]
fn nobody_times_out_for_what_the_gate_had_no_time_to_read() {
    let mut acts: Vec<Act> = (0..70).map(connect).collect();
    acts.extend([Act::Busy(2), Act::DeliverAll]);
    acts.push(Act::Pass(Duration::from_secs(20)));
    play(setup(Shape::Noise), acts);
}

#[test]
fn nobody_is_turned_away_for_what_the_runtime_had_no_time_to_tell() {
    let late = Act::Pass(Duration::from_secs(20));
    let mut acts: Vec<Act> = (0..100).map(connect).collect();
    acts.push(Act::LookAway);
    // One is not whole, though more of it comes, and its time is up.
    acts.push(Act::Deliver(50, 1));
    let others = (0..100).filter(|client| *client != 50);
    acts.extend(others.map(|client| Act::Deliver(client, 1000)));
    for end in [late, connect(100)] {
        let acts = acts.iter().copied().chain([end, Act::LookAgain]);
        play(setup(Shape::Noise), acts.clone());
        let admitted_max = 30;
        let full = Setup {
            admitted_max,
            ..setup(Shape::Noise)
        };
        let taken = std::iter::repeat_n(Act::Take, 40);
        play(full, acts.chain(taken).chain([late]));
    }
}

#[test]
fn nobody_makes_room_whose_message_the_gate_had_no_time_to_read() {
    for admitted_max in [1, 2, 100] {
        let mut acts: Vec<Act> = (0..70).map(connect).collect();
        // Many speak before the oldest does, more than are heard in one turn.
        acts.push(Act::Busy(73));
        acts.extend((1..70).map(|client| Act::Deliver(client, 1)));
        acts.extend([Act::Deliver(0, 1000), connect(70), connect(71)]);
        acts.extend([Act::Deliver(70, 1000), Act::Deliver(71, 1000), Act::Accept]);
        let setup = Setup {
            waiting_max: 70,
            admitted_max,
            ..setup(Shape::Noise)
        };
        play(setup, acts);
    }
}

/// Three connections that have begun to speak, of which the first goes on.
fn one_goes_on() -> Vec<Act> {
    let mut acts = vec![connect(1), connect(2), connect(3)];
    acts.extend((0..3).map(|client| Act::Deliver(client, 1)));
    acts.push(Act::Deliver(0, 1));
    acts
}

fn evicted(setup: Setup, acts: impl IntoIterator<Item = Act>) -> Vec<usize> {
    let mut world = World::new(setup);
    for act in acts {
        world.apply(act).expect("no rule is broken");
    }
    let evicted = world.evicted().collect();
    world.finish().expect("no rule is broken");
    evicted
}

#[test]
fn who_goes_on_speaking_stays_before_who_came_later_and_is_silent() {
    let setup = Setup {
        waiting_max: 3,
        ..setup(Shape::Token)
    };
    let mut acts = one_goes_on();
    acts.push(connect(4));
    assert_eq!(evicted(setup, acts.clone()), [1]);
    acts.extend([connect(5), connect(6)]);
    assert_eq!(evicted(setup, acts), [0, 1, 2]);
}

#[test]
fn who_has_spoken_is_not_silent_though_the_gate_had_no_time_to_read() {
    let setup = Setup {
        waiting_max: 70,
        ..setup(Shape::Token)
    };
    let mut acts: Vec<Act> = (0..70).map(connect).collect();
    // All speak, the first last, more than are heard in one turn.
    acts.push(Act::Busy(71));
    acts.extend((1..70).map(|client| Act::Deliver(client, 1)));
    acts.extend([Act::Deliver(0, 1), connect(70)]);
    assert_eq!(evicted(setup, acts), [1]);
}

#[test]
fn a_crowd_that_speaks_all_at_once_does_not_hold_up_who_comes() {
    let setup = Setup {
        waiting_max: 100,
        ..setup(Shape::Token)
    };
    let mut acts: Vec<Act> = (0..100).map(connect).collect();
    for _ in 0..20 {
        acts.push(Act::Busy(101));
        acts.extend((0..100).map(|client| Act::Deliver(client, 1)));
        acts.push(connect(200));
    }
    play(setup, acts);
}
