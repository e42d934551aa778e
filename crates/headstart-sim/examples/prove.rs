//! Runs scenarios by their numbers, explores the state space of small races,
//! and says what was found. `prove --help` tells its settings.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use headstart_sim::state_space::{Size, Space, every_setting, spaces};
use headstart_sim::{Run, Scenario, Violation, run, run_traced, shrink};

const USAGE: &str = "\
usage: prove [--seeds N] [--from SEED] [--threads T] [--paired | --strangers]
       prove --seed SEED    one run, with its trace, shrunk if it breaks a rule
       prove --alone SEED   the same without Headstart

  --seeds N      scenarios to run; 100000 unless told
  --from SEED    the number of the first; 0 unless told
  --threads T    threads that run them; one for each processor unless told
  --paired       with servers that keep messages open for copies
  --strangers    with such servers, and clients that are not ours

With HEADSTART_STATE_SPACE=full in the environment, races of every combination of
settings are explored, each as far as it goes: an hour.
Ends by status 1 where a rule is broken.";

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
    made: fn(u64) -> Scenario,
}

impl Settings {
    fn scenario(&self, seed: u64) -> Scenario {
        (self.made)(seed)
    }
}

fn main() -> ExitCode {
    let settings = match settings() {
        Ok(Some(settings)) => settings,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(text) => {
            eprintln!("{text}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let sound = match (settings.one, settings.alone) {
        (Some(seed), _) => one(seed, &settings.scenario(seed)),
        (None, Some(seed)) => {
            let alone = settings.scenario(seed).plain_alone();
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

/// What the arguments say; nothing if they ask for help.
fn settings() -> Result<Option<Settings>, String> {
    let mut settings = Settings {
        from: 0,
        seeds: 100_000,
        threads: thread::available_parallelism().map_or(1, |threads| threads.get() as u64),
        one: None,
        alone: None,
        made: Scenario::from_seed,
    };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        if matches!(name.as_str(), "--help" | "-h") {
            return Ok(None);
        }
        let made: Option<fn(u64) -> Scenario> = match name.as_str() {
            "--paired" => Some(Scenario::paired_from_seed),
            "--strangers" => Some(Scenario::stranger_from_seed),
            _ => None,
        };
        if let Some(made) = made {
            settings.made = made;
            continue;
        }
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
    Ok(Some(settings))
}

/// What was found with one kind of server.
#[derive(Debug, Default)]
struct Tally {
    lived: u64,
    raced: u64,
    pairs: u64,
    joined: u64,
    packets: u64,
    events: u64,
    broken: Vec<(u64, Violation)>,
    excused: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn add(&mut self, seed: u64, run: Run) {
        self.lived += 1;
        self.pairs += u64::from(run.counters.pairs);
        self.joined += u64::from(run.counters.joined);
        self.raced += u64::from(run.outcome.report.raced());
        self.packets += run.counters.packets;
        self.events += run.counters.events;
        if let Some(why) = run.excuse {
            *self.excused.entry(why).or_default() += 1;
        }
        let first = run.violations.into_iter().next();
        self.broken.extend(first.map(|violation| (seed, violation)));
    }

    fn plus(mut self, other: Self) -> Self {
        self.lived += other.lived;
        self.raced += other.raced;
        self.pairs += other.pairs;
        self.joined += other.joined;
        self.packets += other.packets;
        self.events += other.events;
        self.broken.extend(other.broken);
        for (why, times) in other.excused {
            *self.excused.entry(why).or_default() += times;
        }
        self
    }

    fn print(&self) {
        println!("  runs         {}", self.lived);
        println!("  both started {}", self.raced);
        if self.pairs > 0 {
            println!("  kept open    {}, joined {}", self.pairs, self.joined);
        }
        println!("  packets      {}", self.packets);
        println!("  events       {}", self.events);
        println!("  excused      {}", self.excused.values().sum::<u64>());
        for (why, times) in &self.excused {
            println!("    {times:>8} {why}");
        }
        println!("  violations   {}", self.broken.len());
    }
}

/// The kinds of server, as they are printed.
const SERVERS: [&str; 3] = ["acts on every copy", "first come, first served", "pairing"];

/// Which of them a scenario has.
fn server(scenario: &Scenario) -> usize {
    match (scenario.server.debounce, scenario.server.pairing) {
        (None, _) => 0,
        (Some(_), None) => 1,
        (Some(_), Some(_)) => 2,
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
        let mut tally = <[Tally; 3]>::default();
        loop {
            let begin = next.fetch_add(BATCH, Ordering::Relaxed);
            if begin >= seeds {
                return tally;
            }
            for seed in begin..seeds.min(begin.saturating_add(BATCH)) {
                let seed = from.wrapping_add(seed);
                let scenario = settings.scenario(seed);
                tally[server(&scenario)].add(seed, run(&scenario));
            }
        }
    };
    let tallies: Vec<[Tally; 3]> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined.map(|tally| tally.unwrap_or_default()).collect()
    });
    let took = began.elapsed().max(Duration::from_nanos(1)).as_secs_f64();
    println!("seeds        {seeds} from {from}");
    println!(
        "races/s      {:.0} on {threads} threads",
        seeds as f64 / took
    );
    let mut broken = Vec::new();
    let all = tallies
        .into_iter()
        .fold(<[Tally; 3]>::default(), |all, more| {
            let mut more = more.into_iter();
            all.map(|one| one.plus(more.next().unwrap_or_default()))
        });
    for (name, tally) in SERVERS.iter().zip(all) {
        println!("server       {name}");
        tally.print();
        broken.extend(tally.broken);
    }
    broken.sort_by_key(|(seed, _)| *seed);
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
                Ok(more) => size = size.plus(&more),
                Err(found) => broken.push(found),
            }
            if full {
                let (states, edges, after) = (size.states, size.edges, began.elapsed());
                eprintln!(
                    "{states} states, {edges} edges after {after:?}: {:?}",
                    race.setups
                );
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
        .fold(Size::default(), |all, one| all.plus(&one.0));
    println!("states       {} of {} races", size.states, races.len());
    println!("edges        {}", size.edges);
    println!("explored in  {:.1} s", began.elapsed().as_secs_f64());
    let mut broken = found.iter().flat_map(|one| &one.1).peekable();
    let sound = broken.peek().is_none();
    println!("broken       {}", broken.clone().count());
    broken.take(1).for_each(|first| println!("{first}"));
    sound
}

fn one(seed: u64, scenario: &Scenario) -> bool {
    let run = run_traced(scenario);
    let Some(violation) = run.violations.first() else {
        show(scenario, &run);
        return true;
    };
    println!("seed {seed} breaks a rule: {violation}\nshrunk:");
    let small = shrink(scenario, headstart_sim::run);
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
