//! R4, R5, R6, R10, R12, R15, R16: how things end.

use std::time::Duration;

use headstart_core::config::{LoserClose, Peer};
use headstart_core::race::{
    AttemptKind, AttemptReport, Close, Ending, Exit, Failure, FailureKind, NotStarted, Outcome,
    SynData,
};

use super::Found;
use super::pairs::is_given_up;
use crate::app::ReadEnd;
use crate::host::Kept;
use crate::run::Finished;
use crate::scenario::{Act, End};
use crate::world::Flow;

/// Packets lost in a row at the end of a way that make it dead.
const DEAD: u32 = 3;

/// Who leaves sooner has not waited for retransmissions.
const PATIENCE: Duration = Duration::from_secs(60);

/// How an open connection fails.
const SURVIVORS_FAIL_BY: [FailureKind; 4] = [
    FailureKind::Reset,
    FailureKind::Refused,
    FailureKind::Unreachable,
    FailureKind::TimedOut,
];

pub(super) fn judge(run: &Finished<'_>, found: &mut Found) {
    r10_losers_leave_no_trace(run, found);
    r6_held_bytes_go_to_the_right_one(run, found);
    r4_the_ending_is_told(run, found);
    r5_the_survivors_end_is_told_with_the_others(run, found);
    r12_what_cannot_be_had_is_told(run, found);
}

/// To a first-come server held bytes follow an open Fast Open attempt whose
/// data was acknowledged, if there is one; else plain.
fn r6_held_bytes_go_to_the_right_one(run: &Finished<'_>, found: &mut Found) {
    let reports = &run.report.attempts;
    let winner = run.chosen.and_then(|index| reports.get(index));
    let Some(winner) = winner.filter(|winner| winner.kind == AttemptKind::Plain) else {
        return;
    };
    let right = run.scenario.race.peer != Peer::FirstCome
        || winner.first_byte.is_some()
        || !reports.iter().enumerate().any(|(index, loser)| {
            // What its kernel knew, whatever the driver told.
            let flow = run.flow_of(index).filter(|flow| was_open(flow));
            let socket = flow.and_then(|flow| run.world.sockets.get(flow.client));
            socket.is_some_and(|socket| socket.syn_data == SynData::Acknowledged)
                && loser.outcome == Outcome::Out(Exit::Lost)
        });
    found.require(right, "R6", || {
        "held bytes went to plain beside an acknowledged copy".to_owned()
    });
}

/// Whether it was open for a while when it was closed.
fn was_open(flow: &Flow) -> bool {
    flow.opened_at.is_some() && flow.opened_at < flow.closed_at
}

fn r10_losers_leave_no_trace(run: &Finished<'_>, found: &mut Found) {
    if run.scenario.race.losers == LoserClose::Graceful {
        return r10_losers_say_goodbye(run, found);
    }
    for (index, attempt) in run.report.attempts.iter().enumerate() {
        let lost = matches!(
            attempt.outcome,
            Outcome::Out(Exit::Lost | Exit::Ended { .. } | Exit::CookieOnly | Exit::Failed(_))
        );
        let Some(flow) = run.flow_of(index).filter(|_| lost) else {
            continue;
        };
        found.require(flow.closed == Some(Close::Abortive), "R10", || {
            format!(
                "{} {} lost, and was closed {:?}",
                flow.kind, flow.target, flow.closed
            )
        });
        let ends = flow.ends.iter().flatten().copied().chain([flow.client]);
        // Where half-close was raced, both ends may have said FIN.
        if run.app.shut || run.app.left.is_some() {
            continue;
        }
        for end in ends {
            // One that the server ended first waits there, as any would.
            let waited = run
                .world
                .sockets
                .get(end)
                .is_some_and(|socket| socket.was_time_wait && socket.client);
            found.require(!waited, "R10", || {
                format!("{} {} lost and is in TIME_WAIT", flow.kind, flow.target)
            });
        }
    }
}

/// Who reads is told what became of a race without a connection.
fn r4_the_ending_is_told(run: &Finished<'_>, found: &mut Found) {
    // A connection that was chosen may have ended before it was out.
    let never_chosen = run.app.read.is_empty() && run.chosen.is_none();
    let Some(ending) = run.ending.as_ref().filter(|_| never_chosen) else {
        return;
    };
    let due = told_as(ending);
    let told = run.app.read_end;
    let right = told.is_none() || told == Some(ReadEnd::Left) || told == Some(due);
    found.require(right, "R4", || {
        format!("the race ended in {due:?}, and the application was told {told:?}")
    });
}

/// A sole survivor's end before any reply is told as that of the whole race.
fn r5_the_survivors_end_is_told_with_the_others(run: &Finished<'_>, found: &mut Found) {
    let survivor = run
        .chosen
        .and_then(|index| run.report.attempts.get(index))
        .filter(|one| one.outcome == Outcome::Won && run.app.read.is_empty());
    let (Some(survivor), Some(told)) = (survivor, run.app.read_end) else {
        return;
    };
    if told == ReadEnd::Left {
        return;
    }
    // What its own end was, nobody knows any more: some end must account for it.
    let own = SURVIVORS_FAIL_BY.map(|kind| Exit::Failed(Failure::new(kind)));
    let right = own
        .into_iter()
        .chain([Exit::Ended { whole: true }])
        .any(|own| {
            let ending = run.reasons.clone().end(survivor.id, survivor.kind, own);
            told_as(&ending) == told
        });
    found.require(right, "R5", || {
        format!(
            "the connection ended without an answer, and was told as {told:?}, without the others'"
        )
    });
}

fn told_as(ending: &Ending) -> ReadEnd {
    match ending {
        Ending::Eof => ReadEnd::Eof,
        Ending::Failed(reasons) => ReadEnd::Failed(
            reasons
                .leading()
                .map_or(FailureKind::Reset, |failure| failure.kind),
        ),
    }
}

/// A socket that could not be had is no failure of the network's, and takes no
/// other attempt with it.
fn r12_what_cannot_be_had_is_told(run: &Finished<'_>, found: &mut Found) {
    for (index, attempt) in run.report.attempts.iter().enumerate() {
        let failed = matches!(attempt.outcome, Outcome::Out(Exit::Failed(_)));
        found.require(!failed || run.flow_of(index).is_some(), "R12", || {
            format!("attempt {index} had no socket, and is said to have failed")
        });
    }
}

/// Losers that were open are closed as set.
fn r10_losers_say_goodbye(run: &Finished<'_>, found: &mut Found) {
    for (index, attempt) in run.report.attempts.iter().enumerate() {
        let lost = attempt.outcome == Outcome::Out(Exit::Lost);
        let Some(flow) = run.flow_of(index).filter(|flow| lost && was_open(flow)) else {
            continue;
        };
        found.require(flow.closed == Some(Close::Graceful), "R10", || {
            format!(
                "{} {} lost, and was not closed as set",
                flow.kind, flow.target
            )
        });
    }
}

/// Where plain alone would have worked, the race does (R15), and delivers what
/// was written (R16).
pub(super) fn compare(run: &Finished<'_>, alone: &Finished<'_>, found: &mut Found) {
    // A peer that resets what it has not read destroys what is under way: how
    // much arrives before is a matter of moments, with a race or without.
    if is_a_matter_of_moments(run, alone) {
        return;
    }
    let before = found.list.len();
    judge_as_plain(run, alone, found);
    if found.list.len() > before
        && let Some(why) = excuse(run)
    {
        found.list.truncate(before);
        found.excuse = Some(why);
    }
}

fn judge_as_plain(run: &Finished<'_>, alone: &Finished<'_>, found: &mut Found) {
    // A server that sends no byte has not answered (R4); an application that
    // leaves when it likes has read what it has.
    let whole = alone.app.read_end == Some(ReadEnd::Eof)
        && !alone.app.read.is_empty()
        && run.scenario.client.script.contains(&Act::AwaitEnd);
    // R15 is about ends; when they come is for R9, and for who can wait.
    let impatient =
        run.app.read_end == Some(ReadEnd::Left) && run.scenario.client.patience < PATIENCE;
    let as_well = run.app.read.len() >= alone.app.read.len()
        && (!whole || run.app.read_end == Some(ReadEnd::Eof))
        || impatient;
    found.require(as_well || !whole, "R15", || {
        format!(
            "plain alone reads {} bytes, {:?}; the race {} bytes, {:?}",
            alone.app.read.len(),
            alone.app.read_end,
            run.app.read.len(),
            run.app.read_end
        )
    });
    let (ours, theirs) = (delivered(run), delivered(alone));
    // Who is answered by a copy that came before the rest was written, and
    // closes, did not want the rest.
    let wanted = run.scenario.server.pairing.is_none() || run.scenario.server.end != End::Close;
    let delivers = wanted && theirs > 0 && theirs >= accepted(alone);
    let due = accepted(run);
    found.require(!delivers || ours >= due, "R16", || {
        format!("plain alone delivers all of its {theirs} bytes, the race {ours} of {due}")
    });
}

/// Whether a reset destroys what is under way, in the run or its reference, or
/// plain's path dies by a count that other packets move.
pub(super) fn is_a_matter_of_moments(run: &Finished<'_>, alone: &Finished<'_>) -> bool {
    is_a_matter_of_moments_alone(run) || alone.world.cut
}

pub(super) fn is_a_matter_of_moments_alone(run: &Finished<'_>) -> bool {
    let targets = &run.scenario.race.targets;
    let counted = targets
        .iter()
        .any(|target| target.plain.dies_after.is_some());
    run.world.cut || counted || run.scenario.server.end == End::Reset
}

/// Whether a path has died: nothing passes any more.
pub(super) fn died(flow: &Flow) -> bool {
    flow.timed_out || flow.tail.iter().any(|tail| *tail >= DEAD)
}

/// The most that one handler has read.
fn delivered(run: &Finished<'_>) -> usize {
    let handled = run.world.host.accepted.iter();
    let handled = handled.filter(|accepted| accepted.called.is_some());
    handled
        .map(|accepted| accepted.read as usize)
        .max()
        .unwrap_or(0)
}

/// Bytes that there are to be delivered.
fn accepted(run: &Finished<'_>) -> usize {
    let header = run.scenario.client.statement.header_len();
    match run.app.written {
        0 => 0,
        written => written.saturating_add(header),
    }
}

/// What no race can mend, and nothing else.
fn excuse(run: &Finished<'_>) -> Option<&'static str> {
    let first_come = run.scenario.server.debounce.is_some();
    let pairs = run.scenario.server.pairing.is_some();
    let claimed_in_vain = run.world.host.accepted.iter().any(|accepted| {
        let flow = run
            .world
            .sockets
            .get(accepted.socket)
            .and_then(|end| run.world.flows.get(end.flow));
        let dead = |flow: &Flow| {
            let lossy = flow.lost_back > 0 || died(flow);
            flow.kind == AttemptKind::FastOpen && flow.reply_came.is_none() && lossy
        };
        accepted.called.is_some() && accepted.pair.is_none() && flow.is_some_and(dead)
    });
    let won = run.won();
    if pairs && claimed_in_vain {
        return Some("a copy that was not kept open was claimed, and lost its way back");
    }
    if first_come && claimed_in_vain {
        return Some("the copy that a first-come server claimed lost its way back");
    }
    if won.is_some_and(|flow| flow.reply_came.is_some() && died(flow)) {
        return Some("the connection's path died after it had answered");
    }
    let world = &run.world;
    if world.host.pairs.iter().any(|kept| is_given_up(world, kept)) {
        return Some("the answer took longer than a pair is given once its application is gone");
    }
    if lacks_a_copy(run) {
        return Some("there were no bytes left for what a copy had brought to a pair");
    }
    let forced = is_forced(run);
    // A reset may pass where no answer does.
    let mute = |flow: &Flow| flow.reply_came.is_none() && flow.lost_back > 0;
    if forced && won.is_some_and(|flow| died(flow) || mute(flow)) {
        return Some("held bytes forced a choice before any answer, and the path died");
    }
    if forced && first_come && guessed_wrong(run) {
        return Some("held bytes forced a choice before any answer, and another copy was claimed");
    }
    if came_late(run) {
        return Some("the other copy came after the pair's window");
    }
    if ended_early(run) {
        return Some(
            "a loser that was closed gracefully ended its pair before the other copy came",
        );
    }
    if run.report.attempts.iter().any(ended_without_reply) {
        return Some("a server that ends a copy before any reply has not answered (R4)");
    }
    if is_starved(run) {
        return Some("an extra attempt held the last socket when plain to another address was due");
    }
    None
}

/// Whether the server had claimed another copy than held bytes went to. That
/// they went where R6 says is judged elsewhere.
fn guessed_wrong(run: &Finished<'_>) -> bool {
    let Some(won) = run.won() else {
        return false;
    };
    // Of a message that is kept open, every copy is served.
    let claimed = run
        .world
        .host
        .accepted
        .iter()
        .find(|accepted| accepted.called.is_some() && accepted.pair.is_none());
    let claimed = claimed.and_then(|accepted| run.world.sockets.get(accepted.socket));
    claimed.is_some_and(|end| {
        run.world.flows.get(end.flow).map(|flow| flow.client) != Some(won.client)
    })
}

/// Whether a copy was a duplicate because a pair's window was over.
pub(super) fn came_late(run: &Finished<'_>) -> bool {
    let window = run.world.pair_window();
    let host = &run.world.host;
    host.accepted.iter().any(|accepted| {
        let over = |began: u64| accepted.decided >= Some(began.saturating_add(window));
        accepted.duplicate && host.pairs.iter().any(|kept| over(kept.began))
    })
}

/// Whether a copy came after the FIN of the only member so far, a loser's, had
/// been taken for the client's.
pub(super) fn ended_early(run: &Finished<'_>) -> bool {
    let host = &run.world.host;
    run.scenario.race.losers == LoserClose::Graceful
        && host.pairs.iter().any(|kept| {
            let first = host.accepted.get(kept.place);
            let ended = first.and_then(|first| first.handler.eof_at);
            let later = |at: u64| {
                // Whoever was accepted before may have had its message whole after.
                let mut copies = host.accepted.iter().enumerate();
                copies.any(|(place, copy)| place != kept.place && copy.decided >= Some(at))
            };
            ended.is_some_and(later)
        })
}

/// Whether there were no bytes left for what a copy had brought.
pub(super) fn lacks_a_copy(run: &Finished<'_>) -> bool {
    run.world.host.pairs.iter().any(Kept::lacks_a_copy)
}

/// Whether bytes were written that may not be copied.
pub(super) fn is_forced(run: &Finished<'_>) -> bool {
    run.report
        .flight
        .is_some_and(|flight| accepted(run) > flight)
}

fn ended_without_reply(attempt: &AttemptReport) -> bool {
    matches!(attempt.outcome, Outcome::Out(Exit::Ended { .. }))
}

/// Whether a plain attempt could not be had, though plain alone had it.
pub(super) fn is_starved(run: &Finished<'_>) -> bool {
    run.report.attempts.iter().any(|attempt| {
        let refused = Outcome::Out(Exit::NotStarted(NotStarted::Failed(Failure::new(
            FailureKind::NoResources,
        ))));
        attempt.kind == AttemptKind::Plain && attempt.outcome == refused
    })
}
