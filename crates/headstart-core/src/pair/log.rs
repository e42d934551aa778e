//! The answer: written once, sent to each member from its own cursor.

use alloc::collections::VecDeque;

/// The answer's bytes, but for those at its start that nobody needs any more.
#[derive(Clone, Debug)]
pub(super) struct Log {
    bytes: VecDeque<u8>,
    /// Bytes that were forgotten.
    base: u64,
    max: usize,
}

impl Log {
    pub(super) const fn new(max: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            base: 0,
            max,
        }
    }

    /// Where the answer begins that is still here.
    pub(super) const fn base(&self) -> u64 {
        self.base
    }

    /// How long the answer is so far.
    pub(super) fn end(&self) -> u64 {
        self.base.saturating_add(self.len() as u64)
    }

    /// Bytes that are kept.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Most bytes that are kept.
    pub(super) const fn max(&self) -> usize {
        self.max
    }

    /// Whether a newcomer can be given the answer from its first byte.
    pub(super) const fn is_whole(&self) -> bool {
        self.base == 0
    }

    pub(super) fn room(&self) -> usize {
        self.max.saturating_sub(self.bytes.len())
    }

    /// Never holds more than now, but for the one byte without which no way
    /// can be proven.
    pub(super) fn confine(&mut self) {
        self.max = self.max.min(self.bytes.len().max(1));
    }

    /// Takes what fits, and says how much that was.
    pub(super) fn accept(&mut self, piece: &[u8]) -> usize {
        let part = piece.get(..self.room()).unwrap_or(piece);
        self.bytes.extend(part);
        part.len()
    }

    /// Forgets what is before `floor`.
    pub(super) fn forget_before(&mut self, floor: u64) {
        let gone = usize::try_from(floor.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let gone = gone.min(self.bytes.len());
        self.bytes.drain(..gone);
        self.base = self.base.saturating_add(gone as u64);
    }

    /// The bytes from `from` on.
    pub(super) fn since(&self, from: u64) -> [&[u8]; 2] {
        let skip = usize::try_from(from.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let (head, tail) = self.bytes.as_slices();
        match head.get(skip..) {
            Some(rest) => [rest, tail],
            None => [
                &[],
                tail.get(skip.saturating_sub(head.len())..).unwrap_or(&[]),
            ],
        }
    }

    /// Gives the memory back.
    pub(super) fn release(&mut self) {
        self.base = self.end();
        self.bytes = VecDeque::new();
    }
}
