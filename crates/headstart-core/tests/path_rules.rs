//! How a path is used after what was heard of it.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use headstart_core::Instant;
use headstart_core::path::{
    BACKOFF_FIRST, BACKOFF_MAX, Evidence, KEEP_DEFAULT, PathConfigError, PathCounters, PathKey,
    PathMemory, Plan, RETRY_PATIENCE, Remembered, STALL_DOUBLINGS, Standing, TRUST_MAX, Trouble,
    WallTime,
};

const DROPPED: Evidence = Evidence::Trouble(Trouble::Dropped);
const STALLED: Evidence = Evidence::Trouble(Trouble::Stalled);
const MINUTE: Duration = BACKOFF_FIRST;

fn at(seconds: u64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

fn path(number: u8) -> PathKey {
    PathKey::new([192, 0, 2, 1].into(), ([192, 0, 2, number], 443).into())
}

/// A memory of one path that is asked and told.
struct Scene {
    memory: PathMemory,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        Self {
            memory: PathMemory::default(),
            now: at(1_000),
        }
    }

    fn wait(&mut self, time: Duration) -> &mut Self {
        self.now = self.now.saturating_add(time);
        self
    }

    fn plan(&mut self) -> Plan {
        self.memory.plan(self.now, path(1))
    }

    /// A race that is planned now, and shows this a second later.
    fn race(&mut self, evidence: Evidence) -> Plan {
        let (plan, began) = (self.plan(), self.now);
        self.wait(Duration::from_secs(1));
        self.memory.note(self.now, path(1), began, evidence);
        plan
    }

    /// Plain alone for this long, and not a moment longer; then one retry.
    fn expect_backoff(&mut self, trouble: Trouble, time: Duration) {
        let until = self.now.saturating_add(time);
        let plain = Plan::Plain { trouble, until };
        assert_eq!(self.plan(), plain, "at once");
        let almost = time - Duration::from_nanos(1);
        self.wait(almost);
        assert_eq!(self.plan(), plain, "just before its end");
        self.wait(Duration::from_nanos(1));
        let mut after = self.memory.clone();
        assert_eq!(after.plan(self.now, path(1)), Plan::Retry(trouble));
    }
}

#[test]
fn m1_the_first_race_over_a_path_is_always_run() {
    let mut scene = Scene::new();
    assert_eq!(scene.plan(), Plan::Race);
    scene.race(Evidence::Nothing);
    assert!(
        scene.memory.is_empty(),
        "nothing was heard, nothing is kept"
    );
    assert_eq!(scene.plan(), Plan::Race);
}

#[test]
fn m2_a_failure_suspends_a_new_path_for_a_minute() {
    for trouble in [
        Trouble::Dropped,
        Trouble::Refused,
        Trouble::Ignored,
        Trouble::Silent,
    ] {
        let mut scene = Scene::new();
        assert_eq!(scene.race(Evidence::Trouble(trouble)), Plan::Race);
        scene.expect_backoff(trouble, MINUTE);
    }
}

#[test]
fn m2_backoffs_double_and_end() {
    let mut scene = Scene::new();
    scene.race(DROPPED);
    let mut expected = MINUTE;
    for _ in 0..70 {
        scene.expect_backoff(Trouble::Dropped, expected);
        assert_eq!(scene.race(DROPPED), Plan::Retry(Trouble::Dropped));
        expected = (expected * 2).min(BACKOFF_MAX);
    }
    assert_eq!(expected, BACKOFF_MAX);
    scene.expect_backoff(Trouble::Dropped, BACKOFF_MAX);
}

#[test]
fn m4_a_path_that_heals_is_used_again_as_if_nothing_had_been() {
    let mut scene = Scene::new();
    for _ in 0..3 {
        scene.race(DROPPED);
        scene.wait(BACKOFF_MAX);
    }
    assert_eq!(
        scene.race(Evidence::Answered),
        Plan::Retry(Trouble::Dropped)
    );
    assert_eq!(scene.race(DROPPED), Plan::Race, "it is trusted once");
    assert_eq!(scene.race(DROPPED), Plan::Race);
    scene.expect_backoff(Trouble::Dropped, MINUTE);
}

#[test]
fn m4_trust_forgives_as_many_failures_in_a_row() {
    for answers in 0..=TRUST_MAX + 2 {
        let mut scene = Scene::new();
        for _ in 0..answers {
            assert_eq!(scene.race(Evidence::Answered), Plan::Race);
        }
        for _ in 0..answers.min(TRUST_MAX) {
            assert_eq!(scene.race(DROPPED), Plan::Race);
        }
        assert_eq!(scene.race(DROPPED), Plan::Race, "{answers} answers");
        scene.expect_backoff(Trouble::Dropped, MINUTE);
    }
}

/// Races over a path that has proved itself, of which some fail by chance: how
/// many of 1,000 may use Fast Open.
fn raced_per_mille(failures_per_mille: u64, pause: Duration, races: u64, seed: u64) -> u64 {
    let mut scene = Scene::new();
    for _ in 0..TRUST_MAX {
        scene.race(Evidence::Answered);
    }
    let mut chance = seed;
    let mut raced = 0;
    for _ in 0..races {
        // Knuth's MMIX generator; its high bits are the good ones.
        chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let (plan, began) = (scene.plan(), scene.now);
        scene.wait(pause);
        if let Plan::Plain { .. } = plan {
            continue;
        }
        raced += 1;
        let evidence = match (chance >> 33) % 1_000 < failures_per_mille {
            true => DROPPED,
            false => Evidence::Answered,
        };
        scene.memory.note(scene.now, path(1), began, evidence);
    }
    raced * 1_000 / races
}

/// At 1 % and 5 % of packets lost about 3 % and 14 % of races fail by chance.
#[test]
fn m4_loss_by_chance_costs_next_to_nothing() {
    for seed in 1..=2 {
        for pause in [Duration::from_millis(50), Duration::from_secs(10)] {
            let lossy = raced_per_mille(140, pause, 20_000, seed);
            assert!(lossy >= 990, "5 %, {pause:?}: {lossy} of 1,000 raced");
            let usual = raced_per_mille(30, pause, 20_000, seed);
            assert!(usual >= 990, "1 %, {pause:?}: {usual} of 1,000 raced");
        }
        let broken = raced_per_mille(1_000, Duration::from_secs(10), 20_000, seed);
        assert_eq!(broken, 0, "a broken path is raced less than once in 1,000");
    }
}

#[test]
fn m3_of_races_at_the_same_time_one_counts() {
    let mut scene = Scene::new();
    scene.race(Evidence::Answered);
    scene.race(Evidence::Answered);
    let began = scene.now;
    for _ in 0..50 {
        scene.wait(Duration::from_millis(1));
        scene.memory.note(scene.now, path(1), began, DROPPED);
    }
    assert_eq!(scene.plan(), Plan::Race);
    scene.race(DROPPED);
    assert_eq!(scene.plan(), Plan::Race, "two are forgiven");
    scene.race(DROPPED);
    assert!(matches!(scene.plan(), Plan::Plain { .. }));
    // Stragglers neither shorten nor lengthen it.
    let late = scene.now;
    scene.memory.note(late, path(1), began, DROPPED);
    scene.memory.note(late, path(1), began, Evidence::Asked);
    scene.memory.note(late, path(1), began, Evidence::Nothing);
    scene.expect_backoff(Trouble::Dropped, MINUTE);
}

/// A race that begins in the moment in which another is counted met something new.
#[test]
fn a_race_that_begins_when_another_is_counted_counts() {
    let mut scene = Scene::new();
    scene.race(Evidence::Answered);
    scene.race(DROPPED);
    let now = scene.now;
    scene.memory.note(now, path(1), now, DROPPED);
    assert!(matches!(scene.plan(), Plan::Plain { .. }));
}

#[test]
fn an_answer_that_comes_late_heals() {
    let mut scene = Scene::new();
    let began = scene.now;
    scene.race(DROPPED);
    scene
        .memory
        .note(scene.now, path(1), began, Evidence::Answered);
    assert_eq!(scene.plan(), Plan::Race);
    scene.race(DROPPED);
    assert_eq!(scene.plan(), Plan::Race, "it is trusted once");
}

#[test]
fn m3_one_race_retries_and_the_others_wait_for_it() {
    let mut scene = Scene::new();
    scene.race(DROPPED);
    scene.wait(MINUTE);
    assert_eq!(scene.plan(), Plan::Retry(Trouble::Dropped));
    let until = scene.now.saturating_add(RETRY_PATIENCE);
    let plain = Plan::Plain {
        trouble: Trouble::Dropped,
        until,
    };
    assert_eq!(scene.plan(), plain);
    let began = scene.now;
    scene.wait(Duration::from_secs(2));
    assert_eq!(scene.plan(), plain);
    scene
        .memory
        .note(scene.now, path(1), began, Evidence::Answered);
    assert_eq!(scene.plan(), Plan::Race);
}

#[test]
fn a_retry_that_shows_nothing_is_retried_at_once() {
    let mut scene = Scene::new();
    scene.race(DROPPED);
    scene.wait(MINUTE);
    for _ in 0..3 {
        assert_eq!(scene.race(Evidence::Nothing), Plan::Retry(Trouble::Dropped));
    }
    scene.race(DROPPED);
    scene.expect_backoff(Trouble::Dropped, 2 * MINUTE);
}

#[test]
fn a_retry_that_is_never_heard_of_is_given_up() {
    let mut scene = Scene::new();
    scene.race(DROPPED);
    scene.wait(MINUTE);
    let lost = scene.now;
    assert_eq!(scene.plan(), Plan::Retry(Trouble::Dropped));
    scene.wait(RETRY_PATIENCE - Duration::from_nanos(1));
    assert!(matches!(scene.plan(), Plan::Plain { .. }));
    scene.wait(Duration::from_nanos(1));
    assert_eq!(scene.plan(), Plan::Retry(Trouble::Dropped));
    // The lost one turns up: it is not this retry's outcome.
    scene.memory.note(scene.now, path(1), lost, DROPPED);
    assert!(matches!(scene.plan(), Plan::Plain { .. }));
    let began = scene.now;
    scene.memory.note(scene.now, path(1), began, DROPPED);
    scene.expect_backoff(Trouble::Dropped, 2 * MINUTE);
}

#[test]
fn the_first_contact_is_no_trouble_and_the_second_is() {
    let mut scene = Scene::new();
    assert_eq!(scene.race(Evidence::Asked), Plan::Race);
    assert_eq!(scene.race(Evidence::Answered), Plan::Race);
    assert_eq!(scene.race(Evidence::Asked), Plan::Race);
    assert_eq!(scene.race(Evidence::Asked), Plan::Race);
    scene.expect_backoff(Trouble::NoCookie, MINUTE);
    assert_eq!(scene.race(Evidence::Asked), Plan::Retry(Trouble::NoCookie));
    scene.expect_backoff(Trouble::NoCookie, 2 * MINUTE);
}

#[test]
fn many_first_contacts_at_once_are_one() {
    let mut scene = Scene::new();
    let began = scene.now;
    scene.wait(Duration::from_secs(1));
    for _ in 0..20 {
        scene
            .memory
            .note(scene.now, path(1), began, Evidence::Asked);
    }
    assert_eq!(scene.plan(), Plan::Race);
}

/// The kernel has lost the cookie since: the retry fetches one, the next uses it.
#[test]
fn a_retry_that_asks_for_a_cookie_is_followed_by_another() {
    let mut scene = Scene::new();
    scene.race(DROPPED);
    scene.wait(MINUTE);
    assert_eq!(scene.race(Evidence::Asked), Plan::Retry(Trouble::Dropped));
    assert_eq!(scene.race(Evidence::Asked), Plan::Retry(Trouble::NoCookie));
    scene.expect_backoff(Trouble::NoCookie, 2 * MINUTE);
}

fn stall_time() -> Duration {
    MINUTE * (1 << STALL_DOUBLINGS)
}

#[test]
fn m5_a_stall_suspends_even_what_is_trusted_and_for_longer() {
    let mut scene = Scene::new();
    for _ in 0..10 {
        scene.race(Evidence::Answered);
    }
    scene.race(STALLED);
    scene.expect_backoff(Trouble::Stalled, stall_time());
    assert!(stall_time() >= Duration::from_secs(60 * 60), "Apple's");
}

#[test]
fn m5_an_answer_before_the_next_stall_does_not_end_the_doubling() {
    let mut scene = Scene::new();
    scene.race(STALLED);
    let mut expected = stall_time();
    for _ in 0..8 {
        scene.expect_backoff(Trouble::Stalled, expected);
        assert_eq!(
            scene.race(Evidence::Answered),
            Plan::Retry(Trouble::Stalled)
        );
        // As long as the back-off was, less the race and this.
        scene.race(Evidence::Answered);
        scene.wait(expected - Duration::from_secs(2) - Duration::from_nanos(1));
        assert_eq!(scene.race(STALLED), Plan::Race);
        expected = (expected * 2).min(BACKOFF_MAX);
    }
}

#[test]
fn a_path_that_did_not_stall_for_as_long_starts_anew() {
    let mut scene = Scene::new();
    scene.race(STALLED);
    scene.wait(stall_time());
    scene.race(Evidence::Answered);
    scene.wait(stall_time());
    scene.race(STALLED);
    scene.expect_backoff(Trouble::Stalled, stall_time());
}

#[test]
fn another_failure_after_a_stall_goes_on_doubling_too() {
    let mut scene = Scene::new();
    scene.race(STALLED);
    scene.wait(stall_time());
    scene.race(Evidence::Answered);
    assert_eq!(scene.race(DROPPED), Plan::Race, "it is trusted once");
    scene.race(DROPPED);
    scene.expect_backoff(Trouble::Dropped, 2 * stall_time());
}

/// Several connections over a path die together, and are reported one by one.
#[test]
fn stalls_of_one_time_count_once() {
    let mut scene = Scene::new();
    let began = scene.now;
    scene.race(STALLED);
    scene.memory.note(scene.now, path(1), began, STALLED);
    scene
        .memory
        .note(scene.now, path(1), began, Evidence::Answered);
    scene.expect_backoff(Trouble::Stalled, stall_time());
    let retried = scene.now;
    scene.race(Evidence::Answered);
    let before = Instant::from_nanos(retried.as_nanos() - 1);
    for before in [began, before] {
        scene.memory.note(scene.now, path(1), before, STALLED);
        assert_eq!(scene.plan(), Plan::Race, "from before the retry");
    }
    // The retry's own connection, after its answer.
    scene.memory.note(scene.now, path(1), retried, STALLED);
    scene.expect_backoff(Trouble::Stalled, 2 * stall_time());
}

#[test]
fn a_stall_while_suspended_for_less_suspends_for_longer() {
    let mut scene = Scene::new();
    let began = scene.now;
    scene.race(DROPPED);
    scene.memory.note(scene.now, path(1), began, STALLED);
    scene.expect_backoff(Trouble::Stalled, stall_time());
}

#[test]
fn hedging_is_for_paths_that_are_trusted_most() {
    let delay = Duration::from_millis(30);
    let mut memory = PathMemory::builder().hedge(Some(delay)).build().unwrap();
    let now = at(1);
    for _ in 0..TRUST_MAX {
        assert_eq!(memory.plan(now, path(1)), Plan::Race);
        memory.note(now, path(1), now, Evidence::Answered);
    }
    assert_eq!(memory.plan(now, path(1)), Plan::Hedged(delay));
    assert!(memory.is_suspicious(path(1).peer()));
    memory.note(now, path(1), now, DROPPED);
    assert_eq!(memory.plan(now, path(1)), Plan::Race);

    // Not while it may stall again.
    memory.note(now, path(1), now, STALLED);
    let later = now.saturating_add(stall_time());
    assert_eq!(memory.plan(later, path(1)), Plan::Retry(Trouble::Stalled));
    for _ in 0..10 {
        memory.note(later, path(1), later, Evidence::Answered);
        assert_eq!(memory.plan(later, path(1)), Plan::Race);
    }
    let quiet = later.saturating_add(stall_time());
    assert_eq!(memory.plan(quiet, path(1)), Plan::Hedged(delay));
}

#[test]
fn only_paths_in_trouble_are_suspicious() {
    let now = at(1);
    let mut memory = PathMemory::default();
    memory.note(now, path(1), now, Evidence::Answered);
    assert!(!memory.is_suspicious(path(1).peer()));
    for local in ["0.0.0.0", "255.255.255.255", "::", "ffff::ffff"] {
        let mut memory = memory.clone();
        let key = PathKey::new(local.parse().unwrap(), path(1).peer());
        memory.note(now, key, now, DROPPED);
        assert!(memory.is_suspicious(path(1).peer()), "{local}");
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:443".parse().unwrap();
        assert!(memory.is_suspicious(mapped), "{local}");
        assert!(!memory.is_suspicious(path(2).peer()), "{local}");
        assert_eq!(memory.plan(now, path(1)), Plan::Race, "another path");
    }
}

#[test]
fn the_latest_path_to_a_peer_is_the_one_used_last() {
    let now = at(1);
    let mut memory = PathMemory::default();
    let from = |local: u8| PathKey::new([192, 0, 2, local].into(), path(1).peer());
    assert_eq!(memory.latest(path(1).peer()), None);
    for local in [7, 9, 8] {
        memory.note(now, from(local), now, Evidence::Answered);
        assert_eq!(memory.latest(path(1).peer()), Some(from(local)));
    }
    memory.note(now, path(2), now, Evidence::Answered);
    memory.plan(now, from(7));
    assert_eq!(memory.latest(path(1).peer()), Some(from(7)));
}

#[test]
fn one_address_has_one_path() {
    let v4: IpAddr = "192.0.2.1".parse().unwrap();
    let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
    let to = |text: &str| text.parse::<SocketAddr>().unwrap();
    let key = PathKey::new(v4, to("192.0.2.2:443"));
    assert_eq!(PathKey::new(mapped, to("[::ffff:192.0.2.2]:443")), key);
    assert_eq!((key.local(), key.peer()), (v4, to("192.0.2.2:443")));
    assert_ne!(PathKey::new(v4, to("192.0.2.2:444")), key);
    let link_local = |zone: u32, label: u32| {
        let peer = core::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 1, label, zone);
        PathKey::new(v4, peer.into())
    };
    assert_eq!(link_local(1, 0), link_local(1, 7));
    assert_ne!(link_local(1, 0), link_local(2, 0));
}

#[test]
fn what_is_in_trouble_stays_longest_and_then_what_was_used_last() {
    let mut memory = PathMemory::builder().capacity(3).build().unwrap();
    let now = at(1);
    memory.note(now, path(1), now, DROPPED);
    memory.note(now, path(2), now, Evidence::Answered);
    memory.note(now, path(3), now, Evidence::Answered);
    assert_eq!(memory.plan(now, path(2)), Plan::Race); // used
    memory.note(now, path(4), now, DROPPED);
    let known = |memory: &PathMemory| {
        let snapshot = memory.snapshot(now, WallTime::default());
        snapshot.iter().map(|r| r.path).collect::<Vec<_>>()
    };
    assert_eq!(known(&memory), [path(2), path(1), path(4)]);
    memory.note(now, path(5), now, DROPPED);
    assert_eq!(known(&memory), [path(1), path(4), path(5)]);
    // Nothing gives way to what is not in trouble.
    memory.note(now, path(6), now, Evidence::Answered);
    assert_eq!(known(&memory), [path(1), path(4), path(5)]);
    memory.plan(now, path(1));
    memory.note(now, path(7), now, DROPPED);
    assert_eq!(known(&memory), [path(5), path(1), path(7)]);
    assert_eq!((memory.len(), memory.counters().evicted), (3, 4));
}

#[test]
fn paths_are_forgotten_without_news() {
    let mut scene = Scene::new();
    scene.race(DROPPED);
    let noted = scene.now;
    scene.now = noted.saturating_add(KEEP_DEFAULT - Duration::from_nanos(1));
    // Being asked for, or hearing nothing, is no news.
    assert_eq!(scene.plan(), Plan::Retry(Trouble::Dropped));
    let began = scene.now;
    scene.memory.note(began, path(1), began, Evidence::Nothing);
    assert_eq!(scene.memory.snapshot(began, WallTime::default()).len(), 1);
    scene.now = noted.saturating_add(KEEP_DEFAULT);
    let end = scene.now;
    assert_eq!(scene.memory.snapshot(end, WallTime::default()).len(), 0);
    assert_eq!(scene.plan(), Plan::Race);
    assert!(scene.memory.is_empty());
}

#[test]
fn a_path_can_be_forgotten() {
    let mut scene = Scene::new();
    scene.race(DROPPED);
    assert!(scene.memory.forget(path(1)));
    assert!(!scene.memory.forget(path(1)));
    assert_eq!(scene.plan(), Plan::Race);
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let mut scene = Scene::new();
    scene.race(DROPPED);
    let Plan::Plain { until, .. } = scene.plan() else {
        panic!("not suspended");
    };
    scene.now = at(0);
    assert!(matches!(scene.plan(), Plan::Plain { until: same, .. } if same == until));
    scene.memory.note(at(0), path(2), at(0), DROPPED);
    let taken = scene.memory.plan(at(0), path(2));
    assert!(matches!(taken, Plan::Plain { until: same, .. } if same == until));
    scene.now = until;
    assert_eq!(scene.plan(), Plan::Retry(Trouble::Dropped));
}

#[test]
fn everything_is_counted() {
    let delay = Duration::from_millis(1);
    let mut memory = PathMemory::builder().hedge(Some(delay)).build().unwrap();
    let now = at(1);
    for _ in 0..TRUST_MAX {
        memory.plan(now, path(1));
        memory.note(now, path(1), now, Evidence::Answered);
    }
    memory.plan(now, path(1));
    memory.note(now, path(2), now, Evidence::Asked);
    memory.note(now, path(2), now, Evidence::Nothing);
    memory.note(now, path(2), now, DROPPED);
    memory.note(now, path(2), now, DROPPED);
    memory.note(now, path(2), now, STALLED);
    for _ in 0..3 {
        memory.plan(now, path(2));
    }
    let later = now.saturating_add(BACKOFF_MAX);
    memory.plan(later, path(2));
    memory.note(later, path(2), later, Evidence::Nothing);
    let counters = memory.counters();
    let [races, hedged, plain, retries] = [
        counters.races,
        counters.hedged,
        counters.plain,
        counters.retries,
    ];
    assert_eq!(
        [races, hedged, plain, retries],
        [u64::from(TRUST_MAX), 1, 3, 1]
    );
    let PathCounters {
        answered,
        asked,
        troubles,
        suspensions,
        evicted,
        ..
    } = counters;
    assert_eq!(
        [answered, asked, troubles, suspensions, evicted],
        [u64::from(TRUST_MAX), 1, 3, 2, 0]
    );
}

#[test]
fn times_are_as_documented() {
    let hour = Duration::from_secs(3_600);
    assert_eq!(BACKOFF_FIRST, hour / 60);
    assert_eq!((BACKOFF_MAX, KEEP_DEFAULT), (24 * hour, 7 * 24 * hour));
}

#[test]
fn settings_have_ranges() {
    let builder = PathMemory::builder;
    let second = Duration::from_secs(1);
    for (built, error) in [
        (builder().capacity(0).build(), PathConfigError::Capacity),
        (
            builder().capacity(1_000_001).build(),
            PathConfigError::Capacity,
        ),
        (
            builder().backoff(Duration::ZERO, second).build(),
            PathConfigError::Backoff,
        ),
        (
            builder().backoff(2 * second, second).build(),
            PathConfigError::Backoff,
        ),
        (
            builder().keep(BACKOFF_MAX - second).build(),
            PathConfigError::Keep,
        ),
    ] {
        assert_eq!(built.err(), Some(error));
    }
    assert!(builder().capacity(1_000_000).build().is_ok());
    let shortest = builder().backoff(second, second).keep(second).capacity(1);
    let mut memory = shortest.build().unwrap();
    let now = at(1);
    memory.note(now, path(1), now, STALLED);
    let plan = memory.plan(now, path(1));
    assert!(matches!(plan, Plan::Plain { until, .. } if until == at(2)));
}

#[test]
fn names_are_read_back() {
    for trouble in Trouble::ALL {
        assert_eq!(Trouble::from_name(trouble.name()), Some(trouble));
    }
    assert_eq!(Trouble::from_name(""), None);
}

const NOON: WallTime = WallTime::from_millis(1_700_000_000_000);

fn later(wall: WallTime, time: Duration) -> WallTime {
    WallTime::from_millis(wall.as_millis() + u64::try_from(time.as_millis()).unwrap())
}

/// The whole snapshot, taken into another process whose clock shows `now`.
fn carried(memory: &PathMemory, from: Instant, to: Instant, wall: WallTime) -> PathMemory {
    let mut other = PathMemory::default();
    for remembered in memory.snapshot(from, NOON) {
        other.restore(to, wall, remembered);
    }
    other
}

#[test]
fn a_backoff_goes_on_after_a_restart() {
    let mut scene = Scene::new();
    scene.race(DROPPED);
    scene.wait(MINUTE);
    scene.race(DROPPED); // two minutes
    let pause = Duration::from_secs(50);
    for boot in [at(0), at(7), at(1_000_000)] {
        let mut after = carried(&scene.memory, scene.now, boot, later(NOON, pause));
        let until = boot.saturating_add(2 * MINUTE - pause);
        let plain = Plan::Plain {
            trouble: Trouble::Dropped,
            until,
        };
        assert_eq!(after.plan(boot, path(1)), plain);
        assert_eq!(after.plan(until, path(1)), Plan::Retry(Trouble::Dropped));
        after.note(until, path(1), until, DROPPED);
        let doubled = until.saturating_add(4 * MINUTE);
        assert!(
            matches!(after.plan(until, path(1)), Plan::Plain { until, .. } if until == doubled)
        );
    }
}

#[test]
fn a_retry_that_a_restart_interrupts_is_due() {
    let mut scene = Scene::new();
    scene.race(DROPPED);
    scene.wait(MINUTE);
    assert_eq!(scene.plan(), Plan::Retry(Trouble::Dropped));
    let mut after = carried(&scene.memory, scene.now, at(5), NOON);
    assert_eq!(after.plan(at(5), path(1)), Plan::Retry(Trouble::Dropped));
}

#[test]
fn trust_and_relapse_survive_a_restart() {
    let mut scene = Scene::new();
    scene.race(STALLED);
    scene.wait(stall_time());
    scene.race(Evidence::Answered);
    scene.race(Evidence::Asked);
    let boot = at(100_000);
    let mut after = carried(&scene.memory, scene.now, boot, NOON);
    assert_eq!(after.plan(boot, path(1)), Plan::Race);
    let mut asked = after.clone();
    asked.note(boot, path(1), boot, Evidence::Asked);
    assert!(matches!(
        asked.plan(boot, path(1)),
        Plan::Plain {
            trouble: Trouble::NoCookie,
            ..
        }
    ));
    after.note(boot, path(1), boot, DROPPED);
    assert_eq!(after.plan(boot, path(1)), Plan::Race, "it is trusted once");
    // Its relapse ended a second ago in the first, and has one second left here.
    let end = boot.saturating_add(stall_time() - Duration::from_secs(1));
    let early = Instant::from_nanos(end.as_nanos() - 1);
    let mut relapsed = after.clone();
    relapsed.note(early, path(1), early, STALLED);
    let doubled = early.saturating_add(2 * stall_time());
    assert!(matches!(relapsed.plan(early, path(1)), Plan::Plain { until, .. } if until == doubled));
    after.note(end, path(1), end, STALLED);
    let anew = end.saturating_add(stall_time());
    assert!(matches!(after.plan(end, path(1)), Plan::Plain { until, .. } if until == anew));
}

/// A relapse that is over is not written down.
#[test]
fn a_relapse_ends_in_snapshots_too() {
    let mut scene = Scene::new();
    scene.race(STALLED);
    scene.wait(stall_time());
    scene.race(Evidence::Answered);
    let relapse = |scene: &Scene| match scene.memory.snapshot(scene.now, NOON)[0].standing {
        Standing::Open { relapse, .. } => relapse,
        Standing::Suspended { .. } => panic!("suspended"),
    };
    let until = later(NOON, stall_time());
    assert_eq!(relapse(&scene), Some((STALL_DOUBLINGS, until)));
    scene.wait(stall_time() - Duration::from_nanos(1));
    assert!(relapse(&scene).is_some());
    scene.wait(Duration::from_nanos(1));
    assert_eq!(relapse(&scene), None);
}

#[test]
fn snapshots_say_when_things_were() {
    let mut scene = Scene::new();
    scene.race(DROPPED);
    scene.wait(Duration::from_secs(20));
    let snapshot = scene.memory.snapshot(scene.now, NOON);
    let expected = Remembered {
        path: path(1),
        noted: WallTime::from_millis(NOON.as_millis() - 20_000),
        standing: Standing::Suspended {
            trouble: Trouble::Dropped,
            doublings: 0,
            until: WallTime::from_millis(NOON.as_millis() + 40_000),
        },
    };
    assert_eq!(snapshot, [expected]);
}

/// A wall clock that was wrong, or a file that was edited, lengthens nothing.
#[test]
fn m2_no_stored_backoff_is_longer_than_one_that_begins_now() {
    let stored = |standing| Remembered {
        path: path(1),
        noted: WallTime::from_millis(u64::MAX),
        standing,
    };
    let now = at(10);
    let mut memory = PathMemory::default();
    let suspended = Standing::Suspended {
        trouble: Trouble::Dropped,
        doublings: 1,
        until: WallTime::from_millis(u64::MAX),
    };
    assert!(memory.restore(now, NOON, stored(suspended)));
    let until = now.saturating_add(2 * MINUTE);
    assert!(matches!(memory.plan(now, path(1)), Plan::Plain { until: u, .. } if u == until));

    let mut memory = PathMemory::default();
    let forever = Standing::Suspended {
        trouble: Trouble::Dropped,
        doublings: u8::MAX,
        until: WallTime::from_millis(u64::MAX),
    };
    assert!(memory.restore(now, NOON, stored(forever)));
    let until = now.saturating_add(BACKOFF_MAX);
    assert_eq!(memory.plan(until, path(1)), Plan::Retry(Trouble::Dropped));
    memory.note(until, path(1), until, DROPPED);
    let snapshot = memory.snapshot(until, NOON);
    assert!(matches!(
        snapshot[0].standing,
        Standing::Suspended { doublings: 63, .. }
    ));

    let mut memory = PathMemory::default();
    let trusted = Standing::Open {
        trust: u8::MAX,
        asked: false,
        relapse: Some((u8::MAX, WallTime::from_millis(u64::MAX))),
    };
    assert!(memory.restore(now, NOON, stored(trusted)));
    let snapshot = memory.snapshot(now, NOON);
    let expected = Standing::Open {
        trust: TRUST_MAX,
        asked: false,
        relapse: Some((63, later(NOON, BACKOFF_MAX))),
    };
    assert_eq!(snapshot[0].standing, expected);
    assert_eq!(snapshot[0].noted, NOON, "the future is now");
}

#[test]
fn the_newer_of_two_memories_wins() {
    let stored = |noted: u64, standing| Remembered {
        path: path(1),
        noted: WallTime::from_millis(NOON.as_millis() - noted),
        standing,
    };
    let open = Standing::Open {
        trust: 1,
        asked: false,
        relapse: None,
    };
    let suspended = Standing::Suspended {
        trouble: Trouble::Refused,
        doublings: 0,
        until: later(NOON, MINUTE),
    };
    let now = at(100);
    for (first, second, taken) in [
        (5_001, 4_000, true),
        (5_000, 4_000, false),
        (4_000, 5_001, false),
        (5_000, 5_000, false),
    ] {
        let mut memory = PathMemory::default();
        assert!(memory.restore(now, NOON, stored(first, open)));
        assert_eq!(memory.restore(now, NOON, stored(second, suspended)), taken);
        assert_eq!(memory.plan(now, path(1)) != Plan::Race, taken);
        assert_eq!(memory.len(), 1);
    }
    let mut memory = PathMemory::default();
    let keep = u64::try_from(KEEP_DEFAULT.as_millis()).unwrap();
    assert!(!memory.restore(now, NOON, stored(keep, open)), "too old");
    assert!(memory.restore(now, NOON, stored(keep - 1, open)));
}
