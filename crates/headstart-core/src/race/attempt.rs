//! One connection attempt: its states, and what each event does to it.

use core::fmt;

use super::ending::{Exit, Failure, NotStarted};
use super::report::SynData;
use crate::time::Instant;

/// Plain TCP or TCP Fast Open (RFC 7413).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AttemptKind {
    /// An ordinary three-way handshake.
    Plain,
    /// A SYN with a cookie and data, or one that asks for a cookie.
    FastOpen,
}

impl fmt::Display for AttemptKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::FastOpen => "fast open",
        })
    }
}

/// The number of an attempt within its race: 0, 1, 2, ... and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId(pub(super) usize);

impl AttemptId {
    /// The number.
    pub const fn index(self) -> usize {
        self.0
    }
}

/// What a started attempt does at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Progress {
    /// An ordinary handshake is under way and carries nothing.
    Handshake,
    /// The kernel took so many bytes of the flight with the SYN.
    DataInSyn(usize),
    /// Fast Open without a cookie: an ordinary handshake that asks for one.
    CookieRequest,
}

/// What happened to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Answer to [`Step::Start`](super::Step::Start): its SYN is on the way.
    Started(Progress),
    /// Answer to [`Step::Start`](super::Step::Start): the socket could not be
    /// had, or not with Fast Open (R12).
    NotStarted(Failure),
    /// The handshake is complete; what became of data in the SYN, as far as
    /// is known. May come again when more is.
    Opened(SynData),
    /// Answer to [`Step::Write`](super::Step::Write): the kernel took so many bytes.
    Wrote(usize),
    /// Answer to [`Step::Write`](super::Step::Write): its buffer is full.
    Blocked,
    /// Its buffer may have room again.
    Writable,
    /// Answer to [`Step::Shutdown`](super::Step::Shutdown): FIN is handed over.
    Finished,
    /// Answer to [`Step::Look`](super::Step::Look): nothing to read.
    Quiet,
    /// At least one byte of reply is there to be read (R3).
    Replied,
    /// End of file before any reply. Of the connection itself it changes
    /// nothing: the application reads it there.
    Ended,
    /// It failed. Whether or not a socket is left, it is asked to be closed.
    Failed(Failure),
}

/// Where an attempt stands.
///
/// ```text
///            turn and flight     Started             Opened
///  Waiting ----------------> Due -------> Handshake ---------> Open ---> Taken
///     |                       |            |     | plain         |    (the application's)
///     |                       |            |     | opened        |
///     |                       |            |     v (cookie only) |
///     |                       |            |   Fetching          |
///     |  R7, R12, R13         |  R12       |     | Opened        |  Ended, Failed,
///     v                       v            v     v Failed        v  lost
///    Out <-------------------------------------------------------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum State {
    /// Its turn has not come, or its flight is not in hand.
    Waiting,
    /// To be started now.
    Due,
    /// The SYN is out, and with it `taken` bytes of the log.
    Handshake { taken: usize, cookie_request: bool },
    /// No contender any more: a handshake that only fetches a cookie.
    Fetching { until: Instant },
    /// Both ways are open, and the kernel has taken `taken` bytes of the log.
    Open {
        taken: usize,
        writable: bool,
        finished: bool,
    },
    /// The application has the connection.
    Taken,
    /// Out between [`Step::Start`](super::Step::Start) and its answer: if a
    /// socket comes of it, that is closed.
    Recalled,
    /// Closed, or about to be.
    Out,
}

/// What a transition means to the race as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Effect {
    /// Nothing.
    None,
    /// It started, so: note the time, and what the SYN carries.
    Started(Progress),
    /// It opened.
    Opened(SynData),
    /// It has been looked at and had nothing to say.
    Quiet,
    /// It replied: it is the connection.
    Replied,
    /// It is out for this reason; its socket is to be closed if it had one.
    Exit(Exit),
    /// Its peer ended it, when it had `taken` bytes of the log.
    Ended { taken: usize },
    /// It holds a cookie now, which is all that was wanted of it.
    Fetched,
    /// A socket may have come to an attempt that is out: close it.
    Stray,
}

impl State {
    /// The whole transition table. Events that make no sense in a state, as
    /// late ones on dead attempts, change nothing.
    pub(super) fn next(self, event: Event, log_len: usize) -> (Self, Effect) {
        use Event as E;
        match (self, event) {
            (Self::Due, E::Started(progress)) => {
                let (taken, cookie_request) = match progress {
                    Progress::Handshake => (0, false),
                    Progress::DataInSyn(taken) => (taken.min(log_len), false),
                    Progress::CookieRequest => (0, true),
                };
                let next = Self::Handshake {
                    taken,
                    cookie_request,
                };
                (next, Effect::Started(progress))
            }
            (Self::Due, E::NotStarted(failure)) => (
                Self::Out,
                Effect::Exit(Exit::NotStarted(NotStarted::Failed(failure))),
            ),
            (Self::Due, E::Failed(failure)) => (Self::Out, Effect::Exit(Exit::Failed(failure))),

            (Self::Handshake { taken, .. }, E::Opened(syn_data)) => {
                let next = Self::Open {
                    taken,
                    writable: true,
                    finished: false,
                };
                (next, Effect::Opened(syn_data))
            }
            // What has replied is open, whether or not that was seen first.
            (Self::Handshake { taken, .. }, E::Replied) => {
                let next = Self::Open {
                    taken,
                    writable: true,
                    finished: false,
                };
                (next, Effect::Replied)
            }
            (Self::Open { .. }, E::Replied) => (self, Effect::Replied),
            (Self::Open { .. }, E::Opened(syn_data)) => (self, Effect::Opened(syn_data)),
            (Self::Handshake { .. } | Self::Open { .. }, E::Quiet) => (self, Effect::Quiet),
            (Self::Handshake { taken, .. } | Self::Open { taken, .. }, E::Ended) => {
                (Self::Out, Effect::Ended { taken })
            }
            (Self::Handshake { .. } | Self::Open { .. }, E::Failed(failure)) => {
                (Self::Out, Effect::Exit(Exit::Failed(failure)))
            }

            (
                Self::Open {
                    taken, finished, ..
                },
                E::Wrote(more),
            ) => {
                let taken = taken.saturating_add(more).min(log_len);
                (
                    Self::Open {
                        taken,
                        writable: more > 0,
                        finished,
                    },
                    Effect::None,
                )
            }
            (
                Self::Open {
                    taken, finished, ..
                },
                E::Blocked,
            ) => (
                Self::Open {
                    taken,
                    writable: false,
                    finished,
                },
                Effect::None,
            ),
            (
                Self::Open {
                    taken, finished, ..
                },
                E::Writable,
            ) => (
                Self::Open {
                    taken,
                    writable: true,
                    finished,
                },
                Effect::None,
            ),
            (
                Self::Open {
                    taken, writable, ..
                },
                E::Finished,
            ) => (
                Self::Open {
                    taken,
                    writable,
                    finished: true,
                },
                Effect::None,
            ),

            (Self::Fetching { .. }, E::Opened(_) | E::Replied | E::Ended | E::Failed(_)) => {
                (Self::Out, Effect::Fetched)
            }

            (Self::Recalled, E::Started(_) | E::Failed(_)) => (Self::Out, Effect::Stray),
            (Self::Recalled, E::NotStarted(_)) => (Self::Out, Effect::None),

            (
                Self::Waiting | Self::Taken | Self::Out,
                E::Started(_)
                | E::NotStarted(_)
                | E::Opened(_)
                | E::Wrote(_)
                | E::Blocked
                | E::Writable
                | E::Finished
                | E::Quiet
                | E::Replied
                | E::Ended
                | E::Failed(_),
            )
            | (
                Self::Due,
                E::Opened(_)
                | E::Wrote(_)
                | E::Blocked
                | E::Writable
                | E::Finished
                | E::Quiet
                | E::Replied
                | E::Ended,
            )
            | (
                Self::Handshake { .. },
                E::Started(_)
                | E::NotStarted(_)
                | E::Wrote(_)
                | E::Blocked
                | E::Writable
                | E::Finished,
            )
            | (Self::Open { .. }, E::Started(_) | E::NotStarted(_))
            | (
                Self::Fetching { .. },
                E::Started(_)
                | E::NotStarted(_)
                | E::Wrote(_)
                | E::Blocked
                | E::Writable
                | E::Finished
                | E::Quiet,
            )
            | (
                Self::Recalled,
                E::Opened(_)
                | E::Wrote(_)
                | E::Blocked
                | E::Writable
                | E::Finished
                | E::Quiet
                | E::Replied
                | E::Ended,
            ) => (self, Effect::None),
        }
    }

    /// Whether it can still become the connection.
    pub(super) const fn contends(self) -> bool {
        match self {
            Self::Waiting | Self::Due | Self::Handshake { .. } | Self::Open { .. } => true,
            Self::Fetching { .. } | Self::Taken | Self::Recalled | Self::Out => false,
        }
    }

    /// Whether it contends and has a socket.
    pub(super) const fn has_socket(self) -> bool {
        match self {
            Self::Handshake { .. } | Self::Open { .. } => true,
            Self::Waiting
            | Self::Due
            | Self::Fetching { .. }
            | Self::Taken
            | Self::Recalled
            | Self::Out => false,
        }
    }

    pub(super) const fn is_open(self) -> bool {
        matches!(self, Self::Open { .. })
    }
}
