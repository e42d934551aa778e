//! The one log of written bytes, and where its copyable part ends (R2, R6, R13).

use alloc::vec::Vec;

use crate::config::FirstFlight;
use crate::framing::token::{self, Header, Id};
use crate::framing::{FLIGHT_MAX, Progress, Scanner};

/// Where the first flight ends.
#[derive(Clone, Debug)]
pub(super) enum Boundary {
    /// Nothing was stated, or the check failed: no byte may be copied.
    Uncopied,
    /// The framing wants more bytes.
    Scanning(Scanner),
    /// Whatever is accepted until the flight is ended.
    Gathering {
        /// The name in the Token whose header leads the log.
        token: Option<Id>,
    },
    /// The first so many bytes may be copied, and no more.
    Complete(usize),
}

/// Written bytes, once, from the first flight's first byte.
#[derive(Clone, Debug)]
pub(super) struct Log {
    bytes: Vec<u8>,
    boundary: Boundary,
    held_max: usize,
    resets_losers: bool,
}

impl Log {
    pub(super) fn new(first_flight: &FirstFlight, held_max: usize, resets_losers: bool) -> Self {
        let mut bytes = Vec::new();
        let boundary = match first_flight {
            FirstFlight::Unstated => Boundary::Uncopied,
            FirstFlight::Framed(framing) => Boundary::Scanning(framing.scanner()),
            FirstFlight::Asserted => Boundary::Gathering { token: None },
            FirstFlight::Token { id } => {
                // Room for the header, written once the length is known.
                bytes.resize(token::HEADER_LEN, 0);
                Boundary::Gathering { token: Some(*id) }
            }
        };
        Self {
            bytes,
            boundary,
            held_max,
            resets_losers,
        }
    }

    /// All bytes so far, the Token's header included.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the application has written nothing, and nothing stands in for it.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() <= self.header_room()
    }

    pub(super) fn boundary(&self) -> &Boundary {
        &self.boundary
    }

    /// Length of the first flight, once known.
    pub(super) fn flight(&self) -> Option<usize> {
        match self.boundary {
            Boundary::Complete(end) => Some(end),
            Boundary::Uncopied | Boundary::Scanning(_) | Boundary::Gathering { .. } => None,
        }
    }

    /// Bytes beyond the first flight.
    pub(super) fn held(&self) -> usize {
        self.flight()
            .map_or(0, |end| self.len().saturating_sub(end))
    }

    /// Takes what fits, and says how much that was.
    pub(super) fn accept<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>) -> usize {
        let mut taken = 0;
        for piece in pieces {
            let part = prefix(piece, self.room());
            self.scan(part);
            // Where the scan has found the flight's end, there is room for
            // less: held bytes have a bound of their own.
            let part = prefix(part, self.room());
            self.bytes.extend_from_slice(part);
            // Where a piece does not fit, no room is left for those behind it.
            taken += part.len();
        }
        if matches!(self.boundary, Boundary::Gathering { .. }) && self.room() == 0 {
            self.end_flight();
        }
        taken
    }

    /// Takes a whole flight at once, or nothing.
    pub(super) fn accept_flight(&mut self, bytes: &[u8]) -> bool {
        let gathering = matches!(self.boundary, Boundary::Gathering { .. });
        if !gathering || !self.is_empty() || bytes.len() > self.room() {
            return false;
        }
        self.bytes.extend_from_slice(bytes);
        self.end_flight();
        true
    }

    /// The flight is what was accepted so far. A framed message that is not
    /// complete never will be, as far as racing goes.
    pub(super) fn end_flight(&mut self) {
        match self.boundary {
            Boundary::Gathering { token } => {
                if let Some(id) = token {
                    self.write_header(id);
                }
                self.boundary = Boundary::Complete(self.bytes.len());
            }
            Boundary::Scanning(_) => self.boundary = Boundary::Uncopied,
            Boundary::Uncopied | Boundary::Complete(_) => {}
        }
    }

    /// The bytes from `from` up to `to`.
    pub(super) fn range(&self, from: usize, to: usize) -> &[u8] {
        self.bytes.get(from..to).unwrap_or(&[])
    }

    /// Forgets the bytes: nobody will ask for them.
    pub(super) fn release(&mut self) {
        self.bytes = Vec::new();
    }

    fn room(&self) -> usize {
        let bound = match self.boundary {
            Boundary::Gathering { .. } => FLIGHT_MAX,
            Boundary::Complete(end) => end.saturating_add(self.held_max),
            Boundary::Uncopied | Boundary::Scanning(_) => FLIGHT_MAX.saturating_add(self.held_max),
        };
        bound.saturating_sub(self.bytes.len())
    }

    fn scan(&mut self, part: &[u8]) {
        let Boundary::Scanning(scanner) = &mut self.boundary else {
            return;
        };
        match scanner.feed(part) {
            Ok(Progress::Partial) => {}
            Ok(Progress::Complete(end)) => self.boundary = Boundary::Complete(end),
            Err(_) => self.boundary = Boundary::Uncopied,
        }
    }

    fn header_room(&self) -> usize {
        match self.boundary {
            Boundary::Gathering { token: Some(_) } => token::HEADER_LEN,
            Boundary::Gathering { token: None }
            | Boundary::Uncopied
            | Boundary::Scanning(_)
            | Boundary::Complete(_) => 0,
        }
    }

    fn write_header(&mut self, id: Id) {
        let flight = self.bytes.len().saturating_sub(token::HEADER_LEN);
        let header = Header {
            id,
            flight_len: u16::try_from(flight).unwrap_or(u16::MAX),
            resets_losers: self.resets_losers,
        };
        if let Some(room) = self.bytes.get_mut(..token::HEADER_LEN) {
            room.copy_from_slice(&header.encode());
        }
    }
}

/// At most the first `most` bytes.
fn prefix(bytes: &[u8], most: usize) -> &[u8] {
    bytes.get(..most).unwrap_or(bytes)
}
