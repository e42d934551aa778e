//! Paths of one attempt's own: longer than the other's, and with packets that
//! are lost, late, overtaken or doubled; the same dial in the simulator and in
//! the lab.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use headstart::core::race::{AttemptKind, Report, SynData};
use headstart::tokio::{Admitted, RaceStream};
use headstart_lab::{Family, Lab, Link, Opening};
use headstart_sim::{Act, Fault, Mishap, Packet, Rule, Scenario};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xxhash_rust::xxh3::xxh3_64;

use crate::cell::{FLIGHT, Gate, RTT, TRIES, is_near, shorten_fast_open, ties};
use crate::common::{self, Outcome, PORT, Server, ensure};
use crate::harness::fetch_cookie_of;

/// Longest that a dial may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Six packets, so that one can be overtaken.
const ANSWER: usize = 8_000;
/// By how much a packet is late, or its copy: less than changes who wins by
/// a hair.
const LATE: Duration = Duration::from_millis(30);
/// Longer than repairs take that no FIN helps.
const LINGERS: Duration = Duration::from_millis(1_200);
/// Dials of each kind on which chance decides.
const CHANCES: u64 = 40;

/// A dial on which attempts have paths of their own.
#[derive(Clone, Debug)]
pub struct Cell {
    name: String,
    family: Family,
    gate: Gate,
    cookie: bool,
    plain: Path,
    fast_open: Path,
    /// How long the client leaves its side open once a reply has come; a
    /// server that closes behind it shows what was lost at the end.
    lingers: Duration,
    is_chance: bool,
}

/// The path of an attempt.
#[derive(Clone, Debug, Default)]
struct Path {
    /// It is so much longer, each way.
    longer: Duration,
    faults: Vec<Fault>,
}

/// What a dial came to.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Story {
    winner: Option<(AttemptKind, SynData)>,
    data_in_syn: bool,
    cookie_requested: bool,
    read: usize,
    handled: usize,
    /// Packets that the fault befell.
    befallen: u64,
    /// Round trips to the first byte, and to the last.
    times: [Option<f64>; 2],
}

/// Each path longer by little and by much, with each kind of packet lost, late
/// and doubled that is sent on it, with an answer whose end is lost, and both
/// with whatever chance does to them.
pub fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for gate in Gate::ALL {
        for cookie in [true, false] {
            let dial = Cell {
                name: String::new(),
                family: Family::V4,
                gate,
                cookie,
                plain: Path::default(),
                fast_open: Path::default(),
                lingers: Duration::ZERO,
                is_chance: false,
            };
            for (matter, path) in singles() {
                cells.extend(dial.on_each(&matter, &path));
            }
            for (matter, path) in ends() {
                cells.extend(dial.on_each(&matter, &path));
                let open = Cell {
                    lingers: LINGERS,
                    ..dial.clone()
                };
                cells.extend(open.on_each(&format!("{matter}-open"), &path));
            }
            cells.extend((0..CHANCES).map(|seed| dial.by_chance(seed)));
        }
    }
    cells.retain(Cell::befalls);
    cells
}

/// One matter.
fn singles() -> Vec<(String, Path)> {
    let longer = [15, 40].map(|millis| {
        let longer = Duration::from_millis(millis);
        let faults = Vec::new();
        (format!("longer-by-{millis}ms"), Path { longer, faults })
    });
    let firsts = Packet::ALL.map(|packet| (packet, 1)).into_iter();
    let answer = (2..=6).map(|nth| (Packet::ServerData, nth));
    let faults = firsts.chain(answer).flat_map(|(packet, nth)| {
        let mishaps = [
            ("lost", Mishap::Lost),
            ("late", Mishap::Late(LATE)),
            ("twice", Mishap::Twice(LATE)),
        ];
        mishaps.map(|(name, mishap)| {
            let fault = Fault {
                packet,
                nth,
                mishap,
            };
            (format!("{packet}-{nth}-{name}"), Path::with(vec![fault]))
        })
    });
    longer.into_iter().chain(faults).collect()
}

/// The last packets of an answer are lost, down to all six.
fn ends() -> impl Iterator<Item = (String, Path)> {
    (1..=6).map(|first| {
        let lost = (first..=6).map(|nth| Fault {
            packet: Packet::ServerData,
            nth,
            mishap: Mishap::Lost,
        });
        (format!("from-{first}-lost"), Path::with(lost.collect()))
    })
}

pub fn every_packet_has_a_twin() -> Outcome {
    let ours = Packet::ALL.map(|packet| packet.to_string());
    let theirs = headstart_lab::Packet::ALL.map(|packet| packet.to_string());
    ensure!(
        ours == theirs,
        "simulated: {ours:?}, in the lab: {theirs:?}"
    );
    Ok(())
}

impl Path {
    fn with(faults: Vec<Fault>) -> Self {
        Self {
            longer: Duration::ZERO,
            faults,
        }
    }

    /// Up to three faults, drawn by a seed.
    fn by_chance(seed: u64) -> Self {
        let draw = |place: u64, of: u64, below: u64| {
            let words = [seed, place, of].map(u64::to_le_bytes);
            xxh3_64(words.as_flattened()) % below
        };
        let fault = |place| {
            let (packet, most) = match draw(place, 0, 6) {
                0 => (Packet::Syn, 1),
                1 => (Packet::SynAck, 1),
                2 => (Packet::ClientData, 1),
                _ => (Packet::ServerData, 6),
            };
            let late = Duration::from_millis(10 + draw(place, 1, 30));
            Fault {
                packet,
                nth: 1 + draw(place, 2, most) as u32,
                mishap: match draw(place, 3, 4) {
                    // Where losses and late packets meet, Linux takes back
                    // what it had begun to repair.
                    0 if packet != Packet::ServerData => Mishap::Late(late),
                    0 | 1 => Mishap::Twice(late),
                    _ => Mishap::Lost,
                },
            }
        };
        Self::with((0..1 + draw(3, 0, 3)).map(fault).collect())
    }

    fn simulated(&self, link: &mut headstart_sim::Link) {
        link.delay += self.longer;
        for (place, fault) in link.faults.iter_mut().zip(&self.faults) {
            *place = Some(*fault);
        }
    }

    fn real(&self) -> Link {
        let link = Link::new().delay(self.longer);
        self.faults
            .iter()
            .fold(link, |link, fault| link.fault(real(fault)))
    }
}

fn real(fault: &Fault) -> headstart_lab::Fault {
    use headstart_lab::{Fault as RealFault, Mishap as Real, Packet as RealPacket};
    let packet = match fault.packet {
        Packet::Syn => RealPacket::Syn,
        Packet::SynAck => RealPacket::SynAck,
        Packet::ClientAck => RealPacket::ClientAck,
        Packet::ClientData => RealPacket::ClientData,
        Packet::ServerAck => RealPacket::ServerAck,
        Packet::ServerData => RealPacket::ServerData,
    };
    let mishap = match fault.mishap {
        Mishap::Lost => Real::Lost,
        Mishap::Late(more) => Real::Late(more),
        Mishap::Twice(after) => Real::Twice(after),
    };
    RealFault {
        packet,
        nth: fault.nth,
        mishap,
    }
}

impl Cell {
    /// The same with this path for either attempt.
    fn on_each(&self, matter: &str, path: &Path) -> [Self; 2] {
        [AttemptKind::Plain, AttemptKind::FastOpen].map(|kind| {
            let mut cell = self.clone();
            match kind {
                AttemptKind::Plain => cell.plain = path.clone(),
                AttemptKind::FastOpen => cell.fast_open = path.clone(),
            }
            let kind = match kind {
                AttemptKind::Plain => "plain",
                AttemptKind::FastOpen => "fast-open",
            };
            cell.named(&format!("{kind}-{matter}"))
        })
    }

    /// The same with whatever a seed does to both paths.
    fn by_chance(&self, seed: u64) -> Self {
        let mut cell = self.clone();
        cell.is_chance = true;
        cell.plain = Path::by_chance(2 * seed);
        cell.fast_open = Path::by_chance(2 * seed + 1);
        cell.named(&format!("chance-{seed}"))
    }

    fn named(mut self, matter: &str) -> Self {
        let cookie = if self.cookie { "cookie" } else { "no-cookie" };
        let gate = self.gate.name();
        self.name = format!("{matter}::{cookie}::{gate}::{}", self.family);
        self
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Of the packets befallen, those that surely are sent, and while the dial
    /// lasts: a server that is quick to close acknowledges a FIN by its own,
    /// and a loser's SYN may go again when the winner is done.
    fn counts(&self, befallen: u64) -> u64 {
        let mut faults = self.plain.faults.iter().chain(&self.fast_open.faults);
        let is_acknowledgement = faults.any(|fault| fault.packet == Packet::ServerAck);
        match is_acknowledgement || self.is_chance {
            true => 0,
            false => befallen,
        }
    }

    /// Whether anything comes of it.
    fn befalls(&self) -> bool {
        let is_longer = self.plain.longer + self.fast_open.longer > Duration::ZERO;
        // What is broken shows when it runs.
        is_longer
            || self
                .simulate(Duration::ZERO)
                .map_or(true, |story| story.befallen > 0)
    }

    pub fn run(&self) -> Outcome {
        let simulated = ties(self.cookie)
            .map(|sooner| self.simulate(sooner))
            .collect::<Result<Vec<_>, _>>()?;
        let mut seen = Vec::new();
        for _ in 0..TRIES {
            let real = self.dial()?;
            if simulated.iter().any(|story| real.is_like(story, self)) {
                return Ok(());
            }
            seen.push(real);
        }
        Err(format!("simulated: {simulated:#?}\nreal: {seen:#?}").into())
    }

    fn simulate(
        &self,
        sooner: Duration,
    ) -> Result<Story, Box<dyn std::error::Error + Send + Sync>> {
        let scenario = Scenario::plainest(Rule::Transparent, RTT);
        let mut scenario = self.gate.simulated(scenario);
        scenario.client.patience = PATIENCE;
        scenario.server.answer = ANSWER as u32;
        for target in &mut scenario.race.targets {
            target.cookie = self.cookie;
            self.plain.simulated(&mut target.plain);
            self.fast_open.simulated(&mut target.fast_open);
        }
        let script = &mut scenario.client.script;
        let replied = script.iter().position(|act| *act == Act::AwaitReply);
        script.insert(replied.map_or(0, |at| at + 1), Act::Pause(self.lingers));
        shorten_fast_open(&mut scenario, sooner);
        let run = headstart_sim::run(&scenario);
        ensure_sound(&run.violations)?;
        let outcome = run.outcome;
        let times = [outcome.first_byte, outcome.last_byte];
        Ok(Story {
            read: outcome.read,
            handled: outcome.handled as usize,
            befallen: run.counters.befallen,
            ..Story::new(&outcome.report, times)
        })
    }

    fn dial(&self) -> io::Result<Story> {
        let lab = common::lab(RTT)?;
        let address = lab.server_addr(self.family);
        lab.client().set_fast_open(0x1)?;
        lab.server().set_fast_open(0x3)?;
        if self.cookie {
            fetch_cookie_of(&lab, address)?;
        }
        let at = SocketAddr::new(address, PORT);
        let server = self.gate.serve(at, lab.server(), answer)?;
        lab.set_link(address, Opening::Plain, self.plain.real());
        lab.set_link(address, Opening::FastOpen, self.fast_open.real());
        let (report, read, times) = dial(&lab, &server, self.gate, self.lingers)?;
        let stats = lab.stats();
        Ok(Story {
            read,
            handled: server.handled(),
            befallen: stats.to_server.befallen + stats.to_client.befallen,
            ..Story::new(&report, times)
        })
    }
}

fn ensure_sound(violations: &[impl Debug]) -> Outcome {
    ensure!(violations.is_empty(), "{violations:?}");
    Ok(())
}

impl Story {
    fn new(report: &Report, times: [Option<Duration>; 2]) -> Self {
        let mut attempts = report.attempts.iter();
        let fast_open = attempts.find(|attempt| attempt.kind == AttemptKind::FastOpen);
        let answered = times[0].and(report.winner());
        Self {
            winner: answered.map(|winner| (winner.kind, winner.syn_data)),
            data_in_syn: fast_open.is_some_and(|attempt| attempt.syn_data != SynData::None),
            cookie_requested: fast_open.is_some_and(|attempt| attempt.cookie_requested),
            read: 0,
            handled: 0,
            befallen: 0,
            times: times.map(|time| Some(time?.as_secs_f64() / RTT.as_secs_f64())),
        }
    }

    fn is_like(&self, other: &Self, cell: &Cell) -> bool {
        let rest = |story: &Self| Self {
            times: [None; 2],
            befallen: cell.counts(story.befallen),
            ..*story
        };
        let mut times = self.times.into_iter().zip(other.times);
        rest(self) == rest(other) && times.all(|(ours, theirs)| is_near(ours, theirs))
    }
}

/// Answers when it has read the first message, and closes behind the client.
async fn answer(mut admitted: Admitted) -> io::Result<()> {
    let mut message = vec![0; FLIGHT];
    admitted.stream.read_exact(&mut message).await?;
    let answer = common::pattern(ANSWER, 0);
    admitted.stream.write_all(&answer).await?;
    admitted.stream.read_to_end(&mut message).await?;
    admitted.stream.shutdown().await
}

/// The report, the bytes read, and when the first and the last came.
fn dial(
    lab: &Lab,
    server: &Server,
    gate: Gate,
    lingers: Duration,
) -> io::Result<(Report, usize, [Option<Duration>; 2])> {
    let address = server.address;
    common::on_client(lab, async || {
        let dialer = common::token_dialer()?.peer(gate.peer()).build()?;
        let began = Instant::now();
        let mut stream = dialer.dial(address).await?;
        let (mut read, mut times) = (Vec::new(), [None; 2]);
        let exchange = exchange(&mut stream, lingers, began, &mut read, &mut times);
        // What did not come shows in what did.
        let _ = tokio::time::timeout(PATIENCE, exchange).await;
        let is_answer = common::pattern(ANSWER, 0).starts_with(&read);
        match is_answer {
            true => Ok((stream.report(), read.len(), times)),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "not the answer")),
        }
    })
}

/// Writes the flight, ends so long behind the first of a reply, and reads to
/// the end.
async fn exchange(
    stream: &mut RaceStream,
    lingers: Duration,
    began: Instant,
    read: &mut Vec<u8>,
    times: &mut [Option<Duration>; 2],
) -> io::Result<()> {
    stream.write_all(&common::pattern(FLIGHT, 0)).await?;
    let mut buffer = vec![0; ANSWER];
    let mut ends = None;
    loop {
        let got = match ends {
            Some(at) => match tokio::time::timeout_at(at, stream.read(&mut buffer)).await {
                Ok(got) => got?,
                Err(_) => {
                    stream.shutdown().await?;
                    ends = None;
                    continue;
                }
            },
            None => stream.read(&mut buffer).await?,
        };
        if got == 0 {
            return Ok(());
        }
        let is_first = read.is_empty();
        read.extend_from_slice(&buffer[..got]);
        let [first, last] = times;
        let now = Some(began.elapsed());
        (*first, *last) = (first.or(now), now);
        if is_first {
            ends = Some(tokio::time::Instant::now() + lingers);
        }
    }
}
