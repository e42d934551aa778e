//! What a first message can have wrong with it.

use core::fmt;

/// Why bytes are not the first message that the framing describes.
///
/// The first error found stands: a [`Scanner`](super::Scanner) that has
/// failed gives the same error ever after. It does not depend on how the
/// bytes were cut into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Malformed {
    /// The bytes do not begin with the fixed preamble.
    WrongPreamble,
    /// Not a TLS handshake record: its content type is not 22, or its version
    /// not 3.1 to 3.4 (RFC 8446 section 5.1).
    NotTls,
    /// A TLS handshake record, but its message is not a ClientHello: another
    /// type than 1, or too short to hold what RFC 8446 section 4.1.2 requires.
    NotClientHello,
    /// A TLS handshake record without content (forbidden by RFC 8446
    /// section 5.1; a peer could send them without end).
    EmptyRecord,
    /// A TLS record of more than 2^14 bytes (RFC 8446 section 5.1).
    OversizedRecord,
    /// A ClientHello in more than 128 records.
    TooManyRecords,
    /// More handshake bytes in the record in which the ClientHello ends. The
    /// first message would end inside a record; RFC 8446 section 5.1 lets no
    /// client send any that soon.
    DataAfterClientHello,
    /// The message is longer than the limit.
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// Not a Storj Noise message: the first byte of its header is not 0x80.
    NotNoise,
    /// The stated length is zero, or does not cover the length field that it
    /// should count.
    ZeroLength,
    /// Not a token: wrong magic.
    NotToken,
    /// A token of a version that is not known.
    TokenVersion(u8),
    /// A token with flags that are not known.
    TokenFlags(u8),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongPreamble => f.write_str("the fixed preamble is missing"),
            Self::NotTls => f.write_str("not a TLS handshake record"),
            Self::NotClientHello => f.write_str("not a TLS ClientHello"),
            Self::EmptyRecord => f.write_str("empty TLS handshake record"),
            Self::OversizedRecord => f.write_str("TLS record of more than 16,384 bytes"),
            Self::TooManyRecords => f.write_str("TLS ClientHello in too many records"),
            Self::DataAfterClientHello => {
                f.write_str("data after the TLS ClientHello in the same record")
            }
            Self::TooLong { limit } => {
                write!(f, "first message longer than the limit of {limit} bytes")
            }
            Self::NotNoise => f.write_str("not a Noise message with a Storj header"),
            Self::ZeroLength => f.write_str("first message of length zero"),
            Self::NotToken => f.write_str("not a Headstart token"),
            Self::TokenVersion(version) => write!(f, "token of unknown version {version}"),
            Self::TokenFlags(flags) => write!(f, "token with unknown flags {flags:#04x}"),
        }
    }
}

impl core::error::Error for Malformed {}
