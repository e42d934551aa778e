//! What a server remembers of first messages: the real debouncer, sharded as
//! in a gate, and watched at every observation (D2 to D5): those of the race,
//! and of a crowd of other clients.

use std::fmt::Write;
use std::time::Duration;

use headstart_core::Instant;
use headstart_core::debounce::{Config, Debouncer, Digest, SECRET_LEN, Secret, Verdict};

use crate::scenario::Crowd;
use crate::stream;

/// First messages that a shard remembers.
const CAPACITY: usize = 16;
/// The same where digests are aimed: many more than can be aimed at one place.
const CAPACITY_AIMED_AT: usize = 1_024;
/// Most messages that one observation lets go.
const GONE_MAX: u64 = 3;
/// Most messages that are remembered of those aimed at one place: who looks for
/// one of them passes all.
const AIMED_MAX: usize = 480;
/// The connections of a crowd are numbered from here.
const CROWD: u64 = 1 << 32;
/// Shards of a server's memory.
const SHARDS: usize = 4;

/// One server's memory.
pub(crate) struct Memory {
    secret: Secret,
    capacity: usize,
    shards: Vec<Debouncer>,
    /// Messages of a crowd in each shard, since the race's first came there.
    guests: [usize; SHARDS],
    /// What is remembered of each claim: by which shard, and its digest.
    claims: Vec<(usize, Digest)>,
}

/// A rule that the memory broke, and how.
pub(crate) type Broken = (&'static str, String);

impl Memory {
    /// An empty memory; none if the window is out of range.
    pub(crate) fn new(seed: u64, window: Duration, crowd: Option<Crowd>) -> Option<Self> {
        let capacity = match crowd {
            Some(Crowd { aimed: true, .. }) => CAPACITY_AIMED_AT,
            _ => CAPACITY,
        };
        let config = Config { capacity, window };
        let shards: Result<_, _> = (0..SHARDS).map(|_| Debouncer::new(config)).collect();
        Some(Self {
            secret: secret_of(seed),
            capacity,
            guests: [0; SHARDS],
            shards: shards.ok()?,
            claims: Vec::new(),
        })
    }

    /// What a message is called here.
    pub(crate) fn digest(&self, message: &[u8]) -> Digest {
        self.secret.digest(message)
    }

    /// The most that a shard remembers, and may.
    pub(crate) fn remembered(&self) -> (usize, usize) {
        let most = self.shards.iter().map(Debouncer::len).max();
        (most.unwrap_or(0), self.capacity)
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
        self.is_one_digest(message, digest)?;
        let verdict = self.ask(now, place, digest, connection)?;
        self.claims.push((place, digest));
        Ok(verdict)
    }

    /// Messages of other clients come, for the so many-th time.
    pub(crate) fn observe_crowd(
        &mut self,
        now: Instant,
        crowd: &Crowd,
        time: u32,
    ) -> Result<(), Broken> {
        let first = u64::from(time).saturating_mul(crowd.size.into());
        for number in (first..).take(crowd.size as usize) {
            let digest = match crowd.aimed {
                true => aimed(number),
                false => self.digest(&number.to_le_bytes()),
            };
            let place = digest.shard(SHARDS);
            if !self.lets_in(place, crowd) {
                continue;
            }
            let connection = CROWD.saturating_add(number);
            let verdict = self.ask(now, place, digest, connection)?;
            if verdict != Verdict::First {
                return Err(("D1", format!("the first of its kind is {verdict:?}")));
            }
            if number % 3 == 0 {
                let verdict = self.ask(now, place, digest, 0)?;
                let copy =
                    matches!(verdict, Verdict::Duplicate { of, copies: 2, .. } if of == connection);
                if !copy {
                    return Err(("D1", format!("a second copy is {verdict:?}")));
                }
            }
        }
        let aimed_at = self.shards.iter().map(Debouncer::len).max().unwrap_or(0);
        match crowd.aimed && aimed_at > AIMED_MAX.saturating_add(self.claims.len()) {
            true => Err((
                "D3",
                format!("{aimed_at} digests aimed at one place are remembered"),
            )),
            false => Ok(()),
        }
    }

    /// Whether one more does not force out what the race needs.
    fn lets_in(&mut self, place: usize, crowd: &Crowd) -> bool {
        let claims = self.claims.iter().filter(|(there, _)| *there == place);
        let claims = claims.count();
        let Some(guests) = self.guests.get_mut(place).filter(|_| claims > 0) else {
            return true;
        };
        *guests = guests.saturating_add(1);
        !crowd.aimed && guests.saturating_add(claims) < self.capacity
    }

    /// Asks a shard, and watches what that costs: D2, D3.
    fn ask(
        &mut self,
        now: Instant,
        place: usize,
        digest: Digest,
        connection: u64,
    ) -> Result<Verdict, Broken> {
        let Some(shard) = self.shards.get_mut(place) else {
            return Err(("D5", format!("shard {place} of {SHARDS}")));
        };
        let gone = |shard: &Debouncer| {
            let stats = shard.stats();
            stats.expired.saturating_add(stats.forced_out)
        };
        let (before, bytes) = (gone(shard), shard.allocated_bytes());
        let verdict = shard.observe(now, digest, connection);
        let let_go = gone(shard).saturating_sub(before);
        if let_go > GONE_MAX {
            return Err(("D3", format!("one observation lets {let_go} messages go")));
        }
        match shard.allocated_bytes() == bytes {
            true => Ok(verdict),
            false => Err(("D2", format!("a memory that had {bytes} bytes has others"))),
        }
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

    /// D5: a message has one digest, and so one shard, in whatever pieces it came.
    fn is_one_digest(&self, message: &[u8], digest: Digest) -> Result<(), Broken> {
        let (head, tail) = message.split_at(message.len() / 3);
        let mut hasher = self.secret.hasher();
        hasher.update(head);
        hasher.update(tail);
        match hasher.digest() == digest {
            true => Ok(()),
            false => Err(("D5", "in pieces, a message has another digest".into())),
        }
    }
}

/// A digest of the same home as all others that are aimed, in the same shard.
fn aimed(number: u64) -> Digest {
    let bits = stream::pattern(number, 16);
    let bits = bits
        .first_chunk()
        .map_or(0, |bits| u128::from_le_bytes(*bits));
    // The home is in the highest 32 bits, the shard in those above the lowest.
    let others = u128::from(u32::MAX) << 64 | u128::from(u32::MAX);
    Digest::from_bits(5 << 96 | bits & others)
}

fn secret_of(seed: u64) -> Secret {
    let mut bytes = [0; SECRET_LEN];
    let random = stream::pattern(seed, 192);
    for (place, byte) in bytes.iter_mut().zip(random) {
        *place = byte;
    }
    Secret::from_bytes(&bytes)
}
