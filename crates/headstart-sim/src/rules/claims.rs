//! D1, and P2 where copies are paired: one copy of each message is acted on.

use super::Found;
use crate::tcp::nanos;
use crate::world::World;

pub(super) fn judge(world: &World<'_>, found: &mut Found) {
    let Some(window) = world.scenario.server.debounce.map(nanos) else {
        return;
    };
    let rule = match world.scenario.server.pairing {
        Some(_) => "P2",
        None => "D1",
    };
    let accepted = &world.host.accepted;
    for (place, later) in accepted.iter().enumerate() {
        let (Some(called), Some((_, digest))) = (later.called, later.message) else {
            continue;
        };
        let twin = accepted.iter().take(place).find(|earlier| {
            let same = earlier.message.is_some_and(|(_, other)| other == digest);
            let server = |socket: usize| world.sockets.get(socket).map(|end| end.server);
            let near = earlier
                .called
                .is_some_and(|before| called.abs_diff(before) < window);
            same && near && server(earlier.socket) == server(later.socket)
        });
        found.require(twin.is_none(), rule, || {
            "a first message was acted on twice within the window".to_owned()
        });
    }
    // A client has one first message, whatever its copies hold.
    let balanced = world.scenario.rule == crate::Rule::Balance;
    let calls = || accepted.iter().filter_map(|one| one.called);
    let (first, last) = (calls().min().unwrap_or(0), calls().max().unwrap_or(0));
    let twice = calls().count() > 1 && last.saturating_sub(first) < window && !balanced;
    found.require(!twice, rule, || {
        "a handler was called twice for one client".to_owned()
    });
}
