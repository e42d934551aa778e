//! What one action may bring about.

use headstart_core::pair::{GRACE, LINGER, Outcome};

use super::{Action, Leg, Verdict, World};
use crate::rule;

pub fn check(before: &World, after: &World, action: Action) -> Verdict {
    for index in 0..before.legs.len() {
        leaves(before, after, index, action)?;
    }
    if let (None, Some(chosen)) = (before.chosen(), after.chosen()) {
        chooses(before, after, chosen, action)?;
    }
    rule!(
        before.chosen().is_none() || before.chosen() == after.chosen(),
        "P1 the choice is changed"
    );
    wins(before, after)?;
    forgets(before, after)?;
    ends(before, after)?;
    joins(before, after, action)
}

/// Why a member may go.
fn leaves(before: &World, after: &World, index: usize, action: Action) -> Verdict {
    let was_live = before.legs[index].live;
    let leg = after.legs[index];
    match (was_live, after.outcome(index)) {
        (true, Outcome::Failed) => rule!(
            matches!(action, Action::Tell(told, _) if told == index),
            "P1 member {index} failed by itself"
        ),
        (true, Outcome::Lost) => rule!(
            after.chosen().is_some_and(|chosen| chosen != index) || may_go(before, after, index),
            "P1 member {index} is dropped, though the client may use it: {:?}",
            after.snap
        ),
        (true, Outcome::Delivered) => rule!(
            after.abandoned_at.is_some() && leg.sent == after.written && leg.finished,
            "P1 member {index} is closed before it has everything"
        ),
        _ => {}
    }
    Ok(())
}

/// Whether, whatever is chosen, it may be dropped.
fn may_go(before: &World, after: &World, index: usize) -> bool {
    let leg = after.legs[index];
    let others = || {
        let others = after.legs.iter().enumerate();
        others.filter(move |(other, _)| *other != index && before.legs[*other].live)
    };
    let window = after.window_end();
    let unproven = leg.proven_at.is_none()
        && others().any(|(_, other)| {
            other
                .proven_at
                .is_some_and(|at| after.now >= window.max(at).saturating_add(GRACE))
        });
    // It may just have been confined to what it has.
    let full = before.pair.log_len() == after.log_max;
    let lags = full
        && leg.sent <= before.snap.answer.1
        && others().any(|(_, other)| other.acked >= before.written);
    let late = after.abandoned_at.is_some_and(|at| {
        let served = (0..after.legs.len()).any(|leg| after.outcome(leg) == Outcome::Delivered);
        let useless = served && leg.proven_at.is_none() && after.now >= window;
        useless || after.now >= window.max(at).saturating_add(LINGER)
    });
    unproven || lags || late
}

/// Why a member may become the connection.
fn chooses(before: &World, after: &World, chosen: usize, action: Action) -> Verdict {
    let leg = after.legs[chosen];
    // Those beaten by this very choice; others had gone for reasons of their own.
    let beaten: Vec<_> = (0..before.legs.len())
        .filter(|other| *other != chosen && before.legs[*other].live)
        .filter(|other| after.outcome(*other) == Outcome::Lost)
        .filter(|other| !may_go(before, after, *other))
        .collect();
    let speaks = leg.brought_at.is_some() && leg.eligible();
    let config = after.setup.config;
    let quiet = beaten
        .iter()
        .all(|other| after.legs[*other].brought_at.is_none());
    let waited = leg
        .brought_at
        .is_some_and(|at| after.now >= at.saturating_add(GRACE));
    let allowed = match action {
        _ if beaten.is_empty() => speaks || !before_could_join(after),
        _ => speaks && (config.resets_losers || (quiet && waited)),
    };
    rule!(
        allowed,
        "P1 member {chosen} is chosen without a reason: {:?}",
        after.snap
    );
    Ok(())
}

/// Who is said to have won was the first to deliver the answer, and for all that
/// is known has more of it than any other; or else is the connection.
fn wins(before: &World, after: &World) -> Verdict {
    let delivered = |world: &World| {
        let all = 0..world.legs.len();
        all.filter(|index| world.outcome(*index) == Outcome::Delivered)
            .collect::<Vec<_>>()
    };
    let winner = after.winner();
    if !delivered(before).is_empty() {
        rule!(winner == before.winner(), "P1 another has won");
        return Ok(());
    }
    let served = delivered(after);
    let chosen = after
        .chosen()
        .filter(|index| after.outcome(*index) == Outcome::Won);
    let most = served.iter().map(|index| after.legs[*index].acked).max();
    rule!(
        match winner {
            Some(index) if served.is_empty() => chosen == Some(index),
            Some(index) => served.contains(&index) && Some(after.legs[index].acked) == most,
            None => chosen.is_none() && served.is_empty(),
        },
        "P1 {winner:?} won: {:?}",
        after.snap
    );
    Ok(())
}

/// Whether, but for the choice, another copy might come.
fn before_could_join(after: &World) -> bool {
    after.now < after.window_end()
        && after.snap.answer.1 == 0
        && after.legs.len() < headstart_core::pair::MEMBERS_MAX
}

/// P1: the log is whole until somebody is proven, and longer than anybody needs.
fn forgets(before: &World, after: &World) -> Verdict {
    let base = after.snap.answer.1;
    if base == before.snap.answer.1 || after.taken.is_some() {
        return Ok(());
    }
    let known = after.chosen().is_some() || after.legs.iter().any(|leg| leg.proven_at.is_some());
    rule!(known, "P1 the log loses bytes before anybody is proven");
    rule!(
        after.live().all(|(_, leg)| leg.sent >= base),
        "P1 the log loses bytes that somebody lacks"
    );
    Ok(())
}

/// When the application may be told of an end of file.
fn ends(before: &World, after: &World) -> Verdict {
    if before.snap.ended || !after.snap.ended {
        return Ok(());
    }
    // Those that were there: one may have been closed at once.
    let there = |index: &usize| before.legs.get(*index).is_none_or(|leg| leg.live);
    let legs: Vec<_> = (0..after.legs.len())
        .filter(there)
        .map(|index| after.legs[index])
        .collect();
    let fresh = |leg: &Leg| leg.live && leg.readable && leg.received >= after.read;
    let long = |leg: &Leg| {
        let counts = leg.ended_at.map(|at| at.saturating_add(GRACE));
        counts.is_some_and(|at| after.now >= at && leg.asked_at >= Some(at))
    };
    let all = legs.iter().all(|leg| !leg.live || leg.ended_at.is_some());
    let mut furthest = legs.iter().filter(|leg| leg.received >= after.read);
    let one = match after.setup.config.resets_losers {
        true => furthest.any(|leg| leg.ended_at.is_some()),
        false => furthest.any(long),
    };
    rule!(!legs.is_empty(), "P2 an end of file from nobody");
    rule!(
        !legs.iter().any(fresh),
        "P2 an end of file before the client's last bytes"
    );
    rule!(
        all || one,
        "P2 an end of file that may be a loser's: {:?}",
        after.snap
    );
    Ok(())
}

/// P1: a copy that comes in time is a member, and gets all from byte one.
fn joins(before: &World, after: &World, action: Action) -> Verdict {
    let Action::Join(_) = action else {
        return Ok(());
    };
    let joined = after.legs.len() > before.legs.len();
    rule!(
        joined == before.pair.may_join() || after.now > before.now,
        "P1 a copy is refused, or taken in too late"
    );
    if joined {
        let index = before.legs.len();
        let all = after.pair.unsent(after.id(index)).concat();
        rule!(
            all.len() as u64 == after.written,
            "P1 a late copy is not given the answer from its first byte"
        );
    }
    Ok(())
}
