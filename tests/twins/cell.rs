//! One cell: the same dial in the simulator and in the lab.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use headstart::core::race::{AttemptKind, Report, SynData};
use headstart::tokio::{Admitted, GateBuilder};
use headstart::{Framing, Peer};
use headstart_lab::{Family, Host, Lab, Rule};
use headstart_sim::{OptionKind, Scenario};

use crate::common::{self, Outcome, PORT, Server, ensure};

pub const RTT: Duration = Duration::from_millis(50);
pub const FLIGHT: usize = 600;
/// Longest that a dial may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// The machine's noise, in round trips.
const NOISE: f64 = 0.45;
/// What kernels add to waits for retransmissions, of the whole: timers of
/// jiffies, and estimates that remember earlier connections.
const SLACK: f64 = 0.12;
/// Where both kinds take as many round trips, a kernel that sends data again at
/// once and a program that must be woken first decide who is sooner: with a
/// cookie, a dial may also be like one whose Fast Open path is so much shorter.
const TIE: Duration = Duration::from_micros(100);
/// Dials of which one must be like the simulated one: noise makes others.
pub const TRIES: usize = 10;

#[derive(Clone, Copy, Debug)]
pub struct Cell {
    pub family: Family,
    pub rule: Rule,
    pub cookie: bool,
    pub server: bool,
    pub gate: Gate,
}

/// What the server does with a message that comes twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    FirstCome,
    Pairing,
}

impl Gate {
    pub const ALL: [Self; 2] = [Self::FirstCome, Self::Pairing];

    pub fn name(self) -> &'static str {
        match self {
            Self::FirstCome => "first-come",
            Self::Pairing => "pairing",
        }
    }

    /// The scenario with this gate, and a client that knows it.
    pub fn simulated(self, scenario: Scenario) -> Scenario {
        match self {
            Self::FirstCome => scenario,
            Self::Pairing => scenario.paired(),
        }
    }

    /// What the client takes the server for.
    pub fn peer(self) -> Peer {
        match self {
            Self::FirstCome => Peer::FirstCome,
            Self::Pairing => Peer::Pairing,
        }
    }

    /// This gate at an address, with a handler behind it.
    pub fn serve<H, F>(self, address: SocketAddr, host: &Host, handler: H) -> io::Result<Server>
    where
        H: Fn(Admitted) -> F + Send + 'static,
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let settings = move |gate: GateBuilder| gate.pairing(self == Self::Pairing);
        Server::start_at(address, host, Framing::token(), settings, handler)
    }
}

/// What a dial came to.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Story {
    winner: Option<(AttemptKind, SynData)>,
    /// Whether the Fast Open attempt sent data with its SYN, and whether it
    /// asked for a cookie.
    data_in_syn: bool,
    cookie_requested: bool,
    read: usize,
    handled: usize,
    round_trips: Option<f64>,
}

impl Story {
    fn is_like(&self, other: &Self) -> bool {
        let rest = |story: &Self| Self {
            round_trips: None,
            ..*story
        };
        is_near(self.round_trips, other.round_trips) && rest(self) == rest(other)
    }
}

/// Whether round trips on the real kernel are those simulated.
pub fn is_near(real: Option<f64>, simulated: Option<f64>) -> bool {
    match (real, simulated) {
        (Some(ours), Some(theirs)) => {
            (ours - theirs).abs() < NOISE + SLACK * theirs.max(2.0) - SLACK * 2.0
        }
        (None, None) => true,
        _ => false,
    }
}

/// By how much Fast Open's path may be shorter.
pub fn ties(cookie: bool) -> impl Iterator<Item = Duration> {
    [Duration::ZERO, TIE]
        .into_iter()
        .take(1 + usize::from(cookie))
}

/// Shortens Fast Open's paths.
pub fn shorten_fast_open(scenario: &mut Scenario, by: Duration) {
    for target in &mut scenario.race.targets {
        target.fast_open.delay -= by;
    }
}

/// The rule with a value that leaves nothing to chance.
pub fn on_cue(rule: Rule) -> Rule {
    match rule {
        Rule::RandomLoss { .. } => Rule::RandomLoss { per_mille: 1000 },
        rule => rule,
    }
}

pub fn every_rule_has_a_twin() -> Outcome {
    let ours = headstart_sim::Rule::ALL.map(|rule| rule.to_string());
    let theirs = Rule::ALL.map(|rule| rule.to_string());
    ensure!(
        ours == theirs,
        "simulated: {ours:?}, in the lab: {theirs:?}"
    );
    Ok(())
}

impl Cell {
    pub fn name(&self) -> String {
        let cookie = if self.cookie { "cookie" } else { "no-cookie" };
        let server = if self.server { "on" } else { "off" };
        let (rule, gate) = (self.rule, self.gate.name());
        format!("{rule}::{cookie}::server-{server}::{gate}::{}", self.family)
    }

    pub fn run(self) -> Outcome {
        let simulated = ties(self.cookie)
            .map(|sooner| self.simulate(sooner))
            .collect::<Result<Vec<_>, _>>()?;
        let mut seen = Vec::new();
        let mut lab = None;
        for _ in 0..TRIES {
            let ready = match lab.take() {
                Some(ready) => ready,
                None => match self.prepare() {
                    Ok(ready) => ready,
                    // Noise that keeps the cookie away is noise, too.
                    Err(error) => {
                        seen.push(Err(error.to_string()));
                        continue;
                    }
                },
            };
            let real = self.dial(&ready)?;
            if simulated.iter().any(|story| real.is_like(story)) {
                return Ok(());
            }
            seen.push(Ok(real));
            // A dial may change what the client's kernel knows.
            if self.cookie && self.rule != Rule::Balance {
                lab = Some(ready);
            }
        }
        Err(format!("simulated: {simulated:?}\nreal: {seen:#?}").into())
    }

    fn simulate(self, sooner: Duration) -> Result<Story, Box<dyn std::error::Error + Send + Sync>> {
        let scenario = Scenario::plainest(self.rule.to_string().parse()?, RTT);
        let mut scenario = self.gate.simulated(scenario);
        scenario.server.fast_open = self.server;
        scenario.client.patience = PATIENCE;
        scenario.race.cookie = match self.rule {
            _ if !self.cookie => None,
            Rule::DropSynWithExperimentalOption => Some(OptionKind::Experimental),
            _ => Some(OptionKind::Standard),
        };
        shorten_fast_open(&mut scenario, sooner);
        let run = headstart_sim::run(&scenario);
        ensure_sound(&run)?;
        let first_byte = run.outcome.first_byte.map(|first| first.as_secs_f64());
        let mut story = story(&run.outcome.report, first_byte);
        story.read = run.outcome.read;
        story.handled = run.outcome.handled as usize;
        Ok(story)
    }

    /// A lab whose client's kernel has the cookie, or not.
    fn prepare(self) -> Result<Ready, Box<dyn std::error::Error + Send + Sync>> {
        let lab = common::lab(RTT)?;
        lab.client().set_fast_open(0x1)?;
        let address = SocketAddr::new(lab.server_addr(self.family), PORT);
        let server = self
            .gate
            .serve(address, lab.server(), common::server::echo)?;
        let second = match self.rule {
            Rule::Balance => Some(self.gate.serve(
                address,
                lab.second_server(),
                common::server::echo,
            )?),
            _ => None,
        };
        if self.cookie {
            if self.rule == Rule::DropSynWithExperimentalOption {
                // Without a cookie in the answer, the client tries the older option.
                lab.server().set_fast_open(0)?;
                dial(&lab, &server, self.gate)?;
            }
            lab.server().set_fast_open(0x3)?;
            dial(&lab, &server, self.gate)?;
            let report = dial(&lab, &server, self.gate)?.0;
            let has = report
                .attempts
                .iter()
                .any(|attempt| attempt.syn_data == SynData::Acknowledged);
            ensure_or(has, || format!("no cookie: {report:?}"))?;
        }
        let bits = if self.server { 0x3 } else { 0x1 };
        lab.server().set_fast_open(bits)?;
        if self.rule == Rule::Balance {
            lab.second_server().set_fast_open(bits)?;
        }
        lab.set_rule(self.rule);
        Ok(Ready {
            server,
            second,
            lab,
        })
    }

    fn dial(self, ready: &Ready) -> io::Result<Story> {
        ready.handled();
        let (report, read, took) = dial(&ready.lab, &ready.server, self.gate)?;
        if let Rule::DuplicateSyn { after } = self.rule {
            std::thread::sleep(after + RTT);
        }
        let mut story = story(&report, (read > 0).then_some(took));
        story.read = read;
        story.handled = ready.handled();
        Ok(story)
    }
}

/// Servers are stopped before their lab goes.
struct Ready {
    server: Server,
    second: Option<Server>,
    lab: Lab,
}

impl Ready {
    fn handled(&self) -> usize {
        self.server.handled() + self.second.as_ref().map_or(0, Server::handled)
    }
}

fn story(report: &Report, seconds: Option<f64>) -> Story {
    let fast_open = report
        .attempts
        .iter()
        .find(|attempt| attempt.kind == AttemptKind::FastOpen);
    let answered = seconds.and(report.winner());
    Story {
        winner: answered.map(|winner| (winner.kind, winner.syn_data)),
        data_in_syn: fast_open.is_some_and(|attempt| attempt.syn_data != SynData::None),
        cookie_requested: fast_open.is_some_and(|attempt| attempt.cookie_requested),
        read: 0,
        handled: 0,
        round_trips: seconds.map(|seconds| seconds / RTT.as_secs_f64()),
    }
}

fn ensure_sound(run: &headstart_sim::Run) -> Outcome {
    ensure!(run.violations.is_empty(), "{:?}", run.violations);
    Ok(())
}

fn ensure_or(holds: bool, text: impl FnOnce() -> String) -> Outcome {
    ensure!(holds, "{}", text());
    Ok(())
}

/// The report, the bytes read, and the time that took.
fn dial(lab: &Lab, server: &Server, gate: Gate) -> io::Result<(Report, usize, f64)> {
    let address = server.address;
    common::on_client(lab, async || {
        let dialer = common::token_dialer()?.peer(gate.peer()).build()?;
        let began = Instant::now();
        let mut stream = dialer.dial(address).await?;
        let flight = common::pattern(FLIGHT, 0);
        let exchange = common::exchange(&mut stream, &flight);
        let read = match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(Ok(())) => FLIGHT,
            Ok(Err(_)) | Err(_) => 0,
        };
        let took = began.elapsed().as_secs_f64();
        let report = stream.report();
        // A handshake that fetches a cookie outlives its race.
        drop(stream);
        while dialer.unsettled() > 0 && began.elapsed() < PATIENCE {
            tokio::time::sleep(RTT / 10).await;
        }
        Ok((report, read, took))
    })
}
