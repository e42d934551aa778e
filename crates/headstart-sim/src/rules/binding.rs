//! R8: until its application does something, a race is bound to nothing.

use headstart_core::race::Close;

use super::Found;
use crate::run::Finished;
use crate::scenario::Act;

/// Of a race that was dialled and dropped unused, nothing is left: not a byte
/// was sent, and no connection is ended as if it had been one.
pub(super) fn judge(run: &Finished<'_>, found: &mut Found) {
    let unused = |act: &Act| matches!(act, Act::Pause(_) | Act::Drop);
    if !run.scenario.client.script.iter().all(unused) {
        return;
    }
    for flow in &run.world.flows {
        found.require(flow.departures.is_empty(), "R8", || {
            format!("an unused race sent bytes by {}", flow.kind)
        });
        found.require(flow.closed == Some(Close::Abortive), "R8", || {
            format!("an unused race left its {} as {:?}", flow.kind, flow.closed)
        });
    }
}
