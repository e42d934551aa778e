//! A header of ours that makes any first message unique.
//!
//! A `GET /` looks like every other `GET /`, so a server cannot tell a copy
//! from a stranger. A client that knows its server to be a Headstart gate
//! therefore writes a token first; the gate checks and removes it. Header and
//! flight together are the first message.
//!
//! ```text
//!  byte  0        4         5       6               8                     24
//!        +--------+---------+-------+---------------+---------------------+----
//!        | magic  | version | flags | flight length | id: 16 random bytes | the flight
//!        | F5 HST | 1       |       | big-endian    |                     |
//!        +--------+---------+-------+---------------+---------------------+----
//! ```
//!
//! - The *magic* begins with 0xF5, which occurs nowhere in UTF-8, so that no
//!   text protocol (HTTP, SSH, SMTP, PROXY version 1, Storj's `DRPC!!!1`)
//!   begins like a token; it is no TLS content type (20 to 24), no SSL 2
//!   header that a server would take, no SOCKS version, and not the first byte
//!   of PROXY version 2. Read as a length, `F5 48 53 54` is 62,792 in 16 bits
//!   big-endian and above 1.4 thousand million in 32 bits of either order: too
//!   long for any first message. A server that does not know tokens fails at
//!   once instead of waiting for more.
//! - *Flags*: bit 0 says that this client resets its losing connections. All
//!   other bits must be zero in version 1, and a gate refuses what it does not
//!   know: a flag may change what the bytes mean, and the client cannot find
//!   out that it was ignored.
//! - *Flight length* counts the bytes that follow the header and belong to the
//!   first message. Zero is legal: that is what a client sends that reads
//!   first, so that servers that speak first work too.
//! - The *id* is drawn anew for every logical connection, from a source that
//!   cannot be guessed. It is the same on every attempt of one race.

use core::fmt;

use super::Malformed;

/// Length of a token's header in bytes.
pub const HEADER_LEN: usize = 24;

/// The longest flight that a token can state, in bytes. Scanners stop earlier,
/// at their limit.
pub const FLIGHT_LEN_MAX: usize = u16::MAX as usize;

/// The version that this library writes, and the only one that it reads.
pub const VERSION: u8 = 1;

/// The four bytes that every token begins with.
pub const MAGIC: [u8; 4] = [0xF5, b'H', b'S', b'T'];

/// Flag bit 0: the client resets its losers.
const RESETS_LOSERS: u8 = 1;

/// The 16 random bytes that make a token unique.
///
/// `Debug` shows the first two only.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id(pub [u8; 16]);

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, ..] = self.0;
        write!(f, "Id({first:02x}{second:02x}..)")
    }
}

/// A token's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The connection's random name.
    pub id: Id,
    /// Length of the raced flight that follows the header, in bytes.
    pub flight_len: u16,
    /// Whether the client closes its losing connections by RST, so that a FIN
    /// is never a loser's.
    pub resets_losers: bool,
}

impl Header {
    /// The header as it goes on the wire.
    pub const fn encode(&self) -> [u8; HEADER_LEN] {
        let [m0, m1, m2, m3] = MAGIC;
        let flags = if self.resets_losers { RESETS_LOSERS } else { 0 };
        let [l0, l1] = self.flight_len.to_be_bytes();
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = self.id.0;
        [
            m0, m1, m2, m3, VERSION, flags, l0, l1, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p,
        ]
    }

    /// The header that these bytes are.
    ///
    /// # Errors
    ///
    /// [`Malformed::NotToken`], [`Malformed::TokenVersion`] or
    /// [`Malformed::TokenFlags`]; the first that applies, in this order.
    pub const fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, Malformed> {
        let [m0, m1, m2, m3, version, flags, l0, l1, id @ ..] = *bytes;
        let [w0, w1, w2, w3] = MAGIC;
        if m0 != w0 || m1 != w1 || m2 != w2 || m3 != w3 {
            return Err(Malformed::NotToken);
        }
        if version != VERSION {
            return Err(Malformed::TokenVersion(version));
        }
        if flags & !RESETS_LOSERS != 0 {
            return Err(Malformed::TokenFlags(flags));
        }
        Ok(Self {
            id: Id(id),
            flight_len: u16::from_be_bytes([l0, l1]),
            resets_losers: flags & RESETS_LOSERS != 0,
        })
    }
}

/// Whether `byte` may stand at `index` of a header, so that a wrong one is
/// known by its first wrong byte.
pub(super) fn check(index: usize, byte: u8) -> Result<(), Malformed> {
    match (index, MAGIC.get(index)) {
        (_, Some(magic)) if *magic != byte => Err(Malformed::NotToken),
        (4, _) if byte != VERSION => Err(Malformed::TokenVersion(byte)),
        (5, _) if byte & !RESETS_LOSERS != 0 => Err(Malformed::TokenFlags(byte)),
        _ => Ok(()),
    }
}

/// Length of the flight, from the header's bytes in order.
pub(super) fn body_len(header: &[u8]) -> Result<u64, Malformed> {
    let header = header.first_chunk().ok_or(Malformed::NotToken)?;
    Ok(u64::from(Header::decode(header)?.flight_len))
}
