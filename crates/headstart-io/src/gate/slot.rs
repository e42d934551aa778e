//! One connection of a pair, and what was read from it.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use headstart_core::pair::Event;

use super::{GateEvent, Via};
use crate::reading::Untold;
use crate::runtime::Stream;

/// A connection that brought the pair's first message.
#[derive(Debug)]
pub(super) struct Copy<S> {
    pub(super) stream: S,
    pub(super) peer: SocketAddr,
    /// What was read from it, beyond the first message.
    pub(super) beyond: Vec<u8>,
}

/// A copy that came after the first.
pub(super) struct Late<S> {
    pub(super) copy: Copy<S>,
    pub(super) via: Via,
    /// Time since the first copy.
    pub(super) age: Duration,
    /// Copies so far, this one included.
    pub(super) copies: u32,
}

impl<S> Late<S> {
    pub(super) fn paired(&self) -> GateEvent {
        GateEvent::Paired {
            peer: self.copy.peer,
            via: self.via,
            age: self.age,
            copies: self.copies,
        }
    }

    pub(super) fn duplicate(&self) -> GateEvent {
        GateEvent::Duplicate {
            peer: self.copy.peer,
            via: self.via,
            age: self.age,
            copies: self.copies,
        }
    }
}

/// A member's connection.
#[derive(Debug)]
pub(super) struct Slot<S> {
    pub(super) stream: S,
    pub(super) beyond: Vec<u8>,
    /// Bytes of `beyond` that were read.
    at: usize,
    /// A failure, kept until what came before it has been read.
    pub(super) broken: Option<io::Error>,
    pub(super) written: u64,
}

/// The connection that the application goes on with.
#[derive(Debug)]
pub(super) struct Handed<S> {
    pub(super) stream: S,
    /// What was read from it, and not by the application.
    pub(super) beyond: Vec<u8>,
    /// What reading it is to end with.
    pub(super) untold: Untold,
}

impl<S: Stream> Slot<S> {
    pub(super) fn new(copy: Copy<S>) -> Self {
        Self {
            stream: copy.stream,
            beyond: copy.beyond,
            at: 0,
            broken: None,
            written: 0,
        }
    }

    pub(super) fn hand_over(mut self) -> Handed<S> {
        self.beyond.drain(..self.at.min(self.beyond.len()));
        let mut untold = Untold::default();
        if let Some(error) = self.broken {
            untold.keep(error);
        }
        Handed {
            stream: self.stream,
            beyond: self.beyond,
            untold,
        }
    }

    /// Something to read, an end or a failure.
    pub(super) fn poll_news(&mut self, cx: &mut Context<'_>) -> Option<Result<Event, io::Error>> {
        if self.at < self.beyond.len() {
            return Some(Ok(Event::Readable));
        }
        loop {
            match self.stream.poll_readable(cx) {
                Poll::Pending => return self.broken.take().map(Err),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Some(Err(error)),
            }
            match self.stream.try_peek() {
                Ok(0) => return Some(self.broken.take().map_or(Ok(Event::Ended), Err)),
                Ok(_) => return Some(Ok(Event::Readable)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let rest = self.beyond.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return self.stream.try_read(buf);
        }
        let length = rest.len().min(buf.len());
        if let (Some(part), Some(room)) = (rest.get(..length), buf.get_mut(..length)) {
            room.copy_from_slice(part);
        }
        self.at += length;
        if self.at >= self.beyond.len() {
            (self.beyond, self.at) = (Vec::new(), 0);
        }
        Ok(length)
    }

    /// Whether there are bytes to read, whatever else is the matter.
    pub(super) fn has_more(&self) -> bool {
        self.at < self.beyond.len() || matches!(self.stream.try_peek(), Ok(1..))
    }

    pub(super) fn acked(&self) -> Event {
        // A system that does not tell leaves its members unproven.
        Event::Acked(self.stream.bytes_acked().unwrap_or(0))
    }
}
