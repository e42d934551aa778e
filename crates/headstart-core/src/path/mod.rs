//! Path memory: what is known of Fast Open between two addresses, and how the
//! next race between them is run.
//!
//! A middlebox that drops SYNs with data, or loses what follows them, does so
//! each time. A race over such a path costs no time, for plain runs beside it,
//! but two connections instead of one; and where a connection dies after its
//! first answer no race helps at all. So each race's outcome is noted, as
//! [`Evidence`], and asked for a [`Plan`] before the next.
//!
//! - **M1** The first race over a path is always run.
//! - **M2** A failure suspends Fast Open on the path for a minute, each further
//!   one for twice as long, up to a day: every back-off ends.
//! - **M3** Then *one* race tries again, and of races at the same time that fail
//!   one counts.
//! - **M4** A path on which Fast Open was answered is forgiven up to
//!   [`TRUST_MAX`] failures in a row: those are packets lost by chance. Any answer
//!   ends all suspicion, but for stalls.
//! - **M5** What died after its answer is known only to the application, which
//!   reports it as [`Trouble::Stalled`]. Such a path is suspended for 64 times as
//!   long, and its answers alone do not end the doubling.
//!
//! ```
//! use core::time::Duration;
//! use headstart_core::Instant;
//! use headstart_core::path::{Evidence, PathKey, PathMemory, Plan, Trouble};
//!
//! let second = |s: u64| Instant::from_nanos(s * 1_000_000_000);
//! let path = PathKey::new([192, 0, 2, 1].into(), ([192, 0, 2, 2], 443).into());
//! let mut memory = PathMemory::default();
//! assert_eq!(memory.plan(second(0), path), Plan::Race);
//! // That race began at 0 and was over after a second.
//! memory.note(second(1), path, second(0), Evidence::Trouble(Trouble::Dropped));
//! assert!(matches!(memory.plan(second(2), path), Plan::Plain { .. }));
//! assert_eq!(memory.plan(second(61), path), Plan::Retry(Trouble::Dropped));
//! ```

mod evidence;
mod phase;
mod plan;
mod settings;
mod snapshot;

use alloc::collections::BTreeMap;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub use evidence::{Evidence, Trouble};
pub use plan::Plan;
pub use settings::{
    BACKOFF_FIRST, BACKOFF_MAX, KEEP_DEFAULT, PATHS_DEFAULT, PATHS_LIMIT, PathBuilder,
    PathConfigError, RETRY_PATIENCE, STALL_DOUBLINGS, TRUST_MAX,
};
pub use snapshot::{Remembered, Standing, WallTime};

use crate::time::Instant;
use phase::{News, Phase};
use settings::Settings;

/// A path: the address that packets leave from, and the address and port that
/// they go to. Cookies belong to addresses, but whether a server has Fast Open
/// on, and what a middlebox makes of it, is a matter of the port too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathKey {
    peer: SocketAddr,
    local: IpAddr,
}

impl PathKey {
    /// The path from one address to another. An IPv4 address mapped into IPv6
    /// is the IPv4 address, and a flow label makes no difference.
    pub fn new(local: IpAddr, peer: SocketAddr) -> Self {
        Self {
            peer: canonical(peer),
            local: local.to_canonical(),
        }
    }

    /// The address that packets leave from.
    pub const fn local(&self) -> IpAddr {
        self.local
    }

    /// Where they go.
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }
}

fn canonical(peer: SocketAddr) -> SocketAddr {
    match peer {
        SocketAddr::V6(mut v6) if v6.ip().to_ipv4_mapped().is_none() => {
            v6.set_flowinfo(0);
            SocketAddr::V6(v6)
        }
        mapped => SocketAddr::new(mapped.ip().to_canonical(), mapped.port()),
    }
}

/// What a [`PathMemory`] has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct PathCounters {
    /// Plans to race as usual.
    pub races: u64,
    /// Plans to try again after a back-off.
    pub retries: u64,
    /// Plans to start with Fast Open alone.
    pub hedged: u64,
    /// Plans to use plain alone.
    pub plain: u64,
    /// Races in which Fast Open answered.
    pub answered: u64,
    /// Races in which it had no cookie yet.
    pub asked: u64,
    /// Races in which it failed, and reported stalls.
    pub troubles: u64,
    /// Times that a path was suspended, or suspended for longer.
    pub suspensions: u64,
    /// Paths that gave way to others, since the memory was full.
    pub evicted: u64,
}

/// A path that is known.
#[derive(Clone, Copy, Debug)]
struct Record {
    phase: Phase,
    /// When something was last heard of it.
    noted: Instant,
    /// Its place in the order of use.
    place: u64,
}

/// What is known of Fast Open on each of a bounded number of paths.
///
/// It asks for no time: each call says when it is, on one clock. Time that
/// goes back stands still. Cost per call grows with the logarithm of the number
/// of paths.
#[derive(Clone, Debug)]
pub struct PathMemory {
    settings: Settings,
    now: Instant,
    records: BTreeMap<PathKey, Record>,
    /// Who goes first when there is no room: what is not in trouble, then what
    /// was used longest ago.
    order: BTreeMap<(bool, u64), PathKey>,
    places: u64,
    counters: PathCounters,
}

impl Default for PathMemory {
    fn default() -> Self {
        Self::with(PathBuilder::new().settings())
    }
}

impl PathMemory {
    /// Starts from the defaults.
    pub fn builder() -> PathBuilder {
        PathBuilder::new()
    }

    fn with(settings: Settings) -> Self {
        Self {
            settings,
            now: Instant::default(),
            records: BTreeMap::new(),
            order: BTreeMap::new(),
            places: 0,
            counters: PathCounters::default(),
        }
    }

    /// How the race that begins now uses a path. A [`Plan::Retry`] is given to
    /// one race at a time: [`note`](Self::note) its outcome, even if it is
    /// [`Evidence::Nothing`], with the same moment as its beginning. Of a race
    /// by [`Plan::Plain`] there is nothing to note.
    pub fn plan(&mut self, now: Instant, path: PathKey) -> Plan {
        self.tick(now);
        let plan = match self.take(path) {
            None => Plan::Race,
            Some(mut record) => {
                let (phase, plan) = record.phase.plan(self.now, &self.settings);
                record.phase = phase;
                self.put(path, record);
                plan
            }
        };
        let counter = match plan {
            Plan::Race => &mut self.counters.races,
            Plan::Retry(_) => &mut self.counters.retries,
            Plan::Hedged(_) => &mut self.counters.hedged,
            Plan::Plain { .. } => &mut self.counters.plain,
        };
        *counter = counter.saturating_add(1);
        plan
    }

    /// Whether a plan for any path to this peer could be other than
    /// [`Plan::Race`]. If not, nobody needs to find out the local address.
    pub fn is_suspicious(&self, peer: SocketAddr) -> bool {
        self.of_peer(peer)
            .any(|(_, record)| !record.phase.is_open() || self.settings.hedge.is_some())
    }

    fn of_peer(&self, peer: SocketAddr) -> impl Iterator<Item = (&PathKey, &Record)> {
        let peer = canonical(peer);
        let lowest = PathKey {
            peer,
            local: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        let highest = PathKey {
            peer,
            local: IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
        };
        self.records.range(lowest..=highest)
    }

    /// The path to a peer that was used last, for who does not know from which
    /// address the next race leaves.
    pub fn latest(&self, peer: SocketAddr) -> Option<PathKey> {
        self.of_peer(peer)
            .max_by_key(|(_, record)| record.place)
            .map(|(path, _)| *path)
    }

    /// Takes what a race over a path has shown, now; `began` is when the race
    /// was planned. Of races at the same time, that met the same, one counts.
    pub fn note(&mut self, now: Instant, path: PathKey, began: Instant, evidence: Evidence) {
        self.tick(now);
        let counter = match evidence {
            Evidence::Nothing => None,
            Evidence::Answered => Some(&mut self.counters.answered),
            Evidence::Asked => Some(&mut self.counters.asked),
            Evidence::Trouble(_) => Some(&mut self.counters.troubles),
        };
        if let Some(counter) = counter {
            *counter = counter.saturating_add(1);
        }
        let known = self.take(path);
        if known.is_none() && evidence == Evidence::Nothing {
            return;
        }
        let before = known.map_or(Phase::Open(phase::Open::default()), |record| record.phase);
        let news = News {
            evidence,
            began,
            now: self.now,
        };
        let phase = before.note(news, &self.settings);
        let suspended = |phase: &Phase| match phase {
            Phase::Suspended { until, .. } => Some(*until),
            Phase::Open(_) | Phase::Trying { .. } => None,
        };
        if suspended(&phase) > Some(self.now) && suspended(&phase) != suspended(&before) {
            self.counters.suspensions = self.counters.suspensions.saturating_add(1);
        }
        let noted = match (known, evidence) {
            (Some(record), Evidence::Nothing) => record.noted,
            _ => self.now,
        };
        self.put(
            path,
            Record {
                phase,
                noted,
                place: 0,
            },
        );
    }

    /// Forgets a path; whether it was known.
    pub fn forget(&mut self, path: PathKey) -> bool {
        self.take(path).is_some()
    }

    /// Paths that are known.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What was done so far.
    pub fn counters(&self) -> PathCounters {
        self.counters
    }

    /// Clocks may jump; here, time only goes forward.
    fn tick(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Takes a record out; nothing, if it is too old.
    fn take(&mut self, path: PathKey) -> Option<Record> {
        let record = self.records.remove(&path)?;
        self.order.remove(&(!record.phase.is_open(), record.place));
        (!self.is_expired(&record)).then_some(record)
    }

    /// Puts a record in as the one that was used last.
    fn put(&mut self, path: PathKey, mut record: Record) {
        self.places = self.places.saturating_add(1);
        record.place = self.places;
        self.order
            .insert((!record.phase.is_open(), record.place), path);
        self.records.insert(path, record);
        while self.records.len() > self.settings.capacity {
            let Some((_, first)) = self.order.pop_first() else {
                return;
            };
            self.records.remove(&first);
            self.counters.evicted = self.counters.evicted.saturating_add(1);
        }
    }

    fn is_expired(&self, record: &Record) -> bool {
        self.now >= record.noted.saturating_add(self.settings.keep)
    }
}
