//! R4, R10, R12, R15, R16: how things end.

use headstart_core::config::LoserClose;
use headstart_core::race::{AttemptKind, Close, Exit, Outcome};

use super::Found;
use crate::app::ReadEnd;
use crate::run::Finished;

/// Packets lost in a row at the end of a way that make it dead.
const DEAD: u32 = 3;

pub(super) fn judge(run: &Finished<'_>, found: &mut Found) {
    r10_losers_leave_no_trace(run, found);
    r4_end_of_all(run, found);
}

fn r10_losers_leave_no_trace(run: &Finished<'_>, found: &mut Found) {
    if run.scenario.race.losers == LoserClose::Graceful {
        return;
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

/// An error needs every attempt out; an end of file after nothing was read
/// needs one attempt that ended cleanly.
fn r4_end_of_all(run: &Finished<'_>, found: &mut Found) {
    let failed = matches!(run.app.read_end, Some(ReadEnd::Failed(_)));
    let racing = run
        .report
        .attempts
        .iter()
        .any(|attempt| attempt.outcome == Outcome::Racing);
    found.require(!(failed && run.app.read.is_empty() && racing), "R4", || {
        "an error while an attempt was in the race".to_owned()
    });
}

/// Where plain alone would have worked, the race does (R15), and delivers what
/// was written (R16).
pub(super) fn compare(run: &Finished<'_>, alone: &Finished<'_>, found: &mut Found) {
    if is_excused(run) {
        return;
    }
    let whole = alone.app.read_end == Some(ReadEnd::Eof);
    let as_well = run.app.read.len() >= alone.app.read.len()
        && (!whole || run.app.read_end == Some(ReadEnd::Eof));
    found.require(as_well || !whole, "R15", || {
        format!(
            "plain alone reads {} bytes, {:?}; the race {} bytes, {:?}",
            alone.app.read.len(),
            alone.app.read_end,
            run.app.read.len(),
            run.app.read_end
        )
    });
    let (delivered, due) = (delivered(run), delivered(alone));
    found.require(delivered >= due, "R16", || {
        format!("plain alone delivers {due} bytes, the race {delivered}")
    });
}

/// The most that one handler has read.
fn delivered(run: &Finished<'_>) -> u32 {
    let handled = run.world.host.accepted.iter();
    let handled = handled.filter(|accepted| accepted.called.is_some());
    handled.map(|accepted| accepted.read).max().unwrap_or(0)
}

/// What no race can mend, and nothing else:
///
/// - a first-come server has claimed a copy of which no byte of answer came
///   back, because packets of its way back were lost;
/// - the connection's path has died after it had answered.
fn is_excused(run: &Finished<'_>) -> bool {
    let first_come = run.scenario.server.debounce.is_some();
    let claimed_in_vain = run.world.host.accepted.iter().any(|accepted| {
        let flow = run
            .world
            .sockets
            .get(accepted.socket)
            .and_then(|end| run.world.flows.get(end.flow));
        let dead = |flow: &crate::world::Flow| {
            flow.kind == AttemptKind::FastOpen && flow.reply_came.is_none() && flow.lost_back > 0
        };
        accepted.called.is_some() && flow.is_some_and(dead)
    });
    let died_late = run.won().is_some_and(|flow| {
        let [there, back] = flow.tail;
        flow.reply_came.is_some() && (there >= DEAD || back >= DEAD)
    });
    first_come && claimed_in_vain || died_late
}
