//! One cell: a middlebox, a gate, and every story many times over.

use std::io;
use std::time::{Duration, Instant};

use headstart::core::race::{AttemptKind, Report};
use headstart::tokio::Dialer;
use headstart::{Framing, Kinds, Peer};
use headstart_lab::{Family, Lab, Rule};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::common::{self, Outcome, Server, ensure, on_client};
use crate::expect::{Expected, Gate, PLAIN, admissions_max, expected};
use crate::harness::{RTT, fetch_cookie, lock};
use crate::story::{self, Ledger, Story};

/// Races of each story.
const RACES: usize = 20;
/// Races of the stories that move many bytes, unless all are wanted.
const LONG_RACES: usize = 3;
/// Set: as many of those as of the others.
const ALL_LONG: &str = "HEADSTART_PAIRING_FULL";
/// How often a story is played, if it is late.
const ROUNDS: u64 = 4;
/// In a connection's number: plain TCP alone.
const ALONE: u64 = 1 << 15;
/// How much more a race may suffer than plain TCP alone where the machine stalls,
/// and how much longer its upload may take: in times of plain's.
const SLOWER: f64 = 1.5;
/// Between the starts of two races.
const PACE: Duration = Duration::from_millis(5);
/// The machine's noise, in round trips, that is no sign of anything.
const NOISE: f64 = 0.35;
/// Longest that a story may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the last pairs may take to hear from their clients.
const SETTLING: Duration = Duration::from_millis(300);
/// How long to wait for what never comes.
const NEVER: Duration = Duration::from_millis(1000);
/// How long to wait on a path that dies.
const DYING: Duration = Duration::from_millis(1600);

#[derive(Clone, Copy, Debug)]
pub struct Cell {
    rule: Rule,
    gate: Gate,
}

/// Every cell of the matrix.
pub fn all() -> impl Iterator<Item = Cell> {
    // Beside the rules' defaults, paths that die sooner: before the SYN-ACK, and
    // before the first data.
    let sooner = [1, 2].map(Rule::BlackholeAfter);
    Rule::ALL.into_iter().chain(sooner).flat_map(|rule| {
        [Gate::Paired, Gate::FirstCome]
            .into_iter()
            .map(move |gate| Cell { rule, gate })
    })
}

/// How many races, or pairs, went on by which kind of attempt.
#[derive(Clone, Copy, Debug, Default)]
struct Won {
    plain: u64,
    fast_open: u64,
    /// An answer that was dropped may have come by both before the client
    /// looked: then the gate knows only which came first.
    either: u64,
}

impl Won {
    fn count(&mut self, story: Story, report: &Report) {
        let both = report.attempts.iter().all(|one| one.opened.is_some());
        match report.winner().map(|winner| winner.kind) {
            Some(_) if both && story == Story::Dropped => self.either += 1,
            Some(AttemptKind::Plain) => self.plain += 1,
            Some(AttemptKind::FastOpen) => self.fast_open += 1,
            None => {}
        }
    }
}

/// What one race came to.
#[derive(Debug)]
struct Told {
    number: u64,
    /// Round trips to the first byte, beyond the application's thought.
    came: Option<f64>,
    result: io::Result<()>,
    report: Report,
}

impl Cell {
    pub fn name(&self) -> String {
        let gate = match self.gate {
            Gate::Paired => "paired",
            Gate::FirstCome => "first-come",
        };
        format!("matrix::{gate}::{}", self.rule)
    }

    pub fn run(self) -> Outcome {
        let lab = common::lab(RTT)?;
        let ledger = Ledger::default();
        let server = self.serve(&lab, lab.server(), &ledger)?;
        let _second = match self.rule {
            Rule::Balance => Some(self.serve(&lab, lab.second_server(), &ledger)?),
            _ => None,
        };
        if self.rule == Rule::DropSynWithExperimentalOption {
            // A server that gives no cookie makes the client try the older option.
            lab.server().set_fast_open(0)?;
            fetch_cookie(&lab, Family::V4)?;
            lab.server().set_fast_open(0x3)?;
        }
        fetch_cookie(&lab, Family::V4)?;
        lab.set_rule(self.rule);
        let mut wrong = Vec::new();
        let mut clients = Won::default();
        for story in Story::ALL {
            if story.is_long() && self.expected(story) == Expected::Whole {
                continue;
            }
            if let Err(error) = self.play_until_timely(&lab, &server, story, &mut clients) {
                wrong.push(format!("{story:?}: {error}"));
            }
        }
        if let Rule::DuplicateSyn { after } = self.rule {
            std::thread::sleep(after + RTT);
        }
        let most = admissions_max(self.rule);
        let ledger = lock(&ledger).clone();
        let often: Vec<_> = ledger.iter().filter(|(_, count)| **count > most).collect();
        if !often.is_empty() {
            wrong.push(format!("admitted too often: {often:?}"));
        }
        if self.gate == Gate::Paired
            && let Err(error) = self.agree(server, clients)
        {
            wrong.push(error.to_string());
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    }

    /// Whether the gate says of its pairs what the clients say of their races.
    fn agree(self, server: Server, clients: Won) -> Outcome {
        std::thread::sleep(SETTLING);
        let told = server.stop()?;
        let pairs = Won {
            plain: told.won_by_plain,
            fast_open: told.won_by_fast_open,
            either: 0,
        };
        // Not every message is kept open.
        let agree = pairs.plain <= clients.plain + clients.either
            && pairs.fast_open <= clients.fast_open + clients.either;
        ensure!(agree, "pairs: {pairs:?}, clients: {clients:?}, {told:?}");
        let dies = Story::ALL
            .into_iter()
            .any(|story| matches!(self.expected(story), Expected::DiesLater(_)));
        // Behind a balancer a pair may wait out its window for a copy that went
        // to the other server.
        let waits = dies || self.rule == Rule::Balance;
        let known = pairs.plain + pairs.fast_open + told.expired;
        ensure!(waits || known == told.pairs, "not settled: {told:?}");
        Ok(())
    }

    fn serve(self, lab: &Lab, host: &headstart_lab::Host, ledger: &Ledger) -> io::Result<Server> {
        let (ledger, paired) = (ledger.clone(), self.gate == Gate::Paired);
        Server::start(
            lab,
            host,
            Family::V4,
            Framing::token(),
            move |gate| gate.pairing(paired),
            move |admitted| story::serve(admitted, ledger.clone()),
        )
    }

    /// No race may fail; only for being late there is another chance.
    fn play_until_timely(
        self,
        lab: &Lab,
        server: &Server,
        story: Story,
        clients: &mut Won,
    ) -> Outcome {
        let mut late = Ok(());
        for round in 0..ROUNDS {
            let (told, plain) = self.play(lab, server, story, round)?;
            told.iter()
                .for_each(|race| clients.count(story, &race.report));
            self.judge(story, &told)?;
            late = self.is_timely(story, &told, &plain);
            if late.is_ok() {
                break;
            }
        }
        late
    }

    /// Every race of a story, one soon after the other. Where a time is to be
    /// compared with plain TCP's, as many connections by that alone among them.
    fn play(
        self,
        lab: &Lab,
        server: &Server,
        story: Story,
        round: u64,
    ) -> io::Result<(Vec<Told>, Vec<Told>)> {
        let races = match story.is_long() && std::env::var_os(ALL_LONG).is_none() {
            true => LONG_RACES,
            false => RACES,
        };
        let patience = match self.expected(story) {
            Expected::Never => NEVER,
            Expected::DiesLater(_) => DYING,
            // Many at once share the path.
            _ if story.is_long() => PATIENCE * (races / LONG_RACES) as u32,
            _ => PATIENCE,
        };
        let (address, rtt) = (server.address, lab.rtt().as_secs_f64());
        let peer = match self.gate {
            Gate::Paired => Peer::Pairing,
            Gate::FirstCome => Peer::FirstCome,
        };
        // What came late is compared, too: both suffer if it is the machine.
        let beside_plain = match story {
            Story::Upload => matches!(self.expected(story), Expected::Within(_)),
            _ => round > 0,
        };
        on_client(lab, async || {
            let settings = common::token_dialer()?.peer(peer);
            let dialer = settings.clone().build()?;
            let plain = settings.kinds(Kinds::PlainOnly).build()?;
            let mut running = JoinSet::new();
            for race in 0..races {
                let number = (story as u64) << 32 | round << 16 | race as u64;
                let mut start = |dialer: &Dialer, number| {
                    let dialer = dialer.clone();
                    running.spawn(async move {
                        sleep(PACE * race as u32).await;
                        let began = Instant::now();
                        let mut stream = dialer.dial(address).await?;
                        let mut came = None;
                        let playing = story::play(&mut stream, story, number, &mut came);
                        let result = match timeout(patience, playing).await {
                            Ok(result) => result,
                            Err(_) => Err(io::ErrorKind::TimedOut.into()),
                        };
                        let came = came.map(|came| {
                            let took = came.duration_since(began).saturating_sub(story.thought());
                            took.as_secs_f64() / rtt
                        });
                        io::Result::Ok(Told {
                            number,
                            came,
                            result,
                            report: stream.report(),
                        })
                    });
                };
                start(&dialer, number);
                if beside_plain {
                    start(&plain, number | ALONE);
                }
            }
            let mut told = Vec::new();
            while let Some(race) = running.join_next().await {
                told.push(race??);
            }
            Ok(told.into_iter().partition(|race| race.number & ALONE == 0))
        })
    }

    fn expected(self, story: Story) -> Expected {
        expected(self.rule, self.gate, story)
    }

    /// Whether every race ended as it should.
    fn judge(self, story: Story, told: &[Told]) -> Outcome {
        let expected = self.expected(story);
        if expected == Expected::Never {
            let lost = told.iter().any(|race| race.came.is_none());
            ensure!(lost, "every one was answered");
            return Ok(());
        }
        let lost = |race: &&Told| match expected {
            Expected::Never | Expected::Chance => false,
            Expected::DiesLater(_) => race.came.is_none() && story.is_short(),
            Expected::Within(_) | Expected::Mended(..) | Expected::Whole => race.result.is_err(),
        };
        let wrong: Vec<_> = told.iter().filter(lost).collect();
        ensure!(
            wrong.is_empty(),
            "{} of {} came to something else: {:?}",
            wrong.len(),
            told.len(),
            wrong[0]
        );
        match told.iter().find(|race| !race.report.raced()) {
            Some(race) if !self.is_noise(told) => Err(format!("no race: {race:?}").into()),
            _ => Ok(()),
        }
    }

    /// A busy machine may see plain open before Fast Open is to start (R7).
    fn is_noise(self, told: &[Told]) -> bool {
        let raced = told.iter().filter(|race| race.report.raced()).count();
        raced * 4 >= told.len() * 3
    }

    /// Whether the first bytes came in time: half of them at least. What plain
    /// TCP alone was late at the same time is the machine's.
    fn is_timely(self, story: Story, told: &[Told], plain: &[Told]) -> Outcome {
        let (least, most) = match self.expected(story) {
            // Its answer comes when all has been sent.
            Expected::Within(_) if story == Story::Upload => (0.95, PLAIN),
            _ if story == Story::Upload => return Ok(()),
            // FIN goes behind the handshake, whoever carries it.
            Expected::Within(most) if story == Story::HalfClosed => (0.95, most.max(PLAIN) + NOISE),
            Expected::DiesLater(_) if story != Story::Early => return Ok(()),
            Expected::Within(most) | Expected::DiesLater(most) => (0.95, most + NOISE),
            Expected::Mended(least, most) => (least, most),
            Expected::Whole | Expected::Never | Expected::Chance => return Ok(()),
        };
        let (times, alone) = (times(told), times(plain));
        let excused = match story {
            Story::Upload => median(&alone),
            _ => (median(&alone) - PLAIN).max(0.0),
        };
        let most = most + excused * SLOWER;
        let median = median(&times);
        ensure!(
            median > least && median < most && most.is_finite(),
            "{median:.2} round trips instead of {least} to {most:.2}: {times:.1?}; \
             plain alone: {alone:.1?}"
        );
        Ok(())
    }
}

/// When first bytes came, in round trips and in order; what never came is last.
fn times(told: &[Told]) -> Vec<f64> {
    let mut times: Vec<f64> = told
        .iter()
        .map(|race| race.came.unwrap_or(f64::INFINITY))
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

/// 0 if there is none.
fn median(times: &[f64]) -> f64 {
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}
