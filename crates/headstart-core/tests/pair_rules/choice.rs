//! The choice, and what is no choice.

use headstart_core::pair::{Accepted, Event, GRACE, Outcome, Source, Step, WINDOW_DEFAULT};
use headstart_core::race::AttemptKind::Plain;

use crate::scene::{FIRST, MS, SECOND, Scene};

#[test]
fn p1_several_proven_members_stay_after_the_window() {
    let mut scene = Scene::usual().joined();
    scene.writes(b"a");
    scene.sends(FIRST, b"a");
    scene.sends(SECOND, b"a");
    scene.tell(FIRST, Event::Acked(1));
    scene.tell(SECOND, Event::Acked(1));
    scene.pass(2 * WINDOW_DEFAULT);
    scene.waits();
    assert_eq!(scene.chosen(), None, "the client may use either");
    scene.writes(b"b");
    scene.sends(FIRST, b"b");
    scene.sends(SECOND, b"b");
    // Its loser answers with RST.
    scene.tell(FIRST, Event::Failed);
    assert_eq!(scene.chosen(), Some(SECOND));
}

#[test]
fn p1_after_the_window_who_is_not_proven_goes_when_all_were_asked() {
    let mut scene = Scene::usual().joined();
    scene.writes(b"a");
    scene.sends(FIRST, b"a");
    scene.sends(SECOND, b"a");
    scene.tell(FIRST, Event::Acked(1));
    scene.pass(WINDOW_DEFAULT);
    // Nobody had asked the second for as long as nothing depended on it.
    assert_eq!(scene.pair.poll(scene.now), Step::Ask(scene.id(SECOND)));
    scene.waits();
    scene.pass(GRACE - MS);
    scene.waits();
    assert_eq!(scene.chosen(), None);
    scene.pass(MS);
    scene.loses(SECOND);
    assert_eq!(scene.chosen(), Some(FIRST));
}

#[test]
fn p1_a_long_poll_is_answered_on_both_after_the_window() {
    let mut scene = Scene::usual().joined();
    scene.pass(10 * WINDOW_DEFAULT);
    scene.expect(Step::Wait(None));
    assert_eq!(scene.chosen(), None);
    assert!(!scene.joins(Plain), "the window has ended");
    scene.writes(b"a");
    scene.sends(FIRST, b"a");
    scene.sends(SECOND, b"a");
    scene.tell(SECOND, Event::Acked(1));
    scene.waits();
    assert_eq!(
        scene.outcome(FIRST),
        Outcome::Live,
        "its proof may be on its way"
    );
    scene.pass(GRACE);
    scene.loses(FIRST);
    assert_eq!(scene.chosen(), Some(SECOND));
}

#[test]
fn p1_rst_abandons_a_member_and_never_the_pair() {
    let mut scene = Scene::usual().joined();
    scene.reads(FIRST, 3);
    scene.tell(FIRST, Event::Failed);
    scene.loses(FIRST);
    assert_eq!(scene.outcome(FIRST), Outcome::Failed);
    assert_eq!(scene.pair.source(), Source::Nowhere);
    // What the first has brought is known.
    scene.tell(SECOND, Event::Readable);
    scene.expect(Step::Discard(scene.id(SECOND), 3));
    assert_eq!(scene.pair.take(), None, "it would repeat bytes");
    scene.tell(SECOND, Event::Discarded(3));
    assert_eq!(scene.pair.source(), Source::From(scene.id(SECOND)));
    assert_eq!(scene.pair.take(), Some(scene.id(SECOND)));
}

#[test]
fn p1_writes_go_on_while_the_chosen_one_repeats_what_is_known() {
    let mut scene = Scene::small_log(1).joined();
    scene.reads(FIRST, 3);
    scene.tell(FIRST, Event::Failed);
    scene.loses(FIRST);
    scene.tell(SECOND, Event::Readable);
    assert_eq!(scene.chosen(), Some(SECOND));
    for byte in b"abc" {
        scene.writes(&[*byte]);
        assert_eq!(scene.write(b"x"), Accepted::Full);
        scene.tell(SECOND, Event::Drained);
        scene.sends(SECOND, &[*byte]);
        assert!(scene.pair.has_room(), "a writer is woken");
        assert_eq!(scene.write(b""), Accepted::Bytes(0));
    }
}

#[test]
fn p1_a_write_is_bound_only_where_take_succeeds() {
    let mut scene = Scene::resetting().joined();
    scene.writes(b"a");
    scene.tell(SECOND, Event::Readable);
    scene.loses(FIRST);
    assert_eq!(scene.write(b"b"), Accepted::Full, "the log empties first");
    assert!(!scene.pair.has_room());
    scene.sends(SECOND, b"a");
    assert!(scene.pair.has_room(), "a writer is woken to be told");
    assert_eq!(scene.write(b"b"), Accepted::Bound);
    assert_eq!(scene.pair.log_len(), 1);
    assert_eq!(scene.pair.take(), Some(scene.id(SECOND)));
    assert_eq!(scene.pair.log_len(), 0, "nobody will need it");
    let taken = scene
        .pair
        .snapshot()
        .members
        .iter()
        .map(|m| m.taken)
        .collect::<Vec<_>>();
    assert_eq!(taken, [false, true]);
    assert_eq!(scene.pair.take(), None);
}

#[test]
fn p1_a_shut_down_answer_is_taken_behind_its_fin() {
    let mut scene = Scene::resetting().joined();
    scene.tell(SECOND, Event::Readable);
    scene.loses(FIRST);
    scene.pair.shutdown(scene.now);
    assert_eq!(scene.write(b"b"), Accepted::Finished);
    assert_eq!(scene.pair.take(), None);
    scene.finishes(SECOND);
    assert!(scene.pair.is_finished());
    assert_eq!(scene.pair.take(), Some(scene.id(SECOND)));
    assert!(scene.pair.is_finished());
}

#[test]
fn p1_the_client_s_bytes_choose_no_unproven_fast_open() {
    let mut scene = Scene::resetting().joined();
    scene.writes(b"a");
    scene.sends(FIRST, b"a");
    scene.sends(SECOND, b"a");
    scene.tell(FIRST, Event::Readable);
    assert_eq!(scene.pair.poll(scene.now), Step::Ask(scene.id(FIRST)));
    scene.tell(FIRST, Event::Acked(0));
    assert_eq!(scene.chosen(), None);
    assert_eq!(scene.pair.source(), Source::From(scene.id(FIRST)));
    scene.tell(FIRST, Event::Acked(1));
    assert_eq!(scene.chosen(), Some(FIRST));
    scene.loses(SECOND);
}

#[test]
fn p1_a_client_that_says_so_chooses_at_once() {
    let mut scene = Scene::resetting().joined();
    scene.tell(SECOND, Event::Readable);
    scene.loses(FIRST);
    assert_eq!(scene.outcome(SECOND), Outcome::Won);
    assert_eq!(scene.pair.take(), Some(scene.id(SECOND)));
    assert_eq!(scene.outcome(SECOND), Outcome::Won);
}

#[test]
fn p1_a_client_that_copies_onto_both_is_cut_from_neither() {
    let mut scene = Scene::usual().joined();
    scene.reads(SECOND, 3);
    scene.pass(GRACE - MS);
    scene.tell(FIRST, Event::Readable);
    scene.expect(Step::Discard(scene.id(FIRST), 3));
    scene.tell(FIRST, Event::Discarded(3));
    scene.tell(FIRST, Event::Drained);
    scene.pass(5 * GRACE);
    scene.waits();
    assert_eq!(scene.chosen(), None);
    // One breaks: the other is the connection, at the window's end.
    scene.tell(SECOND, Event::Failed);
    scene.loses(SECOND);
    scene.pass(WINDOW_DEFAULT);
    scene.waits();
    assert_eq!(scene.chosen(), Some(FIRST));
}

#[test]
fn p1_a_sole_survivor_is_the_connection_once_no_copy_can_come() {
    let mut scene = Scene::usual();
    scene.pass(WINDOW_DEFAULT - MS);
    scene.waits();
    assert_eq!(scene.chosen(), None);
    scene.expect(Step::Wait(Some(scene.now.saturating_add(MS))));
    scene.pass(MS);
    scene.waits();
    assert_eq!(scene.pair.take(), Some(scene.id(FIRST)));
}

#[test]
fn p1_a_deserted_pair_waits_for_a_late_copy() {
    let mut scene = Scene::usual();
    scene.tell(FIRST, Event::Failed);
    scene.loses(FIRST);
    assert_eq!(scene.pair.source(), Source::Nowhere);
    scene.writes(b"answer");
    scene.pass(WINDOW_DEFAULT - MS);
    scene.waits();
    assert!(scene.joins(Plain));
    scene.sends(SECOND, b"answer");
}

#[test]
fn p1_no_deadline_is_without_a_use() {
    // All are proven: nobody goes for want of a proof.
    let mut scene = Scene::usual().joined();
    scene.writes(b"a");
    scene.sends(FIRST, b"a");
    scene.sends(SECOND, b"a");
    scene.tell(FIRST, Event::Acked(1));
    scene.tell(SECOND, Event::Acked(1));
    scene.pass(WINDOW_DEFAULT);
    scene.expect(Step::Wait(None));
    // The choice has fallen: the window's end brings none.
    let mut scene = Scene::resetting().joined();
    scene.tell(SECOND, Event::Readable);
    scene.loses(FIRST);
    scene.expect(Step::Wait(None));
}
