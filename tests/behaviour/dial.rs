//! Dialling: what starts when, and what stops it (R1, R7 to R10, R12).

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use headstart::core::race::{
    AttemptKind, Exit, FailureKind, NotStarted, Outcome as Out, Report, SynData,
};
use headstart::tokio::{Dialer, DialerBuilder, Gate};
use headstart::{Budget, Framing, Options, Peer, RaceError, Target};
use headstart_lab::{Direction, Family};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use crate::common::{
    self, Outcome, PORT, Server, ensure, exchange, on_client, pattern, token_dialer,
};
use crate::support::{
    Bare, Manner, RTT, attempt, fetch_cookie, sent_to, settle, tests, time_waits, until, within,
};

tests![
    r1_dial_returns_at_once_and_can_be_written,
    r7_a_preconnect_starts_no_fast_open,
    r7_a_flight_longer_than_one_syn_is_not_raced,
    r7_first_contact_fetches_a_cookie_for_the_second,
    r9_plain_leaves_during_dial_and_the_flight_when_it_opens,
    r10_races_leave_no_time_wait,
    r12_without_budget_plain_runs_alone,
    r12_a_taken_port_leaves_plain_alone,
    r12_no_port_at_all_is_a_typed_error,
    r12_switched_off_is_reported,
    r14_an_unreachable_address_is_skipped_at_once,
    r14_a_silent_address_is_followed_after_a_quarter_second,
    r14_the_other_family_is_tried,
    names_are_resolved_and_wrong_ones_reported,
    an_empty_target_is_refused,
];

fn out(report: &Report, kind: AttemptKind) -> Result<Out, String> {
    attempt(report, kind).map(|attempt| attempt.outcome)
}

fn not_started(why: NotStarted) -> Out {
    Out::Out(Exit::NotStarted(why))
}

/// One exchange over a gate with an echo; its report.
fn race(
    lab: &headstart_lab::Lab,
    server: &Server,
    settings: impl FnOnce(DialerBuilder) -> DialerBuilder + Send,
    flight: usize,
) -> io::Result<Report> {
    on_client(lab, async || {
        let dialer = settings(token_dialer()?).build()?;
        let mut stream = dialer.dial(server.address).await?;
        within("an exchange", exchange(&mut stream, &pattern(flight, 1))).await?;
        Ok(stream.report())
    })
}

fn r1_dial_returns_at_once_and_can_be_written() -> Outcome {
    let lab = common::lab(2 * RTT)?;
    let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let took = on_client(&lab, async || {
            let dialer = token_dialer()?.build()?;
            let began = Instant::now();
            let mut stream = dialer.dial(server.address).await?;
            stream.write_all(&pattern(600, 0)).await?;
            Ok(began.elapsed())
        })?;
        best = best.min(took);
    }
    ensure!(
        best < RTT / 2,
        "{best:?} for a dial and a write at {:?}",
        lab.rtt()
    );
    Ok(())
}

fn r7_a_preconnect_starts_no_fast_open() -> Outcome {
    let lab = common::lab(RTT)?;
    fetch_cookie(&lab, Family::V4)?;
    let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
    let report = on_client(&lab, async || {
        let mut stream = token_dialer()?.build()?.dial(server.address).await?;
        sleep(2 * RTT).await;
        within("an exchange", exchange(&mut stream, &pattern(600, 0))).await?;
        Ok(stream.report())
    })?;
    let fast_open = out(&report, AttemptKind::FastOpen)?;
    ensure!(
        fast_open == not_started(NotStarted::PlainOpen),
        "{report:?}"
    );
    ensure!(report.bytes_copied() == 0, "{report:?}");
    let with_data = sent_to(&lab, PORT)
        .iter()
        .filter(|(_, s)| s.is_syn_with_data())
        .count();
    ensure!(with_data == 0, "{with_data} SYNs with data");
    Ok(())
}

fn r7_a_flight_longer_than_one_syn_is_not_raced() -> Outcome {
    let lab = common::lab(RTT)?;
    for family in [Family::V4, Family::V6] {
        fetch_cookie(&lab, family)?;
        let server = Server::echo(&lab, lab.server(), family, Framing::token())?;
        // A Token's header is 24 bytes of a SYN's 1,400 or 1,380.
        let most = if family == Family::V4 { 1400 } else { 1380 } - 24;
        let report = race(&lab, &server, |d| d, most)?;
        ensure!(report.raced(), "not raced: {report:?}");
        let fast_open = attempt(&report, AttemptKind::FastOpen)?;
        ensure!(fast_open.syn_data == SynData::Acknowledged, "{report:?}");
        ensure!(fast_open.bytes == most + 24, "{report:?}");
        let report = race(&lab, &server, |d| d, most + 1)?;
        ensure!(
            out(&report, AttemptKind::FastOpen)? == not_started(NotStarted::TooLong),
            "{report:?}"
        );
        ensure!(out(&report, AttemptKind::Plain)? == Out::Won, "{report:?}");
    }
    Ok(())
}

fn r7_first_contact_fetches_a_cookie_for_the_second() -> Outcome {
    let lab = common::lab(RTT)?;
    let server = Server::echo(&lab, lab.server(), Family::V6, Framing::token())?;
    let first = on_client(&lab, async || {
        let dialer = token_dialer()?.build()?;
        let mut stream = dialer.dial(server.address).await?;
        within("an exchange", exchange(&mut stream, &pattern(600, 0))).await?;
        let report = stream.report();
        drop(stream);
        settle(&dialer).await?;
        Ok(report)
    })?;
    let fetcher = attempt(&first, AttemptKind::FastOpen)?;
    ensure!(fetcher.cookie_requested, "{first:?}");
    ensure!(fetcher.outcome == Out::Out(Exit::CookieOnly), "{first:?}");
    ensure!(first.raced() && first.bytes_copied() == 0, "{first:?}");
    let second = race(&lab, &server, |d| d, 600)?;
    let winner = second.winner().ok_or("no winner")?;
    ensure!(winner.syn_data == SynData::Acknowledged, "{second:?}");
    let opened = winner.opened.zip(winner.started).ok_or("not opened")?;
    ensure!(
        opened.0.saturating_since(opened.1) >= RTT,
        "opened before the handshake: {second:?}"
    );
    Ok(())
}

fn r9_plain_leaves_during_dial_and_the_flight_when_it_opens() -> Outcome {
    let lab = common::lab(RTT)?;
    let server = Bare::start(&lab, Family::V4, Manner::Swallow)?;
    // Nothing but `dial` runs here: its SYN leaves before it returns.
    lab.client().run(|| -> io::Result<()> {
        let runtime = common::runtime()?;
        let dialer = runtime.block_on(async { Dialer::builder()?.build() })?;
        let stream = runtime.block_on(dialer.dial(server.address))?;
        until("a SYN", || {
            sent_to(&lab, PORT)
                .iter()
                .any(|(_, segment)| segment.is_syn())
        })?;
        drop(stream);
        Ok(())
    })??;
    // The flight reaches the middle one round trip after the SYN-ACK did.
    let mut best = Duration::MAX;
    for _ in 0..5 {
        on_client(&lab, async || {
            let dialer = token_dialer()?.peer(Peer::Unaware).build()?;
            let mut stream = dialer.dial(server.address).await?;
            stream.write_all(&pattern(600, 0)).await?;
            sleep(3 * RTT).await;
            Ok(())
        })?;
        let trace = lab.trace();
        let answered = trace.iter().rev().find(|entry| {
            entry.direction == Direction::ToClient && entry.segment.is_some_and(|s| s.is_syn_ack())
        });
        let flight = sent_to(&lab, PORT)
            .into_iter()
            .rev()
            .find(|(_, s)| s.payload >= 600);
        let (answered, flight) = answered.zip(flight).ok_or("no flight")?;
        let gap = flight.0.saturating_sub(answered.at);
        ensure!(
            gap >= RTT * 9 / 20,
            "the flight did not wait for the handshake: {gap:?}"
        );
        best = best.min(gap);
    }
    ensure!(best < RTT * 3 / 4, "the flight left late: {best:?}");
    Ok(())
}

fn r10_races_leave_no_time_wait() -> Outcome {
    let lab = common::lab(RTT / 5)?;
    for family in [Family::V4, Family::V6] {
        fetch_cookie(&lab, family)?;
        let server = Server::echo(&lab, lab.server(), family, Framing::token())?;
        on_client(&lab, async || {
            let dialer = token_dialer()?.build()?;
            for _ in 0..20 {
                let mut stream = dialer.dial(server.address).await?;
                within("an exchange", exchange(&mut stream, &pattern(600, 0))).await?;
                let stream = stream
                    .into_inner()
                    .map_err(|_| io::Error::other("not chosen"))?;
                headstart_socket::close_abortively(stream)?;
            }
            settle(&dialer).await
        })?;
        drop(server);
    }
    std::thread::sleep(lab.rtt() * 2);
    let left = (time_waits(lab.client())?, time_waits(lab.server())?);
    ensure!(left == (0, 0), "sockets in TIME_WAIT: {left:?}");
    Ok(())
}

fn r12_without_budget_plain_runs_alone() -> Outcome {
    let lab = common::lab(RTT)?;
    fetch_cookie(&lab, Family::V4)?;
    let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
    let budget = Budget::new(0);
    let report = race(&lab, &server, |dialer| dialer.budget(budget.clone()), 600)?;
    ensure!(!report.raced(), "{report:?}");
    let Out::Out(Exit::NotStarted(NotStarted::Failed(why))) = out(&report, AttemptKind::FastOpen)?
    else {
        return Err(format!("{report:?}").into());
    };
    ensure!(why.kind == FailureKind::NoResources, "{report:?}");
    let budget = Budget::new(1);
    let report = race(&lab, &server, |dialer| dialer.budget(budget.clone()), 600)?;
    ensure!(report.raced(), "{report:?}");
    until("the budget to come back", || budget.left() == 1)?;
    Ok(())
}

fn r12_a_taken_port_leaves_plain_alone() -> Outcome {
    let lab = common::lab(RTT)?;
    fetch_cookie(&lab, Family::V4)?;
    let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
    let local = SocketAddr::new(lab.client_addr(Family::V4), 40_000);
    let options = Options::new().bind(Some(local));
    let report = race(&lab, &server, |dialer| dialer.options(options), 600)?;
    let fast_open = attempt(&report, AttemptKind::FastOpen)?;
    ensure!(
        matches!(fast_open.outcome, Out::Out(Exit::NotStarted(NotStarted::Failed(f)))
            if f.kind == FailureKind::NoResources),
        "{report:?}"
    );
    ensure!(out(&report, AttemptKind::Plain)? == Out::Won, "{report:?}");
    Ok(())
}

fn r12_no_port_at_all_is_a_typed_error() -> Outcome {
    let lab = common::lab(RTT)?;
    fetch_cookie(&lab, Family::V4)?;
    lab.client()
        .set_sysctl("net.ipv4.ip_local_port_range", "40000 40000")?;
    let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
    let (report, refused) = on_client(&lab, async || {
        let dialer = token_dialer()?.build()?;
        let mut stream = dialer.dial(server.address).await?;
        within("an exchange", exchange(&mut stream, &pattern(600, 0))).await?;
        let refused = dialer.dial(server.address).await.err();
        Ok((stream.report(), refused))
    })?;
    ensure!(
        out(&report, AttemptKind::Plain)? == Out::Won && !report.raced(),
        "{report:?}"
    );
    let refused = refused.ok_or("a dial without a port")?;
    ensure!(
        refused.kind() == io::ErrorKind::AddrNotAvailable,
        "{refused:?}"
    );
    let inner = refused
        .get_ref()
        .and_then(|error| error.downcast_ref::<RaceError>());
    let reasons = &inner.ok_or("no RaceError")?.reasons;
    ensure!(reasons.iter().count() == 2, "{reasons}");
    Ok(())
}

fn r12_switched_off_is_reported() -> Outcome {
    let lab = common::lab(RTT)?;
    lab.client().set_fast_open(0)?;
    let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
    let report = race(&lab, &server, |dialer| dialer, 600)?;
    ensure!(
        matches!(out(&report, AttemptKind::FastOpen)?,
            Out::Out(Exit::NotStarted(NotStarted::Failed(f))) if f.kind == FailureKind::Unsupported),
        "{report:?}"
    );
    Ok(())
}

/// Dials several addresses of which one answers; how long after the first the
/// one that won began.
fn several(lab: &headstart_lab::Lab, addresses: Vec<SocketAddr>) -> io::Result<(Duration, Report)> {
    on_client(lab, async || {
        let dialer = token_dialer()?.build()?;
        let mut stream = dialer.dial(addresses).await?;
        within("an exchange", exchange(&mut stream, &pattern(600, 0))).await?;
        let report = stream.report();
        let started = report.attempts.iter().filter_map(|attempt| attempt.started);
        let first = started.min().ok_or(io::ErrorKind::NotFound)?;
        let won = report
            .winner()
            .and_then(|w| w.started)
            .ok_or(io::ErrorKind::NotFound)?;
        Ok((won.saturating_since(first), report))
    })
}

fn r14_an_unreachable_address_is_skipped_at_once() -> Outcome {
    let lab = common::lab(RTT)?;
    let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
    let nowhere = SocketAddr::from(([203, 0, 113, 1], PORT));
    let (after, report) = several(&lab, vec![nowhere, server.address])?;
    ensure!(
        after < Duration::from_millis(100),
        "{after:?} later: {report:?}"
    );
    let first = report.attempts.first().ok_or("no attempt")?;
    ensure!(
        matches!(first.outcome, Out::Out(Exit::Failed(f)) if f.kind == FailureKind::Unreachable),
        "{report:?}"
    );
    Ok(())
}

fn r14_a_silent_address_is_followed_after_a_quarter_second() -> Outcome {
    let lab = common::lab(RTT)?;
    let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
    let silent = SocketAddr::from(([192, 0, 2, 77], PORT));
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let (after, report) = several(&lab, vec![silent, server.address])?;
        ensure!(
            after >= Duration::from_millis(250),
            "{after:?} later: {report:?}"
        );
        best = best.min(after);
    }
    ensure!(best < Duration::from_millis(320), "{best:?} later");
    Ok(())
}

fn r14_the_other_family_is_tried() -> Outcome {
    let lab = common::lab(RTT)?;
    let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
    let closed = SocketAddr::new(lab.server_addr(Family::V6), PORT);
    let (after, report) = several(&lab, vec![closed, server.address])?;
    ensure!(after >= RTT, "{after:?} later: {report:?}");
    ensure!(
        after < Duration::from_millis(245),
        "not at once when refused: {after:?}"
    );
    Ok(())
}

fn names_are_resolved_and_wrong_ones_reported() -> Outcome {
    let lab = common::lab(Duration::ZERO)?;
    on_client(&lab, async || {
        let gate = Gate::builder(Framing::token())?.bind(([127, 0, 0, 1], 0).into())?;
        let dialer = token_dialer()?.build()?;
        let port = gate.local_addr().port();
        for name in ["localhost", "127.0.0.1"] {
            let mut stream = dialer.dial((name, port)).await?;
            stream.write_all(b"hello").await?;
            let mut admitted = within("an accept", gate.accept()).await?;
            let mut hello = [0; 5];
            admitted.stream.read_exact(&mut hello).await?;
            assert_eq!(&hello, b"hello");
        }
        // A dial that is dropped before the name is known dials nothing.
        let mut dial = Box::pin(dialer.dial(("localhost", port)));
        let polled =
            std::future::poll_fn(|cx| std::task::Poll::Ready(dial.as_mut().poll(cx).is_pending()));
        let pending = polled.await;
        drop(dial);
        sleep(Duration::from_millis(50)).await;
        assert!(!pending || gate.counters().accepted == 2);
        let unknown = dialer.dial(("no-such-name.invalid", port)).await;
        assert!(unknown.is_err());
        Ok(())
    })?;
    Ok(())
}

fn an_empty_target_is_refused() -> Outcome {
    let lab = common::lab(Duration::ZERO)?;
    let error = on_client(&lab, async || {
        let dialer = token_dialer()?.build()?;
        Ok(dialer.dial(Target::Addresses(Vec::new())).await.err())
    })?;
    let error = error.ok_or("a dial to nobody")?;
    ensure!(error.kind() == io::ErrorKind::InvalidInput, "{error:?}");
    Ok(())
}
