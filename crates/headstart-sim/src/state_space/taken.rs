//! Which events come in which states: what a transition table is checked against.

use std::collections::BTreeSet;

use headstart_core::race::{Event, Phase};

/// States of an attempt, each with an event that came in it, by the names that
/// the core's transition table gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken(BTreeSet<(&'static str, &'static str)>);

impl Taken {
    pub(super) fn insert(&mut self, phase: Phase, event: Event) {
        self.0.insert((state_name(phase), event_name(event)));
    }

    /// What came in either.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        self.0.extend(&other.0);
        self
    }

    /// Each state and event, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.0.iter().copied()
    }
}

fn state_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "Waiting",
        Phase::Due => "Due",
        Phase::Handshake {
            cookie_request: false,
            ..
        } => "Handshake",
        Phase::Handshake { .. } => "Handshake, asks for a cookie",
        Phase::Fetching { .. } => "Fetching",
        Phase::Open {
            writable, finished, ..
        } => match (writable, finished) {
            (true, false) => "Open",
            (false, false) => "Open, full",
            (true, true) => "Open, finished",
            (false, true) => "Open, full, finished",
        },
        Phase::Taken => "Taken",
        Phase::Recalled => "Recalled",
        Phase::Out => "Out",
    }
}

fn event_name(event: Event) -> &'static str {
    match event {
        Event::Started(_) => "Started",
        Event::NotStarted(_) => "NotStarted",
        Event::Opened(_) => "Opened",
        Event::Wrote(_) => "Wrote",
        Event::Blocked => "Blocked",
        Event::Writable => "Writable",
        Event::Finished => "Finished",
        Event::Quiet => "Quiet",
        Event::Replied => "Replied",
        Event::Ended => "Ended",
        Event::Failed(_) => "Failed",
    }
}
