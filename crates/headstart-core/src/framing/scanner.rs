//! The scanner: one connection's way through its first message.

use super::preamble::Preamble;
use super::stated::Stated;
use super::tls::ClientHello;
use super::{Framing, Kind, Malformed};

/// How far a first message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Progress {
    /// More bytes are needed.
    Partial,
    /// The message is whole: its length in bytes, from its very first byte,
    /// preamble included. What came after that is not part of it.
    Complete(usize),
}

/// Finds the end of one connection's first message.
///
/// Takes the bytes once, in order, in pieces of any size. It keeps a few
/// counters and at most one header, so its size is constant (some 100 bytes),
/// it never allocates, and feeding costs a constant per header byte and per
/// piece.
#[derive(Clone, Debug)]
pub struct Scanner {
    preamble: Preamble,
    machine: Machine,
    limit: usize,
    consumed: usize,
    end: Option<Result<usize, Malformed>>,
}

#[derive(Clone, Debug)]
enum Machine {
    ClientHello(ClientHello),
    Stated(Stated),
}

impl Scanner {
    pub(super) const fn new(framing: &Framing, limit: usize) -> Self {
        let machine = match framing.kind {
            Kind::TlsClientHello => Machine::ClientHello(ClientHello::new()),
            Kind::Stated(shape) => Machine::Stated(Stated::new(shape)),
        };
        Self {
            preamble: framing.preamble,
            machine,
            limit,
            consumed: 0,
            end: None,
        }
    }

    /// Takes the next bytes of the connection, any number of them.
    ///
    /// Once the message is complete the answer stays
    /// [`Complete`](Progress::Complete), and bytes are ignored.
    ///
    /// # Errors
    ///
    /// [`Malformed`] as soon as the bytes cannot become a first message, and
    /// the same again at every later call.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Progress, Malformed> {
        let mut rest = bytes;
        while self.end.is_none() && !rest.is_empty() {
            match self.take(rest) {
                // Never so; but a loop that cannot end is worse than waiting.
                Ok(0) => break,
                Ok(taken) => {
                    self.consumed = self.consumed.saturating_add(taken);
                    rest = rest.get(taken..).unwrap_or_default();
                    self.end = self.ended();
                }
                Err(malformed) => self.end = Some(Err(malformed)),
            }
        }
        match self.end {
            None => Ok(Progress::Partial),
            Some(Ok(length)) => Ok(Progress::Complete(length)),
            Some(Err(malformed)) => Err(malformed),
        }
    }

    /// How many bytes of the first message have come: its whole length once it
    /// is complete, and after an error what came before the wrong byte or,
    /// for a wrong length, up to and including it.
    pub const fn consumed(&self) -> usize {
        self.consumed
    }

    /// Takes at least one byte of `input`, which is not empty, and says how
    /// many.
    fn take(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        // Within the limit a message is known to fit before it is taken, so
        // pieces never reach across the limit.
        if self.consumed >= self.limit {
            return Err(Malformed::TooLong { limit: self.limit });
        }
        if self.consumed < self.preamble.len() {
            let byte = input.first().copied().unwrap_or_default();
            self.preamble.check(self.consumed, byte)?;
            return Ok(1);
        }
        match &mut self.machine {
            Machine::ClientHello(hello) => hello.take(input),
            Machine::Stated(stated) => stated.take(input),
        }
    }

    /// Whether the message is complete, or known not to fit.
    fn ended(&self) -> Option<Result<usize, Malformed>> {
        let (complete, least_left) = match &self.machine {
            Machine::ClientHello(hello) => (hello.is_complete(), hello.least_left()),
            Machine::Stated(stated) => (stated.is_complete(), stated.least_left()),
        };
        if complete {
            return Some(Ok(self.consumed));
        }
        let preamble_left = self.preamble.len().saturating_sub(self.consumed) as u64;
        let room = self.limit.saturating_sub(self.consumed) as u64;
        (preamble_left.saturating_add(least_left) > room)
            .then_some(Err(Malformed::TooLong { limit: self.limit }))
    }
}
