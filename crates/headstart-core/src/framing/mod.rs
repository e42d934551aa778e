//! Where a connection's first message ends.
//!
//! A race copies the first message, and nothing beyond it, onto every attempt;
//! a gate reads the first message, and nothing beyond it, before it asks the
//! debouncer. Both must find the same end, so both ask the same [`Framing`].
//!
//! A [`Scanner`] takes the bytes as they come, in pieces of any size, holds
//! none of them, and says [`Complete`](Progress::Complete) or
//! [`Malformed`] at the same byte however they were cut.
//!
//! # What a framing must promise
//!
//! A first message may be debounced only if it is *unique*: no two
//! connections ever begin with the same one, unless one is a copy of the
//! other. A TLS ClientHello and a Noise first message carry fresh randomness
//! and are unique by nature, as is a [`token`]. A message with a length before
//! it is not: a Postgres start-up message is the same for every client of the
//! same database, so debouncing would drop other people's connections. It
//! becomes unique only by the user's word ([`Framing::assert_unique`]).
//!
//! ```
//! use headstart_core::framing::{Framing, NoiseHeader, Progress};
//!
//! let framing = Framing::noise(NoiseHeader::Len16);
//! let mut scanner = framing.scanner();
//! assert_eq!(scanner.feed(&[0, 3, b'a'])?, Progress::Partial);
//! assert_eq!(scanner.feed(b"bcd")?, Progress::Complete(5));
//! # Ok::<(), headstart_core::framing::Malformed>(())
//! ```

mod length_prefix;
mod malformed;
mod noise;
mod preamble;
mod scanner;
mod stated;
mod tls;
pub mod token;

pub use length_prefix::{ByteOrder, LengthPrefix, PrefixWidth};
pub use malformed::Malformed;
pub use noise::NoiseHeader;
pub use preamble::{PREAMBLE_MAX, PreambleTooLong};
pub use scanner::{Progress, Scanner};

use preamble::Preamble;
use stated::Shape;

/// The longest first flight that is ever copied, in bytes: 16 KiB.
///
/// Eleven times what fits in one SYN, and more than any ClientHello in use,
/// post-quantum key shares included; small enough to hold one for each of ten
/// thousand connections.
pub const FLIGHT_MAX: usize = 16 * 1024;

/// Says where a first message ends.
///
/// Built once, by one of the constructors below, and shared by all
/// connections; each connection takes a [`Scanner`] of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framing {
    kind: Kind,
    preamble: Preamble,
    unique: bool,
}

/// The kinds of first message, by what it takes to find their ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    TlsClientHello,
    Stated(Shape),
}

impl Framing {
    /// A TLS ClientHello in one or more records (RFC 8446 sections 4.1.2 and
    /// 5.1; RFC 5246 for TLS 1.2). Unique: it carries 32 random bytes.
    ///
    /// The message ends with the record that holds the ClientHello's last
    /// byte. Early data comes in records of its own, so it is always beyond.
    /// At most 128 records, none empty and none above 2^14 bytes.
    pub const fn tls_client_hello() -> Self {
        Self::new(Kind::TlsClientHello, true)
    }

    /// A Noise handshake's first message behind a header that states its
    /// length. Unique: it holds the initiator's ephemeral key, drawn anew for
    /// each handshake (Noise revision 34 section 7).
    ///
    /// A payload in it (`IK` and other zero-round-trip patterns) is inside the
    /// first message. Whether that payload may be raced is for the caller to
    /// say: unlike the key, it may cause something.
    pub const fn noise(header: NoiseHeader) -> Self {
        Self::new(Kind::Stated(Shape::Noise(header)), true)
    }

    /// A message behind a binary length of 1, 2 or 4 bytes. Not unique, unless
    /// the user says so with [`assert_unique`](Self::assert_unique).
    pub const fn length_prefixed(prefix: LengthPrefix) -> Self {
        Self::new(Kind::Stated(Shape::Prefix(prefix)), false)
    }

    /// A [`token`] header, and the flight of the length that it states.
    /// Unique: it carries 16 random bytes.
    pub const fn token() -> Self {
        Self::new(Kind::Stated(Shape::Token), true)
    }

    /// The same framing behind fixed bytes, such as Storj's `DRPC!!!1`.
    ///
    /// The preamble is part of the first message and counts towards its
    /// length. Called again, the new bytes come before the older ones.
    ///
    /// # Errors
    ///
    /// [`PreambleTooLong`] if the preamble, with those from earlier calls, is
    /// longer than [`PREAMBLE_MAX`] bytes.
    pub fn after(mut self, preamble: &[u8]) -> Result<Self, PreambleTooLong> {
        self.preamble = self.preamble.behind(preamble)?;
        Ok(self)
    }

    /// States that no two connections begin with the same message, unless one
    /// is a copy of the other.
    ///
    /// If that is not so, a debouncing server drops the connections of
    /// strangers as duplicates, and a pairing one joins them. Changes nothing
    /// on a framing that is unique by nature.
    #[must_use]
    pub const fn assert_unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// Whether first messages may be told apart by their content, that is
    /// whether they may be debounced.
    pub const fn is_unique(&self) -> bool {
        self.unique
    }

    /// Length in bytes of the shortest first message, preamble included: a
    /// [scanner with a lower limit](Self::scanner_with_limit) refuses everything.
    pub const fn message_min(&self) -> usize {
        let least = match self.kind {
            Kind::TlsClientHello => tls::ClientHello::least(),
            Kind::Stated(shape) => shape.least(),
        };
        least.saturating_add(self.preamble.len())
    }

    /// Where in a first message the [`token`]'s header begins, in bytes: behind
    /// the preamble. `None` if the framing is no token.
    pub const fn token_at(&self) -> Option<usize> {
        match self.kind {
            Kind::Stated(Shape::Token) => Some(self.preamble.len()),
            Kind::Stated(_) | Kind::TlsClientHello => None,
        }
    }

    /// A scanner for one connection, which refuses messages longer than
    /// [`FLIGHT_MAX`].
    pub fn scanner(&self) -> Scanner {
        self.scanner_with_limit(FLIGHT_MAX)
    }

    /// A scanner for one connection, which refuses messages longer than
    /// `limit` bytes, preamble included.
    ///
    /// Any limit is legal; one below [`message_min`](Self::message_min) refuses
    /// all messages, as [`Malformed::TooLong`] or malformed otherwise.
    pub fn scanner_with_limit(&self, limit: usize) -> Scanner {
        Scanner::new(self, limit)
    }

    const fn new(kind: Kind, unique: bool) -> Self {
        Self {
            kind,
            preamble: Preamble::EMPTY,
            unique,
        }
    }
}
