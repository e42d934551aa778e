//! Headers before Noise messages.
//!
//! The Noise framework (revision 34, section 3) leaves message lengths to the
//! application, and limits messages to 65,535 bytes. Two headers are in use.

use super::Malformed;

/// The header before a Noise message, which states its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoiseHeader {
    /// Two bytes, big-endian, not counting themselves: what the Noise
    /// specification recommends (revision 34 section 13, "Length fields").
    Len16,
    /// Storj's four bytes: 0x80, then 24 bits big-endian, not counting the
    /// header (`HeaderByte` and `readMsg` in `jtolio/noiseconn`'s `conn.go`).
    ///
    /// Storj sends the eight bytes `DRPC!N!1` before it (`Header` in
    /// `storj/common`'s `rpc/noise/noise.go`); see
    /// [`Framing::after`](super::Framing::after).
    Storj,
}

/// The first byte of Storj's header.
const STORJ_HEADER_BYTE: u8 = 0x80;

impl NoiseHeader {
    /// Length of the header in bytes.
    pub(super) const fn len(self) -> usize {
        match self {
            Self::Len16 => 2,
            Self::Storj => 4,
        }
    }

    /// Whether `byte` may stand at `index` of the header.
    pub(super) const fn check(self, index: usize, byte: u8) -> Result<(), Malformed> {
        match self {
            Self::Storj if index == 0 && byte != STORJ_HEADER_BYTE => Err(Malformed::NotNoise),
            Self::Storj | Self::Len16 => Ok(()),
        }
    }

    /// Length of the message that follows, from the header's bytes in order.
    pub(super) fn body_len(self, header: &[u8]) -> Result<u64, Malformed> {
        let length = match self {
            Self::Len16 => header,
            Self::Storj => header.get(1..).unwrap_or_default(),
        };
        let length = length
            .iter()
            .fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
        match length {
            0 => Err(Malformed::ZeroLength),
            length => Ok(length),
        }
    }
}
