//! The whole transition table, as text that a reader can check.

use alloc::format;
use alloc::string::String;

use super::attempt::{Effect, State};
use super::{Event, Failure, FailureKind, Progress, SynData};
use crate::time::Instant;

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/race/table.txt");

/// Bytes that may be sent, of which every state below has taken 1.
const LIMIT: usize = 3;

/// With `UPDATE_SNAPSHOTS=1` in the environment the file is written instead.
#[test]
fn the_whole_transition_table_is_as_reviewed() {
    extern crate std;
    let table = table();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some_and(|value| value == "1") {
        std::fs::write(SNAPSHOT, &table).unwrap();
    }
    let reviewed = std::fs::read_to_string(SNAPSHOT).unwrap();
    assert_eq!(table, reviewed, "see `UPDATE_SNAPSHOTS` above");
}

fn table() -> String {
    let mut table = String::from(
        "What each event does to an attempt: the next state, and the effect on the race.\n\
         Pairs that are not listed change nothing. 3 bytes may be sent.\n",
    );
    for state in states() {
        table += &format!("\n{}\n", state_name(state));
        for event in events() {
            let (next, effect) = state.next(event, LIMIT);
            if (next, effect) == (state, Effect::None) {
                continue;
            }
            let next = match next == state {
                true => String::from("="),
                false => state_name(next),
            };
            let event = short(&format!("{event:?}"));
            let effect = short(&format!("{effect:?}"));
            table += &format!("    {event:<26} -> {next:<39} {effect}\n");
        }
    }
    table
}

/// Without what the reader knows.
fn short(text: &str) -> String {
    text.replace("Failure { kind: Reset, os: None }", "Reset")
}

fn states() -> [State; 11] {
    let open = |writable, finished| State::Open {
        taken: 1,
        writable,
        finished,
    };
    let handshake = |cookie_request| State::Handshake {
        taken: 1,
        cookie_request,
    };
    [
        State::Waiting,
        State::Due,
        handshake(false),
        handshake(true),
        State::Fetching {
            until: Instant::from_nanos(9),
        },
        open(true, false),
        open(false, false),
        open(true, true),
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

fn state_name(state: State) -> String {
    match state {
        State::Handshake {
            taken,
            cookie_request: false,
        } => format!("Handshake, {taken} taken"),
        State::Handshake { taken, .. } => format!("Handshake, {taken} taken, asks for a cookie"),
        State::Fetching { .. } => String::from("Fetching"),
        State::Open {
            taken,
            writable,
            finished,
        } => {
            let room = if writable { "" } else { ", full" };
            let fin = if finished { ", finished" } else { "" };
            format!("Open, {taken} taken{room}{fin}")
        }
        state => format!("{state:?}"),
    }
}
