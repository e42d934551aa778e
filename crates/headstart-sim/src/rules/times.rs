//! R7, R9, R14: when things happen.

use headstart_core::config::{Kinds, LoserClose, Schedule};
use headstart_core::race::{AttemptKind, SynData};

use super::Found;
use super::ends::{
    came_late, ended_early, is_a_matter_of_moments, is_forced, is_starved, lacks_a_copy,
};
use crate::run::Finished;
use crate::scenario::Trigger;
use crate::stream::Statement;
use crate::tcp::{millis, nanos};
use crate::world::{CLOCK_BEGIN, Flow};

/// A peer's program is given so much, besides a handshake, to reset the copy that
/// it did not serve. Not the core's own number: what that costs is judged here.
const RESET_TAKES: u64 = millis(250);
/// Bytes that need no acknowledgement, less two packets for FIN and the flight. How
/// many round trips more take depends on the parts in which they are written.
const FIRST_WINDOW: usize = 8 * 1_460;
/// A gate waits so long whether a copy says more than the one that has ended.
const LAST_WORDS_TAKE: u64 = millis(1_000);

pub(super) fn judge(run: &Finished<'_>, found: &mut Found) {
    r7_no_needless_copy(run, found);
    r14_schedule(run, found);
}

/// Fast Open does not start beside a plain connection that is open.
fn r7_no_needless_copy(run: &Finished<'_>, found: &mut Found) {
    if run.scenario.race.kinds != Kinds::Both {
        return;
    }
    for flow in &run.world.flows {
        let needless = flow.kind == AttemptKind::FastOpen
            && run.world.flows.iter().any(|plain| {
                plain.kind == AttemptKind::Plain
                    && plain.opened_at.is_some_and(|opened| opened < flow.syn_at)
                    && plain.closed_at.is_none_or(|closed| closed > flow.syn_at)
            });
        found.require(!needless, "R7", || {
            format!("fast open {} started beside an open plain", flow.target)
        });
    }
}

/// The second kind keeps its delay, unless the first is out.
fn r14_schedule(run: &Finished<'_>, found: &mut Found) {
    let (Schedule::Staggered { first, delay } | Schedule::Hedged { first, delay }) =
        run.scenario.race.schedule
    else {
        return;
    };
    // The clock that counts is the client's.
    if run.scenario.noise.jump.is_some() {
        return;
    }
    let second = match first {
        AttemptKind::Plain => AttemptKind::FastOpen,
        AttemptKind::FastOpen => AttemptKind::Plain,
    };
    for target in 0..run.scenario.race.targets.len() {
        let (Some(first), Some(second)) = (run.flow(first, target), run.flow(second, target))
        else {
            continue;
        };
        // While the first waits for its flight, its time passes.
        let since = match second.syn_at <= first.syn_at {
            true => 0,
            false => first.syn_at,
        };
        let early = second.syn_at < since.saturating_add(nanos(delay));
        let gone = run.report.attempts.iter().any(|attempt| {
            let ended = attempt.ended.map(|ended| ended.as_nanos());
            (attempt.kind, attempt.target) == (first.kind, target)
                && ended.is_some_and(|at| at.saturating_sub(CLOCK_BEGIN) <= second.syn_at)
        });
        found.require(!early || gone, "R14", || {
            format!("the second attempt to {target} started before its time")
        });
    }
}

/// R9: with the at-once schedule plain's packets leave when they would alone,
/// and the first reply comes no later.
pub(super) fn compare(run: &Finished<'_>, alone: &Finished<'_>, found: &mut Found) {
    if run.scenario.race.schedule != Schedule::AtOnce || run.scenario.race.kinds != Kinds::Both {
        return;
    }
    // While its clock goes back, time stands still for a race; where it stands
    // is when it was last told something.
    let back = run.scenario.noise.jump.is_some_and(|jump| jump.millis < 0);
    if back || is_starved(run) {
        return;
    }
    let flight = run
        .report
        .flight
        .and_then(|flight| u32::try_from(flight).ok());
    for theirs in &alone.world.flows {
        let ours = run.flow(theirs.kind, theirs.target);
        let begun = ours.map(|flow| flow.syn_at);
        let decided = decided_at(run);
        let over = decided.is_some_and(|at| at <= theirs.syn_at);
        let same = begun.is_some_and(|at| at <= theirs.syn_at);
        found.require(same || over, "R9", || {
            format!(
                "plain's SYN to {} left at {begun:?}, alone at {}",
                theirs.target, theirs.syn_at
            )
        });
        let (Some(ours), Some(flight)) = (ours, flight) else {
            continue;
        };
        let (Some(due), left) = (departed(theirs, flight), departed(ours, flight)) else {
            continue;
        };
        let gone = ours.closed_at.is_some_and(|closed| closed <= due);
        found.require(gone || left.is_some_and(|left| left <= due), "R9", || {
            format!(
                "plain's flight to {} left at {left:?}, alone at {due}",
                theirs.target
            )
        });
    }
    r9_first_reply(run, alone, found);
}

/// R6: what waits for the choice comes later than alone by no more than an
/// answer or a reset of the copy on Fast Open is given, from when plain opens.
fn r6_uploads_wait_no_longer(run: &Finished<'_>, alone: &Finished<'_>, found: &mut Found) {
    let (Some(due), Some(came)) = (alone.app.first_byte, run.app.first_byte) else {
        return;
    };
    let plain = |one: &Flow| one.kind == AttemptKind::Plain;
    let (Some(ours), Some(theirs)) = (run.won().filter(|one| plain(one)), alone.won()) else {
        return;
    };
    // What is written in other parts is lost, late and sent at once otherwise.
    let by_chance = |one: &Flow| {
        one.lost_back > 0 || one.lost_there > 0 || one.too_early || !one.link.jitter.is_zero()
    };
    let noise = run.scenario.noise;
    let noisy = noise.order || noise.write_max.is_some() || noise.blocks || noise.jump.is_some();
    if ours.target != theirs.target
        || by_chance(ours)
        || by_chance(theirs)
        || noisy
        || came_late(run)
        || ended_early(run)
        || lacks_a_copy(run)
        || is_a_matter_of_moments(run, alone)
        || run.app.written >= FIRST_WINDOW
        || run.app.left.is_some_and(|left| left < due)
    {
        return;
    }
    let due = due
        .saturating_add(choice_may_take(run, ours))
        .saturating_add(end_may_take(run));
    found.require(came <= due, "R6", || {
        format!("the reply to what waited for the choice came at {came}, due was {due}")
    });
}

/// How long after plain has opened held bytes may wait for the choice.
fn choice_may_take(run: &Finished<'_>, plain: &Flow) -> u64 {
    let Some(opened) = plain.opened_at else {
        return 0;
    };
    let handshake = opened.saturating_sub(plain.syn_at);
    let quarter = handshake / 4;
    let copies = run.world.flows.iter().filter(|flow| {
        flow.kind == AttemptKind::FastOpen && flow.closed_at.is_none_or(|closed| closed >= opened)
    });
    let waits = copies.map(|copy| {
        let late = copy.syn_at.saturating_sub(plain.syn_at);
        let answer = late.saturating_add(quarter);
        let socket = run.world.sockets.get(copy.client);
        let acknowledged = socket.is_some_and(|one| one.syn_data == SynData::Acknowledged);
        match copy.opened_at {
            Some(at) if !acknowledged => {
                let reset = handshake.saturating_add(quarter.max(RESET_TAKES));
                at.saturating_sub(opened).min(answer).saturating_add(reset)
            }
            _ => answer,
        }
    });
    waits.max().unwrap_or(0)
}

/// How long a server that pairs may wait with the client's FIN: a copy that was
/// given up may yet say more, unless the Token tells that it is reset.
fn end_may_take(run: &Finished<'_>) -> u64 {
    let server = &run.scenario.server;
    let told = run.scenario.client.statement == Statement::Token
        && run.scenario.race.losers == LoserClose::Abortive;
    match server.pairing.is_some() && server.trigger == Trigger::Eof && !told {
        true => LAST_WORDS_TAKE,
        false => 0,
    }
}

/// When the connection was chosen, at the latest.
fn decided_at(run: &Finished<'_>) -> Option<u64> {
    let opened = run.won()?.opened_at;
    run.app.first_byte.into_iter().chain(opened).min()
}

/// When the last byte of the flight left for the first time.
fn departed(flow: &Flow, flight: u32) -> Option<u64> {
    let departures = flow.departures.iter();
    departures
        .filter(|(upto, _)| *upto > flight)
        .map(|(_, at)| *at)
        .min()
}

/// Whether packets of plain's answer were lost or late by chance that a pair
/// had cut otherwise than a server alone: chance goes by their numbers, so it
/// fell otherwise.
fn is_cut_otherwise(run: &Finished<'_>, alone: &Finished<'_>) -> bool {
    let lost = |one: &Finished<'_>| {
        let mut flows = one.world.flows.iter();
        flows.any(|flow| flow.kind == AttemptKind::Plain && flow.lost_back > 0)
    };
    let paired = run.world.host.accepted.iter().any(|one| one.pair.is_some());
    let mut targets = run.scenario.race.targets.iter();
    let late = targets.any(|target| !target.plain.jitter.is_zero());
    paired && (late || lost(run) || lost(alone))
}

/// The first reply comes no later than alone. A first-come server answers on
/// the copy that it has claimed, so it may be later by what that copy's way
/// back is longer than plain's; no bound is known if packets were lost there.
/// One that keeps the message open answers on every copy.
fn r9_first_reply(run: &Finished<'_>, alone: &Finished<'_>, found: &mut Found) {
    let Some(due) = alone.app.first_byte else {
        return;
    };
    // How long FIN takes has no reference where another copy is served.
    let waits = run.scenario.server.trigger == Trigger::Eof;
    if is_forced(run) {
        return r6_uploads_wait_no_longer(run, alone, found);
    }
    if waits
        || came_late(run)
        || ended_early(run)
        || lacks_a_copy(run)
        || is_a_matter_of_moments(run, alone)
        || is_cut_otherwise(run, alone)
        || run.app.left.is_some_and(|left| left < due)
    {
        return;
    }
    let back = |flow: &Flow| Some(flow.reply_came?.saturating_sub(flow.reply_left?));
    let plains = alone.world.flows.iter().filter_map(back).min();
    let mut slower = 0;
    if run.scenario.server.debounce.is_some() {
        for accepted in &run.world.host.accepted {
            let claimed = accepted
                .called
                .filter(|_| accepted.pair.is_none())
                .and_then(|_| run.world.sockets.get(accepted.socket));
            let Some(flow) = claimed.and_then(|end| run.world.flows.get(end.flow)) else {
                continue;
            };
            if flow.kind == AttemptKind::FastOpen && flow.lost_back > 0 {
                return;
            }
            let excess = back(flow).unwrap_or(0).saturating_sub(plains.unwrap_or(0));
            slower = slower.max(excess);
        }
    }
    let due = due.saturating_add(slower);
    let came = run.app.first_byte;
    found.require(came.is_some_and(|came| came <= due), "R9", || {
        format!("the first reply came at {came:?}, alone at {due}")
    });
}
