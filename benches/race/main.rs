//! What a race costs: CPU time of the client's thread and time to the answer,
//! beside a bare dial and beside two bare sockets, in the lab at a round trip
//! of 1 ms.
//!
//! One race is a dial, a flight of 512 bytes under a Token, the first byte of
//! its echo, and the close. A bare dial writes the same bytes to the same
//! server and reads the same answer. Every race's report is looked at: a round
//! with a race in which not both attempts started does not count.

#![allow(unreachable_pub, reason = "a benchmark is all there is")]

#[cfg(target_os = "linux")]
#[path = "../common/mod.rs"]
mod common;
#[cfg(target_os = "linux")]
mod dials;
#[cfg(target_os = "linux")]
#[allow(unused_imports, unused_macros, reason = "tests have more to say")]
#[path = "../../tests/common/mod.rs"]
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
    use std::io;
    use std::net::SocketAddr;
    use std::time::Duration;

    use headstart::tokio::Dialer;
    use headstart::{Framing, Memory};
    use headstart_lab::Family;
    use tokio::runtime::Runtime;

    use crate::common::{Args, Bar, Outcome, Report, Series, Stopwatch, interleave, system_calls};
    use crate::dials::{self, Tally};
    use crate::lab::{self, Server};

    const RTT: Duration = Duration::from_millis(1);
    /// Bare dials that a race may cost, in CPU time: two sockets are the floor.
    const BAR: f64 = 2.3;
    /// Rounds that are tried for each that is to count.
    const TRIES: usize = 4;

    pub fn run(args: Args) -> Outcome {
        let lab = lab::lab(RTT)?;
        let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
        let address = server.address;
        let report = lab
            .client()
            .run(|| Client::new(args, address)?.measure())??;
        report.print();
        Ok(())
    }

    /// What the measured thread has.
    struct Client {
        args: Args,
        address: SocketAddr,
        runtime: Runtime,
        dialer: Dialer,
        /// Dials of each kind in a round.
        batch: usize,
    }

    impl Client {
        fn new(args: Args, address: SocketAddr) -> Outcome<Self> {
            let runtime = lab::runtime()?;
            let dialer = runtime
                .block_on(async { lab::token_dialer()?.memory(Memory::default()).build() })?;
            runtime.block_on(dials::fetch_cookie(&dialer, address))?;
            Ok(Self {
                args,
                address,
                runtime,
                dialer,
                batch: args.pick(40, 10),
            })
        }

        fn measure(&self) -> Outcome<Report> {
            let rounds = self.args.pick(41, 3);
            let tally = std::cell::RefCell::new(Tally::default());
            let series = interleave(
                rounds,
                &mut [
                    &mut || self.round(&tally, Kind::Race),
                    &mut || self.round(&tally, Kind::Bare),
                    &mut || self.round(&tally, Kind::TwoBare),
                    &mut || self.round(&tally, Kind::TwoSockets),
                ],
            )?;
            let mut report = Report::new(
                self.args,
                format!(
                    "race: {rounds} rounds of {} dials each, round trip 1 ms",
                    self.batch
                ),
            );
            let [race, bare, two_bare, two_sockets] = &series[..] else {
                return Err("four things were measured".into());
            };
            let bar = Some(Bar::AtMost(BAR));
            let [bare_cpu, bare_wall] = bare.each_ref().map(|series| series.map(micros));
            for (name, [cpu, _], bar) in [
                ("CPU of a race", race, bar),
                ("CPU of two bare dials, one reset", two_bare, None),
                ("CPU of plain and Fast Open by hand", two_sockets, None),
            ] {
                report.compare(name, "us", &cpu.map(micros), ("bare dial", &bare_cpu), bar);
            }
            let by_hand = two_sockets[0].map(micros);
            let over = ("by hand", &by_hand);
            report.compare("CPU of a race", "us", &race[0].map(micros), over, None);
            let answer = race[1].map(micros);
            report.compare(
                "time of a race",
                "us",
                &answer,
                ("bare dial", &bare_wall),
                None,
            );
            self.count_allocations(&mut report)?;
            report.note(tally.borrow().to_string());
            self.count_calls(&mut report)?;
            Ok(report)
        }

        /// A batch of dials of one kind: CPU and wall time of each.
        fn round(&self, tally: &std::cell::RefCell<Tally>, kind: Kind) -> Outcome<[f64; 2]> {
            for _ in 0..TRIES {
                let (figures, counts) = self.batch(kind)?;
                self.settle()?;
                tally.borrow_mut().add(&counts);
                if counts.all_raced() {
                    return Ok(figures);
                }
            }
            Err(format!("no round of races only: {}", tally.borrow()).into())
        }

        fn batch(&self, kind: Kind) -> Outcome<([f64; 2], Tally)> {
            let (dialer, address) = (&self.dialer, self.address);
            let mut tally = Tally::default();
            let figures = self.runtime.block_on(async {
                let watch = Stopwatch::start();
                for _ in 0..self.batch {
                    match kind {
                        Kind::Race => tally.count(&dials::race(dialer, address).await?),
                        Kind::Bare => dials::bare(address).await?,
                        Kind::TwoBare => dials::two_bare(address).await?,
                        Kind::TwoSockets => dials::two_sockets(address).await?,
                    }
                }
                io::Result::Ok(watch.each(self.batch))
            });
            Ok((
                figures.map_err(|error| format!("{kind:?}: {error}"))?,
                tally,
            ))
        }

        /// Lets late packets of one batch not fall into the next.
        fn settle(&self) -> Outcome {
            self.runtime.block_on(async {
                while self.dialer.unsettled() > 0 {
                    tokio::time::sleep(RTT).await;
                }
                tokio::time::sleep(5 * RTT).await;
            });
            Ok(())
        }

        fn count_allocations(&self, report: &mut Report) -> Outcome {
            let count = |kind| {
                let mut result = Ok(());
                let info = allocation_counter::measure(|| result = self.batch(kind).map(drop));
                result.map(|()| info.count_total as f64 / self.batch as f64)
            };
            let race = Series::from_iter([count(Kind::Race)?]);
            let bare = Series::from_iter([count(Kind::Bare)?]);
            report.compare(
                "allocations of a race",
                "",
                &race,
                ("bare dial", &bare),
                None,
            );
            Ok(())
        }

        fn count_calls(&self, report: &mut Report) -> Outcome {
            for (name, kind) in [
                ("a race", Kind::Race),
                ("a bare dial", Kind::Bare),
                ("two bare dials", Kind::TwoBare),
                ("by hand", Kind::TwoSockets),
            ] {
                match system_calls(|| self.batch(kind)) {
                    Ok((counts, result)) => {
                        result?;
                        let dials = self.batch as f64;
                        report.note(format!(
                            "system calls of {name}: {:.1} ({})",
                            counts.total() as f64 / dials,
                            counts.per(dials)
                        ));
                    }
                    Err(why) => {
                        report.note(format!("system calls: skipped: {why}"));
                        return Ok(());
                    }
                }
            }
            Ok(())
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Kind {
        Race,
        Bare,
        TwoBare,
        TwoSockets,
    }

    fn micros(nanos: f64) -> f64 {
        nanos / 1e3
    }
}
