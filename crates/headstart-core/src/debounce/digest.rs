//! Keyed digests of messages: XXH3, 128 bits.

use core::fmt;

use xxhash_rust::xxh3::{Xxh3, xxh3_128_with_secret};

/// Length of a [`Secret`] in bytes.
pub const SECRET_LEN: usize = 192;

/// The key of all digests of a process.
///
/// Digests under different secrets have nothing to do with each other.
#[derive(Clone)]
pub struct Secret([u8; SECRET_LEN]);

impl Secret {
    /// A secret from 192 bytes of the operating system's random source, drawn
    /// once per process and told to nobody.
    ///
    /// All of them must be random. XXH3 multiplies the message with the
    /// secret, and where that is regular messages collide: do not fill up
    /// fewer bytes by repetition. For the same reason there is no shorter seed
    /// (XXH3's own has 64 bits, which can be guessed).
    pub const fn from_bytes(bytes: &[u8; SECRET_LEN]) -> Self {
        Self(*bytes)
    }

    /// The digest of a message that is in one piece.
    pub fn digest(&self, message: &[u8]) -> Digest {
        Digest(xxh3_128_with_secret(message, &self.0))
    }

    /// Starts the digest of a message that comes in pieces.
    pub fn hasher(&self) -> MessageHasher {
        MessageHasher(Xxh3::with_secret(self.0))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The digest of a message that comes in pieces.
///
/// Some 600 bytes, on the stack; for a message that is in one piece,
/// [`Secret::digest`] is faster and gives the same.
#[derive(Clone)]
pub struct MessageHasher(Xxh3);

impl MessageHasher {
    /// Takes the next piece, of any length.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest of all pieces so far. More may follow.
    pub fn digest(&self) -> Digest {
        Digest(self.0.digest128())
    }
}

impl fmt::Debug for MessageHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageHasher(..)")
    }
}

/// A message's digest under a process's [`Secret`].
///
/// Neither `Debug` nor anything else shows it: who can read digests in a log
/// can tell which connections belong together.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(u128);

impl Digest {
    /// A digest from 128 bits of any origin.
    ///
    /// They must be as good as random in all their parts: the debouncer's
    /// places, and [`shard`](Self::shard), are made of some of them each.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// Which of `shards` debouncers is to be asked: below `shards`, or zero if
    /// there are none. Always the same for the same digest.
    ///
    /// Made of other bits than places within a debouncer, so that each fills
    /// evenly. `shards` above 2^32 count as that.
    pub fn shard(self, shards: usize) -> usize {
        let shards = u32::try_from(shards).unwrap_or(u32::MAX);
        // Below `shards`, so it fits in what `shards` came from.
        scale((self.0 >> 32) as u32, shards) as usize
    }

    /// 32 bits, scaled to below `buckets`.
    pub(super) const fn home(self, buckets: u32) -> u32 {
        scale((self.0 >> 96) as u32, buckets)
    }

    /// One of 255 values, of 32 bits that have no part in anything else.
    pub(super) const fn mark(self) -> u8 {
        (scale(self.0 as u32, 255) + 1) as u8
    }

    /// 32 bits that have no part in anything else.
    pub(super) const fn tag(self) -> u32 {
        (self.0 >> 64) as u32
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(digest)")
    }
}

/// Maps all 32-bit numbers evenly onto those below `range`: a multiplication,
/// where a remainder would be a division.
const fn scale(bits: u32, range: u32) -> u32 {
    ((bits as u64 * range as u64) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d3_each_part_of_a_digest_is_made_of_bits_of_its_own() {
        let parts = |bits| {
            let digest = Digest::from_bits(bits);
            let (home, shard) = (digest.home(1000), digest.shard(1000));
            (home, digest.tag(), shard, digest.mark())
        };
        let ones = u128::from(u32::MAX);
        assert_eq!(parts(0), (0, 0, 0, 1));
        assert_eq!(parts(ones), (0, 0, 0, 255));
        assert_eq!(parts(ones << 32), (0, 0, 999, 1));
        assert_eq!(parts(ones << 64), (0, u32::MAX, 0, 1));
        assert_eq!(parts(ones << 96), (999, 0, 0, 1));
    }
}
