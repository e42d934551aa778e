//! Which events come in which states: what the transition table is checked
//! against.

use headstart_core::pair::Event;

use super::{Leg, World};

/// What a member is told, and in what state, by the names of the table: of the half
/// that it concerns, if it is live.
pub fn names(world: &World, index: usize, event: Event) -> (&'static str, &'static str) {
    let leg = &world.legs[index];
    let sends = match (leg.writable, leg.finished) {
        (true, false) => "Sends",
        (false, false) => "Sends, full",
        (true, true) => "Sends, finished",
        (false, true) => "Sends, full, finished",
    };
    let (event, state) = match event {
        Event::Wrote(_) => ("Wrote", sends),
        Event::Blocked => ("Blocked", sends),
        Event::Writable => ("Writable", sends),
        Event::Finished => ("Finished", sends),
        Event::Acked(_) => ("Acked", sends),
        Event::Readable => ("Readable", receives(leg)),
        Event::Delivered(_) => ("Delivered", receives(leg)),
        Event::Discarded(_) => ("Discarded", receives(leg)),
        Event::Drained => ("Drained", receives(leg)),
        Event::Ended => ("Ended", receives(leg)),
        Event::Failed => ("Failed", "Live"),
    };
    let state = match leg.live {
        true => state,
        false if world.taken == Some(index) => "Taken",
        false => "Out",
    };
    (state, event)
}

fn receives(leg: &Leg) -> &'static str {
    match (leg.readable, leg.ended_at.is_some()) {
        (false, false) => "Receives",
        (true, false) => "Receives, readable",
        (false, true) => "Receives, ended",
        (true, true) => "Receives, readable, ended",
    }
}
