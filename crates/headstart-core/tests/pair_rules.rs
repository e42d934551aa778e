//! One scenario for each rule of the pair, and for each way to get it wrong.

use std::time::Duration;

use headstart_core::Instant;
use headstart_core::pair::{
    Accepted, Config, Event, GRACE, LINGER, MEMBERS_MAX, MemberId, Outcome, Pair, Source, Step,
    WINDOW_DEFAULT,
};
use headstart_core::race::AttemptKind::{self, FastOpen, Plain};
use headstart_core::race::Close::{Abortive, Graceful};

const MS: Duration = Duration::from_millis(1);
const FIRST: usize = 0;
const SECOND: usize = 1;

/// A pair, a clock, and a driver that does what the test says.
struct Scene {
    pair: Pair,
    now: Instant,
}

impl Scene {
    fn new(config: Config) -> Self {
        let now = Instant::from_nanos(5);
        let pair = Pair::new(config, now);
        Self { pair, now }
    }

    fn usual() -> Self {
        Self::new(Config::default())
    }

    fn resetting() -> Self {
        Self::new(Config {
            resets_losers: true,
            ..Config::default()
        })
    }

    fn small_log(log_max: usize) -> Self {
        Self::new(Config {
            log_max,
            ..Config::default()
        })
    }

    /// A second copy has come by plain TCP.
    fn joined(mut self) -> Self {
        assert!(self.joins(Plain));
        self
    }

    fn joins(&mut self, kind: AttemptKind) -> bool {
        self.pair.join(self.now, kind).is_some()
    }

    fn id(&self, index: usize) -> MemberId {
        self.pair.id(index).expect("a member")
    }

    fn tell(&mut self, index: usize, event: Event) {
        let id = self.id(index);
        self.pair.handle(self.now, id, event);
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.saturating_add(time);
    }

    fn write(&mut self, bytes: &[u8]) -> Accepted {
        self.pair.write(self.now, bytes)
    }

    #[track_caller]
    fn writes(&mut self, bytes: &[u8]) {
        assert_eq!(self.write(bytes), Accepted::Bytes(bytes.len()));
    }

    fn abandon(&mut self) {
        self.pair.abandon(self.now);
    }

    /// What the pair wants done, closes and all; questions are answered as if
    /// nothing more was acknowledged.
    #[track_caller]
    fn step(&mut self) -> Step {
        for _ in 0..MEMBERS_MAX {
            let step = self.pair.poll(self.now);
            let Step::Ask(id) = step else {
                return step;
            };
            self.pair.handle(self.now, id, Event::Acked(0));
        }
        panic!("asks without an end")
    }

    #[track_caller]
    fn expect(&mut self, step: Step) {
        assert_eq!(self.step(), step);
    }

    /// These bytes are asked to be sent, and are.
    #[track_caller]
    fn sends(&mut self, index: usize, bytes: &[u8]) {
        let id = self.id(index);
        self.expect(Step::Write(id));
        assert_eq!(self.pair.unsent(id).concat(), bytes);
        self.tell(index, Event::Wrote(bytes.len()));
    }

    #[track_caller]
    fn blocks(&mut self, index: usize) {
        let id = self.id(index);
        self.expect(Step::Write(id));
        self.tell(index, Event::Blocked);
    }

    #[track_caller]
    fn finishes(&mut self, index: usize) {
        let id = self.id(index);
        self.expect(Step::Shutdown(id));
        self.tell(index, Event::Finished);
    }

    #[track_caller]
    fn loses(&mut self, index: usize) {
        let id = self.id(index);
        self.expect(Step::Close(id, Abortive));
    }

    #[track_caller]
    fn waits(&mut self) {
        let step = self.step();
        assert!(matches!(step, Step::Wait(_)), "{step:?}");
    }

    /// The application reads so many bytes that came on this member.
    #[track_caller]
    fn reads(&mut self, index: usize, bytes: usize) {
        let id = self.id(index);
        self.tell(index, Event::Readable);
        assert_eq!(self.pair.source(), Source::From(id));
        self.tell(index, Event::Delivered(bytes));
        self.tell(index, Event::Drained);
    }

    fn chosen(&self) -> Option<usize> {
        self.pair.chosen().map(MemberId::index)
    }

    fn outcome(&self, index: usize) -> Outcome {
        self.pair.member(self.id(index)).expect("a member").1
    }
}

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
    assert_eq!(scene.pair.take(), Some(scene.id(SECOND)));
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
    assert_eq!(scene.pair.take(), Some(scene.id(SECOND)));
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
    scene.tell(FIRST, Event::Ended);
    scene.tell(SECOND, Event::Readable);
    scene.pass(2 * GRACE);
    scene.loses(FIRST);
    scene.tell(SECOND, Event::Delivered(1));
    scene.tell(SECOND, Event::Drained);
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
