//! One accepted connection of a pair: its states, and what each event does.

use super::GRACE;
use crate::race::{AttemptKind, Close};
use crate::time::Instant;

/// The number of a member within its pair: 0 is the one that came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberId(pub(super) usize);

impl MemberId {
    /// The number.
    pub const fn index(self) -> usize {
        self.0
    }
}

/// What happened to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// There is at least one byte to be read, beyond the first message.
    Readable,
    /// The application was given so many bytes from it.
    Delivered(usize),
    /// Answer to [`Step::Discard`](super::Step::Discard): so many bytes were
    /// thrown away.
    Discarded(usize),
    /// There is nothing to be read, for now.
    Drained,
    /// End of file, everything before it having been read.
    Ended,
    /// Reset, or any other error. All that it brought has been read or is lost.
    Failed,
    /// Answer to [`Step::Write`](super::Step::Write): the kernel took so many bytes.
    Wrote(usize),
    /// Answer to [`Step::Write`](super::Step::Write): its buffer is full.
    Blocked,
    /// Its buffer may have room again.
    Writable,
    /// Answer to [`Step::Shutdown`](super::Step::Shutdown): FIN is handed over.
    Finished,
    /// So much of the answer its peer has acknowledged in all, counting FIN
    /// as one byte; and it has not failed. Answer to
    /// [`Step::Ask`](super::Step::Ask); to be told also before `Ended` and
    /// `Failed`, as far as the system knows.
    Acked(u64),
}

/// How a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing is decided.
    Live,
    /// It is the connection.
    Won,
    /// Another is, or it lagged behind, or was not proven in time.
    Lost,
    /// It was reset, or failed.
    Failed,
    /// It took the whole answer of an application that is gone.
    Delivered,
}

/// Where a member stands.
///
/// ```text
///  Live(Flow) ---> Taken  (the application's)
///      |
///      +---------> Out    (failed, lost, or done)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum State {
    Live(Flow),
    Taken,
    Out(Outcome),
}

/// Both directions of a live member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flow {
    /// Bytes of the answer that its kernel took.
    pub(super) sent: u64,
    /// Of these, bytes that its peer has acknowledged; FIN counts as one.
    pub(super) acked: u64,
    /// Whether its buffer may have room.
    pub(super) writable: bool,
    /// Whether FIN was handed over.
    pub(super) finished: bool,
    /// Bytes beyond the first message that were read from it.
    pub(super) received: u64,
    /// Whether more are there.
    pub(super) readable: bool,
    /// Its end of file.
    pub(super) ended: bool,
}

/// What a transition means to the pair as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Effect {
    None,
    /// The application has this many of the client's bytes.
    Delivered(u64),
    /// Its peer has sent FIN.
    Ended,
    /// It has answered a question, and its peer had acknowledged so much more.
    Acked(u64),
    /// It is out; its socket is to be closed.
    Failed,
}

impl State {
    /// The whole transition table. Events for members that are no longer the
    /// pair's change nothing.
    pub(super) fn next(self, event: Event, end: u64) -> (Self, Effect) {
        let flow = match self {
            Self::Live(flow) => flow,
            Self::Taken | Self::Out(_) => return (self, Effect::None),
        };
        let (flow, effect) = flow.next(event, end);
        match effect {
            Effect::Failed => (Self::Out(Outcome::Failed), effect),
            Effect::None | Effect::Delivered(_) | Effect::Ended | Effect::Acked(_) => {
                (Self::Live(flow), effect)
            }
        }
    }
}

impl Flow {
    const NEW: Self = Self {
        sent: 0,
        acked: 0,
        writable: true,
        finished: false,
        received: 0,
        readable: false,
        ended: false,
    };

    /// `end` is the answer's length so far.
    fn next(mut self, event: Event, end: u64) -> (Self, Effect) {
        let mut effect = Effect::None;
        match event {
            Event::Readable => self.readable = !self.ended,
            Event::Delivered(bytes) => {
                self.received = self.received.saturating_add(bytes as u64);
                effect = Effect::Delivered(self.received);
            }
            Event::Discarded(bytes) => {
                self.received = self.received.saturating_add(bytes as u64);
                self.readable &= bytes > 0;
            }
            Event::Drained => self.readable = false,
            Event::Ended if self.ended => {}
            Event::Ended => {
                (self.ended, self.readable) = (true, false);
                effect = Effect::Ended;
            }
            Event::Failed => effect = Effect::Failed,
            Event::Wrote(bytes) => {
                self.sent = self.sent.saturating_add(bytes as u64).min(end);
                self.writable = bytes > 0;
            }
            Event::Blocked => self.writable = false,
            Event::Writable => self.writable = true,
            Event::Finished => self.finished = true,
            Event::Acked(acked) => {
                let acked = acked.min(self.ackable());
                effect = Effect::Acked(acked.saturating_sub(self.acked));
                self.acked = self.acked.max(acked);
            }
        }
        (self, effect)
    }

    /// Whether it has everything, and FIN.
    pub(super) const fn is_drained(self, end: u64) -> bool {
        self.sent >= end && self.finished
    }

    /// Whether its peer has not acknowledged all that was sent.
    pub(super) fn is_outstanding(self) -> bool {
        self.acked < self.ackable()
    }

    /// All that its peer can have acknowledged.
    fn ackable(self) -> u64 {
        self.sent.saturating_add(self.finished.into())
    }

    /// Whether its peer has sent bytes beyond the first message.
    pub(super) const fn has_brought(self) -> bool {
        self.received > 0 || self.readable
    }

    /// Whether there are bytes to be read that the application, which has
    /// `delivered`, does not have.
    pub(super) const fn is_fresh(self, delivered: u64) -> bool {
        self.readable && self.received >= delivered
    }
}

/// A member, and what is still to be done about its socket.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: MemberId,
    pub(super) kind: AttemptKind,
    pub(super) state: State,
    pub(super) close: Option<Close>,
    /// When it sent FIN.
    pub(super) ended_at: Option<Instant>,
    /// When it was last asked.
    pub(super) asked_at: Option<Instant>,
    /// When its path was first known to work both ways.
    pub(super) proven_at: Option<Instant>,
    /// Whether it was made the connection.
    pub(super) won: bool,
}

impl Member {
    pub(super) const fn new(id: MemberId, kind: AttemptKind) -> Self {
        Self {
            id,
            kind,
            state: State::Live(Flow::NEW),
            close: None,
            ended_at: None,
            asked_at: None,
            proven_at: None,
            won: false,
        }
    }

    pub(super) const fn flow(&self) -> Option<Flow> {
        match self.state {
            State::Live(flow) => Some(flow),
            State::Taken | State::Out(_) => None,
        }
    }

    pub(super) const fn is_live(&self) -> bool {
        self.flow().is_some()
    }

    pub(super) const fn is_delivered(&self) -> bool {
        matches!(self.state, State::Out(Outcome::Delivered))
    }

    /// Whether its path is known to have worked both ways.
    pub(super) const fn is_proven(&self) -> bool {
        self.proven_at.is_some()
    }

    /// Whether the client's bytes may choose it: the handshake of a plain
    /// connection has gone both ways.
    pub(super) fn is_eligible(&self) -> bool {
        self.kind == AttemptKind::Plain || self.is_proven()
    }

    /// Whether, when its FIN may count beside another without, it was alive.
    pub(super) fn is_sure(&self) -> bool {
        self.ended_at
            .is_some_and(|at| self.asked_at >= Some(at.saturating_add(GRACE)))
    }

    pub(super) const fn outcome(&self) -> Outcome {
        match self.state {
            State::Live(_) if self.won => Outcome::Won,
            State::Live(_) => Outcome::Live,
            State::Taken => Outcome::Won,
            State::Out(outcome) => outcome,
        }
    }

    /// Takes it out of the pair.
    pub(super) fn leave(&mut self, outcome: Outcome, close: Close) {
        if self.is_live() {
            self.state = State::Out(outcome);
            self.close = Some(close);
        }
    }
}
