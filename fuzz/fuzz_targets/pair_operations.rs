//! Pairs of any settings under any sequence of calls, events and times, told
//! by drivers that are truthful or not. The rules are those of the core's tests.

#![no_main]

#[path = "../../crates/headstart-core/tests/pairs/mod.rs"]
mod pairs;

use std::time::Duration;

use headstart_core::pair::{Config, Event, GRACE, LINGER, WINDOW_DEFAULT};
use headstart_core::race::AttemptKind;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use pairs::moves::{Move, lie, play};
use pairs::{Action, Setup};

/// More than any pair takes to end; each is checked in all it may come to.
const MOVES_MAX: usize = 100;

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = Unstructured::new(bytes);
    let Ok((truthful, setup)) = setup(&mut bytes) else {
        return;
    };
    let mut moves = Vec::new();
    while !bytes.is_empty() && moves.len() < MOVES_MAX {
        match one_move(&mut bytes) {
            Ok(next) => moves.push(next),
            Err(_) => break,
        }
    }
    let verdict = match truthful {
        true => play(setup, moves.iter().copied()),
        false => lie(setup, moves.iter().copied()),
    };
    if let Err(broken) = verdict {
        panic!("{broken}, of {setup:?}, by {moves:?}");
    }
});

fn setup(bytes: &mut Unstructured<'_>) -> Result<(bool, Setup)> {
    let config = Config {
        window: duration(bytes)?,
        log_max: *bytes.choose(&[1, 2, 7, 64, 65_536])?,
        resets_losers: bytes.ratio(1, 2)?,
    };
    let setup = Setup {
        config,
        answer: *bytes.choose(&[0, 1, 5, 70, 500])?,
        upload: *bytes.choose(&[0, 1, 3, 40])?,
    };
    Ok((bytes.ratio(3, 4)?, setup))
}

fn one_move(bytes: &mut Unstructured<'_>) -> Result<Move> {
    Ok(match bytes.int_in_range(0..=11)? {
        0..=4 => Move::Answer(bytes.ratio(4, 5)?, size(bytes)?.max(1)),
        5..=7 => Move::Tell(bytes.int_in_range(0..=3)?, event(bytes)?),
        _ => Move::Other(other(bytes)?),
    })
}

fn other(bytes: &mut Unstructured<'_>) -> Result<Action> {
    Ok(match bytes.int_in_range(0..=12)? {
        0..=3 => Action::Write(size(bytes)?.max(1)),
        4..=5 => Action::Join(*bytes.choose(&[AttemptKind::Plain, AttemptKind::FastOpen])?),
        6 => Action::Shutdown,
        7 => Action::Abandon,
        8 => Action::Confine,
        9 => Action::Take,
        10..=11 => Action::Deadline,
        _ => Action::Pass(duration(bytes)?),
    })
}

fn event(bytes: &mut Unstructured<'_>) -> Result<Event> {
    Ok(match bytes.int_in_range(0..=13)? {
        0..=1 => Event::Readable,
        2..=3 => Event::Delivered(size(bytes)?.max(1)),
        4 => Event::Discarded(size(bytes)?),
        5 => Event::Drained,
        6 => Event::Ended,
        7 => Event::Failed,
        8 => Event::Wrote(size(bytes)?),
        9 => Event::Blocked,
        10..=11 => Event::Writable,
        12 => Event::Finished,
        _ => Event::Acked(size(bytes)? as u64),
    })
}

fn size(bytes: &mut Unstructured<'_>) -> Result<usize> {
    Ok(usize::from(bytes.arbitrary::<u8>()?) * bytes.int_in_range(1..=3)?)
}

fn duration(bytes: &mut Unstructured<'_>) -> Result<Duration> {
    Ok(*bytes.choose(&[
        Duration::from_nanos(1),
        Duration::from_millis(3),
        Duration::from_millis(40),
        GRACE,
        WINDOW_DEFAULT,
        LINGER,
    ])?)
}
