//! What the client brings is read once, and its end is not a loser's.

use headstart_core::pair::{Event, GRACE, LINGER, Outcome, Source, Step, WINDOW_DEFAULT};
use headstart_core::race::Close::Graceful;

use crate::scene::{FIRST, MS, SECOND, Scene};

#[test]
fn p2_bytes_are_delivered_once_whoever_brings_them() {
    let mut scene = Scene::usual().joined();
    scene.reads(SECOND, 5);
    scene.tell(FIRST, Event::Readable);
    assert_eq!(scene.pair.source(), Source::Nowhere);
    scene.expect(Step::Discard(scene.id(FIRST), 5));
    scene.tell(FIRST, Event::Discarded(2));
    scene.expect(Step::Discard(scene.id(FIRST), 3));
    scene.tell(FIRST, Event::Discarded(3));
    assert_eq!(scene.pair.source(), Source::From(scene.id(FIRST)));
    scene.tell(FIRST, Event::Delivered(1));
    scene.tell(FIRST, Event::Drained);
    scene.tell(SECOND, Event::Readable);
    scene.expect(Step::Discard(scene.id(SECOND), 1));
    // Nothing thrown away is nothing there.
    scene.tell(SECOND, Event::Discarded(0));
    scene.waits();
}

#[test]
fn p2_fin_is_no_end_while_another_may_bring_more() {
    let mut scene = Scene::usual().joined();
    scene.tell(FIRST, Event::Ended);
    scene.waits();
    assert_eq!(scene.pair.source(), Source::Nowhere);
    scene.pass(GRACE - MS);
    scene.reads(SECOND, 1);
    scene.pass(5 * GRACE);
    scene.loses(FIRST);
    assert_eq!(scene.pair.source(), Source::Nowhere, "it was a loser's");
}

#[test]
fn p2_bytes_that_wait_for_the_application_come_before_any_end() {
    let mut scene = Scene::usual().joined();
    scene.tell(SECOND, Event::Ended);
    scene.tell(FIRST, Event::Readable);
    scene.pass(2 * GRACE);
    scene.waits();
    assert_eq!(scene.pair.source(), Source::From(scene.id(FIRST)));
    scene.tell(FIRST, Event::Delivered(1));
    scene.tell(FIRST, Event::Drained);
    scene.waits();
    assert_eq!(scene.pair.source(), Source::Nowhere);
}

#[test]
fn p2_fin_counts_after_a_second_beside_a_stuck_sibling() {
    let mut scene = Scene::usual().joined();
    scene.reads(FIRST, 4);
    scene.tell(FIRST, Event::Ended);
    scene.waits();
    scene.pass(GRACE);
    // Not before it is known to be alive.
    assert_eq!(scene.pair.poll(scene.now), Step::Ask(scene.id(FIRST)));
    assert_eq!(scene.pair.source(), Source::Nowhere);
    scene.tell(FIRST, Event::Acked(0));
    assert_eq!(scene.pair.source(), Source::End);
    scene.writes(b"answer"); // it is still answered
    scene.sends(FIRST, b"answer");
}

#[test]
fn p2_a_loser_that_was_closed_gracefully_ends_nothing() {
    let mut scene = Scene::usual().joined();
    scene.writes(b"a");
    scene.sends(FIRST, b"a");
    scene.sends(SECOND, b"a");
    scene.tell(FIRST, Event::Ended);
    scene.pass(GRACE);
    assert_eq!(scene.pair.poll(scene.now), Step::Ask(scene.id(FIRST)));
    scene.tell(FIRST, Event::Failed); // RST came for the byte
    scene.loses(FIRST);
    scene.waits();
    assert_eq!(scene.pair.source(), Source::Nowhere);
}

#[test]
fn p2_fin_counts_at_once_where_losers_are_reset() {
    let mut scene = Scene::resetting().joined();
    scene.tell(FIRST, Event::Ended);
    assert_eq!(scene.pair.source(), Source::End);
}

#[test]
fn p2_fin_of_all_counts_at_once() {
    let mut scene = Scene::usual().joined();
    scene.reads(FIRST, 2);
    scene.tell(FIRST, Event::Ended);
    assert_eq!(scene.pair.source(), Source::Nowhere);
    scene.tell(SECOND, Event::Ended);
    assert_eq!(scene.pair.source(), Source::End);
}

#[test]
fn p2_a_reader_does_not_wait_for_bytes_that_cannot_come() {
    // The first brought bytes and broke; the second ends without them.
    let mut scene = Scene::usual().joined();
    scene.reads(FIRST, 2);
    scene.tell(SECOND, Event::Ended);
    scene.tell(FIRST, Event::Failed);
    scene.loses(FIRST);
    assert_eq!(scene.pair.source(), Source::End);
    scene.pass(WINDOW_DEFAULT);
    scene.waits();
    assert_eq!(scene.pair.take(), Some(scene.id(SECOND)));
}

#[test]
fn p2_fin_counts_also_for_who_wakes_up_late() {
    let mut scene = Scene::usual().joined();
    scene.tell(FIRST, Event::Ended);
    scene.pass(GRACE + MS);
    assert_eq!(scene.pair.poll(scene.now), Step::Ask(scene.id(FIRST)));
    scene.tell(FIRST, Event::Acked(0));
    assert_eq!(scene.pair.source(), Source::End);
}

#[test]
fn p2_a_client_that_has_ended_has_the_answer_without_its_fin() {
    let mut scene = Scene::usual().joined();
    scene.writes(b"answer");
    scene.abandon();
    scene.sends(FIRST, b"answer");
    scene.finishes(FIRST);
    scene.blocks(SECOND);
    scene.tell(FIRST, Event::Ended);
    scene.tell(FIRST, Event::Acked(5));
    scene.waits();
    scene.tell(FIRST, Event::Acked(6));
    scene.expect(Step::Close(scene.id(FIRST), Graceful));
}

#[test]
fn p2_a_member_is_listened_to_until_it_has_spoken_or_ended() {
    let mut scene = Scene::usual().joined();
    let first = scene.id(FIRST);
    assert!(scene.pair.is_quiet(first));
    scene.tell(FIRST, Event::Readable);
    assert!(!scene.pair.is_quiet(first));
    scene.tell(FIRST, Event::Drained);
    assert!(scene.pair.is_quiet(first));
    scene.tell(FIRST, Event::Ended);
    assert!(!scene.pair.is_quiet(first));
    assert!(scene.pair.is_quiet(scene.id(SECOND)));
    scene.tell(SECOND, Event::Failed);
    assert!(!scene.pair.is_quiet(scene.id(SECOND)));
}

/// Two members have all of an answer and its end, and the application has gone.
fn answered_by_both() -> Scene {
    let mut scene = Scene::usual().joined();
    scene.writes(b"answer");
    scene.sends(FIRST, b"answer");
    scene.sends(SECOND, b"answer");
    scene.abandon();
    scene.finishes(FIRST);
    scene.finishes(SECOND);
    scene
}

#[test]
fn p1_who_served_the_client_has_won_and_not_who_is_left_with_the_answer() {
    for dead in [FIRST, SECOND] {
        let alive = SECOND - dead;
        let mut scene = answered_by_both();
        assert_eq!(scene.winner(), None, "nobody has anything for sure");
        scene.tell(alive, Event::Acked(7));
        assert_eq!(scene.sure_winner(), Some(alive));
        assert_eq!(scene.outcome(dead), Outcome::Delivered);
        assert_eq!(scene.winner(), Some(alive));
        scene.expect(Step::Close(scene.id(FIRST), Graceful));
        scene.expect(Step::Close(scene.id(SECOND), Graceful));
        scene.expect(Step::Settled);
        assert_eq!(scene.winner(), Some(alive));
    }
}

#[test]
fn p1_a_winner_is_sure_where_the_application_goes_on_by_a_path_that_works() {
    let mut scene = Scene::resetting().joined();
    scene.tell(SECOND, Event::Readable);
    assert_eq!(scene.sure_winner(), Some(SECOND));
    // What is left of the answer may yet come to nothing.
    scene.abandon();
    assert_eq!((scene.winner(), scene.sure_winner()), (Some(SECOND), None));

    // Who is left alone may be dead.
    let mut scene = Scene::usual().joined();
    scene.tell(SECOND, Event::Failed);
    scene.pass(WINDOW_DEFAULT);
    scene.loses(SECOND);
    assert_eq!((scene.winner(), scene.sure_winner()), (Some(FIRST), None));
}

#[test]
fn p1_who_is_left_when_the_client_was_served_has_not_won() {
    let mut scene = Scene::usual().joined();
    scene.writes(b"a");
    scene.sends(FIRST, b"a");
    scene.sends(SECOND, b"a");
    // The client's bytes came by both, and its end by the first.
    scene.reads(FIRST, 5);
    scene.tell(SECOND, Event::Readable);
    scene.tell(SECOND, Event::Discarded(5));
    scene.tell(SECOND, Event::Drained);
    scene.tell(FIRST, Event::Ended);
    scene.tell(FIRST, Event::Acked(1));
    scene.abandon();
    scene.finishes(FIRST);
    scene.expect(Step::Close(scene.id(FIRST), Graceful));
    scene.finishes(SECOND);
    scene.expect(Step::Close(scene.id(SECOND), Graceful));
    assert_eq!(scene.winner(), Some(FIRST));
}

#[test]
fn p1_of_two_that_hand_over_late_the_one_with_more_has_won() {
    for ahead in [FIRST, SECOND] {
        let mut scene = answered_by_both();
        // Neither end is ever acknowledged.
        scene.tell(SECOND - ahead, Event::Acked(3));
        scene.tell(ahead, Event::Acked(6));
        scene.pass(WINDOW_DEFAULT + LINGER);
        scene.expect(Step::Close(scene.id(FIRST), Graceful));
        scene.expect(Step::Close(scene.id(SECOND), Graceful));
        assert_eq!(scene.winner(), Some(ahead));
    }
}

#[test]
fn p1_a_connection_that_fails_has_not_won() {
    let mut scene = Scene::usual();
    scene.writes(b"answer");
    scene.sends(FIRST, b"answer");
    scene.pass(WINDOW_DEFAULT);
    scene.waits();
    assert_eq!(scene.winner(), Some(FIRST), "nobody else can come");
    scene.tell(FIRST, Event::Failed);
    assert_eq!(scene.winner(), None);
}
