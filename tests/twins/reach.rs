//! Addresses that are dead, refuse or cannot be reached, and plain paths that
//! die: the same dial in the simulator and in the lab, attempt by attempt.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use headstart::core::Instant;
use headstart::core::race::{AttemptKind, AttemptReport, Exit, Outcome as Out, Report, SynData};
use headstart_lab::{Family, Lab, Way};
use headstart_sim::{Reach, Rule, Scenario};

use crate::cell::{FLIGHT, Gate, RTT, TRIES, is_near, shorten_fast_open, ties};
use crate::common::{self, Outcome, PORT, Server};
use crate::harness::fetch_cookie_of;

/// Longest that a dial may take: SYNs are sent again after 1 s and 2 s.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// How much earlier than simulated a failure may come, in round trips: noise
/// only adds, and an answer from half of the way is not one from its end.
const EARLY: f64 = 0.1;

/// One address.
#[derive(Clone, Copy, Debug)]
struct Target {
    reach: Reach,
    /// The client's kernel has a cookie of it.
    cookie: bool,
    plain_dies_after: Option<u32>,
}

/// A dial to one address, or to two.
#[derive(Clone, Debug)]
pub struct Cell {
    family: Family,
    /// The server's kernel speaks Fast Open.
    server: bool,
    gate: Gate,
    targets: Vec<Target>,
}

/// What a dial came to.
#[derive(Debug)]
struct Story {
    attempts: Vec<Attempt>,
    read: usize,
    handled: usize,
    /// Round trips to the answer.
    answered: Option<f64>,
}

/// What an attempt came to.
#[derive(Debug)]
struct Attempt {
    kind: AttemptKind,
    target: usize,
    data_in_syn: bool,
    cookie_requested: bool,
    fate: String,
    /// When it started, and when it failed: round trips since the dial.
    times: [Option<f64>; 2],
}

/// Every kind of address, first of two and alone, and plain paths that die at
/// every packet of an exchange; with a cookie and without.
pub fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    let of_gate = |gate| Family::ALL.map(|family| (family, gate));
    for (family, gate) in Gate::ALL.into_iter().flat_map(of_gate) {
        let mut add = |server, targets: &[Target]| {
            let targets = targets.to_vec();
            cells.push(Cell {
                family,
                server,
                gate,
                targets,
            });
        };
        for cookie in [true, false] {
            let good = Target::of(Reach::Server, cookie);
            add(true, &[good, good]);
            for reach in [Reach::Dead, Reach::Refusing, Reach::Unreachable] {
                let bad = Target::of(reach, cookie);
                add(true, &[bad, good]);
                add(true, &[bad]);
            }
            for packets in 0..=7 {
                add(true, &[good.dying_after(packets)]);
            }
        }
        let known = Target::of(Reach::Server, true);
        let unknown = Target::of(Reach::Server, false);
        for reach in [Reach::Dead, Reach::Refusing, Reach::Unreachable] {
            add(true, &[Target::of(reach, false), known]);
        }
        if family == Family::V6 {
            continue;
        }
        for packets in [0, 1, 2, 3, 5] {
            add(false, &[known.dying_after(packets)]);
        }
        for packets in [0, 2, 3] {
            add(false, &[unknown.dying_after(packets), unknown]);
        }
    }
    cells
}

impl Target {
    fn of(reach: Reach, cookie: bool) -> Self {
        Self {
            reach,
            cookie,
            plain_dies_after: None,
        }
    }

    fn dying_after(self, packets: u32) -> Self {
        Self {
            plain_dies_after: Some(packets),
            ..self
        }
    }

    fn name(self) -> String {
        let cookie = if self.cookie { "-with-cookie" } else { "" };
        let reach = format!("{:?}{cookie}", self.reach).to_lowercase();
        match self.plain_dies_after {
            Some(packets) => format!("{reach}-plain-dies-after={packets}"),
            None => reach,
        }
    }

    fn way(self) -> Way {
        match (self.reach, self.plain_dies_after) {
            (Reach::Dead, _) => Way::Dead,
            (Reach::Unreachable, _) => Way::Unreachable,
            (Reach::Server | Reach::Refusing, Some(packets)) => Way::PlainDiesAfter(packets),
            (Reach::Server | Reach::Refusing, None) => Way::Open,
        }
    }
}

impl Cell {
    pub fn name(&self) -> String {
        let targets: Vec<_> = self.targets.iter().map(|target| target.name()).collect();
        let server = if self.server { "on" } else { "off" };
        let (targets, gate) = (targets.join("+"), self.gate.name());
        format!("{targets}::server-{server}::{gate}::{}", self.family)
    }

    pub fn run(&self) -> Outcome {
        let cookie = self.targets.iter().any(|target| target.cookie);
        let simulated = ties(cookie)
            .map(|sooner| self.simulate(sooner))
            .collect::<Result<Vec<_>, _>>()?;
        let mut seen = Vec::new();
        for _ in 0..TRIES {
            let real = self.dial()?;
            if simulated.iter().any(|story| real.is_like(story)) {
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
        scenario.server.fast_open = self.server;
        scenario.client.patience = PATIENCE;
        let like = scenario.race.targets.clone();
        let targets = self.targets.iter().zip(like.iter().cycle());
        scenario.race.targets = targets
            .map(|(target, like)| {
                let mut simulated = like.clone();
                simulated.reach = target.reach;
                simulated.cookie = target.cookie;
                simulated.plain.dies_after = target.plain_dies_after;
                simulated
            })
            .collect();
        shorten_fast_open(&mut scenario, sooner);
        let run = headstart_sim::run(&scenario);
        if !run.violations.is_empty() {
            return Err(format!("{:?}", run.violations).into());
        }
        let outcome = run.outcome;
        Ok(Story::new(
            &outcome.report,
            outcome.read,
            outcome.handled as usize,
            outcome.first_byte,
        ))
    }

    fn dial(&self) -> io::Result<Story> {
        let lab = common::lab(RTT)?;
        let addresses = self.addresses(&lab);
        lab.client().set_fast_open(0x1)?;
        lab.server().set_fast_open(0x3)?;
        for (target, address) in self.targets.iter().zip(&addresses) {
            if target.cookie {
                fetch_cookie_of(&lab, *address)?;
            }
        }
        lab.server()
            .set_fast_open(if self.server { 0x3 } else { 0x1 })?;
        let server = self.listen(&lab)?;
        for (target, address) in self.targets.iter().zip(&addresses) {
            lab.set_way(*address, target.way());
        }
        let to = |address: &IpAddr| SocketAddr::new(*address, PORT);
        let (report, read, took) = dial(&lab, addresses.iter().map(to).collect(), self.gate)?;
        let handled = server.as_ref().map_or(0, Server::handled);
        Ok(Story::new(
            &report,
            read,
            handled,
            (read > 0).then_some(took),
        ))
    }

    /// The last is the server's first address.
    fn addresses(&self, lab: &Lab) -> Vec<IpAddr> {
        let all = [lab.other_addr(self.family), lab.server_addr(self.family)];
        let unused = all.len().saturating_sub(self.targets.len());
        all.into_iter().skip(unused).collect()
    }

    /// A server at every address, or, if one refuses, at the last, or nowhere.
    fn listen(&self, lab: &Lab) -> io::Result<Option<Server>> {
        let refuses = |target: &Target| target.reach == Reach::Refusing;
        let address = match self.family {
            _ if self.targets.last().is_some_and(refuses) => return Ok(None),
            family if self.targets.iter().any(refuses) => lab.server_addr(family),
            Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
        };
        let address = SocketAddr::new(address, PORT);
        self.gate
            .serve(address, lab.server(), common::server::echo)
            .map(Some)
    }
}

impl Story {
    fn new(report: &Report, read: usize, handled: usize, answered: Option<Duration>) -> Self {
        let attempts = report.attempts.iter();
        Self {
            attempts: attempts
                .map(|attempt| Attempt::new(report.began, attempt, answered.is_some()))
                .collect(),
            read,
            handled,
            answered: answered.map(in_round_trips),
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        let pairs = self.attempts.iter().zip(&other.attempts);
        (self.read, self.handled) == (other.read, other.handled)
            && is_near(self.answered, other.answered)
            && self.attempts.len() == other.attempts.len()
            && pairs.into_iter().all(|(ours, theirs)| ours.is_like(theirs))
    }
}

impl Attempt {
    /// What came after the application had left does not count.
    fn new(began: Instant, report: &AttemptReport, answered: bool) -> Self {
        let since = |at: Option<Instant>| {
            let after = at?.saturating_since(began);
            (after < PATIENCE).then(|| in_round_trips(after))
        };
        let ended = since(report.ended);
        let failed = match report.outcome {
            Out::Out(Exit::Failed(_)) => ended,
            _ => None,
        };
        Self {
            kind: report.kind,
            target: report.target,
            data_in_syn: report.syn_data != SynData::None,
            cookie_requested: report.cookie_requested,
            fate: match report.outcome {
                Out::Won if answered => "won".to_owned(),
                Out::Out(Exit::Failed(failure)) if ended.is_some() => format!("{:?}", failure.kind),
                Out::Out(exit) if ended.is_some() => exit.to_string(),
                Out::Won | Out::Out(_) | Out::Racing => "no answer".to_owned(),
            },
            times: [since(report.started), failed],
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        let words = |of: &Self| (of.kind, of.target, of.data_in_syn, of.cookie_requested);
        let mut times = self.times.into_iter().zip(other.times);
        let [_, failed] = self.times;
        let [_, simulated] = other.times;
        let is_early = failed.zip(simulated).is_some_and(|(a, b)| a < b - EARLY);
        words(self) == words(other)
            && self.fate == other.fate
            && !is_early
            && times.all(|(ours, theirs)| is_near(ours, theirs))
    }
}

fn in_round_trips(time: Duration) -> f64 {
    time.as_secs_f64() / RTT.as_secs_f64()
}

/// The report, the bytes read, and the time that took.
fn dial(
    lab: &Lab,
    addresses: Vec<SocketAddr>,
    gate: Gate,
) -> io::Result<(Report, usize, Duration)> {
    common::on_client(lab, async || {
        let dialer = common::token_dialer()?.peer(gate.peer()).build()?;
        let began = std::time::Instant::now();
        let mut stream = dialer.dial(addresses).await?;
        let flight = common::pattern(FLIGHT, 0);
        let exchange = common::exchange(&mut stream, &flight);
        let read = match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(Ok(())) => FLIGHT,
            Ok(Err(_)) | Err(_) => 0,
        };
        Ok((stream.report(), read, began.elapsed()))
    })
}
