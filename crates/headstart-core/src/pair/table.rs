//! The whole transition table of a member, as text that a reader can check.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Event;
use super::member::{Effect, Flow, Outcome, State};
use crate::table::{Entry, assert_reviewed, block};

/// Length of the answer.
const END: u64 = 3;

const HEAD: &str = "\
What each event does to a member: the next state (= is the same), and the effect
on the pair. The answer has 3 bytes; a driver that says more means all.

A live member sends and receives; neither half changes the other, so each has a
table of its own.

nothing: it happens, and changes nothing.
never:   it happens in no run of a driver that answers what it is asked, at once,
         reads where the pair says, and tells news of members, be they late or
         no news. In brackets, what would come of it all the same.

The exhaustive tests take every pair but those of never, and none of those.
";

/// The half of a live member that an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Sending,
    Receiving,
    Both,
}

#[test]
fn the_whole_transition_table_is_as_reviewed() {
    let mut table = String::from(HEAD);
    for flow in sending() {
        table += &live(Half::Sending, flow);
    }
    for flow in receiving() {
        table += &live(Half::Receiving, flow);
    }
    table += &live(Half::Both, sending()[0]);
    for state in [State::Taken, State::Out(Outcome::Failed)] {
        let entries: Vec<_> = events().map(|event| entry(Half::Both, state, event)).into();
        table += &block(&title(Half::Both, state), &entries);
    }
    assert_reviewed("pair/table.txt", &table);
}

#[test]
fn neither_half_of_a_member_changes_the_other() {
    for sends in sending() {
        for receives in receiving() {
            let state = State::Live(join(sends, receives));
            for event in events() {
                let (next, effect) = state.next(event, END);
                let alone = |flow| State::Live(flow).next(event, END);
                let halves = (alone(sends), alone(receives));
                match (half(event), halves) {
                    (Half::Sending, ((State::Live(sent), same), _)) => {
                        assert_eq!((next, effect), (State::Live(join(sent, receives)), same));
                    }
                    (Half::Receiving, (_, (State::Live(received), same))) => {
                        assert_eq!((next, effect), (State::Live(join(sends, received)), same));
                    }
                    (_, halves) => assert_eq!([(next, effect); 2], [halves.0, halves.1]),
                }
            }
        }
    }
}

fn join(sends: Flow, receives: Flow) -> Flow {
    Flow {
        received: receives.received,
        readable: receives.readable,
        ended: receives.ended,
        ..sends
    }
}

fn live(wanted: Half, flow: Flow) -> String {
    let state = State::Live(flow);
    let of_half = events().into_iter().filter(|event| half(*event) == wanted);
    let entries: Vec<_> = of_half.map(|event| entry(wanted, state, event)).collect();
    block(&title(wanted, state), &entries)
}

fn entry(half: Half, state: State, event: Event) -> Entry {
    let (next, effect) = state.next(event, END);
    let change = (next, effect) != (state, Effect::None);
    let next = match next == state {
        true => String::from("="),
        false => title(half, next),
    };
    let effect = match effect {
        Effect::None => String::new(),
        effect => format!("{effect:?}"),
    };
    Entry {
        event: format!("{event:?}"),
        happens: happens(state, event),
        change: change.then_some((next, effect)),
    }
}

/// Whether any run brings it about.
fn happens(state: State, event: Event) -> bool {
    let State::Live(flow) = state else {
        return matches!(
            event,
            Event::Readable | Event::Ended | Event::Failed | Event::Writable | Event::Acked(_)
        );
    };
    // FIN goes behind the last byte, which has found room.
    let impossible = !flow.writable && flow.finished;
    match event {
        Event::Readable => !flow.ended,
        Event::Delivered(_) | Event::Discarded(_) | Event::Drained => flow.readable,
        Event::Ended | Event::Failed => true,
        Event::Wrote(_) | Event::Blocked | Event::Finished => flow.writable && !flow.finished,
        Event::Writable | Event::Acked(_) => !impossible,
    }
}

fn half(event: Event) -> Half {
    match event {
        Event::Wrote(_) | Event::Blocked | Event::Writable | Event::Finished | Event::Acked(_) => {
            Half::Sending
        }
        Event::Readable
        | Event::Delivered(_)
        | Event::Discarded(_)
        | Event::Drained
        | Event::Ended => Half::Receiving,
        Event::Failed => Half::Both,
    }
}

const NEW: Flow = Flow {
    sent: 2,
    acked: 1,
    writable: true,
    finished: false,
    received: 1,
    readable: false,
    ended: false,
};

fn sending() -> [Flow; 4] {
    let full = Flow {
        writable: false,
        ..NEW
    };
    let finished = Flow {
        sent: END,
        acked: END,
        finished: true,
        ..NEW
    };
    let both = Flow {
        writable: false,
        ..finished
    };
    [NEW, full, finished, both]
}

fn receiving() -> [Flow; 3] {
    let readable = Flow {
        readable: true,
        ..NEW
    };
    [NEW, readable, Flow { ended: true, ..NEW }]
}

fn events() -> [Event; 17] {
    [
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
        Event::Readable,
        Event::Delivered(4),
        Event::Discarded(0),
        Event::Discarded(4),
        Event::Drained,
        Event::Ended,
        Event::Failed,
    ]
}

/// The state's name, and in brackets how far it is.
fn title(half: Half, state: State) -> String {
    let State::Live(flow) = state else {
        return match state {
            State::Out(outcome) => format!("Out ({outcome:?})"),
            state => format!("{state:?}"),
        };
    };
    let when = |is: bool, word| if is { word } else { "" };
    match half {
        Half::Sending => format!(
            "Sends{}{} ({} sent, {} acked)",
            when(!flow.writable, ", full"),
            when(flow.finished, ", finished"),
            flow.sent,
            flow.acked,
        ),
        Half::Receiving => format!(
            "Receives{}{} ({} read)",
            when(flow.readable, ", readable"),
            when(flow.ended, ", ended"),
            flow.received,
        ),
        Half::Both => String::from("Live"),
    }
}
