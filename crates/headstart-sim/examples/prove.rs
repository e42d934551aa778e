//! Runs scenarios by their numbers until one breaks a rule.

use std::time::Instant;

fn main() {
    let mut args = std::env::args().skip(1);
    let (mut from, mut seeds, mut one, mut show) = (0u64, 10_000u64, None, 5usize);
    while let Some(arg) = args.next() {
        let value = args.next().and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
        match arg.as_str() {
            "--from" => from = value,
            "--seeds" => seeds = value,
            "--seed" => one = Some(value),
            "--show" => show = value as usize,
            _ => {}
        }
    }
    if let Some(seed) = one {
        let scenario = headstart_sim::Scenario::from_seed(seed);
        let run = headstart_sim::run_traced(&scenario);
        println!("{scenario:?}\n{}", run.trace);
        for attempt in &run.outcome.report.attempts {
            println!("{attempt:?}");
        }
        println!(
            "{:?} {:?} {:?}",
            run.outcome.end, run.outcome.read, run.counters
        );
        for violation in run.violations {
            println!("{violation}");
        }
        return;
    }
    let began = Instant::now();
    let mut found = std::collections::BTreeMap::<&str, Vec<(u64, String)>>::new();
    let mut events = 0;
    for seed in from..from + seeds {
        let run = headstart_sim::run(&headstart_sim::Scenario::from_seed(seed));
        events += run.counters.events;
        if let Some(v) = run.violations.first() {
            found.entry(v.rule).or_default().push((seed, v.to_string()));
        }
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "{seeds} seeds, {:.0} races/s, {:.1} events each",
        seeds as f64 / took,
        events as f64 / seeds as f64
    );
    for (rule, list) in found {
        println!("{rule}: {}", list.len());
        for (seed, text) in list.iter().take(show) {
            println!("   {seed}: {text}");
        }
    }
}
