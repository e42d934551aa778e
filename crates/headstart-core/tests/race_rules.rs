//! One scenario for each rule of the race.

mod common;

use std::time::Duration;

use common::{Flight, Setup};
use headstart_core::config::{
    COOKIE_WAIT, ConfigError, FirstFlight, Kinds, LoserClose, Peer, RaceConfig, Schedule,
};
use headstart_core::framing::FLIGHT_MAX;
use headstart_core::framing::token::HEADER_LEN;
use headstart_core::race::{
    Accepted, AttemptId, AttemptKind, Close, Ending, Event, Exit, Failure, FailureKind, NotStarted,
    Outcome, Progress, Race, Reasons, Step, SynData,
};
use headstart_core::time::Instant;

const MS: Duration = Duration::from_millis(1);

/// The attempts of a race to one address, at once.
const PLAIN: usize = 0;
const FAST_OPEN: usize = 1;

/// A race, a clock, and a driver that does what the test says.
#[derive(Clone)]
struct Scene {
    race: Race,
    now: Instant,
}

impl Scene {
    fn new(config: RaceConfig) -> Self {
        let now = Instant::from_nanos(0);
        Self {
            race: Race::new(config, now),
            now,
        }
    }

    /// An asserted flight, a peer that pairs, real times.
    fn asserted() -> Self {
        Self::of(setup())
    }

    fn of(setup: Setup) -> Self {
        Self::new(setup.config())
    }

    /// Plain's SYN is out, and Fast Open's with the whole flight.
    fn racing(setup: Setup) -> Self {
        let mut scene = Self::of(setup);
        scene.starts(PLAIN, Progress::Handshake);
        scene.writes(b"hello");
        scene.race.end_flight(scene.now);
        scene.starts(FAST_OPEN, Progress::DataInSyn(5));
        scene
    }

    fn id(&self, index: usize) -> AttemptId {
        self.race.id(index).expect("an attempt")
    }

    fn tell(&mut self, index: usize, event: Event) {
        let id = self.id(index);
        self.race.handle(self.now, id, event);
    }

    fn fail(&mut self, index: usize, kind: FailureKind) {
        self.tell(index, Event::Failed(Failure::new(kind)));
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.saturating_add(time);
    }

    fn writes(&mut self, bytes: &[u8]) {
        assert_eq!(
            self.race.write(self.now, bytes),
            Accepted::Bytes(bytes.len())
        );
    }

    #[track_caller]
    fn expect(&mut self, step: Step) {
        assert_eq!(self.race.poll(self.now), step);
    }

    #[track_caller]
    fn expect_start(&mut self, index: usize) {
        let id = self.id(index);
        self.expect(Step::Start(id));
    }

    #[track_caller]
    fn starts(&mut self, index: usize, progress: Progress) {
        self.expect_start(index);
        self.tell(index, Event::Started(progress));
    }

    #[track_caller]
    fn opens(&mut self, index: usize) {
        self.tell(index, Event::Opened(SynData::Acknowledged));
    }

    /// The race wants exactly these bytes written, and they are.
    #[track_caller]
    fn expect_write(&mut self, index: usize, bytes: &[u8]) {
        let id = self.id(index);
        self.expect(Step::Write(id));
        assert_eq!(self.race.unsent(id).concat(), bytes);
        self.tell(index, Event::Wrote(bytes.len()));
    }

    #[track_caller]
    fn expect_look(&mut self, index: usize) {
        let id = self.id(index);
        self.expect(Step::Look(id));
        self.tell(index, Event::Quiet);
    }

    #[track_caller]
    fn expect_shutdown(&mut self, index: usize) {
        let id = self.id(index);
        self.expect(Step::Shutdown(id));
        self.tell(index, Event::Finished);
    }

    #[track_caller]
    fn expect_close(&mut self, index: usize, close: Close) {
        let id = self.id(index);
        self.expect(Step::Close(id, close));
    }

    #[track_caller]
    fn expect_wait(&mut self, time: impl Into<Option<Duration>>) {
        let until = time.into().map(|time| self.now.saturating_add(time));
        self.expect(Step::Wait(until));
    }

    #[track_caller]
    fn expect_chosen(&self, index: impl Into<Option<usize>>) {
        assert_eq!(self.race.chosen().map(|id| id.index()), index.into());
    }

    #[track_caller]
    fn expect_taken(&mut self, index: usize) {
        assert_eq!(self.race.take().map(|id| id.index()), Some(index));
    }

    #[track_caller]
    fn expect_exit(&self, index: usize, exit: Exit) {
        assert_eq!(
            self.race.report().attempts[index].outcome,
            Outcome::Out(exit)
        );
    }
}

fn setup() -> Setup {
    Setup {
        held_max: 1000,
        cutover_wait: 1000 * MS,
        address_delay: 250 * MS,
        ..Setup::new(Flight::Asserted)
    }
}

const fn not_started(why: NotStarted) -> Exit {
    Exit::NotStarted(why)
}

#[test]
fn r1_dial_returns_at_once() {
    let mut scene = Scene::asserted();
    scene.expect_start(PLAIN);
    scene.writes(b"nobody waits for a connection");
}

#[test]
fn r2_one_flight_many_cursors() {
    let mut scene = Scene::asserted();
    scene.starts(PLAIN, Progress::Handshake);
    scene.writes(b"hel");
    scene.writes(b"lo");
    scene.race.end_flight(scene.now);
    scene.starts(FAST_OPEN, Progress::DataInSyn(2));
    scene.opens(PLAIN);
    scene.opens(FAST_OPEN);
    let plain = scene.id(PLAIN);
    scene.expect(Step::Write(plain));
    scene.tell(PLAIN, Event::Wrote(4));
    scene.expect_write(PLAIN, b"o");
    scene.expect_write(FAST_OPEN, b"llo");
    scene.expect_wait(None);
}

#[test]
fn r3_first_byte_wins_and_connected_decides_nothing() {
    let mut scene = Scene::racing(setup());
    scene.opens(PLAIN);
    scene.expect_write(PLAIN, b"hello");
    scene.expect_wait(None);
    scene.expect_chosen(None);
    scene.opens(FAST_OPEN);
    scene.tell(FAST_OPEN, Event::Replied);
    scene.expect_chosen(FAST_OPEN);
    scene.expect_close(PLAIN, Close::Abortive);
    scene.expect_taken(FAST_OPEN);
    scene.expect(Step::Settled);
}

#[test]
fn r4_one_out_is_not_all_out() {
    let mut scene = Scene::racing(setup());
    scene.fail(PLAIN, FailureKind::Unreachable);
    assert_eq!(scene.race.ending(), None);
    scene.expect_close(PLAIN, Close::Abortive);
    scene.fail(FAST_OPEN, FailureKind::TimedOut);
    let Some(Ending::Failed(reasons)) = scene.race.ending() else {
        panic!("two failures are an error");
    };
    assert_eq!(
        reasons.to_string(),
        "plain: unreachable; fast open: timed out"
    );
    assert_eq!(
        reasons.leading().map(|f| f.kind),
        Some(FailureKind::Unreachable)
    );
}

#[test]
fn r4_the_failure_of_plain_stands_for_all_whoever_came_first() {
    let mut scene = Scene::of(Setup {
        schedule: Schedule::Hedged {
            first: AttemptKind::FastOpen,
            delay: 30 * MS,
        },
        ..setup()
    });
    let leading = |scene: &Scene| scene.race.reasons().leading().map(|failure| failure.kind);
    let (fast_open, plain) = (0, 1);
    scene.writes(b"hello");
    scene.race.end_flight(scene.now);
    scene.starts(fast_open, Progress::DataInSyn(5));
    scene.fail(fast_open, FailureKind::TimedOut);
    assert_eq!(leading(&scene), Some(FailureKind::TimedOut));
    scene.expect_close(fast_open, Close::Abortive);
    scene.starts(plain, Progress::Handshake);
    scene.fail(plain, FailureKind::Refused);
    assert_eq!(leading(&scene), Some(FailureKind::Refused));
}

#[test]
fn r4_the_end_of_the_connection_is_told_with_the_reasons_of_the_others() {
    let mut scene = Scene::racing(setup());
    scene.fail(PLAIN, FailureKind::Unreachable);
    scene.expect_chosen(FAST_OPEN);
    let end = |reasons: Reasons, kind| {
        let exit = Exit::Failed(Failure::new(kind));
        match reasons.end(scene.id(FAST_OPEN), AttemptKind::FastOpen, exit) {
            Ending::Failed(reasons) => reasons,
            Ending::Eof => panic!("two failures are an error"),
        }
    };
    let once = end(scene.race.reasons(), FailureKind::TimedOut);
    assert_eq!(once.to_string(), "plain: unreachable; fast open: timed out");
    let again = end(once, FailureKind::Reset);
    assert_eq!(again.to_string(), "plain: unreachable; fast open: reset");
}

#[test]
fn r4_an_end_after_the_whole_flight_and_a_reset_are_an_end() {
    let mut scene = Scene::racing(setup());
    scene.tell(FAST_OPEN, Event::Ended);
    scene.expect_chosen(PLAIN);
    scene.fail(PLAIN, FailureKind::Reset);
    assert_eq!(scene.race.ending(), Some(Ending::Eof));
}

#[test]
fn r4_an_end_before_the_whole_flight_is_an_error() {
    let mut scene = Scene::racing(setup());
    scene.opens(PLAIN);
    scene.tell(PLAIN, Event::Ended);
    scene.fail(FAST_OPEN, FailureKind::Reset);
    assert!(matches!(scene.race.ending(), Some(Ending::Failed(_))));
    scene.expect_exit(PLAIN, Exit::Ended { whole: false });
}

#[test]
fn r4_an_end_amid_the_flight_is_an_error() {
    let mut scene = Scene::racing(setup());
    scene.opens(PLAIN);
    scene.tell(PLAIN, Event::Wrote(4));
    scene.tell(PLAIN, Event::Ended);
    scene.expect_exit(PLAIN, Exit::Ended { whole: false });
}

#[test]
fn r4_an_end_after_the_whole_flight_and_a_time_out_are_an_error() {
    let mut scene = Scene::racing(setup());
    scene.tell(FAST_OPEN, Event::Ended);
    scene.fail(PLAIN, FailureKind::TimedOut);
    assert!(matches!(scene.race.ending(), Some(Ending::Failed(_))));
}

#[test]
fn r5_sole_survivor_is_the_connection_and_reasons_are_kept() {
    let mut scene = Scene::racing(setup());
    scene.fail(PLAIN, FailureKind::Refused);
    scene.expect_chosen(FAST_OPEN);
    scene.writes(b" there");
    scene.expect_close(PLAIN, Close::Abortive);
    scene.opens(FAST_OPEN);
    scene.expect_write(FAST_OPEN, b" there");
    scene.expect_taken(FAST_OPEN);
    assert_eq!(scene.race.reasons().to_string(), "plain: refused");
}

#[test]
fn r5_the_end_of_the_connection_leaves_what_was_written_to_be_delivered() {
    let mut scene = Scene::of(Setup {
        kinds: Kinds::PlainOnly,
        ..setup()
    });
    scene.starts(PLAIN, Progress::Handshake);
    scene.writes(b"a log that nobody answers");
    scene.opens(PLAIN);
    scene.tell(PLAIN, Event::Ended);
    scene.expect_write(PLAIN, b"a log that nobody answers");
    scene.expect_taken(PLAIN);
}

#[test]
fn r6_the_copy_has_an_end_and_held_bytes_go_to_plain() {
    let mut scene = Scene::racing(setup());
    scene.writes(b" there");
    scene.expect_wait(1000 * MS);
    scene.opens(FAST_OPEN);
    scene.expect_wait(1000 * MS);
    scene.opens(PLAIN);
    scene.expect_look(PLAIN);
    scene.expect_look(FAST_OPEN);
    scene.expect_chosen(PLAIN);
    scene.expect_close(FAST_OPEN, Close::Abortive);
    scene.expect_write(PLAIN, b"hello there");
}

#[test]
fn r6_a_last_look_may_find_the_reply() {
    let mut scene = Scene::racing(setup());
    scene.writes(b" there");
    scene.opens(FAST_OPEN);
    scene.opens(PLAIN);
    scene.expect_look(PLAIN);
    scene.tell(FAST_OPEN, Event::Replied);
    scene.expect_chosen(FAST_OPEN);
}

#[test]
fn r6_a_snapshot_says_who_had_nothing_to_say_at_the_last_look() {
    let mut scene = Scene::racing(setup());
    scene.writes(b" there");
    scene.opens(PLAIN);
    assert_eq!(scene.race.snapshot().looked, 0b00);
    scene.expect_look(PLAIN);
    assert_eq!(scene.race.snapshot().looked, 0b01);
    scene.expect_look(FAST_OPEN);
    assert_eq!(scene.race.snapshot().looked, 0b11);
}

#[test]
fn r6_to_a_first_come_peer_held_bytes_follow_the_acknowledged_copy() {
    let mut scene = Scene::racing(Setup {
        peer: Peer::FirstCome,
        ..setup()
    });
    scene.writes(b" there");
    scene.opens(FAST_OPEN);
    scene.opens(PLAIN);
    scene.expect_look(PLAIN);
    scene.expect_look(FAST_OPEN);
    scene.expect_chosen(FAST_OPEN);
}

#[test]
fn r6_without_plain_an_open_fast_open_takes_held_bytes_in_the_end() {
    let mut scene = Scene::racing(setup());
    scene.writes(b" there");
    scene.opens(FAST_OPEN);
    scene.expect_wait(1000 * MS);
    scene.pass(1000 * MS);
    scene.expect_look(PLAIN);
    scene.expect_look(FAST_OPEN);
    scene.expect_chosen(FAST_OPEN);
}

#[test]
fn r6_held_bytes_do_not_wait_for_a_plain_that_cannot_open() {
    let config = RaceConfig::builder()
        .target(1_400)
        .target(1_400)
        .first_flight(FirstFlight::Asserted)
        .peer(Peer::Pairing)
        .build()
        .expect("sane settings");
    let mut scene = Scene::new(config);
    let refused = Event::Failed(Failure::new(FailureKind::Refused));
    scene.starts(0, Progress::Handshake);
    scene.writes(b"hello");
    scene.race.end_flight(scene.now);
    scene.starts(1, Progress::DataInSyn(5));
    scene.tell(0, refused);
    scene.expect_close(0, Close::Abortive);
    scene.starts(2, Progress::Handshake);
    scene.starts(3, Progress::DataInSyn(5));
    scene.tell(2, refused);
    scene.expect_close(2, Close::Abortive);
    scene.writes(b" there");
    scene.opens(3);
    scene.expect_look(1);
    scene.expect_look(3);
    scene.expect_chosen(3);
}

#[test]
fn r6_held_bytes_have_a_bound_however_they_are_written() {
    let mut scene = Scene::of(Setup {
        held_max: 2,
        ..Setup::new(Flight::Framed(2))
    });
    let bytes = [1, 7, 8, 9, 10, 11];
    assert_eq!(scene.race.write(scene.now, &bytes), Accepted::Bytes(4));
    assert_eq!(scene.race.write(scene.now, &bytes), Accepted::Full);
}

#[test]
fn r7_no_needless_copy_beside_an_open_plain() {
    let mut scene = Scene::asserted();
    scene.starts(PLAIN, Progress::Handshake);
    scene.opens(PLAIN);
    scene.expect_wait(None);
    scene.expect_exit(FAST_OPEN, not_started(NotStarted::PlainOpen));
    scene.expect_chosen(PLAIN);
}

#[test]
fn r7_no_copy_of_what_one_syn_does_not_carry() {
    let mut scene = Scene::of(Setup {
        syn_payload: 4,
        ..setup()
    });
    scene.starts(PLAIN, Progress::Handshake);
    scene.writes(b"hello");
    scene.race.end_flight(scene.now);
    scene.expect_exit(FAST_OPEN, not_started(NotStarted::TooLong));
}

#[test]
fn r7_fast_open_alone_carries_what_fits_and_sends_the_rest_later() {
    let mut scene = Scene::of(Setup {
        kinds: Kinds::FastOpenOnly,
        syn_payload: 4,
        ..setup()
    });
    scene.writes(b"hello");
    scene.race.end_flight(scene.now);
    scene.starts(0, Progress::DataInSyn(4));
    scene.opens(0);
    scene.expect_write(0, b"o");
}

#[test]
fn r7_a_cookie_request_goes_on_after_plain_has_opened() {
    let mut scene = Scene::asserted();
    scene.starts(PLAIN, Progress::Handshake);
    scene.writes(b"hello");
    scene.race.end_flight(scene.now);
    scene.starts(FAST_OPEN, Progress::CookieRequest);
    scene.opens(PLAIN);
    scene.expect_chosen(PLAIN);
    scene.expect_write(PLAIN, b"hello");
    scene.expect_taken(PLAIN);
    scene.expect_wait(COOKIE_WAIT);
    scene.expect_exit(FAST_OPEN, Exit::CookieOnly);
    let mut given_up = scene.clone();
    scene.opens(FAST_OPEN);
    scene.expect_close(FAST_OPEN, Close::Abortive);
    scene.expect(Step::Settled);
    given_up.pass(COOKIE_WAIT);
    given_up.expect_close(FAST_OPEN, Close::Abortive);
    given_up.expect(Step::Settled);
}

#[test]
fn r8_a_token_alone_is_nothing_written() {
    let token = Setup {
        flight: Flight::Token,
        targets: 2,
        ..setup()
    };
    let mut scene = Scene::of(token);
    scene.starts(PLAIN, Progress::Handshake);
    scene.opens(PLAIN);
    assert_eq!(scene.race.report().flight, None);
    scene.race.abandon(scene.now);
    scene.expect_close(PLAIN, Close::Abortive);
    scene.expect(Step::Settled);
}

#[test]
fn r8_before_the_first_write_nothing_is_bound() {
    let mut scene = Scene::asserted();
    scene.starts(PLAIN, Progress::Handshake);
    scene.expect_wait(None);
    scene.expect_chosen(None);
    assert_eq!(scene.race.log_len(), 0);
}

#[test]
fn r8_a_race_that_was_never_written_leaves_no_connection() {
    let mut scene = Scene::asserted();
    scene.starts(PLAIN, Progress::Handshake);
    scene.race.abandon(scene.now);
    scene.expect_close(PLAIN, Close::Abortive);
    scene.expect(Step::Settled);
}

#[test]
fn r9_plain_starts_before_a_flight_that_is_in_hand() {
    let mut scene = Scene::asserted();
    assert!(scene.race.write_first_flight(scene.now, b"hello"));
    scene.starts(PLAIN, Progress::Handshake);
    scene.starts(FAST_OPEN, Progress::DataInSyn(5));
}

#[test]
fn r9_what_was_written_leaves_when_plain_opens_whoever_else_contends() {
    let mut scene = Scene::of(Setup {
        targets: 2,
        ..setup()
    });
    let (first, second) = (0, 2);
    scene.starts(first, Progress::Handshake);
    scene.writes(b"hello");
    scene.pass(250 * MS);
    scene.starts(second, Progress::Handshake);
    scene.opens(second);
    scene.expect_write(second, b"hello");
    scene.expect_chosen(None);
}

#[test]
fn r9_plain_is_never_later_than_alone() {
    let mut scene = Scene::asserted();
    scene.writes(b"hello");
    scene.starts(PLAIN, Progress::Handshake);
    // Gathering ends when plain opens, for plain alone would send now.
    scene.opens(PLAIN);
    scene.expect_write(PLAIN, b"hello");
}

#[test]
fn r9_an_open_plain_ends_no_flight_that_nobody_has_begun() {
    let mut scene = Scene::of(Setup {
        targets: 2,
        ..setup()
    });
    scene.starts(PLAIN, Progress::Handshake);
    scene.opens(PLAIN);
    assert_eq!(scene.race.report().flight, None);
    scene.writes(b"hello");
    assert_eq!(scene.race.report().flight, Some(5));
    scene.expect_write(PLAIN, b"hello");
}

#[test]
fn r10_losers_leave_no_trace_unless_wanted() {
    for (losers, close) in [
        (LoserClose::Abortive, Close::Abortive),
        (LoserClose::Graceful, Close::Graceful),
    ] {
        let mut scene = Scene::racing(Setup { losers, ..setup() });
        scene.opens(PLAIN);
        scene.tell(FAST_OPEN, Event::Replied);
        scene.expect_close(PLAIN, close);
    }
}

#[test]
fn r10_the_report_tells_who_lost_from_who_never_ran() {
    let mut scene = Scene::racing(setup());
    scene.tell(PLAIN, Event::Replied);
    scene.expect_exit(FAST_OPEN, Exit::Lost);
    let mut scene = Scene::asserted();
    scene.starts(PLAIN, Progress::Handshake);
    scene.tell(PLAIN, Event::Replied);
    scene.expect_exit(FAST_OPEN, not_started(NotStarted::Decided));
}

#[test]
fn r11_half_close_is_raced_too() {
    let mut scene = Scene::racing(setup());
    scene.race.shutdown(scene.now);
    scene.opens(FAST_OPEN);
    scene.expect_shutdown(FAST_OPEN);
    scene.opens(PLAIN);
    let plain = scene.id(PLAIN);
    scene.expect(Step::Write(plain));
    scene.tell(PLAIN, Event::Blocked);
    scene.expect_wait(None);
    scene.tell(PLAIN, Event::Writable);
    scene.expect_write(PLAIN, b"hello");
    scene.expect_shutdown(PLAIN);
    scene.expect_chosen(None);
}

#[test]
fn r11_fin_waits_behind_held_bytes() {
    let mut scene = Scene::racing(setup());
    scene.writes(b" there");
    scene.race.shutdown(scene.now);
    scene.opens(FAST_OPEN);
    scene.expect_wait(1000 * MS);
    scene.tell(FAST_OPEN, Event::Replied);
    scene.expect_close(PLAIN, Close::Abortive);
    scene.expect_write(FAST_OPEN, b" there");
    assert_eq!(scene.race.take(), None);
    scene.expect_shutdown(FAST_OPEN);
    scene.expect_taken(FAST_OPEN);
    assert!(scene.race.is_finished());
}

#[test]
fn r12_extra_attempts_are_optional() {
    let mut scene = Scene::asserted();
    scene.starts(PLAIN, Progress::Handshake);
    scene.writes(b"hello");
    scene.race.end_flight(scene.now);
    scene.expect_start(FAST_OPEN);
    let failure = Failure {
        kind: FailureKind::NoResources,
        os: Some(24),
    };
    scene.tell(FAST_OPEN, Event::NotStarted(failure));
    scene.expect_wait(None);
    scene.expect_chosen(PLAIN);
    scene.expect_exit(FAST_OPEN, not_started(NotStarted::Failed(failure)));
}

#[test]
fn r13_without_a_statement_there_is_one_plain_attempt() {
    let mut scene = Scene::of(Setup {
        flight: Flight::Unstated,
        ..setup()
    });
    scene.expect_chosen(PLAIN);
    scene.expect_exit(FAST_OPEN, not_started(NotStarted::NotReplaySafe));
    scene.starts(PLAIN, Progress::Handshake);
}

#[test]
fn r13_nothing_stated_to_a_peer_that_acts_twice_is_told_as_nothing_stated() {
    let scene = Scene::of(Setup {
        flight: Flight::Unstated,
        peer: Peer::Unaware,
        ..setup()
    });
    scene.expect_exit(FAST_OPEN, not_started(NotStarted::NotReplaySafe));
}

#[test]
fn r13_bytes_that_fail_the_check_are_sent_once_in_order() {
    let mut scene = Scene::of(Setup {
        flight: Flight::Malformed,
        ..setup()
    });
    scene.starts(PLAIN, Progress::Handshake);
    scene.writes(&[0, 1, 2]);
    scene.expect_exit(FAST_OPEN, not_started(NotStarted::NotReplaySafe));
    scene.opens(PLAIN);
    scene.expect_write(PLAIN, &[0, 1, 2]);
}

#[test]
fn r13_a_syn_carries_the_flight_and_nothing_beyond() {
    let mut scene = Scene::of(Setup {
        kinds: Kinds::FastOpenOnly,
        held_max: 10,
        ..Setup::new(Flight::Framed(2))
    });
    scene.writes(&[1, 7, 8, 9]);
    scene.expect_start(0);
    assert_eq!(scene.race.unsent(scene.id(0)).concat(), [1, 7]);
}

#[test]
fn r13_a_read_ends_no_flight_whose_framing_says_where_it_ends() {
    let mut scene = Scene::of(Setup::new(Flight::Framed(2)));
    scene.starts(PLAIN, Progress::Handshake);
    scene.writes(&[1]);
    scene.race.end_flight(scene.now);
    scene.writes(&[7]);
    scene.starts(FAST_OPEN, Progress::DataInSyn(2));
}

#[test]
fn r13_a_peer_that_acts_twice_gets_one_copy() {
    let mut scene = Scene::of(Setup {
        peer: Peer::Unaware,
        targets: 2,
        ..setup()
    });
    let (first, second) = (0, 2);
    scene.starts(first, Progress::Handshake);
    scene.writes(b"hello");
    scene.pass(250 * MS);
    scene.starts(second, Progress::Handshake);
    scene.opens(second);
    scene.expect_close(first, Close::Abortive);
    scene.expect_write(second, b"hello");
}

#[test]
fn r14_hedged_starts_the_second_after_its_delay() {
    let schedule = Schedule::Hedged {
        first: AttemptKind::FastOpen,
        delay: 30 * MS,
    };
    let (fast_open, plain) = (0, 1);
    let mut scene = Scene::of(Setup {
        schedule,
        ..setup()
    });
    scene.writes(b"hello");
    scene.race.end_flight(scene.now);
    scene.starts(fast_open, Progress::DataInSyn(5));
    scene.opens(fast_open);
    scene.expect_wait(30 * MS);
    scene.pass(30 * MS);
    scene.expect_start(plain);
}

#[test]
fn r14_a_hedge_starts_beside_an_open_plain_that_has_not_answered() {
    let schedule = Schedule::Hedged {
        first: AttemptKind::FastOpen,
        delay: 30 * MS,
    };
    let mut scene = Scene::of(Setup {
        schedule,
        targets: 2,
        ..setup()
    });
    scene.writes(b"hello");
    scene.race.end_flight(scene.now);
    scene.starts(0, Progress::DataInSyn(5));
    scene.pass(30 * MS);
    scene.starts(1, Progress::Handshake);
    scene.pass(250 * MS);
    scene.starts(2, Progress::DataInSyn(5));
    scene.opens(1);
    scene.expect_write(1, b"hello");
    scene.expect_wait(30 * MS);
    scene.pass(30 * MS);
    scene.expect_start(3);
}

#[test]
fn r14_when_one_fails_the_next_starts_at_once() {
    let schedule = Schedule::Staggered {
        first: AttemptKind::FastOpen,
        delay: 30 * MS,
    };
    let mut scene = Scene::of(Setup {
        schedule,
        ..setup()
    });
    scene.writes(b"hello");
    scene.race.end_flight(scene.now);
    scene.starts(0, Progress::DataInSyn(5));
    scene.fail(0, FailureKind::Refused);
    scene.expect_close(0, Close::Abortive);
    scene.expect_start(1);
}

#[test]
fn r14_when_an_address_fails_the_next_starts_at_once() {
    let mut scene = Scene::racing(Setup {
        targets: 2,
        ..setup()
    });
    scene.fail(PLAIN, FailureKind::Unreachable);
    scene.expect_close(PLAIN, Close::Abortive);
    scene.expect_chosen(None);
    let next = 2;
    scene.expect_start(next);
}

#[test]
fn r14_the_time_to_the_next_counts_from_when_the_leader_has_started() {
    let mut scene = Scene::of(Setup {
        targets: 2,
        ..setup()
    });
    scene.expect_start(PLAIN);
    scene.pass(7 * MS);
    scene.tell(PLAIN, Event::Started(Progress::Handshake));
    scene.expect_wait(250 * MS);
    assert_eq!(scene.race.snapshot().turns, 1);
    scene.pass(250 * MS);
    scene.starts(2, Progress::Handshake);
    assert_eq!(scene.race.snapshot().turns, 2);
}

#[test]
fn r15_fast_open_does_not_wait_for_a_flight_once_plain_has_failed() {
    let mut scene = Scene::asserted();
    scene.starts(PLAIN, Progress::Handshake);
    scene.fail(PLAIN, FailureKind::Refused);
    scene.expect_exit(FAST_OPEN, not_started(NotStarted::NoFlight));
    assert!(matches!(scene.race.ending(), Some(Ending::Failed(_))));
}

#[test]
fn r15_a_first_come_answer_on_its_way_is_waited_for() {
    let mut scene = Scene::of(Setup {
        peer: Peer::FirstCome,
        ..setup()
    });
    scene.starts(PLAIN, Progress::Handshake);
    scene.pass(36 * MS);
    scene.writes(b"hello");
    scene.race.end_flight(scene.now);
    scene.starts(FAST_OPEN, Progress::DataInSyn(5));
    scene.writes(b" there");
    scene.pass(4 * MS);
    scene.opens(PLAIN);
    scene.expect_write(PLAIN, b"hello");
    // A handshake took 40 ms; the SYN with data has been out for 4.
    scene.expect_wait(46 * MS);
    // The server served the Fast Open copy, and resets the other.
    scene.fail(PLAIN, FailureKind::Reset);
    scene.expect_chosen(FAST_OPEN);
}

#[test]
fn r15_a_peer_has_time_to_reset_the_copy_that_it_did_not_serve() {
    // One that pairs takes data that came behind a handshake for plain.
    for peer in [Peer::FirstCome, Peer::Pairing] {
        let mut scene = Scene::racing(Setup { peer, ..setup() });
        scene.writes(b" there");
        scene.pass(40 * MS);
        // Its kernel has sent the data again since, perhaps before plain's copy.
        scene.tell(FAST_OPEN, Event::Opened(SynData::Ignored));
        scene.opens(PLAIN);
        scene.expect_write(PLAIN, b"hello");
        scene.expect_wait(290 * MS);
        scene.pass(290 * MS);
        scene.expect_look(PLAIN);
        scene.expect_look(FAST_OPEN);
        scene.expect_chosen(PLAIN);
    }
}

#[test]
fn r6_a_pairing_peer_joins_what_came_in_a_syn_and_nothing_waits() {
    let mut scene = Scene::racing(Setup {
        peer: Peer::Pairing,
        ..setup()
    });
    scene.writes(b" there");
    scene.pass(40 * MS);
    scene.tell(FAST_OPEN, Event::Opened(SynData::Acknowledged));
    scene.opens(PLAIN);
    scene.expect_look(PLAIN);
    scene.expect_look(FAST_OPEN);
    scene.expect_chosen(PLAIN);
}

#[test]
fn r15_progress_when_plain_fails_before_the_flight_ends() {
    let mut scene = Scene::asserted();
    scene.starts(PLAIN, Progress::Handshake);
    scene.writes(b"hello");
    scene.fail(PLAIN, FailureKind::TimedOut);
    scene.expect_close(PLAIN, Close::Abortive);
    scene.starts(FAST_OPEN, Progress::DataInSyn(5));
    scene.tell(FAST_OPEN, Event::Replied);
    scene.expect_taken(FAST_OPEN);
}

#[test]
fn r15_a_full_socket_that_has_room_again_is_written_to() {
    let mut scene = Scene::racing(setup());
    scene.opens(PLAIN);
    let plain = scene.id(PLAIN);
    scene.expect(Step::Write(plain));
    scene.tell(PLAIN, Event::Wrote(2));
    scene.expect(Step::Write(plain));
    scene.tell(PLAIN, Event::Blocked);
    scene.expect_wait(None);
    scene.tell(PLAIN, Event::Writable);
    scene.expect_write(PLAIN, b"llo");
}

#[test]
fn r16_write_then_drop_is_delivered() {
    let mut scene = Scene::asserted();
    scene.starts(PLAIN, Progress::Handshake);
    scene.writes(b"hello");
    scene.race.abandon(scene.now);
    scene.starts(FAST_OPEN, Progress::DataInSyn(5));
    scene.opens(PLAIN);
    scene.expect_write(PLAIN, b"hello");
    scene.expect_shutdown(PLAIN);
    scene.expect_close(PLAIN, Close::Graceful);
    // Its copy may be the one that the peer has taken for the first.
    let mut given_up = scene.clone();
    scene.opens(FAST_OPEN);
    scene.expect_shutdown(FAST_OPEN);
    scene.expect_close(FAST_OPEN, Close::Graceful);
    scene.expect(Step::Settled);
    given_up.expect_wait(3000 * MS);
    given_up.pass(3000 * MS);
    given_up.expect_close(FAST_OPEN, Close::Abortive);
    given_up.expect(Step::Settled);
}

#[test]
fn r16_a_delivery_by_fast_open_does_not_stand_for_that_by_plain() {
    let mut scene = Scene::racing(setup());
    scene.race.abandon(scene.now);
    scene.opens(FAST_OPEN);
    scene.expect_shutdown(FAST_OPEN);
    scene.expect_close(FAST_OPEN, Close::Graceful);
    // Who knows whether that path let it pass.
    scene.expect_wait(None);
    scene.opens(PLAIN);
    scene.expect_write(PLAIN, b"hello");
    scene.expect_shutdown(PLAIN);
    scene.expect_close(PLAIN, Close::Graceful);
    scene.expect(Step::Settled);
}

#[test]
fn r16_a_flush_is_done_when_a_kernel_has_the_flight() {
    let mut scene = Scene::asserted();
    scene.starts(PLAIN, Progress::Handshake);
    scene.writes(b"hello");
    assert!(!scene.race.is_flushed());
    scene.race.end_flight(scene.now);
    scene.starts(FAST_OPEN, Progress::DataInSyn(5));
    assert!(scene.race.is_flushed());
}

#[test]
fn r16_a_sole_survivor_is_flushed_when_its_kernel_has_the_bytes() {
    let mut scene = Scene::racing(setup());
    scene.fail(FAST_OPEN, FailureKind::Refused);
    scene.expect_close(FAST_OPEN, Close::Abortive);
    scene.expect_chosen(PLAIN);
    assert!(!scene.race.is_flushed());
    scene.opens(PLAIN);
    scene.expect_write(PLAIN, b"hello");
    assert!(scene.race.is_flushed());
}

#[test]
fn r16_a_driver_is_told_what_to_wait_for() {
    let opening = |scene: &Scene, index| scene.race.is_opening(scene.id(index));
    let blocked = |scene: &Scene, index| scene.race.is_blocked(scene.id(index));
    let mut scene = Scene::asserted();
    assert!(!opening(&scene, PLAIN), "before its start");
    scene.starts(PLAIN, Progress::Handshake);
    assert!(opening(&scene, PLAIN));
    scene.writes(b"hello");
    scene.race.end_flight(scene.now);
    scene.starts(FAST_OPEN, Progress::CookieRequest);
    scene.opens(PLAIN);
    assert!(!opening(&scene, PLAIN), "once open");
    assert!(opening(&scene, FAST_OPEN), "for its cookie");
    assert!(!blocked(&scene, PLAIN), "before it was full");
    scene.tell(PLAIN, Event::Wrote(2));
    scene.tell(PLAIN, Event::Blocked);
    assert!(blocked(&scene, PLAIN));
    scene.tell(PLAIN, Event::Writable);
    scene.expect_write(PLAIN, b"llo");
    scene.tell(PLAIN, Event::Blocked);
    assert!(!blocked(&scene, PLAIN), "with nothing to send");
}

#[test]
fn r16_a_race_names_its_attempts() {
    let scene = Scene::of(Setup {
        targets: 2,
        ..setup()
    });
    let attempts: Vec<_> = (0..)
        .map_while(|index| scene.race.id(index))
        .map(|id| (id.index(), scene.race.attempt(id)))
        .collect();
    let expected = [
        (AttemptKind::Plain, 0),
        (AttemptKind::FastOpen, 0),
        (AttemptKind::Plain, 1),
        (AttemptKind::FastOpen, 1),
    ];
    let expected: Vec<_> = expected.map(Some).into_iter().enumerate().collect();
    assert_eq!(attempts, expected);
}

#[test]
fn r16_the_report_tells_who_ran_who_won_and_what_it_cost() {
    let mut scene = Scene::asserted();
    scene.starts(PLAIN, Progress::Handshake);
    assert!(!scene.race.report().raced(), "with one attempt");
    scene.writes(b"hello");
    scene.race.end_flight(scene.now);
    scene.pass(MS);
    scene.starts(FAST_OPEN, Progress::DataInSyn(5));
    scene.pass(MS);
    scene.opens(PLAIN);
    scene.tell(PLAIN, Event::Wrote(3));
    let report = scene.race.report();
    assert!(report.raced());
    assert_eq!(report.winner(), None);
    assert_eq!(report.bytes_copied(), 3, "of two, the lesser");
    scene.pass(MS);
    scene.tell(FAST_OPEN, Event::Replied);
    let report = scene.race.report();
    let at = |time| Some(Instant::from_nanos(0).saturating_add(time));
    let winner = report.winner().expect("a reply wins");
    assert_eq!(winner.id, scene.id(FAST_OPEN));
    assert_eq!((winner.started, winner.opened), (at(MS), at(3 * MS)));
    assert_eq!((winner.first_byte, winner.ended), (at(3 * MS), None));
    let loser = report.attempts[PLAIN];
    let began = at(Duration::ZERO);
    assert_eq!((loser.started, loser.opened), (began, at(2 * MS)));
    assert_eq!((loser.first_byte, loser.ended), (None, at(3 * MS)));
    assert_eq!(report.bytes_copied(), 3);
}

#[test]
fn after_the_hand_over_the_race_touches_nothing() {
    let mut scene = Scene::racing(setup());
    scene.tell(FAST_OPEN, Event::Replied);
    scene.expect_close(PLAIN, Close::Abortive);
    scene.expect_taken(FAST_OPEN);
    let bound = Accepted::Bound(scene.id(FAST_OPEN));
    assert_eq!(scene.race.write(scene.now, b"more"), bound);
    scene.race.abandon(scene.now);
    scene.expect(Step::Settled);
    assert_eq!(scene.race.take(), None);
}

#[test]
fn an_attempt_recalled_while_it_starts_is_closed() {
    let mut scene = Scene::asserted();
    scene.expect_start(PLAIN);
    scene.race.abandon(scene.now);
    scene.expect(Step::Settled);
    scene.tell(PLAIN, Event::Started(Progress::Handshake));
    scene.expect_close(PLAIN, Close::Abortive);
    scene.expect(Step::Settled);
}

#[test]
fn r6_a_flight_has_its_greatest_length() {
    let mut scene = Scene::asserted();
    let bytes = vec![1; FLIGHT_MAX + 1];
    assert_eq!(
        scene.race.write(scene.now, &bytes),
        Accepted::Bytes(FLIGHT_MAX)
    );
    assert_eq!(scene.race.report().flight, Some(FLIGHT_MAX));
}

#[test]
fn wrong_settings_fail_when_built() {
    assert!(RaceConfig::builder().build().is_err());
    let one = || RaceConfig::builder().target(1400);
    assert!(one().held_max(0).build().is_err());
    assert!(one().kinds(Kinds::FastOpenOnly).build().is_err());
    assert!(one().first_flight(FirstFlight::Asserted).build().is_ok());
}

#[test]
fn settings_may_go_to_the_ends_of_their_ranges() {
    let targets = |number| {
        (0..number)
            .fold(RaceConfig::builder(), |builder, _| builder.target(1400))
            .build()
    };
    assert!(targets(8).is_ok());
    assert_eq!(targets(9), Err(ConfigError::Targets));
    let held_max = |bytes| RaceConfig::builder().target(1400).held_max(bytes).build();
    assert!(held_max(1).is_ok());
    assert!(held_max(16_777_216).is_ok());
    assert_eq!(held_max(16_777_217), Err(ConfigError::HeldMax));
}

#[test]
fn r6_a_whole_first_flight_has_its_greatest_length_too() {
    for (flight, most) in [
        (Flight::Asserted, FLIGHT_MAX),
        (Flight::Token, FLIGHT_MAX - HEADER_LEN),
    ] {
        let mut scene = Scene::of(Setup { flight, ..setup() });
        let bytes = vec![1; most + 1];
        assert!(!scene.race.write_first_flight(scene.now, &bytes));
        assert!(scene.race.write_first_flight(scene.now, &bytes[..most]));
        assert_eq!(scene.race.report().flight, Some(FLIGHT_MAX));
    }
}

#[test]
fn r13_a_first_flight_is_stated_once_and_before_anything_else() {
    let whole = |scene: &mut Scene| scene.race.write_first_flight(scene.now, &[1, 7]);
    for flight in [Flight::Framed(2), Flight::Unstated] {
        let mut scene = Scene::of(Setup { flight, ..setup() });
        assert!(!whole(&mut scene), "{flight:?} knows better");
        assert_eq!(scene.race.log_len(), 0);
    }
    let mut scene = Scene::asserted();
    scene.writes(b"a");
    assert!(!whole(&mut scene), "after a write");
    let mut scene = Scene::asserted();
    assert!(whole(&mut scene));
    assert!(!whole(&mut scene), "twice");
    assert_eq!(scene.race.log_len(), 2);
}

#[test]
fn after_the_hand_over_the_log_can_be_freed() {
    let mut scene = Scene::racing(setup());
    scene.tell(FAST_OPEN, Event::Replied);
    scene.race.release_log();
    assert_eq!(scene.race.log_len(), 5, "before, it is still needed");
    scene.expect_close(PLAIN, Close::Abortive);
    scene.expect_taken(FAST_OPEN);
    scene.race.release_log();
    assert_eq!(scene.race.log_len(), 0);
}

#[test]
fn r6_as_much_is_held_by_default_as_is_documented() {
    let config = RaceConfig::builder()
        .target(1400)
        .first_flight(FirstFlight::Asserted)
        .peer(Peer::Pairing)
        .build();
    let mut scene = Scene::new(config.expect("sane settings"));
    scene.writes(b"hello");
    scene.race.end_flight(scene.now);
    let more = vec![1; 100_000];
    assert_eq!(
        scene.race.write(scene.now, &more),
        Accepted::Bytes(64 * 1024)
    );
}
