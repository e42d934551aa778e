//! What a gate tells of its work.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headstart_core::framing::Malformed;

/// How a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// By an ordinary handshake, or by Fast Open without data in the SYN.
    Plain,
    /// With data in the SYN.
    FastOpen,
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
    counter.fetch_add(1, Ordering::Relaxed);
}
