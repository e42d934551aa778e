//! What it costs to tell first copies from later ones, beside the hash of the
//! same bytes: a message of 600 bytes, a memory of one million that is full,
//! so that every first copy drives the oldest entry out or finds it expired.

#![allow(unreachable_pub, reason = "a benchmark is all there is")]

mod common;

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{Args, Bar, Outcome, Report, Stopwatch, interleave};
use headstart::Claims;
use headstart::core::Instant;
use headstart::core::debounce::{Config, Debouncer, SECRET_LEN, Secret, Verdict};
use xxhash_rust::xxh3::xxh3_128_with_secret;

const MESSAGE: usize = 600;
const ENTRIES: usize = 1_000_000;
/// One-shot hashes that an observation may cost.
const HASHES: f64 = 3.0;
/// Bytes that an entry of capacity may take.
const BYTES: f64 = 48.0;
/// Time between messages, and windows that at this rate are longer, or
/// shorter, than it takes to fill the memory.
const TICK: Duration = Duration::from_micros(100);
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_secs(50);
/// A copy that comes soon is one of so many of the latest messages.
const SOON: u64 = 1_000;

fn main() -> Outcome {
    let args = Args::parse();
    let (rounds, batch) = args.pick((31, 200_000), (3, 5_000));
    let mut report = Report::new(
        args,
        format!("debounce: {rounds} rounds of {batch} messages of 600 bytes"),
    );
    alone(&mut report, rounds, batch)?;
    shared(&mut report, args)?;
    report.print();
    Ok(())
}

/// A message before it is stamped.
fn message() -> [u8; MESSAGE] {
    std::array::from_fn(|at| (at as u8).wrapping_mul(31))
}

/// Makes a message different from all others.
fn stamp(message: &mut [u8; MESSAGE], number: u64) {
    message[..8].copy_from_slice(&number.to_le_bytes());
}

fn secret() -> [u8; SECRET_LEN] {
    // xorshift64: regular secrets make messages collide, no more is needed.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    std::array::from_fn(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
}

/// When a message comes.
fn time(number: u64) -> Instant {
    Instant::from_nanos(0).saturating_add(TICK.saturating_mul(number as u32))
}

/// A debouncer, its messages and its clock.
struct Bench {
    secret: Secret,
    debouncer: Debouncer,
    message: [u8; MESSAGE],
    number: u64,
}

impl Bench {
    /// Full, and a quarter more, so that it is in its steady state.
    fn new(window: Duration) -> Outcome<Self> {
        let mut bench = Self {
            secret: Secret::from_bytes(&secret()),
            debouncer: Debouncer::new(Config {
                capacity: ENTRIES,
                window,
            })?,
            message: message(),
            number: 0,
        };
        bench.firsts(ENTRIES + ENTRIES / 4)?;
        Ok(bench)
    }

    fn observe(&mut self, number: u64) -> Verdict {
        stamp(&mut self.message, number);
        let digest = self.secret.digest(black_box(&self.message));
        self.debouncer.observe(time(self.number), digest, number)
    }

    fn firsts(&mut self, count: usize) -> Outcome<[f64; 1]> {
        let watch = Stopwatch::start();
        for _ in 0..count {
            self.number += 1;
            if self.observe(self.number) != Verdict::First {
                return Err("a new message was taken for a copy".into());
            }
        }
        Ok([watch.each(count)[0]])
    }

    /// Copies of some of the latest messages.
    fn copies(&mut self, latest: u64, count: usize) -> Outcome<[f64; 1]> {
        let watch = Stopwatch::start();
        for step in 0..count as u64 {
            let back = step.wrapping_mul(7_919_317) % (latest - 1);
            if self.observe(self.number - back) == Verdict::First {
                return Err("a copy was taken for a new message".into());
            }
        }
        Ok([watch.each(count)[0]])
    }
}

/// One thread's own memory. One at a time: two would drive each other out of
/// the processor's caches.
fn alone(report: &mut Report, rounds: usize, batch: usize) -> Outcome {
    let mut built = None;
    let info = allocation_counter::measure(|| built = Some(Bench::new(LONG)));
    let mut full = built.ok_or("not measured")??;
    let mut beside_hash = |what, bar, work: &mut dyn FnMut() -> Outcome<[f64; 1]>| {
        let series = interleave(rounds, &mut [work, &mut hashes(batch)])?;
        let [[ours], [hash]] = &series[..] else {
            return Outcome::Err("two things were measured".into());
        };
        report.compare(what, "ns", ours, ("one-shot hash", hash), bar);
        Ok(())
    };
    let bar = Some(Bar::AtMost(HASHES));
    beside_hash("first copy, the oldest forced out", bar, &mut || {
        full.firsts(batch)
    })?;
    let count = allocation_counter::measure(|| {
        let _ = black_box(full.firsts(batch));
    });
    beside_hash("later copy, soon", None, &mut || full.copies(SOON, batch))?;
    beside_hash("later copy, any time", None, &mut || {
        full.copies(ENTRIES as u64, batch)
    })?;
    let forced_out = full.debouncer.stats().forced_out;
    drop(full);
    let mut expiring = Bench::new(SHORT)?;
    beside_hash("first copy, the oldest expired", bar, &mut || {
        expiring.firsts(batch)
    })?;
    let expired = expiring.debouncer.stats().expired;
    let bytes = info.bytes_current as f64 / ENTRIES as f64;
    report.fact(
        "memory of an entry",
        "bytes",
        bytes,
        Some(Bar::AtMost(BYTES)),
    );
    let count = count.count_total as f64;
    report.fact(
        "allocations while it is full",
        "",
        count,
        Some(Bar::AtMost(0.0)),
    );
    report.note(format!(
        "{forced_out} entries were forced out, {expired} expired"
    ));
    Ok(())
}

/// The limit: the hash alone.
fn hashes(count: usize) -> impl FnMut() -> Outcome<[f64; 1]> {
    let (secret, mut message, mut number) = (secret(), message(), 0);
    move || {
        let watch = Stopwatch::start();
        for _ in 0..count {
            number += 1;
            stamp(&mut message, number);
            black_box(xxh3_128_with_secret(
                black_box(&message),
                black_box(&secret),
            ));
        }
        Ok([watch.each(count)[0]])
    }
}

/// The memory that threads share.
fn shared(report: &mut Report, args: Args) -> Outcome {
    let (rounds, batch) = args.pick((61, 50_000), (3, 5_000));
    let claims = Claims::new(Config {
        capacity: ENTRIES,
        window: LONG,
    })?;
    let next = AtomicU64::new(1);
    // CPU and wall time of an observation.
    let observe = |count: usize| -> Outcome<[f64; 2]> {
        let first = next.fetch_add(count as u64, Ordering::Relaxed);
        let mut message = message();
        let watch = Stopwatch::start();
        for number in first..first + count as u64 {
            stamp(&mut message, number);
            if claims.observe(time(number), black_box(&message), number) != Verdict::First {
                return Err("a new message was taken for a copy".into());
            }
        }
        Ok(watch.each(count))
    };
    let threads = |threads: usize| -> Outcome<[f64; 2]> {
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads)
                .map(|_| scope.spawn(|| observe(batch)))
                .collect();
            let mut mean = [0.0; 2];
            for thread in running {
                let each = thread.join().map_err(|_| "a thread panicked")??;
                mean.iter_mut()
                    .zip(each)
                    .for_each(|(mean, each)| *mean += each / threads as f64);
            }
            Ok(mean)
        })
    };
    observe(ENTRIES + ENTRIES / 4)?;
    let series = interleave(rounds, &mut [&mut || threads(1), &mut || threads(2)])?;
    let [[one, one_wall], [two, two_wall]] = &series[..] else {
        return Err("two things were measured".into());
    };
    report.compare(
        "shared, CPU of each of two threads",
        "ns",
        two,
        ("one thread", one),
        None,
    );
    let (both, alone) = (two_wall.map(|nanos| nanos / 2.0), ("one thread", one_wall));
    report.compare("shared, time of two threads", "ns", &both, alone, None);
    Ok(())
}
