//! What a gate tells of its work.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headstart_core::framing::Malformed;
use headstart_core::race::AttemptKind;

/// How a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// By an ordinary handshake, or by Fast Open without data in the SYN.
    Plain,
    /// With data in the SYN.
    FastOpen,
}

impl Via {
    pub(super) const fn kind(self) -> AttemptKind {
        match self {
            Self::Plain => AttemptKind::Plain,
            Self::FastOpen => AttemptKind::FastOpen,
        }
    }
}

impl From<AttemptKind> for Via {
    fn from(kind: AttemptKind) -> Self {
        match kind {
            AttemptKind::Plain => Self::Plain,
            AttemptKind::FastOpen => Self::FastOpen,
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::FastOpen => "fastopen",
        })
    }
}

/// Something that happened at a gate.
#[derive(Debug)]
#[non_exhaustive]
pub enum GateEvent {
    /// A first message came for the first time.
    Admitted {
        /// The client.
        peer: SocketAddr,
        /// How it came.
        via: Via,
        /// Length of the first message in bytes, a Token's header included.
        bytes: usize,
    },
    /// A first message came again, and its connection was reset.
    Duplicate {
        /// The client.
        peer: SocketAddr,
        /// How it came.
        via: Via,
        /// Time since the first copy.
        age: Duration,
        /// Copies so far, this one included.
        copies: u32,
    },
    /// A first message that had come by Fast Open came again, and its
    /// connection was joined with the first.
    Paired {
        /// The client.
        peer: SocketAddr,
        /// How it came.
        via: Via,
        /// Time since the first copy.
        age: Duration,
        /// Copies so far, this one included.
        copies: u32,
    },
    /// The bytes are not a first message; the connection was reset.
    Malformed {
        /// The client.
        peer: SocketAddr,
        /// What is wrong with them.
        error: Malformed,
    },
    /// No whole first message came in time; the connection was reset.
    TimedOut {
        /// The client.
        peer: SocketAddr,
        /// Bytes that had come.
        bytes: usize,
    },
    /// The client went before its first message was whole.
    Closed {
        /// The client.
        peer: SocketAddr,
        /// Bytes that had come.
        bytes: usize,
    },
    /// Too many connections waited for their first message: this one had
    /// waited longest, and was reset.
    Evicted {
        /// The client.
        peer: SocketAddr,
    },
    /// A connection could not be accepted. The gate goes on.
    AcceptFailed {
        /// The system's error.
        error: io::Error,
    },
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// What a gate has done since it was made.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct GateCounters { $($(#[$doc])* pub $name: u64),+ }

        #[derive(Debug, Default)]
        pub(super) struct Counts { $(pub(super) $name: AtomicU64),+ }

        impl Counts {
            pub(super) fn snapshot(&self) -> GateCounters {
                GateCounters { $($name: self.$name.load(Ordering::Relaxed)),+ }
            }
        }
    };
}

counters! {
    /// Connections accepted.
    accepted,
    /// First messages admitted.
    first,
    /// Copies of first messages, reset.
    duplicates,
    /// First messages by Fast Open that were kept open for copies.
    pairs,
    /// First messages by Fast Open that were not, as there were too many.
    unpaired,
    /// Copies that were joined with the first.
    joined,
    /// Pairs that went on, or ended well, on a plain connection.
    won_by_plain,
    /// Pairs that went on, or ended well, on a Fast Open connection.
    won_by_fast_open,
    /// Pairs that ended without a connection.
    expired,
    /// Pairs that were decided early, as all together took too many bytes.
    cut_short,
    /// Bytes of answers that were written to joined copies.
    bytes_copied,
    /// Connections whose bytes were no first message.
    malformed,
    /// Connections whose first message did not come in time.
    timeouts,
    /// Connections that ended before their first message was whole.
    closed,
    /// Connections reset to make room.
    evicted,
    /// Failed accepts.
    accept_errors,
}

pub(super) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

pub(super) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
