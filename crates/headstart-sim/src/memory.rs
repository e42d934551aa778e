//! What a server remembers of first messages: the real debouncer, sharded as
//! in a gate, and watched at every observation (D4, D5; D3
//! takes more messages than a race has, and is for the core's tests).

use std::fmt::Write;
use std::time::Duration;

use headstart_core::Instant;
use headstart_core::debounce::{Config, Debouncer, Digest, SECRET_LEN, Secret, Verdict};

use crate::stream;

/// First messages that a shard remembers.
pub(crate) const CAPACITY: usize = 16;
/// Shards of a server's memory.
const SHARDS: usize = 4;

/// One server's memory.
pub(crate) struct Memory {
    secret: Secret,
    shards: Vec<Debouncer>,
    /// What is remembered of each claim: by which shard, and its digest.
    claims: Vec<(usize, Digest)>,
}

/// A rule that the memory broke, and how.
pub(crate) type Broken = (&'static str, String);

impl Memory {
    /// An empty memory; none if the window is out of range.
    pub(crate) fn new(seed: u64, window: Duration) -> Option<Self> {
        let config = Config {
            capacity: CAPACITY,
            window,
        };
        let shards: Result<_, _> = (0..SHARDS).map(|_| Debouncer::new(config)).collect();
        Some(Self {
            secret: secret_of(seed),
            shards: shards.ok()?,
            claims: Vec::new(),
        })
    }

    /// What a message is called here.
    pub(crate) fn digest(&self, message: &[u8]) -> Digest {
        self.secret.digest(message)
    }

    /// The most that a shard remembers.
    pub(crate) fn remembered(&self) -> usize {
        self.shards.iter().map(Debouncer::len).max().unwrap_or(0)
    }

    /// What the memory says of a message.
    pub(crate) fn observe(
        &mut self,
        now: Instant,
        message: &[u8],
        connection: u64,
    ) -> Result<Verdict, Broken> {
        let digest = self.digest(message);
        self.shows_nothing(digest)?;
        let place = digest.shard(SHARDS);
        self.is_one_place(message, digest, place)?;
        let Some(shard) = self.shards.get_mut(place) else {
            return Err(("D5", format!("shard {place} of {SHARDS}")));
        };
        let verdict = shard.observe(now, digest, connection);
        self.claims.push((place, digest));
        Ok(verdict)
    }

    /// D4: all digests look alike to who reads a log.
    fn shows_nothing(&self, digest: Digest) -> Result<(), Broken> {
        let (mut shown, mut other) = (String::new(), String::new());
        let written = write!(shown, "{digest:?} {digest} {:?}", self.secret);
        let zero = Digest::from_bits(0);
        let written = written.and_then(|()| write!(other, "{zero:?} {zero} {:?}", self.secret));
        match written.is_ok() && shown == other {
            true => Ok(()),
            false => Err(("D4", format!("a digest shows as {shown}"))),
        }
    }

    /// D5: a message is always asked of the same shard, in whatever pieces it
    /// came.
    fn is_one_place(&self, message: &[u8], digest: Digest, place: usize) -> Result<(), Broken> {
        let (head, tail) = message.split_at(message.len() / 3);
        let mut hasher = self.secret.hasher();
        hasher.update(head);
        hasher.update(tail);
        if hasher.digest() != digest {
            return Err(("D5", "in pieces, a message has another digest".into()));
        }
        let mut earlier = self.claims.iter();
        match earlier.find(|(other, same)| *same == digest && *other != place) {
            Some((other, _)) => Err(("D5", format!("shards {other} and {place} are asked"))),
            None => Ok(()),
        }
    }
}

fn secret_of(seed: u64) -> Secret {
    let mut bytes = [0; SECRET_LEN];
    let random = stream::pattern(seed, 192);
    for (place, byte) in bytes.iter_mut().zip(random) {
        *place = byte;
    }
    Secret::from_bytes(&bytes)
}
