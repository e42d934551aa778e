//! Clients that are not ours: bare sockets, and habits of their own.

mod client;
mod generate;

use std::time::Duration;

use headstart_core::config::LoserClose;
use headstart_core::framing::token::Header;
use headstart_core::race::AttemptKind;

pub(crate) use client::{Bare, Wire};

use crate::scenario::{Scenario, Trigger};

/// A client that is not ours. It dials both ways at once, gives each the first
/// message, and goes on with one of them: there it ends its side, and reads to
/// the end. What it does with the other is up to it.
///
/// It goes on with one once that has answered. Where the server answers only at
/// the end of file there is nothing to go by: it then uses the one that it
/// [`prefers`](Self::prefers) from the start or, if it prefers none, tells
/// everything to both and ends both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// The connection that it goes on with: the other only if that answers a
    /// second sooner. Without a preference, the first that answers.
    pub prefers: Option<AttemptKind>,
    /// It reads what the other is answered, too.
    pub reads_both: bool,
    /// Bytes behind the first message that go to both connections.
    pub copied: u32,
    /// Those go out with the first message, before anything is answered.
    pub upfront: bool,
    /// Bytes that follow, on the connection that it goes on with.
    pub more: u32,
    /// So many at a time, at least 1.
    pub piece: u32,
    /// So long after one another.
    pub pause: Duration,
    /// The connection that it goes on with gets its copied bytes so much later.
    pub lag: Duration,
    /// It ends its side only when it has the whole answer, if that comes
    /// without.
    pub hears_out: bool,
    /// How long after its choice it closes the other; if never, that stays open
    /// to the end.
    pub keeps: Option<Duration>,
    /// How the other is closed.
    pub loser: LoserClose,
}

impl Default for Stranger {
    fn default() -> Self {
        Self {
            prefers: None,
            reads_both: true,
            copied: 0,
            upfront: false,
            more: 0,
            piece: 1_000,
            pause: Duration::ZERO,
            lag: Duration::ZERO,
            hears_out: false,
            keeps: None,
            loser: LoserClose::Abortive,
        }
    }
}

impl Stranger {
    /// Bytes that it sends beyond the first message.
    pub(crate) const fn beyond(&self) -> u32 {
        self.copied.saturating_add(self.more)
    }

    /// Whether it may tell the server that its losers are reset, and that it
    /// copies nothing: what a Token says.
    pub(crate) fn resets_losers(&self) -> bool {
        self.loser == LoserClose::Abortive && self.copied == 0
    }
}

impl Scenario {
    /// The same with a client that is not ours.
    #[must_use]
    pub fn with_stranger(&self, stranger: Stranger) -> Self {
        let mut with = self.clone();
        with.client.stranger = Some(stranger);
        with
    }

    /// All that a stranger has to say, and where its first message ends.
    pub(crate) fn stranger_says(&self, stranger: &Stranger, upload: &[u8]) -> (Vec<u8>, usize) {
        let mut bytes = Vec::new();
        if let headstart_core::FirstFlight::Token { id } = self.first_flight() {
            let header = Header {
                id,
                flight_len: u16::try_from(self.client.message).unwrap_or(u16::MAX),
                resets_losers: stranger.resets_losers() && !self.tells_both(stranger),
            };
            bytes.extend_from_slice(&header.encode());
        }
        let message = bytes.len().saturating_add(self.client.message as usize);
        bytes.extend_from_slice(upload);
        (bytes, message)
    }

    /// Whether it gives both connections everything, an end included.
    pub(crate) fn tells_both(&self, stranger: &Stranger) -> bool {
        self.server.trigger == Trigger::Eof && stranger.prefers.is_none()
    }
}
