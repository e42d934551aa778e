//! What the state machine of a race costs, beside the least that any race
//! must do with its bytes: take memory for the flight and copy it there.

#![allow(unreachable_pub, reason = "a benchmark is all there is")]

mod common;

use std::hint::black_box;
use std::time::Duration;

use common::{Args, Outcome, Report, Stopwatch, interleave};
use headstart::core::Instant;
use headstart::core::config::{FirstFlight, Peer, RaceConfig};
use headstart::core::framing::token::{HEADER_LEN, Id};
use headstart::core::race::{Accepted, AttemptKind, Event, Progress, Race, Step, SynData};

const FLIGHT: usize = 512;
const SYN_PAYLOAD: usize = 1400;
/// A round trip of the script.
const RTT: Duration = Duration::from_millis(1);
/// Steps after which a script has gone wrong.
const STEPS_MAX: usize = 64;

fn main() -> Outcome {
    let args = Args::parse();
    let (rounds, batch) = args.pick((61, 5_000), (3, 500));
    let config = config()?;
    let flight = [0x5a; FLIGHT];
    let [fast_open, plain] =
        [AttemptKind::FastOpen, AttemptKind::Plain].map(|winner| Script { winner });
    let calls = fast_open.run(config.clone(), &flight)?;
    let repeat = |work: &dyn Fn() -> Outcome| {
        let watch = Stopwatch::start();
        for _ in 0..batch {
            work()?;
        }
        Ok([watch.each(batch)[0]])
    };
    let copy = || {
        let mut log = vec![0; HEADER_LEN];
        log.extend_from_slice(black_box(&flight));
        black_box(log);
        Ok(())
    };
    let bare_config = || {
        black_box(config.clone());
        Ok(())
    };
    let series = interleave(
        rounds,
        &mut [
            &mut || repeat(&copy),
            &mut || repeat(&bare_config),
            &mut || repeat(&|| fast_open.run(config.clone(), &flight).map(drop)),
            &mut || repeat(&|| plain.run(config.clone(), &flight).map(drop)),
        ],
    )?;
    let [[copy], [bare_config], [fast_open_cost], [plain_cost]] = &series[..] else {
        return Err("four things were measured".into());
    };
    let mut report = Report::new(
        args,
        format!("core: {rounds} rounds of {batch} races, a flight of {FLIGHT} bytes under a Token"),
    );
    let limit = ("copy of the flight", copy);
    report.compare(
        "race that Fast Open wins",
        "ns",
        fast_open_cost,
        limit,
        None,
    );
    report.compare("race that plain wins", "ns", plain_cost, limit, None);
    report.compare("of it, the settings' clone", "ns", bare_config, limit, None);
    let per_call = fast_open_cost.map(|nanos| nanos / calls as f64);
    report.fact("one poll or handle", "ns", per_call.median(), None);
    report.fact("polls and handles of a race", "", calls as f64, None);
    let mut result = Ok(0);
    let info = allocation_counter::measure(|| result = fast_open.run(config.clone(), &flight));
    result?;
    report.fact("allocations of a race", "", info.count_total as f64, None);
    report.fact(
        "bytes they took, at most at a time",
        "",
        info.bytes_max as f64,
        None,
    );
    report.print();
    Ok(())
}

fn config() -> Outcome<RaceConfig> {
    let config = RaceConfig::builder()
        .target(SYN_PAYLOAD)
        .first_flight(FirstFlight::Token { id: Id([7; 16]) })
        .peer(Peer::FirstCome);
    Ok(config.build()?)
}

/// A network in which this kind of attempt answers first.
struct Script {
    winner: AttemptKind,
}

impl Script {
    /// Runs a whole race, and counts its polls and handles.
    fn run(&self, config: RaceConfig, flight: &[u8]) -> Outcome<usize> {
        let mut now = Instant::from_nanos(1 << 40);
        let mut race = Race::new(config, now);
        let mut calls = self.drive(&mut race, now)?;
        if race.write(now, black_box(flight)) != Accepted::Bytes(flight.len()) {
            return Err("the flight was not taken".into());
        }
        race.end_flight(now);
        calls += self.drive(&mut race, now)?;
        now = now.saturating_add(RTT);
        let kind = |race: &Race, index| {
            let id = race.id(index)?;
            Some((id, race.attempt(id)?.0))
        };
        for index in 0..2 {
            let (id, kind) = kind(&race, index).ok_or("two attempts race")?;
            let syn_data = match kind {
                AttemptKind::Plain => SynData::None,
                AttemptKind::FastOpen => SynData::Acknowledged,
            };
            race.handle(now, id, Event::Opened(syn_data));
            calls += 1 + self.drive(&mut race, now)?;
        }
        for index in 0..2 {
            let (id, kind) = kind(&race, index).ok_or("two attempts race")?;
            if kind == self.winner {
                race.handle(now, id, Event::Replied);
                calls += 1 + self.drive(&mut race, now)?;
            }
        }
        let winner = race
            .chosen()
            .and_then(|id| race.attempt(id))
            .map(|(kind, _)| kind);
        match winner == Some(self.winner) && race.ending().is_none() {
            true => Ok(calls),
            false => Err("the race has another winner".into()),
        }
    }

    fn drive(&self, race: &mut Race, now: Instant) -> Outcome<usize> {
        for calls in 0..STEPS_MAX {
            let _ = black_box(race.take());
            let (id, event) = match race.poll(now) {
                Step::Start(id) => {
                    let sent = race.unsent(id)[0].len();
                    let progress = match race.attempt(id) {
                        Some((AttemptKind::FastOpen, _)) => Progress::DataInSyn(sent),
                        _ => Progress::Handshake,
                    };
                    (id, Event::Started(progress))
                }
                Step::Write(id) => (
                    id,
                    Event::Wrote(race.unsent(id).iter().map(|piece| piece.len()).sum()),
                ),
                Step::Look(id) => (id, Event::Quiet),
                Step::Shutdown(id) => (id, Event::Finished),
                Step::Close(..) => continue,
                Step::Wait(_) | Step::Settled => return Ok(2 * calls + 1),
            };
            race.handle(now, id, event);
        }
        Err("the race does not come to rest".into())
    }
}
