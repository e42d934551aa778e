//! Every rule: what Fast Open alone sees under it, and that plain TCP does not mind.

use std::{
    collections::HashSet,
    io,
    time::{Duration, Instant},
};

use headstart_lab::{Direction, Family, Fate, Lab, OptionKind, Rule, TraceEntry};
use libtest_mimic::{Failed, Trial};
use nix::errno::Errno;

use crate::exchange::{REQUEST, Seen, Served, ask, exchange, serve};
use crate::trial;

pub(crate) const RTT: Duration = Duration::from_millis(50);
/// How long to wait before calling it never.
pub(crate) const PATIENCE: Duration = Duration::from_millis(2500);
/// Tolerance of figures in round trips: of small ones, and of those that hang
/// on timers of the kernel.
pub(crate) const CLOSE: f64 = 0.4;
const WIDE: f64 = 2.5;

type Test = Box<dyn Fn() -> Result<(), Failed> + Send>;
type FamilyTest = fn(Family) -> Result<(), Failed>;

/// What Fast Open with a cookie sees under a rule.
#[derive(Debug, Clone, Copy)]
enum Expect {
    /// The reply after so many round trips.
    After(f64),
    /// No reply in time.
    Never,
    /// This error, after half a round trip.
    Refused(Errno),
}

/// The measured table: what a client sees, and what becomes of at least one
/// packet. `None` for rules that have tests of their own.
fn expected(rule: Rule) -> Option<(Expect, Fate)> {
    Some(match rule {
        Rule::Transparent => (Expect::After(1.0), Fate::Forwarded),
        Rule::DuplicateSyn { .. } => (Expect::After(1.0), Fate::Duplicated),
        // The SYN comes again after 1 s, without data and option.
        Rule::DropSynWithData
        | Rule::DropSynWithOption
        | Rule::DropSynWithAnyOption
        | Rule::LoseFirstSyn => (Expect::After(22.0), Fate::Dropped),
        Rule::StripOption | Rule::StripOptionAndData | Rule::CutData => {
            (Expect::After(2.0), Fate::Rewritten)
        }
        Rule::DropSynAck | Rule::DropServerDataAfterHandshake | Rule::BlackholeAfterHandshake => {
            (Expect::Never, Fate::Dropped)
        }
        Rule::ResetSyn => (Expect::Refused(Errno::ECONNREFUSED), Fate::Answered),
        Rule::UnreachableSyn => (Expect::Refused(Errno::EHOSTUNREACH), Fate::Answered),
        Rule::LoseFirstSynAck => (Expect::After(27.0), Fate::Dropped),
        Rule::LoseFirstServerData => (Expect::After(7.5), Fate::Dropped),
        _ => return None,
    })
}

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for family in Family::ALL {
        let mut add = |name: &str, test: Test| {
            tests.push(trial(format!("{name}_{family}"), test));
        };
        for rule in Rule::ALL {
            if let Some((expect, fate)) = expected(rule) {
                add(
                    rule.name(),
                    Box::new(move || one_rule(rule, expect, fate, family)),
                );
            }
        }
        let others: [(&str, FamilyTest); 7] = [
            ("drop-syn-with-experimental-option", experimental_option),
            ("drop-syn-with-any-option_experimental", any_option),
            ("blackhole-after_counts_packets", blackhole_after),
            ("duplicate-syn_is_served_twice", served_twice),
            ("balance_takes_turns", balance),
            ("random-loss_loses_plain_too", random_loss),
            ("a_flow_keeps_its_rule", flow_keeps_rule),
        ];
        for (name, test) in others {
            add(name, Box::new(move || test(family)));
        }
    }
    tests
}

/// Every rule of the table: Fast Open sees the figure, the packets meet their
/// fate, and plain TCP takes two round trips all the same.
fn one_rule(rule: Rule, expect: Expect, fate: Fate, family: Family) -> Result<(), Failed> {
    let (lab, _served) = lab_with_cookie(family)?;
    lab.set_rule(rule);
    let begin = lab.trace().len();
    let fast = exchange(&lab, family, true, PATIENCE);
    let of_fast: Vec<_> = lab.trace().split_off(begin);
    let why = || format!("{rule}: {fast:?}\n{}", text(&lab.trace()));
    match expect {
        Expect::After(round_trips) => {
            let tolerance = if round_trips < 3.0 { CLOSE } else { WIDE };
            expect_round_trips(&fast, round_trips, tolerance, &why)?;
        }
        Expect::Never => check(is_timeout(&fast.first_byte), &why)?,
        Expect::Refused(errno) => {
            let code = fast
                .first_byte
                .as_ref()
                .err()
                .and_then(io::Error::raw_os_error);
            check(code == Some(errno as i32), &why)?;
            check((in_round_trips(fast.elapsed) - 0.5).abs() < CLOSE, &why)?;
        }
    }
    check(of_fast.iter().any(is_syn_with_data), &why)?;
    check(of_fast.iter().any(|entry| entry.fate == fate), &why)?;
    plain_does_not_mind(&lab, family)
}

/// The kernel asks in the experimental way once a server gave no cookie.
fn lab_with_experimental_cookie(family: Family) -> Result<(Lab, Served), Failed> {
    let lab = Lab::builder().rtt(RTT).build()?;
    let served = serve(lab.server(), lab.server_addr(family));
    lab.server().set_fast_open(0)?;
    exchange(&lab, family, true, PATIENCE).first_byte?;
    lab.server().set_fast_open(crate::exchange::SERVER_BITS)?;
    exchange(&lab, family, true, PATIENCE).first_byte?;
    Ok((lab, served))
}

fn experimental_option(family: Family) -> Result<(), Failed> {
    let (lab, _served) = lab_with_experimental_cookie(family)?;
    // The box for the standard option does not know this one.
    lab.set_rule(Rule::DropSynWithOption);
    let passed = exchange(&lab, family, true, PATIENCE);
    let why = || text(&lab.trace());
    let is_experimental = |entry: &TraceEntry| {
        let option = entry.segment.and_then(|segment| segment.fast_open);
        is_syn_with_data(entry)
            && option.is_some_and(|option| option.kind == OptionKind::Experimental)
    };
    check(lab.trace().iter().any(is_experimental), &why)?;
    expect_round_trips(&passed, 1.0, CLOSE, &why)?;
    lab.set_rule(Rule::DropSynWithExperimentalOption);
    let dropped = exchange(&lab, family, true, PATIENCE);
    expect_round_trips(&dropped, 22.0, WIDE, &why)?;
    plain_does_not_mind(&lab, family)
}

fn any_option(family: Family) -> Result<(), Failed> {
    let (lab, _served) = lab_with_experimental_cookie(family)?;
    lab.set_rule(Rule::DropSynWithAnyOption);
    let dropped = exchange(&lab, family, true, PATIENCE);
    expect_round_trips(&dropped, 22.0, WIDE, &|| text(&lab.trace()))
}

/// SYN, SYN-ACK, reply and acknowledgement pass; nothing after them does.
fn blackhole_after(family: Family) -> Result<(), Failed> {
    let (lab, _served) = lab_with_cookie(family)?;
    for packets in 3..=6 {
        lab.set_rule(Rule::BlackholeAfter(packets));
        let mut fast = exchange(&lab, family, true, PATIENCE);
        let why = || format!("{packets}\n{}", text(&lab.trace()));
        expect_round_trips(&fast, 1.0, CLOSE, &why)?;
        let stream = fast.stream.as_mut().ok_or("no connection")?;
        let client = stream.local_addr()?;
        stream.set_read_timeout(Some(RTT * 6))?;
        let dead = (0..3).any(|_| ask(stream).is_err());
        check(dead, &why)?;
        let of_flow = |entry: &&TraceEntry| {
            entry
                .segment
                .is_some_and(|segment| [segment.source, segment.destination].contains(&client))
        };
        let trace = lab.trace();
        let passed = trace
            .iter()
            .filter(of_flow)
            .filter(|entry| entry.fate == Fate::Forwarded)
            .count();
        check(passed == usize::try_from(packets)?, &why)?;
    }
    plain_does_not_mind(&lab, family)
}

/// The second copy of a SYN with data reaches the application as a second connection.
fn served_twice(family: Family) -> Result<(), Failed> {
    let (lab, served) = lab_with_cookie(family)?;
    let after = Duration::from_millis(300);
    lab.set_rule(Rule::DuplicateSyn { after });
    while served.try_recv().is_ok() {}
    drop(exchange(&lab, family, true, PATIENCE));
    let first = served.recv_timeout(PATIENCE)?;
    let at = Instant::now();
    let second = served.recv_timeout(PATIENCE)?;
    let why = || text(&lab.trace());
    check(first == second && first.1 == REQUEST, &why)?;
    // The first was read half a round trip before its reply came back here.
    check(
        at.elapsed() > after - RTT * 2 && at.elapsed() < after + RTT * 2,
        &why,
    )?;
    check(served.try_recv().is_err(), &why)?;
    plain_does_not_mind(&lab, family)
}

/// Both servers get every second connection, and whole connections.
fn balance(family: Family) -> Result<(), Failed> {
    let lab = Lab::builder().rtt(RTT).rule(Rule::Balance).build()?;
    let address = lab.server_addr(family);
    let served = [
        serve(lab.server(), address),
        serve(lab.second_server(), address),
    ];
    let why = || text(&lab.trace());
    for round in 0..4 {
        let mut seen = exchange(&lab, family, false, PATIENCE);
        expect_round_trips(&seen, 2.0, CLOSE, &why)?;
        ask(seen.stream.as_mut().ok_or("no connection")?)?;
        for (server, served) in served.iter().enumerate() {
            let expected = if round % 2 == server { 2 } else { 0 };
            check(served.try_iter().count() == expected, &why)?;
        }
    }
    Ok(())
}

fn random_loss(family: Family) -> Result<(), Failed> {
    let lab = Lab::builder()
        .seed(3)
        .rule(Rule::RandomLoss { per_mille: 100 })
        .build()?;
    let _served = serve(lab.server(), lab.server_addr(family));
    for _ in 0..6 {
        exchange(&lab, family, false, Duration::from_secs(20)).first_byte?;
    }
    let (stats, trace) = (lab.stats(), lab.trace());
    let dropped = trace
        .iter()
        .filter(|entry| entry.fate == Fate::Dropped)
        .count();
    let why = || text(&trace);
    check(dropped > 0 && dropped * 3 < trace.len(), &why)?;
    let counted = stats.to_server.dropped_by_rule + stats.to_client.dropped_by_rule;
    check(counted >= dropped as u64, &why)?;
    lab.set_rule(Rule::RandomLoss { per_mille: 1000 });
    check(
        is_timeout(&exchange(&lab, family, false, RTT * 4).first_byte),
        &why,
    )
}

/// A rule is for connections that begin under it.
fn flow_keeps_rule(family: Family) -> Result<(), Failed> {
    let (lab, _served) = lab_with_cookie(family)?;
    let mut old = exchange(&lab, family, true, PATIENCE)
        .stream
        .ok_or("no connection")?;
    lab.set_rule(Rule::BlackholeAfter(0));
    check(
        is_timeout(&exchange(&lab, family, true, RTT * 4).first_byte),
        &|| text(&lab.trace()),
    )?;
    ask(&mut old)?;
    lab.set_rule(Rule::Transparent);
    ask(&mut old)?;
    let fast = exchange(&lab, family, true, PATIENCE);
    expect_round_trips(&fast, 1.0, CLOSE, &|| text(&lab.trace()))
}

/// A lab with a server whose cookie the client has.
fn lab_with_cookie(family: Family) -> Result<(Lab, Served), Failed> {
    let lab = Lab::builder().rtt(RTT).build()?;
    let served = serve(lab.server(), lab.server_addr(family));
    let first = exchange(&lab, family, true, PATIENCE);
    expect_round_trips(&first, 2.0, CLOSE, &|| text(&lab.trace()))?;
    Ok((lab, served))
}

/// Plain TCP takes two round trips, and its packets all pass unchanged.
fn plain_does_not_mind(lab: &Lab, family: Family) -> Result<(), Failed> {
    let mut plain = exchange(lab, family, false, PATIENCE);
    let why = || text(&lab.trace());
    expect_round_trips(&plain, 2.0, CLOSE, &why)?;
    let stream = plain.stream.as_mut().ok_or("no connection")?;
    ask(stream)?;
    let client = stream.local_addr()?;
    let fates: HashSet<_> = lab
        .trace()
        .iter()
        .filter(|entry| {
            entry
                .segment
                .is_some_and(|segment| segment.source == client)
        })
        .map(|entry| (entry.direction, entry.fate))
        .collect();
    check(
        fates == HashSet::from([(Direction::ToServer, Fate::Forwarded)]),
        &why,
    )
}

pub(crate) fn expect_round_trips(
    seen: &Seen,
    expected: f64,
    tolerance: f64,
    why: &dyn Fn() -> String,
) -> Result<(), Failed> {
    let near = match &seen.first_byte {
        Ok(time) => (in_round_trips(*time) - expected).abs() < tolerance,
        Err(_) => false,
    };
    check(near, &|| {
        format!(
            "{:?} instead of {expected} round trips\n{}",
            seen.first_byte,
            why()
        )
    })
}

pub(crate) fn in_round_trips(time: Duration) -> f64 {
    time.as_secs_f64() / RTT.as_secs_f64()
}

/// Whether an exchange ended because time was up, in one of the kernel's words for it.
pub(crate) fn is_timeout(outcome: &Result<Duration, io::Error>) -> bool {
    let code = outcome.as_ref().err().and_then(io::Error::raw_os_error);
    [Errno::EAGAIN, Errno::EINPROGRESS, Errno::ETIMEDOUT]
        .into_iter()
        .any(|one| code == Some(one as i32))
}

fn is_syn_with_data(entry: &TraceEntry) -> bool {
    entry
        .segment
        .is_some_and(|segment| segment.is_syn_with_data())
}

pub(crate) fn check(holds: bool, why: &dyn Fn() -> String) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(why().into()) }
}

pub(crate) fn text(trace: &[TraceEntry]) -> String {
    trace.iter().map(|entry| format!("{entry}\n")).collect()
}
