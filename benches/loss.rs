//! Under random loss: how long the first byte of an answer takes in a race,
//! to a gate that pairs, beside plain dials of the same bytes to the same
//! gate, interleaved.
//!
//! In 100 packets 5 are lost, both ways, of every kind. What is held against a
//! bar: that the median is not above plain's, and that the 99th percentile is
//! above plain's by less than one round trip, with 95 % confidence (bootstrap:
//! both samples are drawn anew, with replacement, 2,000 times).

#![allow(unreachable_pub, reason = "a benchmark is all there is")]

#[cfg(target_os = "linux")]
mod common;
#[cfg(target_os = "linux")]
#[path = "race/dials.rs"]
#[allow(dead_code, reason = "the other benchmark has more to dial")]
mod dials;
#[cfg(target_os = "linux")]
#[allow(unused_imports, unused_macros, reason = "tests have more to say")]
#[path = "../tests/common/mod.rs"]
mod lab;

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: the lab is made of Linux namespaces");
}

#[cfg(target_os = "linux")]
fn main() -> common::Outcome {
    let args = common::Args::parse();
    if !lab::lab_or_skip() {
        return Ok(());
    }
    bench::run(args)
}

#[cfg(target_os = "linux")]
mod bench {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use headstart::tokio::Dialer;
    use headstart::{Framing, Peer};
    use headstart_lab::{Family, Lab, Rule};

    use crate::common::{Args, Bar, Outcome, Report, Series};
    use crate::dials::{self, Tally};
    use crate::lab::{self, Server};

    const RTT: Duration = Duration::from_millis(50);
    /// Of 1,000 packets, how many are lost.
    const LOSS: Rule = Rule::RandomLoss { per_mille: 50 };
    /// Labs at once, each with a loss of its own.
    const LABS: u64 = 10;
    /// Clients at once in each lab, each dialling one way and then the other.
    const CLIENTS: usize = 10;
    /// A dial that takes longer counts as this long.
    const PATIENCE: Duration = Duration::from_secs(60);
    /// Times that the samples are drawn anew.
    const BOOTSTRAPS: usize = 2_000;

    /// What one lab gave, in round trips.
    #[derive(Default)]
    struct Sample {
        race: Vec<f64>,
        plain: Vec<f64>,
        tally: Tally,
    }

    pub fn run(args: Args) -> Outcome {
        let each = args.pick(20, 1);
        let labs: Outcome<Vec<Sample>> = std::thread::scope(|scope| {
            let running: Vec<_> = (0..LABS)
                .map(|seed| scope.spawn(move || sample(seed, each)))
                .collect();
            running
                .into_iter()
                .map(|thread| thread.join().map_err(|_| "a thread panicked")?)
                .collect()
        });
        let mut all = Sample::default();
        for lab in labs? {
            all.race.extend(lab.race);
            all.plain.extend(lab.plain);
            all.tally.add(&lab.tally);
        }
        report(args, &all).print();
        Ok(())
    }

    fn report(args: Args, all: &Sample) -> Report {
        let of = |figures: &[f64]| Series::from_iter(figures.iter().copied());
        let (race, plain) = (of(&all.race), of(&all.plain));
        let mut report = Report::new(
            args,
            format!(
                "loss: {} races and {} plain dials, 5 % of packets lost, round trip 50 ms",
                race.rounds(),
                plain.rounds()
            ),
        );
        for (what, share) in [("median", 0.5), ("90th percentile", 0.9)] {
            let bar = (share == 0.5).then_some(Bar::AtMost(1.0));
            beside(&mut report, what, share, (&race, &plain), bar);
        }
        beside(&mut report, "99th percentile", 0.99, (&race, &plain), None);
        report.fact(
            "race's 99th percentile above plain's, 95 % bound",
            "round trips",
            bootstrap(&all.race, &all.plain).quantile(0.95),
            Some(Bar::AtMost(1.0)),
        );
        let lost = |figures: &[f64]| {
            let patience = PATIENCE.as_secs_f64() / RTT.as_secs_f64();
            figures.iter().filter(|trips| **trips >= patience).count()
        };
        report.note(format!(
            "without an answer in {} s: {} races, {} plain dials",
            PATIENCE.as_secs(),
            lost(&all.race),
            lost(&all.plain)
        ));
        report.note(all.tally.to_string());
        report
    }

    fn beside(
        report: &mut Report,
        what: &str,
        share: f64,
        (race, plain): (&Series, &Series),
        bar: Option<Bar>,
    ) {
        let one = |series: &Series| Series::from_iter([series.quantile(share)]);
        let (race, plain) = (one(race), one(plain));
        report.compare(what, "round trips", &race, ("plain", &plain), bar);
    }

    /// Differences of the 99th percentiles of samples drawn anew.
    fn bootstrap(race: &[f64], plain: &[f64]) -> Series {
        // xorshift64*: every run draws alike.
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut draw = |sample: &[f64]| -> Series {
            let one = |_| {
                state ^= state >> 12;
                state ^= state << 25;
                state ^= state >> 27;
                let index = state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
                sample[index as usize % sample.len()]
            };
            (0..sample.len()).map(one).collect()
        };
        (0..BOOTSTRAPS)
            .map(|_| draw(race).quantile(0.99) - draw(plain).quantile(0.99))
            .collect()
    }

    /// One lab's dials, so many of each kind from each of its clients.
    fn sample(seed: u64, each: usize) -> Outcome<Sample> {
        let lab = Lab::builder().rtt(RTT).seed(seed).build()?;
        let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
        let address = server.address;
        lab.client().run(|| {
            let runtime = lab::runtime()?;
            runtime.block_on(async {
                let dialer = Arc::new(
                    lab::token_dialer()?
                        .peer(Peer::Pairing)
                        .memory(None)
                        .build()?,
                );
                dials::fetch_cookie(&dialer, address).await?;
                lab.set_rule(LOSS);
                let clients: Vec<_> = (0..CLIENTS)
                    .map(|_| tokio::spawn(client(dialer.clone(), address, each)))
                    .collect();
                let mut all = Sample::default();
                for client in clients {
                    let one = client.await?;
                    all.race.extend(one.race);
                    all.plain.extend(one.plain);
                    all.tally.add(&one.tally);
                }
                Ok(all)
            })
        })?
    }

    async fn client(dialer: Arc<Dialer>, address: SocketAddr, each: usize) -> Sample {
        let mut sample = Sample::default();
        for _ in 0..each {
            let began = Instant::now();
            let race = tokio::time::timeout(PATIENCE, dials::race(&dialer, address)).await;
            sample.race.push(trips(began, matches!(race, Ok(Ok(_)))));
            if let Ok(Ok(report)) = race {
                sample.tally.count(&report);
            }
            let began = Instant::now();
            let plain = tokio::time::timeout(PATIENCE, dials::bare(address)).await;
            sample.plain.push(trips(began, matches!(plain, Ok(Ok(())))));
        }
        sample
    }

    /// A dial that failed counts as one that waited in vain.
    fn trips(began: Instant, well: bool) -> f64 {
        let took = if well { began.elapsed() } else { PATIENCE };
        took.as_secs_f64() / RTT.as_secs_f64()
    }
}
