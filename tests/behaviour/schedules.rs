//! When attempts start: staggered and hedged (R14).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use headstart::Schedule;
use headstart::core::race::{AttemptKind, Exit, NotStarted, Outcome as Out, Report};
use headstart::{Framing, LoserClose};
use headstart_lab::{Family, Lab, Rule};

use crate::common::{
    self, Outcome, PORT, Server, ensure, exchange, on_client, pattern, token_dialer,
};
use crate::support::{RTT, attempt, fetch_cookie, tests, within};

tests![
    r14_a_hedge_is_not_needed_if_the_first_answers,
    r14_a_hedge_starts_after_its_delay,
    r14_staggered_starts_after_its_delay_unless_plain_is_open,
    r14_a_failure_brings_the_next_at_once,
    r10_losers_are_closed_as_set,
];

const LONG: Duration = Duration::from_millis(150);

fn run(lab: &Lab, address: SocketAddr, schedule: Schedule) -> io::Result<Report> {
    on_client(lab, async || {
        let dialer = token_dialer()?.schedule(schedule).build()?;
        let mut stream = dialer.dial(address).await?;
        within("an exchange", exchange(&mut stream, &pattern(600, 0))).await?;
        Ok(stream.report())
    })
}

/// How long after the race began an attempt of a kind started.
fn after(report: &Report, kind: AttemptKind) -> Result<Duration, String> {
    let started = attempt(report, kind)?.started;
    let started = started.ok_or_else(|| format!("not started: {report:?}"))?;
    Ok(started.saturating_since(report.began))
}

fn r14_a_hedge_is_not_needed_if_the_first_answers() -> Outcome {
    let lab = common::lab(RTT)?;
    fetch_cookie(&lab, Family::V4)?;
    let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
    for (first, second) in [
        (AttemptKind::FastOpen, AttemptKind::Plain),
        (AttemptKind::Plain, AttemptKind::FastOpen),
    ] {
        let report = run(
            &lab,
            server.address,
            Schedule::Hedged {
                first,
                delay: 8 * RTT,
            },
        )?;
        ensure!(!report.raced(), "{report:?}");
        ensure!(attempt(&report, first)?.outcome == Out::Won, "{report:?}");
        let outcome = attempt(&report, second)?.outcome;
        ensure!(
            matches!(outcome, Out::Out(Exit::NotStarted(_))),
            "{report:?}"
        );
    }
    Ok(())
}

fn r14_a_hedge_starts_after_its_delay() -> Outcome {
    let lab = common::lab(RTT)?;
    fetch_cookie(&lab, Family::V4)?;
    lab.set_rule(Rule::DropSynWithData);
    let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
    let schedule = Schedule::Hedged {
        first: AttemptKind::FastOpen,
        delay: LONG,
    };
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let report = run(&lab, server.address, schedule)?;
        ensure!(report.raced(), "{report:?}");
        let gap = after(&report, AttemptKind::Plain)?;
        ensure!(gap >= LONG, "{gap:?} after: {report:?}");
        ensure!(
            attempt(&report, AttemptKind::Plain)?.outcome == Out::Won,
            "{report:?}"
        );
        best = best.min(gap);
    }
    ensure!(best < LONG + RTT, "{best:?} after");
    Ok(())
}

fn r14_staggered_starts_after_its_delay_unless_plain_is_open() -> Outcome {
    let lab = common::lab(RTT)?;
    fetch_cookie(&lab, Family::V4)?;
    let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
    let first = AttemptKind::Plain;
    let report = run(
        &lab,
        server.address,
        Schedule::Staggered { first, delay: LONG },
    )?;
    let outcome = attempt(&report, AttemptKind::FastOpen)?.outcome;
    ensure!(
        outcome == Out::Out(Exit::NotStarted(NotStarted::PlainOpen)),
        "{report:?}"
    );
    let delay = RTT / 2;
    let report = run(&lab, server.address, Schedule::Staggered { first, delay })?;
    let gap = after(&report, AttemptKind::FastOpen)?;
    ensure!(gap >= delay && gap < RTT, "{gap:?} after: {report:?}");
    Ok(())
}

fn r14_a_failure_brings_the_next_at_once() -> Outcome {
    let lab = common::lab(RTT)?;
    fetch_cookie(&lab, Family::V4)?;
    lab.set_rule(Rule::ResetSyn);
    let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
    let first = AttemptKind::FastOpen;
    let report = run(
        &lab,
        server.address,
        Schedule::Hedged {
            first,
            delay: Duration::from_secs(2),
        },
    )?;
    let gap = after(&report, AttemptKind::Plain)?;
    // The reset comes from the middle of the path.
    ensure!(
        gap >= RTT * 9 / 20 && gap < Duration::from_secs(1),
        "{gap:?}: {report:?}"
    );
    // Fast Open is not to be had: plain goes first after all.
    lab.client().set_fast_open(0)?;
    lab.set_rule(Rule::Transparent);
    let report = run(
        &lab,
        server.address,
        Schedule::Hedged {
            first,
            delay: Duration::from_secs(2),
        },
    )?;
    let gap = after(&report, AttemptKind::Plain)?;
    ensure!(gap < Duration::from_secs(1), "{gap:?}: {report:?}");
    Ok(())
}

fn r10_losers_are_closed_as_set() -> Outcome {
    for (losers, resets) in [(LoserClose::Abortive, true), (LoserClose::Graceful, false)] {
        let lab = common::lab(RTT)?;
        fetch_cookie(&lab, Family::V4)?;
        // One that pairs answers the loser too, which resets it in the end.
        let server = Server::first_come(&lab, lab.server(), Family::V4, Framing::token())?;
        on_client(&lab, async || {
            let dialer = token_dialer()?.losers(losers).build()?;
            let mut stream = dialer.dial(server.address).await?;
            // Plain is open when Fast Open's answer comes.
            tokio::time::sleep(RTT / 2).await;
            within("an exchange", exchange(&mut stream, &pattern(600, 0))).await?;
            let stream = stream
                .into_inner()
                .map_err(|_| io::Error::other("not chosen"))?;
            tokio::time::sleep(RTT).await;
            drop(stream);
            Ok(())
        })?;
        std::thread::sleep(RTT);
        let trace = lab.trace();
        let from_client = trace.iter().filter_map(|entry| entry.segment);
        let reset = from_client
            .into_iter()
            .any(|s| s.rst && s.destination.port() == PORT);
        ensure!(reset == resets, "{losers:?}: reset by the client: {reset}");
    }
    Ok(())
}
