//! What a gate tells of its work, as it happens.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use headstart_core::framing::Malformed;
use headstart_core::race::AttemptKind;

use super::builder::Watcher;

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
    /// A first message came by Fast Open, was admitted, and is kept open for
    /// copies: see [`PairEnded`](Self::PairEnded).
    PairOpened {
        /// The client.
        peer: SocketAddr,
    },
    /// A first message came by Fast Open, was admitted, and is not kept open:
    /// there were too many, or they took too many bytes. Its copies are
    /// duplicates, so that it depends on this connection alone.
    Unpaired {
        /// The client.
        peer: SocketAddr,
    },
    /// A message is no longer kept open for copies, as it is known what became
    /// of the pair.
    PairEnded {
        /// The client, where the first copy came from.
        peer: SocketAddr,
        /// How the connection came that it went on with, or ended well on;
        /// `None` if it ended without one.
        won: Option<Via>,
        /// Connections that brought the message and were joined, the first
        /// included.
        members: usize,
        /// Time since the first copy.
        age: Duration,
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
    /// The client went before its first message was whole, or the gate closed
    /// before it was read, and the connection was reset.
    Closed {
        /// The client.
        peer: SocketAddr,
        /// Bytes that had come and were read.
        bytes: usize,
    },
    /// Too many connections waited for their first message: this one had
    /// been silent for longest, and was reset.
    Evicted {
        /// The client.
        peer: SocketAddr,
    },
    /// A connection could not be accepted. The gate goes on, unless its
    /// listener is broken, which [`Gate::accept`](super::Gate::accept) tells.
    AcceptFailed {
        /// The system's error.
        error: io::Error,
    },
}

impl GateEvent {
    /// Tells it to whoever is told.
    pub(super) fn tell(self, watcher: Option<&Watcher>) {
        #[cfg(feature = "tracing")]
        self.trace();
        if let Some(watcher) = watcher {
            watcher(self);
        }
    }

    /// Tells it to `tracing`: what clients do at level `DEBUG`, but at `INFO`
    /// what an operator may want to mend, bytes that are no first message or a
    /// bound that is too low; what the system does at `WARN`.
    #[cfg(feature = "tracing")]
    fn trace(&self) {
        use tracing::{debug, info, warn};
        match self {
            Self::Admitted { peer, via, bytes } => debug!(%peer, %via, bytes, "admitted"),
            Self::Duplicate {
                peer,
                via,
                age,
                copies,
            } => debug!(%peer, %via, ?age, copies, "duplicate"),
            Self::Paired {
                peer,
                via,
                age,
                copies,
            } => debug!(%peer, %via, ?age, copies, "paired"),
            Self::PairOpened { peer } => debug!(%peer, "pair opened"),
            Self::Unpaired { peer } => info!(%peer, "unpaired"),
            Self::PairEnded {
                peer,
                won: Some(via),
                members,
                age,
            } => debug!(%peer, %via, members, ?age, "pair won"),
            Self::PairEnded {
                peer,
                won: None,
                members,
                age,
            } => debug!(%peer, members, ?age, "pair expired"),
            Self::Malformed { peer, error } => info!(%peer, %error, "malformed"),
            Self::TimedOut { peer, bytes } => debug!(%peer, bytes, "timed out"),
            Self::Closed { peer, bytes } => debug!(%peer, bytes, "closed early"),
            Self::Evicted { peer } => info!(%peer, "evicted"),
            Self::AcceptFailed { error } => warn!(%error, "accept failed"),
        }
    }
}
