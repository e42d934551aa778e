//! The whole transition table of a member, as text that a reader can check.

use alloc::format;
use alloc::string::String;

use super::Event;
use super::member::{Effect, Flow, Outcome, State};

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/pair/table.txt");

/// Length of the answer, of which every state below has sent 2 or all.
const END: u64 = 3;

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
        "What each event does to a member: the next state, and the effect on the pair.\n\
         Events that are not listed change nothing. The answer has 3 bytes.\n",
    );
    for state in states() {
        table += &format!("\n{}\n", name(state));
        for event in events() {
            let (next, effect) = state.next(event, END);
            if (next, effect) == (state, Effect::None) {
                continue;
            }
            let next = match next == state {
                true => String::from("="),
                false => name(next),
            };
            let event = format!("{event:?}");
            let line = format!("    {event:<13} -> {next:<49} {effect:?}");
            table += line.trim_end_matches("None").trim_end();
            table.push('\n');
        }
    }
    table
}

fn states() -> [State; 8] {
    let new = Flow {
        sent: 2,
        acked: 1,
        writable: true,
        finished: false,
        received: 1,
        readable: false,
        ended: false,
    };
    let full = Flow {
        writable: false,
        ..new
    };
    let readable = Flow {
        readable: true,
        ..new
    };
    let ended = Flow { ended: true, ..new };
    let done = Flow {
        sent: END,
        acked: END,
        finished: true,
        ..new
    };
    [
        State::Live(new),
        State::Live(full),
        State::Live(readable),
        State::Live(ended),
        State::Live(done),
        State::Taken,
        State::Out(Outcome::Failed),
        State::Out(Outcome::Lost),
    ]
}

fn events() -> [Event; 18] {
    [
        Event::Readable,
        Event::Delivered(0),
        Event::Delivered(4),
        Event::Discarded(0),
        Event::Discarded(4),
        Event::Drained,
        Event::Ended,
        Event::Failed,
        Event::Wrote(0),
        Event::Wrote(1),
        Event::Wrote(9),
        Event::Blocked,
        Event::Writable,
        Event::Finished,
        Event::Acked(0),
        Event::Acked(1),
        Event::Acked(2),
        Event::Acked(9),
    ]
}

fn name(state: State) -> String {
    let State::Live(flow) = state else {
        return format!("{state:?}");
    };
    let when = |is: bool, word| if is { word } else { "" };
    format!(
        "Live, {} sent, {} acked, {} read{}{}{}{}",
        flow.sent,
        flow.acked,
        flow.received,
        when(!flow.writable, ", full"),
        when(flow.finished, ", finished"),
        when(flow.readable, ", readable"),
        when(flow.ended, ", ended"),
    )
}
