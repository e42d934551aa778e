//! Runs scenarios by their numbers, explores the state space of small races,
//! and says what was found:
//!
//! ```text
//! prove [--seeds N] [--from SEED] [--threads T]
//! prove --seed SEED    one run, with its trace, shrunk if it breaks a rule
//! prove --alone SEED   the same without Headstart
//! ```
//!
//! With `HEADSTART_STATE_SPACE=full` in the environment, races of every
//! combination of settings are explored, each as far as it goes: an hour.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use headstart_sim::state_space::{Size, Space, every_setting, spaces};
use headstart_sim::{Run, Scenario, Violation, run, run_traced, shrink};

/// Failing seeds that are shown.
const SHOWN: usize = 20;
/// Seeds that a thread takes at a time.
const BATCH: u64 = 256;

#[derive(Clone, Copy, Debug)]
struct Settings {
    from: u64,
    seeds: u64,
    threads: u64,
    one: Option<u64>,
    alone: Option<u64>,
}

fn main() -> ExitCode {
    let settings = match settings() {
        Ok(settings) => settings,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    let sound = match (settings.one, settings.alone) {
        (Some(seed), _) => one(seed),
        (None, Some(seed)) => {
            let alone = Scenario::from_seed(seed).plain_alone();
            show(&alone, &run_traced(&alone));
            true
        }
        (None, None) => {
            let lived = many(settings);
            let explored = states(settings.threads);
            lived && explored
        }
    };
    match sound {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn settings() -> Result<Settings, String> {
    let mut settings = Settings {
        from: 0,
        seeds: 100_000,
        threads: thread::available_parallelism().map_or(1, |threads| threads.get() as u64),
        one: None,
        alone: None,
    };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().and_then(|value| value.parse().ok());
        let value = value.ok_or_else(|| format!("{name} needs a number"))?;
        match name.as_str() {
            "--from" => settings.from = value,
            "--seeds" => settings.seeds = value,
            "--threads" => settings.threads = value.max(1),
            "--seed" => settings.one = Some(value),
            "--alone" => settings.alone = Some(value),
            _ => return Err(format!("no such setting: {name}")),
        }
    }
    Ok(settings)
}

/// What one thread found.
#[derive(Debug, Default)]
struct Tally {
    raced: u64,
    packets: u64,
    events: u64,
    broken: Vec<(u64, Violation)>,
    excused: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn add(&mut self, seed: u64, run: Run) {
        self.raced += u64::from(run.outcome.report.raced());
        self.packets += run.counters.packets;
        self.events += run.counters.events;
        if let Some(why) = run.excuse {
            *self.excused.entry(why).or_default() += 1;
        }
        let first = run.violations.into_iter().next();
        self.broken.extend(first.map(|violation| (seed, violation)));
    }
}

fn many(settings: Settings) -> bool {
    let Settings {
        from,
        seeds,
        threads,
        ..
    } = settings;
    let next = AtomicU64::new(0);
    let began = Instant::now();
    let work = || {
        let mut tally = Tally::default();
        loop {
            let begin = next.fetch_add(BATCH, Ordering::Relaxed);
            if begin >= seeds {
                return tally;
            }
            for seed in begin..seeds.min(begin.saturating_add(BATCH)) {
                let seed = from.wrapping_add(seed);
                tally.add(seed, run(&Scenario::from_seed(seed)));
            }
        }
    };
    let tallies: Vec<Tally> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined.map(|tally| tally.unwrap_or_default()).collect()
    });
    let took = began.elapsed().max(Duration::from_nanos(1)).as_secs_f64();
    let total = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    let mut broken: Vec<_> = tallies.iter().flat_map(|tally| &tally.broken).collect();
    broken.sort_by_key(|(seed, _)| *seed);
    println!("seeds        {seeds} from {from}");
    println!("both started {}", total(|tally| tally.raced));
    println!("packets      {}", total(|tally| tally.packets));
    println!("events       {}", total(|tally| tally.events));
    println!(
        "races/s      {:.0} on {threads} threads",
        seeds as f64 / took
    );
    let mut excused = BTreeMap::<_, u64>::new();
    for (why, times) in tallies.iter().flat_map(|tally| &tally.excused) {
        *excused.entry(*why).or_default() += times;
    }
    println!("excused      {}", excused.values().sum::<u64>());
    for (why, times) in excused {
        println!("  {times:>8} {why}");
    }
    println!("violations   {}", broken.len());
    for (seed, violation) in broken.iter().take(SHOWN) {
        println!("  seed {seed}: {violation}");
    }
    broken.is_empty()
}

/// Explores small races in all that they may come to.
fn states(threads: u64) -> bool {
    let full = std::env::var_os("HEADSTART_STATE_SPACE").is_some_and(|value| value == "full");
    let spaces = match full {
        true => vec![every_setting()],
        false => spaces(),
    };
    // One race at a time, that threads share them evenly.
    let races: Vec<Space> = spaces
        .iter()
        .flat_map(|space| {
            space.setups.iter().map(|setup| {
                let mut race = space.clone();
                race.setups = vec![*setup];
                race
            })
        })
        .collect();
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    let work = || {
        let (mut size, mut broken) = (Size::default(), Vec::new());
        while let Some(race) = races.get(next.fetch_add(1, Ordering::Relaxed)) {
            match race.explore() {
                Ok(more) => size = size.plus(more),
                Err(found) => broken.push(found),
            }
            if full {
                eprintln!("{size:?} after {:?}: {:?}", began.elapsed(), race.setups);
            }
        }
        (size, broken)
    };
    let found: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined.map(|found| found.expect("a thread")).collect()
    });
    let size = found
        .iter()
        .fold(Size::default(), |all, one| all.plus(one.0));
    println!("states       {} of {} races", size.states, races.len());
    println!("edges        {}", size.edges);
    println!("explored in  {:.1} s", began.elapsed().as_secs_f64());
    let mut broken = found.iter().flat_map(|one| &one.1).peekable();
    let sound = broken.peek().is_none();
    println!("broken       {}", broken.clone().count());
    broken.take(1).for_each(|first| println!("{first}"));
    sound
}

fn one(seed: u64) -> bool {
    let scenario = Scenario::from_seed(seed);
    let run = run_traced(&scenario);
    let Some(violation) = run.violations.first() else {
        show(&scenario, &run);
        return true;
    };
    println!("seed {seed} breaks a rule: {violation}\nshrunk:");
    let small = shrink(&scenario, headstart_sim::run);
    show(&small, &run_traced(&small));
    false
}

fn show(scenario: &Scenario, run: &Run) {
    println!("{scenario:#?}\n{}", run.trace);
    for attempt in &run.outcome.report.attempts {
        println!("{attempt:?}");
    }
    println!("{:?}", run.counters);
    for violation in &run.violations {
        println!("BROKEN: {violation}");
    }
}
