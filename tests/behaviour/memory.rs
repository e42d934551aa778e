//! What dialers remember of paths on which Fast Open fails.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use headstart::core::path::{PathMemory, Standing, TRUST_MAX};
use headstart::core::race::{AttemptKind, Exit, NotStarted, Outcome as Out, Report};
use headstart::tokio::{Dialer, DialerBuilder, RaceStream};
use headstart::{Directory, Framing, Kinds, Memory, NodeUrl, PathKey, Peer, Plan, Trouble};
use headstart_lab::{Family, Lab, Rule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{
    self, Outcome, PORT, Server, ensure, exchange, on_client, pattern, token_dialer,
};
use crate::support::{attempt, fetch_cookie, sent_to, settle, tests, within};

tests![
    a_path_that_drops_is_left_alone_until_its_backoff_ends,
    a_path_that_ignores_is_left_alone_until_its_backoff_ends,
    a_path_that_refuses_is_left_alone_until_its_backoff_ends,
    a_path_that_falls_silent_is_left_alone_until_its_backoff_ends,
    a_retry_that_stalls_again_doubles_the_backoff,
    a_path_that_dies_after_the_cutover_is_left_alone_once_reported,
    a_healthy_path_is_always_raced,
    a_server_without_fast_open_is_left_alone_after_two_races,
    many_races_at_once_fail_once_and_retry_once,
    what_is_remembered_survives_a_restart,
    hedged_races_over_trusted_paths_make_one_connection,
    paths_to_one_peer_are_told_apart_by_their_local_address,
    no_memory_is_asked_where_there_is_no_race,
    a_loser_that_was_answered_too_is_no_failure,
    peers_are_raced_by_what_the_directory_says,
];

const RTT: Duration = Duration::from_millis(20);
const FIRST: Duration = Duration::from_millis(1_000);
const LONGEST: Duration = Duration::from_secs(60);

fn memory() -> io::Result<Memory> {
    let paths = PathMemory::builder().backoff(FIRST, LONGEST).build();
    Ok(Memory::new(paths.map_err(io::Error::other)?))
}

fn lab_and_server(family: Family) -> io::Result<(Lab, Server)> {
    let lab = common::lab(RTT)?;
    fetch_cookie(&lab, family)?;
    let server = Server::echo(&lab, lab.server(), family, Framing::token())?;
    Ok((lab, server))
}

fn pairing(memory: &Memory) -> io::Result<DialerBuilder> {
    Ok(token_dialer()?.peer(Peer::Pairing).memory(memory.clone()))
}

/// One race by a dialer of its own, to its end.
fn race_with(
    lab: &Lab,
    address: SocketAddr,
    settings: impl AsyncFnOnce() -> io::Result<DialerBuilder> + Send,
) -> io::Result<Report> {
    on_client(lab, async || {
        let dialer = settings().await?.build()?;
        let mut stream = dialer.dial(address).await?;
        within("an exchange", exchange(&mut stream, &pattern(600, 0))).await?;
        let report = stream.report();
        drop(stream);
        settle(&dialer).await?;
        Ok(report)
    })
}

fn race(lab: &Lab, address: SocketAddr, memory: &Memory) -> io::Result<Report> {
    race_with(lab, address, async || pairing(memory))
}

/// Plain alone, for this trouble, and until when; nothing of Fast Open is on
/// the wire.
fn expect_plain(
    lab: &Lab,
    address: SocketAddr,
    memory: &Memory,
    trouble: Trouble,
) -> Result<Duration, Box<dyn std::error::Error + Send + Sync>> {
    let before = sent_to(lab, address.port()).len();
    let report = race(lab, address, memory)?;
    let Plan::Plain {
        trouble: why,
        until,
    } = report.plans[0]
    else {
        return Err(format!("not plain alone: {report:?}").into());
    };
    ensure!(why == trouble, "{why:?} instead of {trouble:?}: {report:?}");
    let outcome = attempt(&report, AttemptKind::FastOpen)?.outcome;
    let suspended = Out::Out(Exit::NotStarted(NotStarted::PathSuspended(trouble)));
    ensure!(outcome == suspended, "{report:?}");
    let sent = sent_to(lab, address.port());
    let syns: Vec<_> = sent[before..].iter().filter(|(_, s)| s.syn).collect();
    ensure!(syns.len() == 1, "{} SYNs: {report:?}", syns.len());
    ensure!(syns[0].1.payload == 0, "data in the SYN: {syns:?}");
    Ok(until.saturating_since(report.began))
}

fn expect_race(report: &Report, plan: Plan) -> Outcome {
    ensure!(report.plans == [plan], "not {plan:?}: {report:?}");
    ensure!(report.raced(), "{report:?}");
    Ok(())
}

/// Races by this plan until the failure is seen: a busy machine may notice
/// plain's handshake so late that nothing can be said of Fast Open's.
fn expect_failure(lab: &Lab, address: SocketAddr, memory: &Memory, plan: Plan) -> Outcome {
    let before = memory.counters().suspensions;
    for _ in 0..5 {
        expect_race(&race(lab, address, memory)?, plan)?;
        if memory.counters().suspensions > before {
            return Ok(());
        }
    }
    Err(format!("no failure was seen: {:?}", memory.counters()).into())
}

/// Waits for the end of a back-off.
fn wait(left: Duration) {
    std::thread::sleep(left + Duration::from_millis(10));
}

fn a_path_that_drops_is_left_alone_until_its_backoff_ends() -> Outcome {
    for (rule, family) in [
        (Rule::DropSynWithData, Family::V4),
        (Rule::DropSynWithAnyOption, Family::V6),
        (Rule::DropSynAck, Family::V4),
    ] {
        left_alone(rule, Trouble::Dropped, family)?;
    }
    Ok(())
}

fn a_path_that_ignores_is_left_alone_until_its_backoff_ends() -> Outcome {
    left_alone(Rule::StripOption, Trouble::Ignored, Family::V4)?;
    left_alone(Rule::CutData, Trouble::Ignored, Family::V6)
}

fn a_path_that_refuses_is_left_alone_until_its_backoff_ends() -> Outcome {
    left_alone(Rule::ResetSyn, Trouble::Refused, Family::V4)?;
    left_alone(Rule::UnreachableSyn, Trouble::Refused, Family::V6)
}

fn a_path_that_falls_silent_is_left_alone_until_its_backoff_ends() -> Outcome {
    let rule = Rule::DropServerDataAfterHandshake;
    left_alone(rule, Trouble::Silent, Family::V4)?;
    left_alone(Rule::BlackholeAfterHandshake, Trouble::Silent, Family::V6)
}

fn left_alone(rule: Rule, trouble: Trouble, family: Family) -> Outcome {
    story(rule, trouble, family).map_err(|error| format!("{rule}: {error}").into())
}

fn story(rule: Rule, trouble: Trouble, family: Family) -> Outcome {
    let (lab, server) = lab_and_server(family)?;
    let memory = memory()?;
    lab.set_rule(rule);
    expect_failure(&lab, server.address, &memory, Plan::Race)?;
    let mut left = FIRST;
    for doublings in 0..2_u32 {
        let longest = FIRST * 2_u32.pow(doublings);
        for _ in 0..2 {
            left = expect_plain(&lab, server.address, &memory, trouble)?;
            let in_range = left <= longest && left > longest / 4;
            ensure!(in_range, "{left:?} left of {longest:?}");
        }
        wait(left);
        if doublings < 1 {
            expect_failure(&lab, server.address, &memory, Plan::Retry(trouble))?;
        }
    }
    lab.set_rule(Rule::Transparent);
    // As above, one that is held up says nothing, and another tries again.
    for _ in 0..5 {
        let report = race(&lab, server.address, &memory)?;
        expect_race(&report, Plan::Retry(trouble))?;
        if memory.counters().answered > 0 {
            break;
        }
    }
    for _ in 0..3 {
        expect_race(&race(&lab, server.address, &memory)?, Plan::Race)?;
    }
    let counters = memory.counters();
    ensure!(
        (counters.suspensions, counters.plain, counters.retries >= 2) == (2, 4, true),
        "{counters:?}"
    );
    Ok(())
}

/// An answer, and then silence.
async fn stall(dialer: &Dialer, address: SocketAddr) -> io::Result<RaceStream> {
    let mut stream = dialer.dial(address).await?;
    within("an exchange", exchange(&mut stream, &pattern(600, 0))).await?;
    stream.write_all(b"more").await?;
    let silence = tokio::time::timeout(10 * RTT, stream.read_exact(&mut [0; 4])).await;
    match silence {
        Err(_) => Ok(stream),
        Ok(read) => Err(io::Error::other(format!("answered: {read:?}"))),
    }
}

fn a_path_that_dies_after_the_cutover_is_left_alone_once_reported() -> Outcome {
    let (lab, server) = lab_and_server(Family::V4)?;
    let memory = memory()?;
    lab.set_rule(Rule::BlackholeAfter(4));
    let (noted, again, report) = on_client(&lab, async || {
        let dialer = pairing(&memory)?.build()?;
        let stream = stall(&dialer, server.address).await?;
        Ok((
            stream.report_stall(),
            stream.report_stall(),
            stream.report(),
        ))
    })?;
    ensure!(
        noted && again,
        "a stall is noted, and that it was is said again"
    );
    expect_race(&report, Plan::Race)?;
    ensure!(memory.counters().troubles == 1, "{:?}", memory.counters());
    let stalled = FIRST * 64;
    let left = expect_plain(&lab, server.address, &memory, Trouble::Stalled)?;
    ensure!(
        left <= stalled.min(LONGEST) && left > stalled / 2,
        "{left:?}"
    );

    // A plain connection that dies is none of Fast Open's.
    let plain = on_client(&lab, async || {
        let dialer = pairing(&memory)?.build()?;
        let mut stream = dialer.dial(server.address).await?;
        within("an exchange", exchange(&mut stream, &pattern(600, 0))).await?;
        Ok(stream.report_stall())
    })?;
    ensure!(!plain, "plain was called stalled");

    // Those who have taken the stream out tell the memory itself.
    let other = self::memory()?;
    on_client(&lab, async || {
        let dialer = pairing(&other)?.build()?;
        let stream = stall(&dialer, server.address).await?;
        let taken = stream
            .into_inner()
            .map_err(|_| io::Error::other("not chosen"))?;
        other.report_stall(PathKey::new(taken.local_addr()?.ip(), taken.peer_addr()?));
        Ok(())
    })?;
    expect_plain(&lab, server.address, &other, Trouble::Stalled)?;
    Ok(())
}

fn a_retry_that_stalls_again_doubles_the_backoff() -> Outcome {
    let (lab, server) = lab_and_server(Family::V4)?;
    let paths = PathMemory::builder().backoff(FIRST / 50, LONGEST).build()?;
    let memory = Memory::new(paths);
    let stalled = FIRST / 50 * 64;
    lab.set_rule(Rule::BlackholeAfter(4));
    for (plan, longest) in [
        (Plan::Race, stalled),
        (Plan::Retry(Trouble::Stalled), 2 * stalled),
    ] {
        let report = on_client(&lab, async || {
            let dialer = pairing(&memory)?.build()?;
            let stream = stall(&dialer, server.address).await?;
            match stream.report_stall() {
                true => Ok(stream.report()),
                false => Err(io::Error::other("not noted")),
            }
        })?;
        expect_race(&report, plan)?;
        let left = expect_plain(&lab, server.address, &memory, Trouble::Stalled)?;
        ensure!(
            left <= longest && left > longest / 2,
            "{left:?} left of {longest:?}"
        );
        wait(left);
    }
    Ok(())
}

fn a_healthy_path_is_always_raced() -> Outcome {
    for family in [Family::V4, Family::V6] {
        let (lab, server) = lab_and_server(family)?;
        let memory = memory()?;
        for _ in 0..20 {
            expect_race(&race(&lab, server.address, &memory)?, Plan::Race)?;
        }
        let counters = memory.counters();
        ensure!(
            (counters.races, counters.troubles) == (20, 0) && counters.answered >= 15,
            "{counters:?}"
        );
        let [known] = memory.snapshot()[..] else {
            return Err(format!("{:?}", memory.snapshot()).into());
        };
        let path = PathKey::new(lab.client_addr(family), server.address);
        ensure!(known.path == path, "{known:?}");
        ensure!(
            matches!(
                known.standing,
                Standing::Open {
                    trust: TRUST_MAX,
                    ..
                }
            ),
            "{known:?}"
        );
    }
    Ok(())
}

fn a_server_without_fast_open_is_left_alone_after_two_races() -> Outcome {
    let lab = common::lab(RTT)?;
    lab.server().set_fast_open(0x1)?;
    let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
    let memory = memory()?;
    for _ in 0..2 {
        let report = race(&lab, server.address, &memory)?;
        expect_race(&report, Plan::Race)?;
        ensure!(
            attempt(&report, AttemptKind::FastOpen)?.cookie_requested,
            "{report:?}"
        );
    }
    expect_plain(&lab, server.address, &memory, Trouble::NoCookie)?;
    Ok(())
}

fn many_races_at_once_fail_once_and_retry_once() -> Outcome {
    // A longer way, so that ten dials are well within a round trip.
    let lab = common::lab(5 * RTT)?;
    fetch_cookie(&lab, Family::V4)?;
    let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
    let memory = memory()?;
    lab.set_rule(Rule::DropSynWithData);
    let burst = || {
        on_client(&lab, async || {
            let dialer = pairing(&memory)?.build()?;
            let mut streams = Vec::new();
            for seed in 0..10 {
                let mut stream = dialer.dial(server.address).await?;
                stream.write_all(&pattern(600, seed)).await?;
                stream.flush().await?;
                streams.push(stream);
            }
            let mut plans = Vec::new();
            for stream in &mut streams {
                within("an echo", stream.read_exact(&mut [0; 600])).await?;
                plans.extend(stream.report().plans);
            }
            Ok(plans)
        })
    };
    let plans = burst()?;
    ensure!(plans == [Plan::Race; 10], "{plans:?}");
    let counters = memory.counters();
    ensure!(
        (counters.suspensions, counters.troubles) == (1, 10),
        "{counters:?}"
    );
    let left = expect_plain(&lab, server.address, &memory, Trouble::Dropped)?;
    ensure!(left < 2 * FIRST - RTT, "doubled by its own burst: {left:?}");
    wait(left);
    let plans = burst()?;
    let retry = Plan::Retry(Trouble::Dropped);
    let retries = plans.iter().filter(|plan| **plan == retry).count();
    let plain = |plan: &&Plan| matches!(plan, Plan::Plain { .. });
    ensure!(
        (retries, plans.iter().filter(plain).count()) == (1, 9),
        "{plans:?}"
    );
    Ok(())
}

fn what_is_remembered_survives_a_restart() -> Outcome {
    let (lab, server) = lab_and_server(Family::V4)?;
    let before = memory()?;
    lab.set_rule(Rule::ResetSyn);
    expect_failure(&lab, server.address, &before, Plan::Race)?;
    let stored = before.snapshot();
    std::thread::sleep(2 * RTT);
    let after = memory()?;
    ensure!(after.restore(stored.clone()) == 1, "{stored:?}");
    ensure!(after.restore(stored) == 0, "the same is no news");
    let left = expect_plain(&lab, server.address, &after, Trouble::Refused)?;
    ensure!(left <= FIRST - 2 * RTT, "{left:?}");
    wait(left);
    let retry = Plan::Retry(Trouble::Refused);
    expect_failure(&lab, server.address, &after, retry)?;
    let left = expect_plain(&lab, server.address, &after, Trouble::Refused)?;
    ensure!(left > FIRST, "not doubled: {left:?}");
    Ok(())
}

fn hedged_races_over_trusted_paths_make_one_connection() -> Outcome {
    let (lab, server) = lab_and_server(Family::V4)?;
    let delay = 4 * RTT;
    let paths = PathMemory::builder().hedge(Some(delay)).build()?;
    let memory = Memory::new(paths);
    for _ in 0..TRUST_MAX {
        expect_race(&race(&lab, server.address, &memory)?, Plan::Race)?;
    }
    for _ in 0..3 {
        let before = sent_to(&lab, PORT).len();
        let report = race(&lab, server.address, &memory)?;
        ensure!(report.plans == [Plan::Hedged(delay)], "{report:?}");
        ensure!(!report.raced(), "{report:?}");
        let sent = sent_to(&lab, PORT);
        let syns = sent[before..].iter().filter(|(_, s)| s.syn).count();
        ensure!(syns == 1, "{syns} SYNs: {report:?}");
    }
    lab.set_rule(Rule::DropSynWithData);
    let report = race(&lab, server.address, &memory)?;
    ensure!(report.plans == [Plan::Hedged(delay)], "{report:?}");
    let plain = attempt(&report, AttemptKind::Plain)?;
    let late = plain.started.ok_or("plain did not start")?;
    let late = late.saturating_since(report.began);
    ensure!(late >= delay && late < delay + 4 * RTT, "{late:?} late");
    ensure!(plain.outcome == Out::Won, "{report:?}");
    // That was one failure: it is forgiven, but not trusted most any more.
    expect_race(&race(&lab, server.address, &memory)?, Plan::Race)?;
    Ok(())
}

fn paths_to_one_peer_are_told_apart_by_their_local_address() -> Outcome {
    let (lab, server) = lab_and_server(Family::V4)?;
    let memory = memory()?;
    let here = PathKey::new(lab.client_addr(Family::V4), server.address);
    let elsewhere = PathKey::new([198, 51, 100, 1].into(), server.address);
    memory.report_stall(elsewhere);
    expect_race(&race(&lab, server.address, &memory)?, Plan::Race)?;
    memory.report_stall(here);
    expect_plain(&lab, server.address, &memory, Trouble::Stalled)?;
    ensure!(memory.forget(here), "unknown");
    expect_race(&race(&lab, server.address, &memory)?, Plan::Race)?;
    // A hook may bind to a device: then the path used last is taken for this one.
    memory.report_stall(elsewhere);
    let report = race_with(&lab, server.address, async || {
        let options = headstart::Options::new().hook(|_| Ok(()));
        Ok(pairing(&memory)?.options(options))
    })?;
    ensure!(matches!(report.plans[0], Plan::Plain { .. }), "{report:?}");
    Ok(())
}

fn no_memory_is_asked_where_there_is_no_race() -> Outcome {
    let (lab, server) = lab_and_server(Family::V4)?;
    let memory = memory()?;
    memory.report_stall(PathKey::new(lab.client_addr(Family::V4), server.address));
    let counters = memory.counters();
    for kinds in [Kinds::PlainOnly, Kinds::FastOpenOnly] {
        let report = race_with(&lab, server.address, async || {
            Ok(pairing(&memory)?.kinds(kinds))
        })?;
        ensure!(
            report.plans == [Plan::Race] && !report.raced(),
            "{report:?}"
        );
    }
    let report = race_with(&lab, server.address, async || {
        Ok(pairing(&memory)?.peer(Peer::Unaware))
    })?;
    ensure!(
        report.plans == [Plan::Race] && !report.raced(),
        "{report:?}"
    );
    ensure!(memory.counters() == counters, "{:?}", memory.counters());
    let report = race_with(&lab, server.address, async || {
        Ok(pairing(&memory)?.memory(None))
    })?;
    expect_race(&report, Plan::Race)
}

/// An application that takes longer than a round trip answers on both
/// connections at once: whichever is read first, Fast Open was answered too.
fn a_loser_that_was_answered_too_is_no_failure() -> Outcome {
    let lab = common::lab(RTT)?;
    fetch_cookie(&lab, Family::V4)?;
    let slow = |gate| gate;
    let server = Server::start(
        &lab,
        lab.server(),
        Family::V4,
        Framing::token(),
        slow,
        async |admitted| {
            tokio::time::sleep(3 * RTT).await;
            common::server::echo(admitted).await
        },
    )?;
    let memory = memory()?;
    for _ in 0..20 {
        race(&lab, server.address, &memory)?;
    }
    let counters = memory.counters();
    ensure!(counters.suspensions == 0, "{counters:?}");
    ensure!(counters.answered >= 15, "{counters:?}");
    Ok(())
}

fn peers_are_raced_by_what_the_directory_says() -> Outcome {
    let (lab, server) = lab_and_server(Family::V4)?;
    let address = server.address;
    for (abilities, raced) in [
        ("?debounce=2&f=1", true),
        ("?debounce=2&f=1&pairing=1", true),
        ("?debounce=2", false),
        ("?f=1", false),
    ] {
        let mut peers = Directory::default();
        let url: NodeUrl = format!("{address}{abilities}").parse()?;
        peers.insert(url)?;
        for default in [Peer::Unaware, Peer::Pairing] {
            let report = race_with(&lab, address, async || {
                Ok(token_dialer()?.peer(default).peers(peers.clone()))
            })?;
            ensure!(report.raced() == raced, "{abilities}: {report:?}");
        }
    }
    let mut others = Directory::default();
    others.insert(NodeUrl::new("192.0.2.99", 1, Default::default())?)?;
    let report = race_with(&lab, address, async || Ok(token_dialer()?.peers(others)))?;
    ensure!(report.raced(), "{report:?}");
    Ok(())
}
