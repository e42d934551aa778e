//! The bytes of both applications: told apart by where they stand, so that
//! whatever is lost, doubled or swapped shows.

use headstart_core::FirstFlight;
use headstart_core::framing::token::{HEADER_LEN, Id};
use headstart_core::framing::{ByteOrder, Framing, LengthPrefix, NoiseHeader, PrefixWidth};

/// Bytes of a flight that a SYN to any address is taken to carry, as the
/// core's users set it for IPv4.
pub const SYN_PAYLOAD: usize = 1_400;

/// What the client states of its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Statement {
    /// Nothing.
    Unstated,
    /// They are a TLS ClientHello.
    Tls,
    /// They are said to be a TLS ClientHello, and are not.
    Malformed,
    /// They are a Noise message behind two bytes of length.
    Noise,
    /// They may be replayed; the server knows them by two bytes of length.
    Asserted,
    /// They go under a Token.
    Token,
}

impl Statement {
    pub(crate) fn first_flight(self, seed: u64) -> FirstFlight {
        match self {
            Self::Unstated => FirstFlight::Unstated,
            Self::Tls | Self::Malformed => FirstFlight::tls(),
            Self::Noise => FirstFlight::noise(NoiseHeader::Len16),
            Self::Asserted => FirstFlight::Asserted,
            Self::Token => {
                let [a, b, c, d, e, f, g, h] = seed.to_le_bytes();
                let id = Id([a, b, c, d, e, f, g, h, 0, 1, 2, 3, 4, 5, 6, 7]);
                FirstFlight::Token { id }
            }
        }
    }

    /// How the server finds the first message's end.
    pub(crate) fn framing(self) -> Framing {
        match self {
            Self::Tls => Framing::tls_client_hello(),
            Self::Noise => Framing::noise(NoiseHeader::Len16),
            Self::Token => Framing::token(),
            Self::Unstated | Self::Malformed | Self::Asserted => {
                let prefix = LengthPrefix {
                    width: PrefixWidth::Two,
                    order: ByteOrder::Big,
                    counts_itself: false,
                };
                Framing::length_prefixed(prefix).assert_unique()
            }
        }
    }

    /// Bytes that the race puts before the application's.
    pub(crate) const fn header_len(self) -> usize {
        match self {
            Self::Token => HEADER_LEN,
            Self::Unstated | Self::Tls | Self::Malformed | Self::Noise | Self::Asserted => 0,
        }
    }

    /// The shortest first message.
    pub(crate) const fn message_min(self) -> u32 {
        match self {
            Self::Tls => 60,
            Self::Token => 0,
            Self::Unstated | Self::Malformed | Self::Noise | Self::Asserted => 3,
        }
    }

    /// What the application writes: a first message of `message` bytes, and on
    /// to `total` bytes.
    pub(crate) fn upload(self, message: u32, total: u32) -> Vec<u8> {
        let mut bytes = pattern(UPLOAD, total);
        let head: [u8; 9] = match self {
            Self::Token => return bytes,
            Self::Tls => {
                let [_, _, r0, r1] = message.saturating_sub(5).to_be_bytes();
                let [_, b0, b1, b2] = message.saturating_sub(9).to_be_bytes();
                [22, 3, 1, r0, r1, 1, b0, b1, b2]
            }
            Self::Unstated | Self::Malformed | Self::Noise | Self::Asserted => {
                let [_, _, l0, l1] = message.saturating_sub(2).to_be_bytes();
                if let Some(place) = bytes.get_mut(..2) {
                    place.copy_from_slice(&[l0, l1]);
                }
                return bytes;
            }
        };
        for (place, byte) in bytes.iter_mut().zip(head) {
            *place = byte;
        }
        bytes
    }
}

/// The stream number of the application's bytes.
const UPLOAD: u64 = u64::MAX;

/// Bytes that no other stream has at the same places.
pub(crate) fn pattern(stream: u64, length: u32) -> Vec<u8> {
    let words = u64::from(length.div_ceil(8));
    let mut bytes: Vec<u8> = Vec::with_capacity(usize::try_from(words * 8).unwrap_or(0));
    let salt = stream.wrapping_mul(0xd134_2543_de82_ef95) | 1;
    for word in 0..words {
        let mixed = (word.wrapping_add(1).wrapping_mul(salt)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bytes.extend_from_slice(&(mixed ^ (mixed >> 29)).to_le_bytes());
    }
    bytes.truncate(length as usize);
    bytes
}
