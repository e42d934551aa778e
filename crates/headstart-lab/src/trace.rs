//! The latest packets, for failures that can be read.

use std::{collections::VecDeque, fmt, time::Duration};

use crate::{segment::Segment, topology::Direction};

/// How many packets the trace holds; older ones are forgotten.
pub(crate) const TRACE_MAX: usize = 4096;

/// A packet that reached the middlebox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TraceEntry {
    /// When it reached the middlebox, since the lab was built. The middlebox
    /// keeps it for half a round trip from here on.
    pub at: Duration,
    /// Which way it went.
    pub direction: Direction,
    /// What became of it.
    pub fate: Fate,
    /// The TCP segment as it came in; `None` for anything else.
    pub segment: Option<Segment>,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fate {
    /// It went on as it was.
    Forwarded,
    /// It went on, changed by the rule.
    Rewritten,
    /// It went on, and will again.
    Duplicated,
    /// The rule dropped it.
    Dropped,
    /// The rule dropped it and sent an answer back.
    Answered,
    /// The lab's queue was full.
    Overflowed,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Forwarded => "forwarded",
            Self::Rewritten => "rewritten",
            Self::Duplicated => "duplicated",
            Self::Dropped => "dropped",
            Self::Answered => "answered",
            Self::Overflowed => "overflowed",
        })
    }
}

impl fmt::Display for TraceEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.at.as_secs_f64() * 1e3;
        write!(
            f,
            "{millis:10.3} ms  {}  {:10}  ",
            self.direction, self.fate
        )?;
        match &self.segment {
            Some(segment) => segment.fmt(f),
            None => f.write_str("not TCP"),
        }
    }
}

/// The latest entries, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    entries: VecDeque<TraceEntry>,
}

impl Trace {
    pub(crate) fn push(&mut self, entry: TraceEntry) {
        if self.entries.len() >= TRACE_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    pub(crate) fn to_vec(&self) -> Vec<TraceEntry> {
        self.entries.iter().copied().collect()
    }
}
