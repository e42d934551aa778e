//! The rules, each asserted by name: on every edge, and in every state.

use headstart_core::config::{Kinds, Peer, Schedule};
use headstart_core::framing::FLIGHT_MAX;
use headstart_core::race::{
    AttemptKind, Ending, Event, Exit, FlightPhase, Outcome, Phase, Snapshot, Step, SynData,
};
use headstart_core::time::Instant;

use super::world::{BEGAN, Cause, Socket};
use super::{Action, Flight, Verdict, World};

/// What must hold of the first step of all.
pub(super) fn first_step(world: &World) -> Verdict {
    let plain_leads = match world.setup.schedule {
        Schedule::AtOnce => world.setup.kinds != Kinds::FastOpenOnly,
        Schedule::Staggered { first, .. } | Schedule::Hedged { first, .. } => {
            first == AttemptKind::Plain && world.setup.kinds != Kinds::FastOpenOnly
        }
    };
    let starts_plain = matches!(world.step, Step::Start(id) if world.is_plain(id.index()));
    rule!(
        !plain_leads || starts_plain,
        "R1 R9 the first step is {:?}, not plain's SYN",
        world.step
    );
    Ok(())
}

/// What must hold of one edge.
pub(super) fn transition(before: &Snapshot, asked: Step, action: Action, world: &World) -> Verdict {
    r3_first_byte_wins(before, action, world)?;
    chosen_for_a_reason(before, asked, action, world)?;
    flight_is_fixed(before, world)?;
    r12_extra_attempts_are_optional(before, action, world)?;
    r14_schedule(before, world)?;
    dead_is_dead(before, world)
}

/// What must hold in every state.
pub(super) fn standing(world: &World) -> Verdict {
    log_is_bounded(world)?;
    cursors_agree(world)?;
    sockets_are_accounted_for(world)?;
    step_is_for_the_living(world)?;
    nothing_hides_behind_a_wait(world)?;
    r4_ending(world)?;
    r5_sole_survivor(world)?;
    r6_copy_has_an_end(world)?;
    r6_held_bytes_do_not_wait_for_ever(world)?;
    r7_no_needless_copy(world)?;
    r9_never_later_than_plain(world)?;
    r13_only_replay_safe(world)?;
    r15_no_wait_after_plain_failed(world)?;
    r16_flush_and_finish(world)
}

/// Most bytes that the log may hold now.
pub(super) fn log_bound(world: &World) -> usize {
    match world.snap.flight {
        FlightPhase::Complete(end) => end + world.setup.held_max,
        FlightPhase::Gathering => FLIGHT_MAX,
        FlightPhase::Uncopied | FlightPhase::Scanning => FLIGHT_MAX + world.setup.held_max,
    }
}

pub(super) fn is_dead(world: &World) -> bool {
    !legs(world).any(|index| world.contends(index) || world.phase(index) == Phase::Taken)
}

fn legs(world: &World) -> std::ops::Range<usize> {
    0..world.legs.len()
}

fn r3_first_byte_wins(before: &Snapshot, action: Action, world: &World) -> Verdict {
    let Action::Tell(index, Event::Replied) = action else {
        return Ok(());
    };
    let could = matches!(
        before.attempts[index].phase,
        Phase::Handshake { .. } | Phase::Open { .. }
    );
    rule!(
        before.chosen.is_some() || !could || world.chosen() == Some(index),
        "R3 attempt {index} replied first and {:?} is chosen",
        world.chosen()
    );
    Ok(())
}

fn chosen_for_a_reason(before: &Snapshot, asked: Step, action: Action, world: &World) -> Verdict {
    if let Some(chosen) = before.chosen {
        rule!(world.snap.chosen == Some(chosen), "R3 the choice changed");
        return Ok(());
    }
    let Some(index) = world.chosen() else {
        return Ok(());
    };
    let replied = action == Action::Tell(index, Event::Replied);
    let others = || legs(world).filter(|other| *other != index);
    // After a delivery nobody needs those that have not opened.
    let delivered = legs(world).any(|other| exit(world, other) == Some(Exit::Delivered));
    let alone = delivered || !others().any(|other| world.lost_by_choice(other));
    if replied || alone {
        return Ok(());
    }
    // Bytes that may not be copied take the first plain connection.
    let uncopied = !world.setup.copies()
        || match world.snap.flight {
            FlightPhase::Uncopied => true,
            FlightPhase::Scanning => world.total() > 0,
            FlightPhase::Gathering | FlightPhase::Complete(_) => false,
        };
    if uncopied {
        rule!(
            world.open_plain() == Some(index),
            "R13 bytes that may not be copied went to {index}"
        );
        return Ok(());
    }
    rule!(
        world.held() > 0,
        "R3 R6 attempt {index} is chosen for no reason"
    );
    let looked = others().all(|other| {
        let had_socket = matches!(
            before.attempts[other].phase,
            Phase::Handshake { .. } | Phase::Open { .. }
        );
        let fetches = matches!(world.phase(other), Phase::Fetching { .. });
        let gone = world.legs[other].cause.is_some() || fetches;
        !had_socket || gone || world.legs[other].looked || last_look(asked, action, other)
    });
    rule!(
        looked,
        "R6 attempt {index} is chosen without a last look at all"
    );
    r6_right_one(before, action, index, world)
}

fn last_look(asked: Step, action: Action, index: usize) -> bool {
    action == Action::Tell(index, Event::Quiet)
        && matches!(asked, Step::Look(id) if id.index() == index)
}

fn r6_right_one(before: &Snapshot, action: Action, index: usize, world: &World) -> Verdict {
    let chosen = &world.snap.attempts[index];
    // Who left in this very step could not be chosen any more; who opened in it
    // could.
    let open = |index: usize| {
        let opened = matches!(action, Action::Tell(told, Event::Opened(_)) if told == index);
        let phase = before.attempts[index].phase;
        let can_open = opened && matches!(phase, Phase::Handshake { .. });
        world.legs[index].cause.is_none() && (phase.is_open() || can_open)
    };
    let plain_open = legs(world).any(|index| world.is_plain(index) && open(index));
    let acknowledged = legs(world)
        .any(|index| open(index) && world.snap.attempts[index].syn_data == SynData::Acknowledged);
    let waited = world
        .held_since
        .is_some_and(|since| world.now >= since.saturating_add(world.setup.cutover_wait));
    // Nothing is gained by waiting for a plain that cannot open.
    let hopeless = !before
        .attempts
        .iter()
        .any(|attempt| attempt.kind == AttemptKind::Plain && attempt.phase.contends())
        || !world
            .snap
            .attempts
            .iter()
            .any(|attempt| attempt.kind == AttemptKind::Plain && attempt.phase.contends());
    let right = match (plain_open, world.setup.peer) {
        (false, _) => {
            (waited || hopeless) && chosen.kind == AttemptKind::FastOpen && chosen.phase.is_open()
        }
        (true, Peer::Unaware) => chosen.kind == AttemptKind::Plain,
        (true, Peer::FirstCome) if acknowledged => chosen.syn_data == SynData::Acknowledged,
        (true, Peer::FirstCome | Peer::Pairing) => {
            chosen.kind == AttemptKind::Plain && !answer_may_come(before, index, world)
        }
    };
    rule!(
        right,
        "R6 held bytes went to the wrong attempt, {index}: {chosen:?}"
    );
    Ok(())
}

/// Whether data in a SYN has been out for less time than plain's handshake
/// took, and a quarter (R15).
fn answer_may_come(before: &Snapshot, plain: usize, world: &World) -> bool {
    let report = world.race.report();
    let plain = &report.attempts[plain];
    let (Some(started), Some(opened)) = (plain.started, plain.opened) else {
        return false;
    };
    let handshake = opened.saturating_since(started);
    let due = |since: Instant| {
        since
            .saturating_add(handshake)
            .saturating_add(handshake / 4)
    };
    before
        .attempts
        .iter()
        .zip(&report.attempts)
        .any(|(attempt, report)| {
            matches!(attempt.phase, Phase::Handshake { .. })
                && attempt.kind == AttemptKind::FastOpen
                && !matches!(
                    report.outcome,
                    Outcome::Out(Exit::Failed(_) | Exit::Ended { .. })
                )
                && attempt.syn_data == SynData::Sent
                && report.started.is_some_and(|at| world.now < due(at))
        })
}

fn flight_is_fixed(before: &Snapshot, world: &World) -> Verdict {
    if let FlightPhase::Complete(end) = before.flight {
        rule!(
            world.snap.flight == FlightPhase::Complete(end),
            "R6 the first flight's end moved"
        );
    }
    if let (FlightPhase::Complete(end), Flight::Framed(length)) =
        (world.snap.flight, world.setup.flight)
    {
        rule!(
            end == usize::from(length),
            "R6 R13 the framing ends elsewhere"
        );
    }
    Ok(())
}

fn r12_extra_attempts_are_optional(before: &Snapshot, action: Action, world: &World) -> Verdict {
    let Action::Tell(index, Event::NotStarted(_)) = action else {
        return Ok(());
    };
    let others_out = legs(world)
        .filter(|other| *other != index && before.attempts[*other].phase.contends())
        .all(|other| !world.contends(other));
    // Fast Open alone, without a flight that a SYN carries, is no way on.
    let no_flight = match world.snap.flight {
        FlightPhase::Complete(end) => end == 0 || end > world.setup.syn_payload,
        _ => true,
    };
    rule!(
        !others_out
            || before
                .attempts
                .iter()
                .filter(|a| a.phase.contends())
                .count()
                <= 1
            || no_flight,
        "R12 a socket that could not be had took others with it"
    );
    Ok(())
}

fn dead_is_dead(before: &Snapshot, world: &World) -> Verdict {
    for (index, attempt) in before.attempts.iter().enumerate() {
        let gone = matches!(attempt.phase, Phase::Out | Phase::Taken);
        rule!(
            !gone || world.phase(index) == attempt.phase,
            "R4 attempt {index} came back from {:?}",
            attempt.phase
        );
        let outcome = world.snap.attempts[index].outcome;
        if let Outcome::Out(exit) = attempt.outcome {
            rule!(
                outcome == Outcome::Out(exit),
                "R4 the reason of attempt {index} changed to {outcome:?}"
            );
        }
    }
    Ok(())
}

fn log_is_bounded(world: &World) -> Verdict {
    let len = world.race.log_len();
    rule!(
        len <= log_bound(world),
        "R6 the log holds {len} bytes, more than {}",
        log_bound(world)
    );
    rule!(
        len == world.setup.header_len() + world.accepted,
        "R2 the log holds {len} bytes of {}",
        world.accepted
    );
    Ok(())
}

fn cursors_agree(world: &World) -> Verdict {
    for index in legs(world) {
        let leg = world.legs[index];
        if let Phase::Handshake { taken, .. } | Phase::Open { taken, .. } = world.phase(index) {
            rule!(
                taken == leg.received,
                "R2 cursor {taken} where the kernel has {}",
                leg.received
            );
        }
        if let Phase::Open { finished, .. } = world.phase(index) {
            rule!(
                finished == leg.fin,
                "R11 attempt {index} thinks FIN is sent: {finished}"
            );
        }
    }
    Ok(())
}

fn sockets_are_accounted_for(world: &World) -> Verdict {
    for index in legs(world) {
        let socket = world.legs[index].socket;
        let right = match world.phase(index) {
            Phase::Waiting | Phase::Due | Phase::Recalled => socket == Socket::Never,
            Phase::Handshake { .. } | Phase::Fetching { .. } | Phase::Open { .. } => {
                socket == Socket::Held
            }
            Phase::Taken => socket == Socket::Taken,
            Phase::Out => matches!(socket, Socket::Never | Socket::Closed),
        };
        rule!(
            right,
            "the socket of attempt {index} is {socket:?} in {:?}",
            world.phase(index)
        );
    }
    Ok(())
}

fn step_is_for_the_living(world: &World) -> Verdict {
    let (index, right): (_, fn(Phase) -> bool) = match world.step {
        Step::Start(id) => (id.index(), |phase| phase == Phase::Due),
        Step::Look(id) => (id.index(), |phase| {
            matches!(phase, Phase::Handshake { .. } | Phase::Open { .. })
        }),
        Step::Write(id) | Step::Shutdown(id) => (id.index(), Phase::is_open),
        Step::Close(..) => return Err("a close outlived its poll".into()),
        Step::Wait(deadline) => {
            rule!(
                deadline.is_none_or(|deadline| deadline > world.now),
                "a deadline that is not in the future: {deadline:?} at {:?}",
                world.now
            );
            return Ok(());
        }
        Step::Settled => {
            let over = |phase| matches!(phase, Phase::Taken | Phase::Recalled | Phase::Out);
            rule!(
                legs(world).all(|index| over(world.phase(index))),
                "settled with an attempt alive"
            );
            return Ok(());
        }
    };
    rule!(
        right(world.phase(index)),
        "R4 {:?} for an attempt in {:?}",
        world.step,
        world.phase(index)
    );
    if let Step::Shutdown(_) = world.step {
        rule!(
            world.owes_fin(index),
            "R11 FIN before the last byte of attempt {index}"
        );
    }
    Ok(())
}

fn nothing_hides_behind_a_wait(world: &World) -> Verdict {
    if !matches!(world.step, Step::Wait(_) | Step::Settled) {
        return Ok(());
    }
    for index in legs(world) {
        let phase = world.phase(index);
        rule!(
            phase != Phase::Due,
            "R9 attempt {index} is due and nobody starts it"
        );
        if let Phase::Open { writable: true, .. } = phase {
            rule!(
                world.legs[index].received >= world.permitted(index),
                "R9 R16 attempt {index} has something to send and nobody asks"
            );
        }
        rule!(
            !world.owes_fin(index),
            "R11 attempt {index} owes its FIN and nobody asks"
        );
    }
    Ok(())
}

fn r4_ending(world: &World) -> Verdict {
    let ending = world.race.ending();
    rule!(
        ending.is_some() == is_dead(world),
        "R4 the ending is {ending:?}"
    );
    let Some(ending) = ending else {
        return Ok(());
    };
    let started = || legs(world).filter(|index| counts(world, *index));
    let alone = started().count() == 1;
    let clean = started().any(|index| match world.legs[index].cause {
        Some(Cause::Ended { whole }) => whole || alone,
        _ => exit(world, index) == Some(Exit::Delivered),
    });
    let harmful = started().any(|index| world.legs[index].cause == Some(Cause::Harmful));
    match ending {
        Ending::Eof => rule!(clean && !harmful, "R4 end of file where an error is due"),
        Ending::Failed(reasons) => {
            rule!(
                !clean || harmful,
                "R4 an error where end of file is due: {reasons}"
            );
            rule!(
                reasons.iter().count() == world.legs.len(),
                "R4 a reason is missing: {reasons}"
            );
        }
    }
    Ok(())
}

fn exit(world: &World, index: usize) -> Option<Exit> {
    match world.snap.attempts[index].outcome {
        Outcome::Out(exit) => Some(exit),
        Outcome::Racing | Outcome::Won => None,
    }
}

fn counts(world: &World, index: usize) -> bool {
    !matches!(
        exit(world, index),
        Some(Exit::NotStarted(_) | Exit::CookieOnly)
    )
}

fn r5_sole_survivor(world: &World) -> Verdict {
    let contenders = legs(world).filter(|index| world.contends(*index)).count();
    rule!(
        contenders != 1 || world.snap.chosen.is_some(),
        "R5 a sole survivor is not chosen"
    );
    rule!(
        world.snap.chosen.is_none() || contenders <= 1,
        "R5 others contend after the choice"
    );
    Ok(())
}

/// What is left after plain's failure does not wait for a flight that nobody
/// writes: plain alone would fail now.
fn r15_no_wait_after_plain_failed(world: &World) -> Verdict {
    let failed = legs(world).any(|index| world.is_plain(index) && world.phase(index) == Phase::Out);
    let mut left = legs(world)
        .filter(|index| world.contends(*index))
        .peekable();
    let idle = left.peek().is_some()
        && left.all(|index| !world.is_plain(index) && world.phase(index) == Phase::Waiting);
    rule!(
        !(failed && idle),
        "R15 fast open waits for a flight though plain has failed"
    );
    Ok(())
}

fn r6_copy_has_an_end(world: &World) -> Verdict {
    let end = world.flight.unwrap_or(0);
    let beyond = legs(world)
        .filter(|index| world.legs[*index].received > end)
        .count();
    rule!(
        beyond <= 1,
        "R6 bytes beyond the first flight are on {beyond} connections"
    );
    rule!(end <= FLIGHT_MAX, "R6 a first flight of {end} bytes");
    Ok(())
}

fn r6_held_bytes_do_not_wait_for_ever(world: &World) -> Verdict {
    if world.snap.chosen.is_some() || world.held() == 0 || is_dead(world) {
        return Ok(());
    }
    if matches!(world.step, Step::Look(_) | Step::Start(_)) {
        return Ok(());
    }
    let fast_open_open =
        legs(world).any(|index| !world.is_plain(index) && world.phase(index).is_open());
    let waited = world
        .held_since
        .is_some_and(|since| world.now >= since.saturating_add(world.setup.cutover_wait));
    let waits = match world.open_plain() {
        None => !(fast_open_open && waited),
        Some(_) if world.setup.peer == Peer::Unaware => false,
        Some(_) => world.grace().is_some_and(|end| world.now < end),
    };
    rule!(waits, "R6 held bytes wait for nothing");
    Ok(())
}

fn r7_no_needless_copy(world: &World) -> Verdict {
    if let Step::Start(id) = world.step
        && !world.is_plain(id.index())
    {
        let Some(flight) = world.flight else {
            return Err("R7 fast open starts without a complete flight".into());
        };
        rule!(flight > 0, "R7 fast open starts with nothing to carry");
        rule!(
            flight <= world.setup.syn_payload || world.setup.kinds == Kinds::FastOpenOnly,
            "R7 fast open starts with more than a SYN carries"
        );
        rule!(
            world.open_plain().is_none(),
            "R7 fast open starts beside an open plain"
        );
        rule!(
            world.setup.copies(),
            "R7 fast open starts to a peer that acts twice"
        );
    }
    if world.open_plain().is_some() {
        let waiting =
            legs(world).any(|index| !world.is_plain(index) && world.phase(index) == Phase::Waiting);
        rule!(!waiting, "R7 fast open waits beside an open plain");
        let requests = legs(world).any(|index| {
            matches!(
                world.phase(index),
                Phase::Handshake {
                    cookie_request: true,
                    ..
                }
            )
        });
        rule!(
            !requests,
            "R7 a cookie request contends beside an open plain"
        );
    }
    Ok(())
}

fn r9_never_later_than_plain(world: &World) -> Verdict {
    let Some(plain) = world.open_plain() else {
        return Ok(());
    };
    rule!(
        world.snap.flight != FlightPhase::Gathering || world.accepted == 0,
        "R9 plain is open and what was written is still being gathered"
    );
    let first = match world.snap.flight {
        FlightPhase::Complete(end) => end,
        _ => world.total(),
    };
    rule!(
        world.chosen().is_some_and(|chosen| chosen != plain)
            || world.permitted(plain) >= first.min(world.total()),
        "R9 plain is open and may not send the first flight"
    );
    Ok(())
}

fn r13_only_replay_safe(world: &World) -> Verdict {
    if matches!(world.setup.flight, Flight::Unstated | Flight::Malformed) {
        for index in legs(world) {
            rule!(
                world.is_plain(index) || world.legs[index].received == 0,
                "R13 bytes that are not replay-safe on fast open"
            );
        }
    }
    if !world.setup.copies() {
        let carriers = world.legs.iter().filter(|leg| leg.received > 0).count();
        rule!(
            carriers <= 1,
            "R13 a peer that acts twice is sent two copies"
        );
    }
    Ok(())
}

fn r14_schedule(before: &Snapshot, world: &World) -> Verdict {
    if world.setup.kinds != Kinds::Both || world.setup.targets != 1 {
        return Ok(());
    }
    let (first, delay) = match world.setup.schedule {
        Schedule::AtOnce => (AttemptKind::Plain, None),
        Schedule::Staggered { first, delay } | Schedule::Hedged { first, delay } => {
            (first, Some(delay))
        }
    };
    let (leader, second) = (0, 1);
    rule!(
        world.snap.attempts[leader].kind == first,
        "R14 the wrong kind leads"
    );
    let started = world.race.report().attempts[leader].started;
    let since = started.map_or(BEGAN, |started| started.max(BEGAN));
    let due = delay.is_none_or(|delay| world.now >= since.saturating_add(delay));
    let waiting = world.phase(second) == Phase::Waiting;
    let called = before.attempts[second].phase == Phase::Waiting && !waiting;
    rule!(
        !called || due || !world.contends(second) || !world.contends(leader),
        "R14 the second attempt started before its time"
    );
    let ready = match first {
        AttemptKind::Plain => matches!(world.snap.flight, FlightPhase::Complete(_)),
        AttemptKind::FastOpen => true,
    };
    rule!(
        !(waiting && ready && (due || !world.contends(leader))),
        "R7 R14 the second attempt is not started in its time"
    );
    Ok(())
}

fn r16_flush_and_finish(world: &World) -> Verdict {
    let whole = legs(world).any(|index| {
        let alive = matches!(
            world.phase(index),
            Phase::Handshake { .. } | Phase::Open { .. }
        );
        alive && world.legs[index].received >= world.race.log_len()
    });
    rule!(
        world.race.is_flushed() == (world.is_taken() || whole),
        "R16 flush says {}",
        world.race.is_flushed()
    );
    let fin = legs(world).any(|index| {
        let there = world.contends(index)
            || world.phase(index) == Phase::Taken
            || exit(world, index) == Some(Exit::Delivered);
        there && world.legs[index].fin
    });
    rule!(
        world.race.is_finished() == fin,
        "R16 shutdown says {}",
        world.race.is_finished()
    );
    Ok(())
}
