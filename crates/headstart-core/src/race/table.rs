//! The whole transition table, as text that a reader can check.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::attempt::{Effect, State};
use super::{Event, Failure, FailureKind, Progress, SynData};
use crate::table::{Entry, assert_reviewed, block};
use crate::time::Instant;

/// Bytes that may be sent, of which every state below has taken 1.
const LIMIT: usize = 3;

const HEAD: &str = "\
What each event does to an attempt: the next state (= is the same), and the
effect on the race. 3 bytes may be sent; a driver that says more means all.

nothing: it happens, and changes nothing.
never:   it happens in no run of a driver that answers what it is asked, at once
         (a start at any time), and tells news of sockets that it has or had, be
         they late or no news. In brackets, what would come of it all the same.

Before this table, the race drops Finished where no FIN is owed, and Ended of
the connection itself.

The exhaustive tests take every pair but those of never, and none of those.
";

#[test]
fn the_whole_transition_table_is_as_reviewed() {
    let mut table = String::from(HEAD);
    for state in states() {
        let entries: Vec<_> = events().map(|event| entry(state, event)).into();
        table += &block(&title(state), &entries);
    }
    assert_reviewed("race/table.txt", &table);
}

fn entry(state: State, event: Event) -> Entry {
    let (next, effect) = state.next(event, LIMIT);
    let change = (next, effect) != (state, Effect::None);
    let next = match next == state {
        true => String::from("="),
        false => title(next),
    };
    let effect = match effect {
        Effect::None => String::new(),
        effect => short(&format!("{effect:?}")),
    };
    Entry {
        event: short(&format!("{event:?}")),
        happens: happens(state, event),
        change: change.then_some((next, effect)),
    }
}

/// Whether any run brings it about.
fn happens(state: State, event: Event) -> bool {
    let asked_to_start = matches!(state, State::Due | State::Recalled);
    let has_or_had_socket = match state {
        State::Waiting | State::Due | State::Recalled => false,
        // FIN goes behind the last byte, which has found room.
        State::Open {
            writable: false,
            finished: true,
            ..
        } => false,
        State::Handshake { .. }
        | State::Fetching { .. }
        | State::Open { .. }
        | State::Taken
        | State::Out => true,
    };
    match event {
        Event::Started(_) | Event::NotStarted(_) => asked_to_start,
        Event::Failed(_) => asked_to_start || has_or_had_socket,
        Event::Opened(_) | Event::Writable | Event::Replied | Event::Ended => has_or_had_socket,
        Event::Wrote(_) | Event::Blocked | Event::Finished => matches!(
            state,
            State::Open {
                writable: true,
                finished: false,
                ..
            }
        ),
        Event::Quiet => matches!(
            state,
            State::Handshake { .. }
                | State::Open {
                    finished: false,
                    ..
                }
        ),
    }
}

/// Without what the reader knows.
fn short(text: &str) -> String {
    text.replace("Failure { kind: Reset, os: None }", "Reset")
}

fn states() -> [State; 12] {
    let open = |writable, finished| State::Open {
        taken: 1,
        writable,
        finished,
    };
    let handshake = |taken, cookie_request| State::Handshake {
        taken,
        cookie_request,
    };
    [
        State::Waiting,
        State::Due,
        handshake(1, false),
        handshake(0, true),
        State::Fetching {
            until: Instant::from_nanos(9),
        },
        open(true, false),
        open(false, false),
        open(true, true),
        open(false, true),
        State::Taken,
        State::Recalled,
        State::Out,
    ]
}

fn events() -> [Event; 15] {
    let failure = Failure::new(FailureKind::Reset);
    [
        Event::Started(Progress::Handshake),
        Event::Started(Progress::DataInSyn(9)),
        Event::Started(Progress::CookieRequest),
        Event::NotStarted(failure),
        Event::Opened(SynData::Acknowledged),
        Event::Wrote(0),
        Event::Wrote(1),
        Event::Wrote(9),
        Event::Blocked,
        Event::Writable,
        Event::Finished,
        Event::Quiet,
        Event::Replied,
        Event::Ended,
        Event::Failed(failure),
    ]
}

/// The state's name, and in brackets how far it is.
fn title(state: State) -> String {
    match state {
        State::Handshake {
            taken,
            cookie_request: false,
        } => format!("Handshake ({taken} taken)"),
        State::Handshake { taken, .. } => format!("Handshake, asks for a cookie ({taken} taken)"),
        State::Fetching { .. } => String::from("Fetching"),
        State::Open {
            taken,
            writable,
            finished,
        } => {
            let room = if writable { "" } else { ", full" };
            let fin = if finished { ", finished" } else { "" };
            format!("Open{room}{fin} ({taken} taken)")
        }
        state => format!("{state:?}"),
    }
}
