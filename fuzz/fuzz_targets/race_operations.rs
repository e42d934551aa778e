//! Races of any settings under any sequence of calls, events and times, told
//! by drivers that are truthful or not. The rules are those of the core's tests.

#![no_main]

#[path = "../../crates/headstart-core/tests/common/mod.rs"]
mod common;

use std::time::Duration;

use common::moves::{Move, play};
use common::{Action, Flight, Setup};
use headstart_core::config::{Kinds, LoserClose, Peer, Schedule, TARGETS_MAX};
use headstart_core::framing::FLIGHT_MAX;
use headstart_core::race::{AttemptKind, Event, Failure, FailureKind, Progress, SynData};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

/// More than any race takes to end; each is checked in all it may come to.
const MOVES_MAX: usize = 100;

const FAILURES: [FailureKind; 8] = [
    FailureKind::Refused,
    FailureKind::Reset,
    FailureKind::Unreachable,
    FailureKind::TimedOut,
    FailureKind::NoResources,
    FailureKind::NotPermitted,
    FailureKind::Unsupported,
    FailureKind::Other,
];

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = Unstructured::new(bytes);
    let Ok(setup) = setup(&mut bytes) else {
        return;
    };
    let mut moves = Vec::new();
    while !bytes.is_empty() && moves.len() < MOVES_MAX {
        match one_move(&mut bytes) {
            Ok(next) => moves.push(next),
            Err(_) => break,
        }
    }
    if let Err(broken) = play(setup, moves) {
        panic!("{broken}, of {setup:?}");
    }
});

fn setup(bytes: &mut Unstructured<'_>) -> Result<Setup> {
    let flight = match bytes.int_in_range(0..=7)? {
        0 => Flight::Malformed,
        1 => Flight::Unstated,
        2 => Flight::Asserted,
        3 => Flight::Token,
        _ => {
            Flight::Framed(*bytes.choose(&[2, 4, 100, 256, 257, 1400, 1401, FLIGHT_MAX as u16])?)
        }
    };
    let first = *bytes.choose(&[AttemptKind::Plain, AttemptKind::FastOpen])?;
    let schedule = match bytes.int_in_range(0..=2)? {
        0 => Schedule::AtOnce,
        1 => Schedule::Staggered {
            first,
            delay: duration(bytes)?,
        },
        _ => Schedule::Hedged {
            first,
            delay: duration(bytes)?,
        },
    };
    let kinds = match flight {
        // Fast Open alone must be told what it carries.
        Flight::Unstated => Kinds::Both,
        _ => *bytes.choose(&[
            Kinds::Both,
            Kinds::Both,
            Kinds::PlainOnly,
            Kinds::FastOpenOnly,
        ])?,
    };
    Ok(Setup {
        flight,
        peer: *bytes.choose(&[Peer::Pairing, Peer::FirstCome, Peer::Unaware])?,
        insist: bytes.ratio(1, 2)?,
        kinds,
        schedule,
        losers: *bytes.choose(&[LoserClose::Abortive, LoserClose::Graceful])?,
        targets: *bytes.choose(&[1, 1, 2, 3, TARGETS_MAX])?,
        suspended: *bytes.choose(&[0, 0, 1, 2])?,
        syn_payload: *bytes.choose(&[1400, 0, 1, 1 << 20])?,
        held_max: *bytes.choose(&[2, 1, 1000, 64 * 1024])?,
        address_delay: duration(bytes)?,
        cutover_wait: duration(bytes)?,
    })
}

fn one_move(bytes: &mut Unstructured<'_>) -> Result<Move> {
    Ok(match bytes.int_in_range(0..=11)? {
        0..=4 => Move::Answer(event(bytes)?, progress(bytes)?),
        5..=7 => Move::Tell(bytes.int_in_range(0..=2 * TARGETS_MAX - 1)?, event(bytes)?),
        _ => Move::Other(other(bytes)?),
    })
}

fn other(bytes: &mut Unstructured<'_>) -> Result<Action> {
    Ok(match bytes.int_in_range(0..=10)? {
        0..=3 => Action::Write(size(bytes)?.max(1)),
        4 => Action::FirstFlight(size(bytes)?),
        5 => Action::EndFlight,
        6 => Action::Shutdown,
        7 => Action::Abandon,
        8 => Action::Take,
        9 => Action::Deadline,
        _ => Action::Pass(duration(bytes)?),
    })
}

fn event(bytes: &mut Unstructured<'_>) -> Result<Event> {
    Ok(match bytes.int_in_range(0..=15)? {
        0 => Event::Started(progress(bytes)?),
        1 => Event::NotStarted(failure(bytes)?),
        2..=4 => Event::Opened(*bytes.choose(&[
            SynData::None,
            SynData::Sent,
            SynData::Acknowledged,
            SynData::Ignored,
        ])?),
        5..=7 => Event::Wrote(size(bytes)?),
        8 => Event::Blocked,
        9 => Event::Writable,
        10 => Event::Finished,
        11 => Event::Quiet,
        12 => Event::Replied,
        13 => Event::Ended,
        _ => Event::Failed(failure(bytes)?),
    })
}

fn failure(bytes: &mut Unstructured<'_>) -> Result<Failure> {
    Ok(Failure::new(*bytes.choose(&FAILURES)?))
}

fn progress(bytes: &mut Unstructured<'_>) -> Result<Progress> {
    Ok(match bytes.int_in_range(0..=2)? {
        0 => Progress::Handshake,
        1 => Progress::CookieRequest,
        _ => Progress::DataInSyn(size(bytes)?),
    })
}

fn size(bytes: &mut Unstructured<'_>) -> Result<usize> {
    Ok(match bytes.arbitrary::<u8>()? {
        few @ 0..200 => usize::from(few % 8),
        200..240 => usize::from(bytes.arbitrary::<u16>()? % 2000),
        240..248 => usize::from(bytes.arbitrary::<u16>()?),
        248..252 => FLIGHT_MAX,
        _ => 100_000,
    })
}

fn duration(bytes: &mut Unstructured<'_>) -> Result<Duration> {
    Ok(match bytes.arbitrary::<u8>()? {
        nanos @ 0..64 => Duration::from_nanos(nanos.into()),
        250..=255 => Duration::MAX,
        steps => Duration::from_millis(u64::from(steps - 63) * 25),
    })
}
