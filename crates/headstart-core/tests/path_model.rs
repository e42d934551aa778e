//! The path memory beside a plain model: a list, searched from end to end.

use core::time::Duration;

use headstart_core::Instant;
use headstart_core::path::{
    Evidence, PathKey, PathMemory, Plan, RETRY_PATIENCE, STALL_DOUBLINGS, Standing, TRUST_MAX,
    Trouble, WallTime,
};
use proptest::prelude::*;

const CAPACITY: usize = 4;
const PATHS: u8 = 6;
const FIRST: u64 = 1_000;
const LONGEST: u64 = 100_000;
const KEEP: u64 = 150_000;
const HEDGE: Duration = Duration::from_millis(7);
const WALL: u64 = 1_700_000_000_000;

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn path(number: u8) -> PathKey {
    PathKey::new(
        [192, 0, 2, number % 2].into(),
        ([192, 0, 2, number / 2], 443).into(),
    )
}

fn backoff(doublings: u32) -> u64 {
    (0..doublings).fold(FIRST, |time, _| (time * 2).min(LONGEST))
}

/// All that is known of a path. Times are in milliseconds.
#[derive(Clone, Debug)]
struct Known {
    path: PathKey,
    heard: u64,
    trust: u8,
    asked: bool,
    counted: u64,
    /// In trouble: what, doublings, until when.
    blocked: Option<(Trouble, u32, u64)>,
    /// Since when a race tries again.
    trying: Option<u64>,
    /// After a stall: doublings, since when, until when.
    relapse: Option<(u32, u64, u64)>,
}

/// What is known, the path used longest ago first.
#[derive(Clone, Debug)]
struct Model {
    hedge: bool,
    known: Vec<Known>,
}

impl Model {
    fn take(&mut self, now: u64, path: PathKey) -> Option<Known> {
        let position = self.known.iter().position(|known| known.path == path)?;
        let known = self.known.remove(position);
        (now < known.heard + KEEP).then_some(known)
    }

    fn put(&mut self, known: Known) {
        self.known.push(known);
        if self.known.len() > CAPACITY {
            let fine = self.known.iter().position(|known| known.blocked.is_none());
            self.known.remove(fine.unwrap_or(0));
        }
    }

    fn plan(&mut self, now: u64, path: PathKey) -> Plan {
        let Some(mut known) = self.take(now, path) else {
            return Plan::Race;
        };
        let patience = u64::try_from(RETRY_PATIENCE.as_millis()).unwrap();
        let wait = match (known.blocked, known.trying) {
            (Some(_), Some(since)) => Some(since + patience),
            (Some((.., until)), None) => Some(until),
            (None, _) => None,
        };
        let relapsing = known.relapse.is_some_and(|(.., until)| now < until);
        let plan = match (known.blocked, wait) {
            (Some((trouble, ..)), Some(wait)) if now < wait => Plan::Plain {
                trouble,
                until: at(wait),
            },
            (Some((trouble, ..)), _) => {
                known.trying = Some(now);
                Plan::Retry(trouble)
            }
            (None, _) if self.hedge && known.trust == TRUST_MAX && !relapsing => {
                Plan::Hedged(HEDGE)
            }
            (None, _) => Plan::Race,
        };
        self.put(known);
        plan
    }

    fn note(&mut self, now: u64, path: PathKey, began: u64, evidence: Evidence) {
        let known = self.take(now, path);
        if known.is_none() && evidence == Evidence::Nothing {
            return;
        }
        let mut known = known.unwrap_or(Known {
            path,
            heard: now,
            trust: 0,
            asked: false,
            counted: 0,
            blocked: None,
            trying: None,
            relapse: None,
        });
        if evidence != Evidence::Nothing {
            known.heard = now;
        }
        match known.blocked {
            None => known.hear_open(now, began, evidence),
            Some(blocked) if known.trying.is_some_and(|since| began >= since) => {
                known.hear_retry(now, blocked, evidence);
            }
            Some((trouble, doublings, _)) if trouble != Trouble::Stalled => match evidence {
                Evidence::Answered => known.heal(now),
                Evidence::Trouble(Trouble::Stalled) => {
                    known.block(now, Trouble::Stalled, doublings)
                }
                _ => {}
            },
            Some(_) => {}
        }
        self.put(known);
    }
}

impl Known {
    fn block(&mut self, now: u64, trouble: Trouble, doublings: u32) {
        let doublings = match trouble {
            Trouble::Stalled => doublings.max(STALL_DOUBLINGS.into()),
            _ => doublings,
        };
        self.blocked = Some((trouble, doublings, now + backoff(doublings)));
        (self.trying, self.relapse) = (None, None);
        (self.trust, self.asked, self.counted) = (0, false, 0);
    }

    fn heal(&mut self, now: u64) {
        (self.blocked, self.trying, self.relapse) = (None, None, None);
        (self.trust, self.asked, self.counted) = (1, false, now);
    }

    fn hear_open(&mut self, now: u64, began: u64, evidence: Evidence) {
        self.relapse = self.relapse.filter(|(.., until)| now < *until);
        let doublings = self.relapse.map_or(0, |(doublings, ..)| doublings + 1);
        let from_before = self.relapse.is_some_and(|(_, since, _)| began < since);
        match evidence {
            Evidence::Nothing => {}
            Evidence::Answered => {
                self.trust = TRUST_MAX.min(self.trust + 1);
                self.asked = false;
            }
            Evidence::Trouble(Trouble::Stalled) if from_before => {}
            Evidence::Trouble(Trouble::Stalled) => self.block(now, Trouble::Stalled, doublings),
            _ if began < self.counted => {}
            Evidence::Asked if self.asked => self.block(now, Trouble::NoCookie, doublings),
            Evidence::Asked => (self.asked, self.counted) = (true, now),
            Evidence::Trouble(trouble) if self.trust == 0 => self.block(now, trouble, doublings),
            Evidence::Trouble(_) => (self.trust, self.counted) = (self.trust - 1, now),
        }
    }

    fn hear_retry(&mut self, now: u64, blocked: (Trouble, u32, u64), evidence: Evidence) {
        let (trouble, doublings, _) = blocked;
        match evidence {
            Evidence::Nothing => {
                (self.trying, self.blocked) = (None, Some((trouble, doublings, now)))
            }
            Evidence::Asked if trouble != Trouble::NoCookie => {
                self.trying = None;
                self.blocked = Some((Trouble::NoCookie, doublings, now));
            }
            Evidence::Asked => self.block(now, Trouble::NoCookie, doublings + 1),
            Evidence::Trouble(trouble) => self.block(now, trouble, doublings + 1),
            Evidence::Answered => {
                let since = self.trying.unwrap_or(now);
                self.heal(now);
                if trouble == Trouble::Stalled {
                    self.relapse = Some((doublings, since, now + backoff(doublings)));
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Move {
    Plan(u8),
    /// The outcome of the so many'th latest race of all that were planned.
    Note(usize, Evidence),
    Wait(u64),
    /// The clock shows less than before.
    Back(u64),
    /// The process starts again, after so long.
    Restart(u64),
    Forget(u8),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let evidence = prop_oneof![
        1 => Just(Evidence::Nothing),
        2 => Just(Evidence::Asked),
        4 => Just(Evidence::Answered),
        6 => prop::sample::select(Trouble::ALL.to_vec()).prop_map(Evidence::Trouble),
    ];
    let wait = prop_oneof![
        0..2_000_u64,
        Just(FIRST),
        Just(60_000),
        0..LONGEST,
        Just(KEEP),
    ];
    let step = prop_oneof![
        6 => (0..PATHS).prop_map(Move::Plan),
        8 => (0..4_usize, evidence).prop_map(|(back, evidence)| Move::Note(back, evidence)),
        4 => wait.clone().prop_map(Move::Wait),
        1 => (0..9_999_u64).prop_map(Move::Back),
        1 => wait.prop_map(Move::Restart),
        1 => (0..PATHS).prop_map(Move::Forget),
    ];
    prop::collection::vec(step, 1..120)
}

fn memory(hedge: bool) -> PathMemory {
    PathMemory::builder()
        .capacity(CAPACITY)
        .backoff(Duration::from_millis(FIRST), Duration::from_millis(LONGEST))
        .keep(Duration::from_millis(KEEP))
        .hedge(hedge.then_some(HEDGE))
        .build()
        .unwrap()
}

/// What no plan may do: wait for nothing, or for longer than any back-off.
fn check_plan(now: u64, plan: Plan) -> Result<(), TestCaseError> {
    if let Plan::Plain { until, .. } = plan {
        let longest = at(now + LONGEST).max(at(now).saturating_add(RETRY_PATIENCE));
        prop_assert!(until > at(now) && until <= longest, "{plan:?} at {now}");
    }
    Ok(())
}

fn run(hedge: bool, moves: Vec<Move>) -> Result<(), TestCaseError> {
    let mut memory = memory(hedge);
    let mut model = Model {
        hedge,
        known: Vec::new(),
    };
    let mut now = 10_000_000_u64;
    let mut races: Vec<(PathKey, u64)> = Vec::new();
    for step in moves {
        match step {
            Move::Plan(number) => {
                let plan = memory.plan(at(now), path(number));
                prop_assert_eq!(plan, model.plan(now, path(number)));
                check_plan(now, plan)?;
                races.push((path(number), now));
            }
            Move::Note(back, evidence) => {
                let Some((path, began)) = races.iter().rev().nth(back).copied() else {
                    continue;
                };
                memory.note(at(now), path, at(began), evidence);
                model.note(now, path, began, evidence);
            }
            Move::Wait(time) => now += time,
            Move::Back(time) => {
                let number = u8::try_from(time % u64::from(PATHS)).unwrap();
                let plan = memory.plan(at(now - time), path(number));
                prop_assert_eq!(plan, model.plan(now, path(number)), "time stands still");
            }
            Move::Restart(time) => {
                restart(&mut memory, &mut model, now, time)?;
                now += time;
                races.clear();
            }
            Move::Forget(number) => {
                let forgot = memory.forget(path(number));
                prop_assert_eq!(forgot, model.take(now, path(number)).is_some());
            }
        }
        // The memory knows it is late only when it is told.
        memory.plan(at(now), path(u8::MAX));
        compare(&memory, &model, now)?;
    }
    Ok(())
}

/// A restart loses races under way and the times of failures counted, no more.
fn restart(
    memory: &mut PathMemory,
    model: &mut Model,
    now: u64,
    pause: u64,
) -> Result<(), TestCaseError> {
    let snapshot = memory.snapshot(at(now), WallTime::from_millis(WALL + now));
    let mut after = self::memory(model.hedge);
    let (later, wall) = (now + pause, WallTime::from_millis(WALL + now + pause));
    for remembered in &snapshot {
        let is_fresh = remembered.noted.as_millis() + KEEP > wall.as_millis();
        prop_assert_eq!(after.restore(at(later), wall, *remembered), is_fresh);
    }
    *memory = after;
    // In the order of the snapshot, which is that of who goes first.
    model.known.sort_by_key(|known| known.blocked.is_some());
    model.known.retain(|known| later < known.heard + KEEP);
    for known in &mut model.known {
        known.counted = 0;
        if let (Some((.., until)), Some(since)) = (&mut known.blocked, known.trying.take()) {
            *until = since;
        }
        if let Some((.., until)) = &mut known.blocked {
            *until = later.max(*until);
        }
        known.relapse = known.relapse.filter(|(.., until)| now < *until);
        if let Some((_, since, until)) = &mut known.relapse {
            (*since, *until) = (later, later.max(*until));
        }
    }
    Ok(())
}

fn compare(memory: &PathMemory, model: &Model, now: u64) -> Result<(), TestCaseError> {
    prop_assert!(memory.len() <= CAPACITY);
    let held = memory.len();
    prop_assert_eq!(memory.is_empty(), held == 0);
    let wall = |time: u64| WallTime::from_millis(WALL + time);
    let mut expected: Vec<&Known> = model.known.iter().collect();
    expected.retain(|known| now < known.heard + KEEP);
    expected.sort_by_key(|known| known.blocked.is_some());
    let snapshot = memory.snapshot(at(now), wall(now));
    prop_assert_eq!(snapshot.len(), expected.len());
    for (found, known) in snapshot.iter().zip(expected) {
        prop_assert_eq!(found.path, known.path);
        prop_assert_eq!(found.noted, wall(known.heard));
        let standing = match (known.blocked, known.trying) {
            (None, _) => Standing::Open {
                trust: known.trust,
                asked: known.asked,
                relapse: known
                    .relapse
                    .filter(|(.., until)| now < *until)
                    .map(|(doublings, _, until)| (u8::try_from(doublings).unwrap(), wall(until))),
            },
            (Some((trouble, doublings, until)), trying) => Standing::Suspended {
                trouble,
                doublings: u8::try_from(doublings).unwrap(),
                until: wall(trying.unwrap_or(until)),
            },
        };
        prop_assert_eq!(found.standing, standing);
    }
    for number in 0..PATHS {
        let peer = path(number).peer();
        let of_peer = || model.known.iter().filter(|known| known.path.peer() == peer);
        let suspicious = of_peer().any(|known| model.hedge || known.blocked.is_some());
        prop_assert_eq!(memory.is_suspicious(peer), suspicious);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000)
    ))]

    #[test]
    fn it_does_what_the_model_does(hedge: bool, moves in moves()) {
        run(hedge, moves)?;
    }
}
