//! Fixed bytes before a first message.

use core::fmt;

use super::Malformed;

/// The longest preamble, in bytes.
pub const PREAMBLE_MAX: usize = 32;

/// A preamble of more than [`PREAMBLE_MAX`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreambleTooLong {
    /// Its length in bytes.
    pub len: usize,
}

impl fmt::Display for PreambleTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "preamble of {} bytes, at most {PREAMBLE_MAX} are supported",
            self.len
        )
    }
}

impl core::error::Error for PreambleTooLong {}

/// Up to [`PREAMBLE_MAX`] bytes in place. What is not used is zero, so that
/// equal preambles are equal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Preamble {
    bytes: [u8; PREAMBLE_MAX],
    len: usize,
}

impl Preamble {
    pub(super) const EMPTY: Self = Self {
        bytes: [0; PREAMBLE_MAX],
        len: 0,
    };

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// `earlier`, then this one.
    pub(super) fn behind(&self, earlier: &[u8]) -> Result<Self, PreambleTooLong> {
        let len = self.len.saturating_add(earlier.len());
        if len > PREAMBLE_MAX {
            return Err(PreambleTooLong { len });
        }
        let mut bytes = [0; PREAMBLE_MAX];
        let both = earlier.iter().chain(self.as_slice());
        for (to, from) in bytes.iter_mut().zip(both) {
            *to = *from;
        }
        Ok(Self { bytes, len })
    }

    /// Whether `byte` is the preamble's at `index`.
    pub(super) fn check(&self, index: usize, byte: u8) -> Result<(), Malformed> {
        if self.as_slice().get(index) == Some(&byte) {
            Ok(())
        } else {
            Err(Malformed::WrongPreamble)
        }
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl fmt::Debug for Preamble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_slice().escape_ascii())
    }
}
