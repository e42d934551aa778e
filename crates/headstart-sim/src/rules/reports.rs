//! The report tells the truth.

use headstart_core::race::{Outcome, SynData};

use super::Found;
use crate::run::Finished;

pub(super) fn judge(run: &Finished<'_>, found: &mut Found) {
    let winners = run.report.attempts.iter();
    let winners = winners.filter(|one| one.outcome == Outcome::Won).count();
    found.require(winners <= 1, "R3", || {
        format!("{winners} attempts have won")
    });
    for (index, attempt) in run.report.attempts.iter().enumerate() {
        let flow = run.flow_of(index);
        found.require(
            attempt.started.is_some() == flow.is_some(),
            "report",
            || {
                format!(
                    "attempt {index} started at {:?}, and had a socket: {}",
                    attempt.started,
                    flow.is_some()
                )
            },
        );
        let Some(socket) = flow.and_then(|flow| run.world.sockets.get(flow.client)) else {
            continue;
        };
        let replied = attempt.first_byte.is_some();
        found.require(!replied || socket.received() > 0, "R3", || {
            format!("attempt {index} is said to have replied, and not a byte came")
        });
        let sent = socket.tx.len();
        // The connection itself: what it could not send any more counts as
        // sent, and the application's own bytes come after.
        let right = run.chosen == Some(index) || attempt.bytes == sent;
        found.require(right, "report", || {
            format!(
                "attempt {index} is said to have {} bytes of {sent}",
                attempt.bytes
            )
        });
        let told = match (attempt.syn_data, socket.syn_data) {
            (SynData::None, truth) => truth == SynData::None,
            // It may be over before it is known: with its handshake.
            (SynData::Sent, truth) => {
                truth == SynData::Sent || truth != SynData::None && attempt.opened.is_none()
            }
            (told, truth) => told == truth,
        };
        found.require(told, "report", || {
            format!(
                "attempt {index} says {:?} where {:?} is true",
                attempt.syn_data, socket.syn_data
            )
        });
    }
}
