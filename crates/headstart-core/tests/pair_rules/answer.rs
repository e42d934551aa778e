//! The answer: written once, from its first byte to every member; and proofs.

use std::time::Duration;

use headstart_core::pair::{Accepted, Event, GRACE, Outcome, Step, WINDOW_DEFAULT};
use headstart_core::race::AttemptKind::Plain;
use headstart_core::race::Close::Graceful;

use crate::scene::{FIRST, MS, SECOND, Scene};

#[test]
fn p1_a_dead_first_copy_does_not_keep_the_second_from_the_answer() {
    let mut scene = Scene::usual();
    scene.writes(b"answer");
    scene.sends(FIRST, b"answer");
    scene.pass(25 * MS);
    assert!(scene.joins(Plain));
    scene.sends(SECOND, b"answer");
    scene.pass(50 * MS);
    scene.reads(SECOND, 7);
    scene.waits();
    assert_eq!(scene.chosen(), None, "the client may copy onto both");
    scene.pass(GRACE);
    scene.loses(FIRST);
    assert_eq!(scene.pair.take(), Some(scene.id(SECOND)));
    scene.expect(Step::Settled);
}

#[test]
fn p1_a_late_copy_is_answered_after_the_application_has_gone() {
    let mut scene = Scene::usual();
    scene.writes(b"answer");
    scene.abandon();
    scene.sends(FIRST, b"answer");
    scene.finishes(FIRST);
    scene.pass(WINDOW_DEFAULT - MS);
    assert!(scene.joins(Plain));
    scene.sends(SECOND, b"answer");
    scene.finishes(SECOND);
    scene.tell(SECOND, Event::Acked(7));
    // The dead one has handed over all, too: its kernel sees to the rest.
    scene.expect(Step::Close(scene.id(FIRST), Graceful));
    scene.expect(Step::Close(scene.id(SECOND), Graceful));
    assert_eq!(scene.outcome(SECOND), Outcome::Delivered);
    assert_eq!(scene.winner(), Some(SECOND));
    scene.expect(Step::Settled);
    assert!(!scene.joins(Plain), "the client has had everything");
}

#[test]
fn p1_an_answer_longer_than_the_log_waits_for_a_proof_and_then_flows() {
    let mut scene = Scene::small_log(4);
    assert_eq!(scene.write(b"answer"), Accepted::Bytes(4));
    assert_eq!(scene.write(b"er"), Accepted::Full);
    assert!(!scene.pair.has_room());
    scene.sends(FIRST, b"answ"); // into a dead path
    scene.waits();
    scene.pass(3 * Duration::from_secs(1));
    assert!(!scene.pair.has_room(), "nobody is proven");
    assert!(scene.joins(Plain));
    scene.sends(SECOND, b"answ");
    scene.tell(SECOND, Event::Acked(2));
    assert!(scene.pair.has_room());
    scene.writes(b"er");
    scene.sends(FIRST, b"er");
    scene.sends(SECOND, b"er");
}

#[test]
fn p1_a_laggard_goes_once_a_proven_member_has_the_whole_log() {
    let mut scene = Scene::small_log(4).joined();
    scene.writes(b"answ");
    scene.blocks(FIRST);
    scene.sends(SECOND, b"answ");
    assert_eq!(scene.write(b"er"), Accepted::Full);
    scene.tell(SECOND, Event::Acked(3));
    scene.waits();
    assert_eq!(
        scene.outcome(FIRST),
        Outcome::Live,
        "the client may lack a byte"
    );
    scene.tell(SECOND, Event::Acked(4));
    scene.loses(FIRST);
    assert_eq!(scene.write(b"er"), Accepted::Bound);
    assert_eq!(scene.pair.take(), Some(scene.id(SECOND)));
}

#[test]
fn p1_a_full_send_buffer_delays_nobody_else() {
    let mut scene = Scene::usual().joined();
    scene.writes(b"answer");
    scene.blocks(FIRST);
    scene.sends(SECOND, b"answer");
    assert!(scene.pair.is_flushed());
    assert!(scene.pair.is_blocked(scene.id(FIRST)));
    scene.tell(FIRST, Event::Writable);
    scene.sends(FIRST, b"answer");
}

#[test]
fn p1_a_log_of_one_byte_is_enough() {
    // A bound of nothing would never take a byte.
    for log_max in [0, 1] {
        let mut scene = Scene::small_log(log_max).joined();
        for byte in b"abc" {
            scene.writes(&[*byte]);
            scene.sends(FIRST, &[*byte]);
            scene.sends(SECOND, &[*byte]);
            if *byte == b'a' {
                assert_eq!(scene.write(b"b"), Accepted::Full);
                scene.tell(SECOND, Event::Acked(1));
            }
            assert!(scene.pair.log_len() <= 1);
        }
    }
}

#[test]
fn p1_who_joins_at_the_log_s_edge_is_refused_once_bytes_are_forgotten() {
    let mut scene = Scene::small_log(1);
    scene.writes(b"a");
    scene.sends(FIRST, b"a");
    scene.tell(FIRST, Event::Acked(1));
    assert!(scene.pair.may_join());
    scene.writes(b"b");
    assert!(!scene.joins(Plain));
    assert_eq!(scene.chosen(), Some(FIRST), "nobody else can come");
}

#[test]
fn p1_a_served_client_does_not_cut_the_member_that_it_reads() {
    let mut scene = Scene::usual().joined();
    scene.pass(WINDOW_DEFAULT);
    scene.writes(b"answer");
    scene.abandon();
    scene.sends(FIRST, b"answer");
    scene.finishes(FIRST);
    let second = scene.id(SECOND);
    scene.expect(Step::Write(second));
    scene.tell(SECOND, Event::Wrote(2));
    scene.blocks(SECOND);
    // The first's kernel has it all, but the client may have chosen the second.
    scene.tell(SECOND, Event::Acked(2));
    scene.tell(FIRST, Event::Acked(7));
    scene.expect(Step::Close(scene.id(FIRST), Graceful));
    scene.waits();
    scene.pass(5 * GRACE);
    scene.waits();
    scene.tell(SECOND, Event::Writable);
    scene.sends(SECOND, b"swer");
    scene.finishes(SECOND);
    scene.expect(Step::Close(scene.id(SECOND), Graceful));
    scene.expect(Step::Settled);
}

#[test]
fn p1_proof_is_asked_for_seldom_and_soon_after_something_moved() {
    let mut scene = Scene::small_log(1);
    scene.writes(b"a");
    scene.sends(FIRST, b"a");
    assert_eq!(scene.write(b"b"), Accepted::Full);
    let mut asked = 0;
    let until = scene.now.saturating_add(Duration::from_secs(4));
    while scene.now < until {
        while let Step::Ask(_) = scene.pair.poll(scene.now) {
            asked += 1;
            scene.tell(FIRST, Event::Acked(0));
        }
        match scene.pair.poll(scene.now) {
            Step::Wait(Some(at)) => scene.now = at,
            step => panic!("{step:?}"),
        }
    }
    assert!((10..=24).contains(&asked), "{asked}");
    assert!(scene.joins(Plain));
    scene.sends(SECOND, b"a");
    let Step::Wait(Some(at)) = scene.step() else {
        panic!("waits for ever");
    };
    assert!(
        at.saturating_since(scene.now) <= 2 * MS,
        "a newcomer answers soon"
    );
}

#[test]
fn p1_a_kernel_that_always_knows_more_is_not_asked_in_a_loop() {
    let mut scene = Scene::small_log(100).joined();
    scene.writes(&[7; 100]);
    scene.sends(FIRST, &[7; 100]);
    scene.blocks(SECOND);
    scene.abandon();
    scene.finishes(FIRST);
    for acked in 1..10 {
        match scene.pair.poll(scene.now) {
            Step::Ask(id) => scene.pair.handle(scene.now, id, Event::Acked(acked)),
            step => assert!(matches!(step, Step::Wait(Some(at)) if at > scene.now)),
        }
    }
    assert!(matches!(scene.pair.poll(scene.now), Step::Wait(Some(_))));
}

#[test]
fn p1_fin_that_is_acknowledged_is_proof_too() {
    let mut scene = Scene::usual().joined();
    scene.abandon();
    scene.finishes(FIRST);
    scene.finishes(SECOND);
    assert!(!scene.pair.is_proven());
    scene.tell(SECOND, Event::Acked(1));
    assert!(scene.pair.is_proven());
    scene.expect(Step::Close(scene.id(FIRST), Graceful));
    scene.expect(Step::Close(scene.id(SECOND), Graceful));
    scene.expect(Step::Settled);
}

#[test]
fn p1_pieces_of_one_write_are_taken_without_a_gap() {
    let mut scene = Scene::small_log(2);
    scene.writes(b"a");
    scene.sends(FIRST, b"a");
    scene.tell(FIRST, Event::Acked(1));
    // Behind the piece that is cut short, room could be made for another.
    let pieces: [&[u8]; 2] = [b"bc", b"d"];
    let taken = scene.pair.write_vectored(scene.now, pieces);
    assert_eq!(taken, Accepted::Bytes(1));
    scene.sends(FIRST, b"b");
    let mut scene = Scene::usual();
    let pieces: [&[u8]; 3] = [b"an", b"", b"swer"];
    let taken = scene.pair.write_vectored(scene.now, pieces);
    assert_eq!(taken, Accepted::Bytes(6));
    scene.sends(FIRST, b"answer");
}

#[test]
fn p1_questions_cease_once_there_is_room() {
    let mut scene = Scene::small_log(4).joined();
    let window_end = scene.now.saturating_add(WINDOW_DEFAULT);
    scene.writes(b"answ");
    assert_eq!(scene.write(b"er"), Accepted::Full);
    scene.sends(FIRST, b"answ");
    scene.sends(SECOND, b"answ");
    scene.tell(FIRST, Event::Acked(2));
    assert!(scene.pair.has_room());
    scene.pass(MS);
    scene.expect(Step::Wait(Some(window_end)));
}

#[test]
fn p1_a_fast_open_that_brings_bytes_is_asked_about_at_once() {
    let mut scene = Scene::small_log(1).joined();
    scene.writes(b"a");
    assert_eq!(scene.write(b"b"), Accepted::Full);
    scene.sends(FIRST, b"a");
    scene.sends(SECOND, b"a");
    scene.waits();
    // All have just been asked. One by plain TCP needs no proof to be chosen.
    scene.tell(SECOND, Event::Readable);
    assert!(matches!(scene.pair.poll(scene.now), Step::Wait(Some(_))));
    scene.tell(FIRST, Event::Readable);
    assert_eq!(scene.pair.poll(scene.now), Step::Ask(scene.id(FIRST)));
}

#[test]
fn p1_a_laggard_goes_also_when_bytes_have_been_forgotten() {
    let mut scene = Scene::small_log(2).joined();
    scene.writes(b"an");
    scene.sends(FIRST, b"an");
    scene.sends(SECOND, b"an");
    scene.tell(SECOND, Event::Acked(2));
    scene.writes(b"sw");
    scene.blocks(FIRST);
    scene.sends(SECOND, b"sw");
    scene.tell(SECOND, Event::Acked(4));
    scene.writes(b"er");
    scene.loses(FIRST);
    scene.sends(SECOND, b"er");
}

#[test]
fn p1_fin_is_sent_as_long_as_somebody_has_it() {
    let mut scene = Scene::usual();
    scene.pair.shutdown(scene.now);
    assert!(!scene.pair.is_finished());
    scene.finishes(FIRST);
    assert!(scene.pair.is_finished());
    scene.tell(FIRST, Event::Failed);
    scene.loses(FIRST);
    assert!(!scene.pair.is_finished(), "a late copy is to have it");
    let mut scene = Scene::usual();
    scene.abandon();
    scene.finishes(FIRST);
    scene.tell(FIRST, Event::Acked(1));
    scene.expect(Step::Close(scene.id(FIRST), Graceful));
    assert!(scene.pair.is_finished());
}

#[test]
fn p1_the_answer_is_flushed_while_a_kernel_has_all_of_it() {
    let mut scene = Scene::usual();
    assert!(scene.pair.is_flushed());
    scene.writes(b"answer");
    assert!(!scene.pair.is_flushed());
    scene.sends(FIRST, b"answer");
    assert!(scene.pair.is_flushed());
    scene.tell(FIRST, Event::Failed);
    scene.loses(FIRST);
    assert!(!scene.pair.is_flushed(), "a late copy is to have it");
}

#[test]
fn p1_who_has_everything_is_not_blocked() {
    let mut scene = Scene::usual();
    let first = scene.id(FIRST);
    scene.writes(b"answer");
    assert!(!scene.pair.is_blocked(first), "its buffer may have room");
    scene.sends(FIRST, b"answer");
    assert!(!scene.pair.is_blocked(first));
    scene.tell(FIRST, Event::Blocked);
    assert!(!scene.pair.is_blocked(first), "there is nothing to be sent");
    scene.writes(b"s");
    assert!(scene.pair.is_blocked(first));
    scene.tell(FIRST, Event::Failed);
    assert!(!scene.pair.is_blocked(first));
}

#[test]
fn p1_nobody_is_asked_while_nothing_depends_on_it() {
    let mut scene = Scene::usual().joined();
    let window_end = scene.now.saturating_add(WINDOW_DEFAULT);
    scene.writes(b"ab");
    scene.sends(FIRST, b"ab");
    scene.sends(SECOND, b"ab");
    let asked = scene.pair.poll(scene.now);
    assert_eq!(asked, Step::Wait(Some(window_end)), "others may come");
    scene.tell(SECOND, Event::Readable);
    let asked = scene.pair.poll(scene.now);
    let spoken = scene.now.saturating_add(GRACE);
    assert_eq!(asked, Step::Wait(Some(spoken)), "it came by plain TCP");
    scene.tell(SECOND, Event::Drained);
    scene.tell(FIRST, Event::Acked(1));
    scene.tell(SECOND, Event::Acked(1));
    scene.pass(WINDOW_DEFAULT);
    let asked = scene.pair.poll(scene.now);
    assert_eq!(asked, Step::Wait(None), "both are proven");
}

#[test]
fn p1_who_is_not_proven_is_asked_after_the_window() {
    let mut scene = Scene::usual().joined();
    scene.writes(b"a");
    scene.sends(FIRST, b"a");
    scene.sends(SECOND, b"a");
    scene.pass(WINDOW_DEFAULT);
    for index in [FIRST, SECOND] {
        assert_eq!(scene.pair.poll(scene.now), Step::Ask(scene.id(index)));
        scene.tell(index, Event::Acked(0));
    }
    scene.waits();
}

#[test]
fn p1_a_fast_open_that_has_brought_bytes_is_asked_again() {
    let mut scene = Scene::usual().joined();
    scene.writes(b"a");
    scene.sends(FIRST, b"a");
    scene.sends(SECOND, b"a");
    scene.tell(FIRST, Event::Readable);
    scene.expect(Step::Wait(Some(scene.now.saturating_add(2 * MS))));
}
