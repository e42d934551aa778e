//! Binary lengths before a message.

use super::Malformed;

/// A binary length before a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthPrefix {
    /// How many bytes the length has.
    pub width: PrefixWidth,
    /// In which order they come.
    pub order: ByteOrder,
    /// Whether the length counts its own bytes.
    pub counts_itself: bool,
}

/// How many bytes a length has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixWidth {
    /// One byte.
    One,
    /// Two bytes.
    Two,
    /// Four bytes.
    Four,
}

/// In which order the bytes of a length come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// Most significant byte first.
    Big,
    /// Least significant byte first.
    Little,
}

impl LengthPrefix {
    /// PostgreSQL's start-up message: four bytes, big-endian, counting
    /// themselves (PostgreSQL documentation, "Message Formats",
    /// `StartupMessage`).
    pub const POSTGRES_STARTUP: Self = Self {
        width: PrefixWidth::Four,
        order: ByteOrder::Big,
        counts_itself: true,
    };

    /// Length of the prefix in bytes.
    pub(super) const fn len(self) -> usize {
        match self.width {
            PrefixWidth::One => 1,
            PrefixWidth::Two => 2,
            PrefixWidth::Four => 4,
        }
    }

    /// Length of what follows the prefix, from the prefix's bytes in order.
    ///
    /// Nothing at all is an error: an empty message holds nothing to race, and
    /// nothing to tell it from another.
    pub(super) fn body_len(self, prefix: &[u8]) -> Result<u64, Malformed> {
        let push = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        let stated = match self.order {
            ByteOrder::Big => prefix.iter().fold(0, push),
            ByteOrder::Little => prefix.iter().rev().fold(0, push),
        };
        let counted = if self.counts_itself {
            self.len() as u64
        } else {
            0
        };
        match stated.checked_sub(counted) {
            None | Some(0) => Err(Malformed::ZeroLength),
            Some(length) => Ok(length),
        }
    }
}
