//! What must hold whenever a pair waits for its driver.

use headstart_core::pair::{Accepted, GRACE, MEMBERS_MAX, Outcome, Source, Step};
use headstart_core::race::Close;

use super::world::answer;
use super::{Verdict, World};
use crate::rule;

pub fn check(world: &World) -> Verdict {
    log(world)?;
    cursors(world)?;
    closed(world)?;
    step(world)?;
    idle(world)?;
    source(world)?;
    queries(world)?;
    door(world)
}

/// P3: bounded in bytes and in number.
fn log(world: &World) -> Verdict {
    let (len, max) = (world.pair.log_len(), world.log_max);
    rule!(len <= max, "P3 the log holds {len} of {max}");
    rule!(world.legs.len() <= MEMBERS_MAX, "P3 too many members");
    let (end, base) = world.snap.answer;
    rule!(
        end == world.written,
        "P1 of {} bytes {end} are known",
        world.written
    );
    let known = world.chosen().is_some() || world.legs.iter().any(|leg| leg.proven_at.is_some());
    rule!(base == 0 || known, "P1 the log is not whole");
    Ok(())
}

/// P1: every member is sent the same bytes in the same order, from the first.
fn cursors(world: &World) -> Verdict {
    for (index, leg) in world.legs.iter().enumerate() {
        let unsent = world.pair.unsent(world.id(index)).concat();
        match leg.live {
            true => rule!(
                unsent == answer(leg.sent, world.written),
                "P1 member {index} has {} bytes and would be sent {unsent:?}",
                leg.sent
            ),
            false => rule!(unsent.is_empty(), "P1 who is out is written to"),
        }
    }
    Ok(())
}

/// Each member that is out is closed once, as becomes it.
fn closed(world: &World) -> Verdict {
    for (index, leg) in world.legs.iter().enumerate() {
        let wanted = match world.outcome(index) {
            Outcome::Live | Outcome::Won => None,
            Outcome::Lost | Outcome::Failed => Some(Close::Abortive),
            Outcome::Delivered => Some(Close::Graceful),
        };
        rule!(
            leg.closed == wanted,
            "member {index} is closed {:?}, not {wanted:?}",
            leg.closed
        );
        let other = world.chosen().is_some_and(|chosen| chosen != index);
        rule!(!(leg.live && other), "P1 a loser stays beside the choice");
    }
    Ok(())
}

/// What is asked for can be done.
fn step(world: &World) -> Verdict {
    let leg = |id: headstart_core::pair::MemberId| world.legs[id.index()];
    let sense = match world.step {
        Step::Discard(id, bytes) => {
            let leg = leg(id);
            leg.live && leg.readable && bytes as u64 == world.read.saturating_sub(leg.received)
        }
        Step::Ask(id) => leg(id).live,
        Step::Write(id) => {
            let leg = leg(id);
            leg.live && leg.writable && leg.sent < world.written
        }
        Step::Shutdown(id) => {
            let leg = leg(id);
            leg.live && world.finishing && !leg.finished && leg.sent == world.written
        }
        Step::Close(..) => false,
        Step::Wait(at) => at.is_none_or(|at| at > world.now),
        Step::Settled => world.live().next().is_none(),
    };
    rule!(sense, "{:?} makes no sense: {:?}", world.step, world.snap);
    Ok(())
}

/// What is to be done is never hidden behind a wait.
fn idle(world: &World) -> Verdict {
    if !matches!(world.step, Step::Wait(_) | Step::Settled) {
        return Ok(());
    }
    for (index, leg) in world.live() {
        rule!(
            !leg.writable || leg.sent == world.written,
            "P1 member {index} waits for bytes that are there"
        );
        rule!(
            !world.finishing || leg.finished || leg.sent < world.written,
            "P1 member {index} waits for its FIN"
        );
        rule!(
            !leg.readable || leg.received >= world.read,
            "P2 member {index} holds bytes that are known"
        );
    }
    Ok(())
}

/// P2: each byte of the client's is read once, in order, and none is kept from
/// the application.
fn source(world: &World) -> Verdict {
    let fresh = |index: usize| {
        let leg = world.legs[index];
        leg.live && leg.readable && leg.received >= world.read
    };
    let any = (0..world.legs.len()).any(fresh);
    match world.pair.source() {
        Source::From(id) => {
            rule!(
                fresh(id.index()),
                "P2 the application would read known bytes, or none"
            );
        }
        Source::End => rule!(!any && world.snap.ended, "P2 an end before the last bytes"),
        Source::Dead => rule!(!any && is_dead(world), "P1 dead, though a copy may come"),
        Source::Nowhere => {
            rule!(!any, "P2 bytes are kept from the application");
            rule!(!is_dead(world), "P1 a reader waits at the dead");
            let ended = world.live().all(|(_, leg)| leg.ended_at.is_some());
            let some = world.live().next().is_some();
            rule!(
                !(some && ended),
                "P2 a reader waits for a client that has ended"
            );
        }
    }
    Ok(())
}

/// Whether nothing is left, and nothing can come, by the rules.
fn is_dead(world: &World) -> bool {
    world
        .deserted_at
        .is_some_and(|since| !may_wait(world, since) && world.taken.is_none())
}

fn may_wait(world: &World, since: headstart_core::Instant) -> bool {
    let proven = world.legs.iter().any(|leg| leg.proven_at.is_some());
    has_place(world)
        && world.now < world.window_end()
        && (!proven || world.now < since.saturating_add(GRACE))
}

fn has_place(world: &World) -> bool {
    let served = (0..world.legs.len()).any(|leg| world.outcome(leg) == Outcome::Delivered);
    world.chosen().is_none()
        && !served
        && world.snap.answer.1 == 0
        && world.legs.len() < MEMBERS_MAX
}

fn queries(world: &World) -> Verdict {
    let sent = world.live().any(|(_, leg)| leg.sent == world.written);
    rule!(
        world.pair.is_flushed() == (sent || world.taken.is_some()),
        "flushed: {}",
        world.pair.is_flushed()
    );
    let refusal = world.pair.clone().write(world.now, b"x");
    // A refused write itself makes room, where it may.
    rule!(
        !world.pair.has_room() || refusal != Accepted::Full,
        "a writer is woken in vain, again and again"
    );
    rule!(
        !world.wanting || world.pair.has_room() || refusal == Accepted::Full,
        "P1 a writer waits for room that is there"
    );
    Ok(())
}

/// P1, P3: who may join, and when it is over.
fn door(world: &World) -> Verdict {
    let open = has_place(world) && world.now < world.window_end() && !is_dead(world);
    rule!(
        world.pair.may_join() == open && (!open || world.taken.is_none()),
        "P1 the door is {}",
        world.pair.may_join()
    );
    let over = world.taken.is_some() || is_dead(world);
    rule!(
        (world.step == Step::Settled) == over,
        "P3 {:?}, but over: {over}: {:?}",
        world.step,
        world.snap
    );
    Ok(())
}
