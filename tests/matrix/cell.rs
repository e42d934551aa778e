//! One cell: a lab, a gate, dials that fetch a cookie, and the dial that counts.

use std::io;
use std::time::{Duration, Instant};

use headstart::core::race::{AttemptKind, Exit, NotStarted, Outcome as Out, Report, SynData};
use headstart::{Framing, Peer};
use headstart_lab::{Family, Lab, Rule};

use crate::common::conn::Race;
use crate::common::runtimes::{Here, Rt};
use crate::common::server::Server;
use crate::common::{self, Outcome, ensure};
use crate::expect::{Expected, with_fast_open, without_fast_open};

const RTT: Duration = Duration::from_millis(50);
const FLIGHT: usize = 600;
/// Longest that a dial may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// The machine's noise, in round trips, that is no sign of anything.
const NOISE: f64 = 0.45;
/// Dials of which the fastest counts: noise only adds.
const TRIES: usize = 10;

#[derive(Clone, Copy, Debug)]
pub struct Cell {
    pub family: Family,
    pub client: bool,
    pub server: bool,
    pub rule: Rule,
}

/// What one dial came to.
struct Dial {
    result: io::Result<()>,
    round_trips: f64,
    report: Option<Report>,
}

impl Cell {
    pub fn name(&self, runtime: &str) -> String {
        let on = |on| if on { "on" } else { "off" };
        let family = format!("{:?}", self.family).to_lowercase();
        format!(
            "{runtime}::{family}::client-{}::server-{}::{}",
            on(self.client),
            on(self.server),
            self.rule
        )
    }

    pub fn run<X: Rt>(self) -> Outcome {
        let lab = common::lab(RTT)?;
        lab.client().set_fast_open(u32::from(self.client))?;
        let server = Server::<X>::echo(&lab, lab.server(), self.family, Framing::token())?;
        let second = match self.rule {
            Rule::Balance => Some(Server::<X>::echo(
                &lab,
                lab.second_server(),
                self.family,
                Framing::token(),
            )?),
            _ => None,
        };
        self.fetch_cookie(&lab, &server)?;
        lab.set_rule(self.rule);
        let expected = match self.client && self.server {
            true => with_fast_open(self.rule),
            false => without_fast_open(self.rule),
        };
        let mut best = f64::INFINITY;
        for _ in 0..TRIES {
            server.handled();
            let dial = dial(&lab, &server)?;
            if let Rule::DuplicateSyn { after } = self.rule {
                std::thread::sleep(after + RTT);
            }
            let handled = server.handled() + second.as_ref().map_or(0, Server::handled);
            self.check(expected, &dial, handled)?;
            best = best.min(dial.round_trips);
            if expected.round_trips().is_none_or(|(_, most)| best < most) {
                break;
            }
        }
        if let Some((least, most)) = expected.round_trips() {
            ensure!(
                best > least && best < most,
                "{best:.2} round trips instead of {least} to {most}"
            );
        }
        Ok(())
    }

    /// Dials over a transparent path until the kernel has the server's cookie.
    fn fetch_cookie<X: Rt>(&self, lab: &Lab, server: &Server<X>) -> Outcome {
        if self.rule == Rule::DropSynWithExperimentalOption {
            // A server that gives no cookie makes the client try the older option.
            lab.server().set_fast_open(0)?;
            dial(lab, server)?.result?;
        }
        for server in [lab.server(), lab.second_server()] {
            server.set_fast_open(if self.server { 0x3 } else { 0x1 })?;
        }
        dial(lab, server)?.result?;
        let second = dial(lab, server)?;
        second.result?;
        let in_syn = second.report.as_ref().is_some_and(|report| {
            report
                .attempts
                .iter()
                .any(|attempt| attempt.syn_data == SynData::Acknowledged)
        });
        let possible = self.client && self.server;
        ensure!(
            in_syn == possible,
            "data in the SYN: {in_syn}: {:?}",
            second.report
        );
        Ok(())
    }

    fn check(&self, expected: Expected, dial: &Dial, handled: usize) -> Outcome {
        let report = dial.report.as_ref().ok_or("no stream")?;
        if let Err(error) = &dial.result {
            return Err(format!("{error}: {report:?}").into());
        }
        // Servers that know nothing of each other may both serve it.
        let most = if self.rule == Rule::Balance { 2 } else { 1 };
        ensure!(
            (1..=most).contains(&handled),
            "handled {handled} times: {report:?}"
        );
        self.check_race(report)?;
        let winner = report.winner().map(|winner| (winner.kind, winner.syn_data));
        match expected {
            Expected::FastOpen => {
                let wanted = Some((AttemptKind::FastOpen, SynData::Acknowledged));
                ensure!(winner == wanted, "won by {winner:?}");
            }
            Expected::Plain => {
                ensure!(
                    winner.is_some_and(|(kind, _)| kind == AttemptKind::Plain),
                    "{report:?}"
                );
            }
            Expected::Ordinary | Expected::Answer => {}
        }
        Ok(())
    }

    /// A race counts only if both attempts started, or a rule says why not.
    fn check_race(&self, report: &Report) -> Outcome {
        if self.client {
            ensure!(report.raced(), "no race: {report:?}");
            return Ok(());
        }
        let fast_open = report
            .attempts
            .iter()
            .find(|a| a.kind == AttemptKind::FastOpen);
        let why = fast_open.map(|attempt| attempt.outcome);
        let refused = matches!(why, Some(Out::Out(Exit::NotStarted(NotStarted::Failed(_)))));
        ensure!(refused, "switched off, yet {why:?}");
        Ok(())
    }
}

impl Expected {
    /// Between how many round trips the answer comes.
    fn round_trips(self) -> Option<(f64, f64)> {
        match self {
            Self::FastOpen => Some((0.95, 1.0 + NOISE)),
            Self::Plain | Self::Ordinary => Some((1.95, 2.0 + NOISE)),
            Self::Answer => None,
        }
    }
}

fn dial<X: Rt>(lab: &Lab, server: &Server<X>) -> io::Result<Dial> {
    let address = server.address;
    let client = async |here: Here<X>| {
        let dialer = here.token_dialer().peer(Peer::Pairing).build()?;
        let began = Instant::now();
        let mut stream = dialer.dial(address).await?;
        let flight = common::pattern(FLIGHT, 0);
        let exchange = common::exchange(&mut stream, &flight);
        let result = here.until(PATIENCE, exchange).await;
        let result = result.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()));
        let round_trips = began.elapsed().as_secs_f64() / RTT.as_secs_f64();
        let report = Some(stream.report());
        // A handshake that fetches a cookie outlives its race.
        drop(stream);
        here.until(PATIENCE, dialer.settled()).await;
        Ok(Dial {
            result,
            round_trips,
            report,
        })
    };
    lab.client().run(|| X::block_on(client))?
}
