//! Bounds of time and number, clocks and late words.

use std::time::Duration;

use headstart_core::Instant;
use headstart_core::pair::{
    Accepted, Config, Event, GRACE, LINGER, LOG_DEFAULT, LOG_LIMIT, MEMBERS_MAX, Source, Step,
    WINDOW_DEFAULT,
};
use headstart_core::race::AttemptKind::{FastOpen, Plain};
use headstart_core::race::Close::Graceful;

use crate::scene::{FIRST, MS, SECOND, Scene};

#[test]
fn p3_a_deserted_pair_is_dead_when_the_window_has_ended() {
    let mut scene = Scene::usual();
    scene.tell(FIRST, Event::Failed);
    scene.loses(FIRST);
    scene.expect(Step::Wait(Some(scene.now.saturating_add(WINDOW_DEFAULT))));
    scene.pass(WINDOW_DEFAULT);
    scene.expect(Step::Settled);
    assert_eq!(scene.pair.source(), Source::Dead);
    assert_eq!(scene.write(b"a"), Accepted::Dead);
    assert!(scene.pair.has_room(), "a writer is woken to be told");
    assert!(!scene.joins(Plain));
}

#[test]
fn p3_a_deserted_pair_that_was_proven_waits_for_a_second() {
    let mut scene = Scene::usual();
    scene.writes(b"a");
    scene.sends(FIRST, b"a");
    scene.tell(FIRST, Event::Acked(1));
    scene.tell(FIRST, Event::Failed);
    scene.loses(FIRST);
    scene.pass(GRACE - MS);
    scene.waits();
    assert!(scene.pair.may_join());
    scene.pass(MS);
    scene.expect(Step::Settled);
}

#[test]
fn p3_members_are_bounded_also_those_that_have_gone() {
    let mut scene = Scene::usual();
    for _ in 1..MEMBERS_MAX {
        assert!(scene.joins(FastOpen));
    }
    assert!(!scene.joins(Plain));
    assert_eq!(scene.pair.joined(), MEMBERS_MAX);
    for index in 0..MEMBERS_MAX {
        scene.tell(index, Event::Failed);
        scene.loses(index);
    }
    // There is nobody left to wait for.
    scene.expect(Step::Settled);
}

#[test]
fn p3_no_window_is_no_pair() {
    let mut scene = Scene::new(Config {
        window: Duration::ZERO,
        ..Config::default()
    });
    assert!(!scene.joins(Plain));
    assert_eq!(scene.pair.take(), Some(scene.id(FIRST)));
}

/// The gate has no bytes left for it: it keeps what it has, and no more.
#[test]
fn p3_a_pair_that_is_confined_keeps_no_more_than_it_has() {
    let mut scene = Scene::usual().joined();
    scene.writes(b"ans");
    assert_eq!(scene.pair.room(), LOG_DEFAULT - 3);
    assert_eq!(scene.pair.snapshot().log_max, LOG_DEFAULT);
    scene.pair.confine(scene.now);
    assert_eq!((scene.pair.room(), scene.pair.log_len()), (0, 3));
    assert_eq!(scene.pair.snapshot().log_max, 3);
    assert_eq!(scene.write(b"wer"), Accepted::Full);
    scene.sends(FIRST, b"ans");
    scene.sends(SECOND, b"ans");
    scene.waits();
    assert!(!scene.pair.has_room(), "nobody is proven");
    scene.tell(SECOND, Event::Acked(1));
    assert!(scene.pair.has_room());
    assert_eq!(scene.write(b"wered"), Accepted::Bytes(3));
    assert_eq!(scene.pair.log_len(), 3);
}

/// It was told of room that it then has no more: what is there is forgotten.
#[test]
fn p1_a_pair_that_is_confined_makes_what_room_it_can() {
    let mut scene = Scene::small_log(2).joined();
    scene.writes(b"an");
    assert_eq!(scene.write(b"swer"), Accepted::Full);
    scene.sends(FIRST, b"an");
    scene.expect(Step::Write(scene.id(SECOND)));
    scene.tell(SECOND, Event::Wrote(1));
    scene.tell(FIRST, Event::Acked(1));
    assert!(scene.pair.has_room());
    scene.sends(SECOND, b"n");
    scene.pair.confine(scene.now);
    assert!(scene.pair.has_room());
    scene.writes(b"s");
    assert_eq!(scene.pair.log_len(), 1);
}

/// Nobody is dropped: the client may use the one that is proven last.
#[test]
fn p1_a_pair_that_is_confined_waits_for_a_proof_and_keeps_all_members() {
    let mut scene = Scene::usual().joined();
    scene.writes(b"ans");
    scene.pair.confine(scene.now);
    scene.sends(FIRST, b"ans");
    scene.sends(SECOND, b"ans");
    assert_eq!(scene.write(b"wer"), Accepted::Full);
    assert!(scene.joins(FastOpen), "the answer is there from its start");
    assert_eq!(scene.chosen(), None);
    scene.sends(2, b"ans");
    scene.tell(FIRST, Event::Acked(3));
    scene.writes(b"wer");
    scene.sends(FIRST, b"wer");
    scene.sends(SECOND, b"wer");
    assert_eq!(scene.chosen(), None);
}

/// Before it has anything, it keeps the one byte by which a way is proven.
#[test]
fn p1_a_pair_that_is_confined_to_nothing_answers_all_the_same() {
    let mut scene = Scene::usual();
    scene.pair.confine(scene.now);
    assert_eq!(scene.write(b"answer"), Accepted::Bytes(1));
    assert_eq!(scene.write(b"nswer"), Accepted::Full);
    scene.sends(FIRST, b"a");
    assert!(scene.joins(Plain));
    scene.sends(SECOND, b"a");
    scene.tell(SECOND, Event::Acked(1));
    scene.writes(b"n");
    scene.sends(FIRST, b"n");
    scene.sends(SECOND, b"n");
}

/// What the connection brings next is known, so it is not handed over: the
/// log goes on, and keeps its bound.
#[test]
fn p3_a_survivor_that_is_behind_keeps_the_bound_of_a_confined_pair() {
    let mut scene = Scene::usual().joined();
    scene.reads(FIRST, 5);
    scene.writes(b"ans");
    scene.pair.confine(scene.now);
    scene.tell(FIRST, Event::Failed);
    scene.loses(FIRST);
    scene.pass(WINDOW_DEFAULT);
    scene.sends(SECOND, b"ans");
    assert_eq!(scene.chosen(), Some(SECOND));
    assert_eq!(scene.pair.take(), None);
    assert_eq!(scene.write(b"wered"), Accepted::Bytes(3));
    assert_eq!(scene.write(b"ed"), Accepted::Full, "until it is sent");
    scene.sends(SECOND, b"wer");
    assert_eq!(scene.write(b"ed"), Accepted::Bytes(2));
    assert!(scene.pair.log_len() <= 3);
}

#[test]
fn p3_patience_with_the_silent_ends() {
    let mut scene = Scene::usual().joined();
    scene.writes(b"answer");
    scene.abandon();
    scene.sends(FIRST, b"answer");
    scene.finishes(FIRST);
    scene.blocks(SECOND);
    scene.pass(WINDOW_DEFAULT + LINGER - MS);
    scene.waits();
    scene.pass(MS);
    scene.expect(Step::Close(scene.id(FIRST), Graceful));
    scene.loses(SECOND);
    scene.expect(Step::Settled);
}

#[test]
fn p3_time_never_runs_back() {
    let mut scene = Scene::usual().joined();
    scene.tell(SECOND, Event::Readable);
    scene.pass(GRACE / 2);
    scene.waits();
    let back = Instant::from_nanos(0);
    scene.pair.handle(back, scene.id(FIRST), Event::Writable);
    let Step::Wait(Some(at)) = scene.pair.poll(back) else {
        panic!("waits for ever");
    };
    assert_eq!(at, scene.now.saturating_add(GRACE / 2));
    let mut scene = Scene::usual().joined();
    scene.pass(WINDOW_DEFAULT);
    scene.waits();
    assert_eq!(scene.chosen(), None);
    assert!(
        scene.pair.join(back, Plain).is_none(),
        "the window has ended"
    );
}

#[test]
fn p3_late_events_are_harmless() {
    let mut scene = Scene::resetting().joined();
    scene.tell(SECOND, Event::Readable);
    scene.loses(FIRST);
    let before = scene.pair.snapshot();
    for event in [
        Event::Readable,
        Event::Delivered(3),
        Event::Discarded(3),
        Event::Ended,
        Event::Failed,
        Event::Wrote(3),
        Event::Writable,
        Event::Finished,
        Event::Acked(3),
    ] {
        scene.tell(FIRST, event);
    }
    assert_eq!(scene.pair.snapshot(), before);
}

#[test]
fn p3_the_end_of_patience_is_a_deadline() {
    let mut scene = Scene::usual();
    scene.writes(b"answer");
    scene.abandon();
    scene.blocks(FIRST);
    scene.pass(WINDOW_DEFAULT);
    // It is chosen, and nothing is asked of it any more.
    scene.expect(Step::Wait(Some(scene.now.saturating_add(LINGER))));
}

#[test]
fn p3_patience_with_the_unproven_ends_once_the_client_has_everything() {
    let mut scene = Scene::usual().joined();
    scene.writes(b"answer");
    scene.abandon();
    scene.sends(FIRST, b"answer");
    scene.finishes(FIRST);
    scene.blocks(SECOND);
    scene.tell(FIRST, Event::Acked(7));
    scene.expect(Step::Close(scene.id(FIRST), Graceful));
    scene.pass(WINDOW_DEFAULT - MS);
    scene.waits();
    scene.pass(MS);
    scene.loses(SECOND);
    scene.expect(Step::Settled);
}

#[test]
fn p3_the_log_is_bounded_whatever_is_asked_for() {
    let much = vec![7; 1 << 25];
    let mut scene = Scene::usual();
    assert_eq!(scene.write(&much), Accepted::Bytes(1 << 16));
    let mut scene = Scene::small_log(usize::MAX);
    assert_eq!(scene.write(&much), Accepted::Bytes(1 << 24));
    assert_eq!((LOG_DEFAULT, LOG_LIMIT), (1 << 16, 1 << 24));
}
