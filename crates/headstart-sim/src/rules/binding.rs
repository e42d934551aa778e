//! R8: until its application does something, a race is bound to nothing.

use headstart_core::config::LoserClose;
use headstart_core::race::Close;

use super::Found;
use crate::run::Finished;
use crate::scenario::Act;

/// Of a race that was dialled and dropped unused, nothing is left: not a byte
/// was sent, and, unless losers are to be closed gracefully (R10), no connection
/// is ended as if it had been one.
pub(super) fn judge(run: &Finished<'_>, found: &mut Found) {
    let unused = |act: &Act| matches!(act, Act::Pause(_) | Act::Drop);
    if !run.scenario.client.script.iter().all(unused) {
        return;
    }
    let graceful = run.scenario.race.losers == LoserClose::Graceful;
    for flow in &run.world.flows {
        found.require(flow.departures.is_empty(), "R8", || {
            format!("an unused race sent bytes by {}", flow.kind)
        });
        let gone = flow.closed == Some(Close::Abortive) || graceful && flow.closed.is_some();
        found.require(gone, "R8", || {
            format!("an unused race left its {} as {:?}", flow.kind, flow.closed)
        });
    }
}
