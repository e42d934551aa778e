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

#[test]
fn p3_a_gate_that_has_too_many_concludes() {
    let mut scene = Scene::usual().joined();
    scene.writes(b"a");
    scene.sends(FIRST, b"a");
    scene.blocks(SECOND);
    scene.tell(FIRST, Event::Acked(1));
    scene.pair.conclude(scene.now);
    scene.loses(SECOND);
    assert_eq!(scene.pair.take(), Some(scene.id(FIRST)));
}

#[test]
fn p3_a_concluded_pair_without_members_waits_for_nobody() {
    let mut scene = Scene::usual();
    scene.tell(FIRST, Event::Failed);
    scene.loses(FIRST);
    scene.pair.conclude(scene.now);
    assert!(!scene.joins(Plain));
    scene.expect(Step::Settled);
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
