//! What can happen to a race in one state.

use std::time::Duration;

use headstart_core::race::{Event, Failure, FailureKind, Progress, SynData};

use super::{Action, World};

/// A little time.
const PAUSE: Duration = Duration::from_nanos(4);

/// How far an exploration goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes that the application writes at most.
    pub bytes: usize,
    /// Times that a little time passes.
    pub pauses: u8,
    /// Every kind of failure, or one of each class.
    pub all_failures: bool,
    /// Anything at any time, not only what a driver may truly say.
    pub hostile: bool,
    /// Whole writes and one event of each kind.
    pub coarse: bool,
}

/// Everything that can be done in a state.
pub(super) fn actions(world: &World, pauses: u8, bounds: Bounds) -> Vec<Action> {
    let mut actions = Vec::new();
    for index in 0..world.legs.len() {
        let events = events(bounds);
        actions.extend(
            events
                .into_iter()
                .filter(|event| bounds.hostile || world.may_happen(index, *event))
                .map(|event| Action::Tell(index, event)),
        );
    }
    let sizes = if bounds.coarse {
        bounds.bytes..=bounds.bytes
    } else {
        1..=3
    };
    for bytes in sizes {
        if world.accepted + bytes <= bounds.bytes {
            actions.push(Action::Write(bytes));
        }
    }
    if world.accepted == 0 {
        actions.push(Action::FirstFlight(2));
    }
    actions.extend([
        Action::EndFlight,
        Action::Shutdown,
        Action::Abandon,
        Action::Take,
        Action::Deadline,
    ]);
    if pauses < bounds.pauses {
        actions.push(Action::Pass(PAUSE));
    }
    actions
}

fn events(bounds: Bounds) -> Vec<Event> {
    if bounds.coarse {
        return vec![
            Event::Started(Progress::Handshake),
            Event::Started(Progress::DataInSyn(99)),
            Event::NotStarted(Failure::new(FailureKind::NoResources)),
            Event::Opened(SynData::Acknowledged),
            Event::Wrote(16),
            Event::Blocked,
            Event::Writable,
            Event::Finished,
            Event::Quiet,
            Event::Replied,
            Event::Ended,
            Event::Failed(Failure::new(FailureKind::Reset)),
        ];
    }
    let mut events = vec![
        Event::Started(Progress::Handshake),
        Event::Started(Progress::DataInSyn(1)),
        Event::Started(Progress::DataInSyn(99)),
        Event::Started(Progress::CookieRequest),
        Event::NotStarted(Failure::new(FailureKind::NoResources)),
        Event::Opened(SynData::None),
        Event::Opened(SynData::Acknowledged),
        Event::Opened(SynData::Ignored),
        Event::Wrote(0),
        Event::Wrote(1),
        Event::Wrote(99),
        Event::Blocked,
        Event::Writable,
        Event::Finished,
        Event::Quiet,
        Event::Replied,
        Event::Ended,
        Event::Failed(Failure::new(FailureKind::Reset)),
        Event::Failed(Failure::new(FailureKind::TimedOut)),
    ];
    if bounds.all_failures {
        let more = [
            FailureKind::Refused,
            FailureKind::Unreachable,
            FailureKind::NoResources,
            FailureKind::NotPermitted,
            FailureKind::Unsupported,
            FailureKind::Other,
        ];
        events.extend(more.map(|kind| Event::Failed(Failure::new(kind))));
    }
    events
}
