//! Paths of one attempt's own: longer than the other's, and with packets that
//! are lost, late, overtaken or doubled; the same dial in the simulator and in
//! the lab.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use headstart::core::race::{AttemptKind, Report, SynData};
use headstart::tokio::{Admitted, RaceStream};
use headstart_lab::{Family, Lab, Opening};
use headstart_sim::{Fault, Mishap, Packet, Rule, Scenario};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cell::{FLIGHT, Gate, RTT, TRIES, is_near, shorten_fast_open, ties};
use crate::common::{self, Outcome, PORT, Server, ensure};
use crate::harness::fetch_cookie_of;

/// Longest that a dial may take.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// Six packets, so that one can be overtaken.
const ANSWER: usize = 8_000;
/// By how much a packet is late, or its copy: less than changes who wins by
/// a hair.
const LATE: Duration = Duration::from_millis(30);

/// What is the matter with a path.
#[derive(Clone, Copy, Debug)]
enum Matter {
    /// It is so much longer, each way.
    Longer(Duration),
    Fault(Fault),
}

/// A dial on which one attempt has a path of its own.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    family: Family,
    gate: Gate,
    cookie: bool,
    kind: AttemptKind,
    matter: Matter,
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

/// Each path longer by little and by much, and each kind of packet lost, late
/// and doubled that is sent on it.
pub fn cells() -> Vec<Cell> {
    let lengths = [15, 40].map(|millis| Matter::Longer(Duration::from_millis(millis)));
    let mishaps = [Mishap::Lost, Mishap::Late(LATE), Mishap::Twice(LATE)];
    let fault = |packet, nth, mishap| {
        Matter::Fault(Fault {
            packet,
            nth,
            mishap,
        })
    };
    let firsts = Packet::ALL.map(|packet| mishaps.map(|mishap| fault(packet, 1, mishap)));
    // The last ones Linux repairs as the simulator does not: see its limits.
    let later = [2, 3].map(|nth| mishaps.map(|mishap| fault(Packet::ServerData, nth, mishap)));
    let faults = firsts.into_iter().chain(later).flatten();
    let matters: Vec<_> = lengths.into_iter().chain(faults).collect();
    let mut cells = Vec::new();
    for gate in Gate::ALL {
        for cookie in [true, false] {
            for kind in [AttemptKind::Plain, AttemptKind::FastOpen] {
                cells.extend(matters.iter().map(|matter| Cell {
                    family: Family::V4,
                    gate,
                    cookie,
                    kind,
                    matter: *matter,
                }));
            }
        }
    }
    cells.retain(|cell| cell.befalls());
    cells
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

impl Matter {
    fn name(self) -> String {
        match self {
            Self::Longer(by) => format!("longer-by-{}ms", by.as_millis()),
            Self::Fault(Fault {
                packet,
                nth,
                mishap,
            }) => {
                let mishap = match mishap {
                    Mishap::Lost => "lost",
                    Mishap::Late(_) => "late",
                    Mishap::Twice(_) => "twice",
                };
                format!("{packet}-{nth}-{mishap}")
            }
        }
    }

    /// Of the packets befallen, those that surely are sent: a server that is
    /// quick to close acknowledges a FIN by its own.
    fn counts(self, befallen: u64) -> u64 {
        match self {
            Self::Fault(Fault {
                packet: Packet::ServerAck,
                ..
            }) => 0,
            Self::Longer(_) | Self::Fault(_) => befallen,
        }
    }

    fn link(self) -> headstart_lab::Link {
        use headstart_lab::{Fault as RealFault, Link, Mishap as Real, Packet as RealPacket};
        let fault = match self {
            Self::Longer(by) => return Link::new().delay(by),
            Self::Fault(fault) => fault,
        };
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
        Link::new().fault(RealFault {
            packet,
            nth: fault.nth,
            mishap,
        })
    }
}

impl Cell {
    pub fn name(&self) -> String {
        let cookie = if self.cookie { "cookie" } else { "no-cookie" };
        let (matter, gate) = (self.matter.name(), self.gate.name());
        let kind = match self.kind {
            AttemptKind::Plain => "plain",
            AttemptKind::FastOpen => "fast-open",
        };
        format!("{kind}-{matter}::{cookie}::{gate}::{}", self.family)
    }

    /// Whether anything comes of it.
    fn befalls(&self) -> bool {
        let is_longer = matches!(self.matter, Matter::Longer(_));
        // What is broken shows when it runs.
        is_longer
            || self
                .simulate(Duration::ZERO)
                .map_or(true, |story| story.befallen > 0)
    }

    pub fn run(self) -> Outcome {
        let simulated = ties(self.cookie)
            .map(|sooner| self.simulate(sooner))
            .collect::<Result<Vec<_>, _>>()?;
        let mut seen = Vec::new();
        for _ in 0..TRIES {
            let real = self.dial()?;
            if simulated
                .iter()
                .any(|story| real.is_like(story, self.matter))
            {
                return Ok(());
            }
            seen.push(real);
        }
        Err(format!("simulated: {simulated:#?}\nreal: {seen:#?}").into())
    }

    fn simulate(self, sooner: Duration) -> Result<Story, Box<dyn std::error::Error + Send + Sync>> {
        let scenario = Scenario::plainest(Rule::Transparent, RTT);
        let mut scenario = self.gate.simulated(scenario);
        scenario.client.patience = PATIENCE;
        scenario.server.answer = ANSWER as u32;
        for target in &mut scenario.race.targets {
            target.cookie = self.cookie;
            let link = match self.kind {
                AttemptKind::Plain => &mut target.plain,
                AttemptKind::FastOpen => &mut target.fast_open,
            };
            match self.matter {
                Matter::Longer(by) => link.delay += by,
                Matter::Fault(fault) => link.fault = Some(fault),
            }
        }
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

    fn dial(self) -> io::Result<Story> {
        let lab = common::lab(RTT)?;
        let address = lab.server_addr(self.family);
        lab.client().set_fast_open(0x1)?;
        lab.server().set_fast_open(0x3)?;
        if self.cookie {
            fetch_cookie_of(&lab, address)?;
        }
        let at = SocketAddr::new(address, PORT);
        let server = self.gate.serve(at, lab.server(), answer)?;
        let opening = match self.kind {
            AttemptKind::Plain => Opening::Plain,
            AttemptKind::FastOpen => Opening::FastOpen,
        };
        lab.set_link(address, opening, self.matter.link());
        let (report, read, times) = dial(&lab, &server, self.gate)?;
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

    fn is_like(&self, other: &Self, matter: Matter) -> bool {
        let rest = |story: &Self| Self {
            times: [None; 2],
            befallen: matter.counts(story.befallen),
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
) -> io::Result<(Report, usize, [Option<Duration>; 2])> {
    let address = server.address;
    common::on_client(lab, async || {
        let dialer = common::token_dialer()?.peer(gate.peer()).build()?;
        let began = Instant::now();
        let mut stream = dialer.dial(address).await?;
        let (mut read, mut times) = (Vec::new(), [None; 2]);
        let exchange = exchange(&mut stream, began, &mut read, &mut times);
        // What did not come shows in what did.
        let _ = tokio::time::timeout(PATIENCE, exchange).await;
        let is_answer = common::pattern(ANSWER, 0).starts_with(&read);
        match is_answer {
            true => Ok((stream.report(), read.len(), times)),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "not the answer")),
        }
    })
}

/// Writes the flight, ends when a reply comes, and reads to the end.
async fn exchange(
    stream: &mut RaceStream,
    began: Instant,
    read: &mut Vec<u8>,
    times: &mut [Option<Duration>; 2],
) -> io::Result<()> {
    stream.write_all(&common::pattern(FLIGHT, 0)).await?;
    let mut buffer = vec![0; ANSWER];
    loop {
        let got = stream.read(&mut buffer).await?;
        if got == 0 {
            return Ok(());
        }
        let is_first = read.is_empty();
        read.extend_from_slice(&buffer[..got]);
        let [first, last] = times;
        let now = Some(began.elapsed());
        (*first, *last) = (first.or(now), now);
        if is_first {
            stream.shutdown().await?;
        }
    }
}
