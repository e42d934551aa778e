//! Messages behind a header that states their length.

use super::length_prefix::LengthPrefix;
use super::noise::NoiseHeader;
use super::{Malformed, token};

/// What the header looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Noise(NoiseHeader),
    Prefix(LengthPrefix),
    Token,
}

/// Room for the longest header.
const HEADER_MAX: usize = token::HEADER_LEN;

impl Shape {
    const fn header_len(self) -> usize {
        match self {
            Self::Noise(header) => header.len(),
            Self::Prefix(prefix) => prefix.len(),
            Self::Token => token::HEADER_LEN,
        }
    }

    /// Length of the shortest message, header included: only a token says
    /// something by its header alone.
    pub(super) const fn least(self) -> usize {
        match self {
            Self::Noise(_) | Self::Prefix(_) => self.header_len().saturating_add(1),
            Self::Token => self.header_len(),
        }
    }

    fn check(self, index: usize, byte: u8) -> Result<(), Malformed> {
        match self {
            Self::Noise(header) => header.check(index, byte),
            Self::Prefix(_) => Ok(()),
            Self::Token => token::check(index, byte),
        }
    }

    fn body_len(self, header: &[u8]) -> Result<u64, Malformed> {
        match self {
            Self::Noise(noise) => noise.body_len(header),
            Self::Prefix(prefix) => prefix.body_len(header),
            Self::Token => token::body_len(header),
        }
    }
}

/// Finds the end of one message behind a header that states its length.
#[derive(Clone, Debug)]
pub(super) struct Stated {
    shape: Shape,
    header: [u8; HEADER_MAX],
    /// Bytes of `header` that have come.
    seen: usize,
    /// Bytes of the body that are missing; known once the header is whole.
    left: u64,
}

impl Stated {
    pub(super) const fn new(shape: Shape) -> Self {
        Self {
            shape,
            header: [0; HEADER_MAX],
            seen: 0,
            left: 0,
        }
    }

    /// Whether header and body are whole.
    pub(super) const fn is_complete(&self) -> bool {
        self.seen == self.shape.header_len() && self.left == 0
    }

    /// Takes at least one byte of `input`, which is not empty, and says how
    /// many. Not to be called when complete.
    pub(super) fn take(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        let header_len = self.shape.header_len();
        if self.seen == header_len {
            let skipped = self.left.min(input.len() as u64);
            self.left = self.left.saturating_sub(skipped);
            return Ok(usize::try_from(skipped).unwrap_or(input.len()));
        }
        let (Some(slot), Some(&byte)) = (self.header.get_mut(self.seen), input.first()) else {
            return Ok(0);
        };
        self.shape.check(self.seen, byte)?;
        *slot = byte;
        self.seen = self.seen.saturating_add(1);
        if self.seen == header_len {
            let header = self.header.get(..header_len).unwrap_or_default();
            self.left = self.shape.body_len(header)?;
        }
        Ok(1)
    }

    /// The least number of bytes that must still come.
    pub(super) const fn least_left(&self) -> u64 {
        let header = self.shape.header_len().saturating_sub(self.seen);
        self.left.saturating_add(header as u64)
    }
}
