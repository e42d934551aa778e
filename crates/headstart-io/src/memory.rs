//! What dialers remember of paths, and how races use it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant, SystemTime, UNIX_EPOCH};

use headstart_core::Instant;
use headstart_core::path::{
    Evidence, PathCounters, PathKey, PathMemory, Plan, Remembered, Trouble, WallTime,
};
use headstart_core::race::{AttemptId, AttemptKind, Race, Report, SynData};

use crate::clocks::Clocks;
use crate::epoch::Epoch;
use crate::runtime::{Runtime, Stream};
use crate::sync::{Mutex, lock};

/// On which paths Fast Open fails. Clones share it, and so do all dialers that
/// are given one: a path is the host's, not the dialer's. Dialers in different
/// network namespaces, or bound to different devices, need memories of their own.
///
/// See [`headstart_core::path`] for what it does. To keep it longer than the
/// process, store its [`snapshot`](Self::snapshot).
///
/// **Bounds.** At most 4,096 paths, or as many as the [`PathMemory`] was built
/// for; one short lock per race.
#[derive(Clone, Debug)]
pub struct Memory {
    paths: Arc<Mutex<PathMemory>>,
    epoch: Epoch,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(PathMemory::default())
    }
}

impl Memory {
    /// A memory with settings of its own.
    pub fn new(paths: PathMemory) -> Self {
        Self {
            paths: Arc::new(Mutex::new(paths)),
            epoch: Epoch::at(StdInstant::now()),
        }
    }

    /// What it has done so far.
    pub fn counters(&self) -> PathCounters {
        lock(&self.paths).counters()
    }

    /// Paths that are known.
    pub fn len(&self) -> usize {
        lock(&self.paths).len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        lock(&self.paths).is_empty()
    }

    /// All that is remembered, with wall time, for a store or a listing.
    pub fn snapshot(&self) -> Vec<Remembered> {
        lock(&self.paths).snapshot(self.now(), wall_time())
    }

    /// Takes back what was stored, unless something newer is known of the same
    /// path; how many paths were taken.
    pub fn restore(&self, stored: impl IntoIterator<Item = Remembered>) -> usize {
        let mut paths = lock(&self.paths);
        let (now, wall) = (self.now(), wall_time());
        let stored = stored.into_iter();
        stored
            .filter(|remembered| paths.restore(now, wall, *remembered))
            .count()
    }

    /// Forgets a path; whether it was known.
    pub fn forget(&self, path: PathKey) -> bool {
        lock(&self.paths).forget(path)
    }

    /// Notes that a connection which Fast Open had won died after its answer,
    /// for applications that have taken it
    /// [out of its stream](crate::RaceStream::into_inner). Its
    /// [report](crate::RaceStream::report) says who had won.
    pub fn report_stall(&self, path: PathKey) {
        let now = self.now();
        let stalled = Evidence::Trouble(Trouble::Stalled);
        lock(&self.paths).note(now, path, now, stalled);
    }

    fn now(&self) -> Instant {
        self.epoch.instant(StdInstant::now())
    }
}

fn wall_time() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.unwrap_or(Duration::ZERO).as_millis();
    WallTime::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// A memory as a dialer sees it, whose clock is its runtime's.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    memory: Memory,
    clocks: Clocks,
}

impl Known {
    pub(crate) fn new(memory: Memory, runtime: &impl Runtime) -> Self {
        Self {
            clocks: Clocks::compare(runtime, memory.epoch),
            memory,
        }
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The plan of a race that begins now, and the path if it was looked for.
    pub(crate) fn plan(
        &self,
        now: Instant,
        peer: SocketAddr,
        local_ip: impl FnOnce() -> Option<IpAddr>,
    ) -> (Plan, Option<PathKey>) {
        {
            let mut paths = lock(&self.memory.paths);
            if !paths.is_suspicious(peer) {
                let now = self.clocks.to_shared(now);
                return (paths.plan(now, without_local(peer)), None);
            }
        }
        let local = local_ip();
        let mut paths = lock(&self.memory.paths);
        let path = match local {
            Some(local) => PathKey::new(local, peer),
            None => paths.latest(peer).unwrap_or(without_local(peer)),
        };
        let plan = match paths.plan(self.clocks.to_shared(now), path) {
            Plan::Plain { trouble, until } => Plan::Plain {
                trouble,
                until: self.clocks.to_own(until),
            },
            plan => plan,
        };
        (plan, Some(path))
    }

    fn note(&self, now: Instant, path: PathKey, began: Instant, evidence: Evidence) {
        let [now, began] = [now, began].map(|moment| self.clocks.to_shared(moment));
        lock(&self.memory.paths).note(now, path, began, evidence);
    }
}

fn without_local(peer: SocketAddr) -> PathKey {
    PathKey::new(Ipv4Addr::UNSPECIFIED.into(), peer)
}

/// What a Fast Open attempt had come to when it was closed, beyond what the
/// race had been told.
#[derive(Clone, Copy, Debug)]
struct LastLook {
    id: AttemptId,
    replied: bool,
}

/// What a race is to tell the memory of its paths.
#[derive(Debug)]
pub(crate) struct Witness {
    known: Known,
    /// For each address, and its path as soon as it is known.
    paths: Vec<(SocketAddr, Option<PathKey>)>,
    last_looks: Vec<LastLook>,
    told: bool,
    stalled: bool,
}

impl Witness {
    pub(crate) fn new(known: Known, paths: Vec<(SocketAddr, Option<PathKey>)>) -> Self {
        Self {
            known,
            paths,
            last_looks: Vec::new(),
            told: false,
            stalled: false,
        }
    }

    /// An attempt to the address at this position has started.
    pub(crate) fn started<S: Stream>(&mut self, target: usize, stream: &S) {
        if let Some((peer, path @ None)) = self.paths.get_mut(target) {
            *path = stream
                .local_addr()
                .ok()
                .map(|at| PathKey::new(at.ip(), *peer));
        }
    }

    /// A Fast Open attempt with data in its SYN is about to be closed.
    pub(crate) fn closing<S: Stream>(&mut self, id: AttemptId, stream: &S) {
        if let Ok(true) = stream.syn_data_acked() {
            let replied = matches!(stream.try_peek(), Ok(1..));
            self.last_looks.push(LastLook { id, replied });
        }
    }

    /// Tells, once, what the race has shown. `answered`: when the connection's
    /// first byte was read, if the race was over by then.
    pub(crate) fn tell(&mut self, now: Instant, race: &Race, answered: Option<Instant>) {
        if self.told {
            return;
        }
        let report = self.report(race, answered);
        // A sole survivor shows what it is worth when it is answered.
        let unanswered = report
            .winner()
            .filter(|winner| winner.kind == AttemptKind::FastOpen && winner.first_byte.is_none());
        self.told = unanswered.is_none();
        for (target, (peer, path)) in self.paths.iter().enumerate() {
            let undecided = unanswered.is_some_and(|winner| winner.target == target);
            // A race with plain alone says nothing of the retry beside it.
            let is_plain = matches!(report.plans.get(target), Some(Plan::Plain { .. }));
            if undecided || is_plain {
                continue;
            }
            let evidence = Evidence::of(&report, target);
            let path = path.unwrap_or(without_local(*peer));
            self.known.note(now, path, report.began, evidence);
        }
    }

    fn report(&self, race: &Race, answered: Option<Instant>) -> Report {
        let mut report = race.report();
        for look in &self.last_looks {
            let attempt = report.attempts.iter_mut().find(|a| a.id == look.id);
            if let Some(attempt) = attempt {
                attempt.syn_data = SynData::Acknowledged;
                attempt.opened = attempt.opened.or(attempt.ended);
                if look.replied {
                    attempt.first_byte = attempt.first_byte.or(attempt.ended);
                }
            }
        }
        if let Some(chosen) = race.chosen()
            && let Some(winner) = report.attempts.iter_mut().find(|a| a.id == chosen)
        {
            winner.first_byte = winner.first_byte.or(answered);
        }
        report
    }

    /// Notes that the connection died after its answer, once; whether it was
    /// Fast Open's, with the data in its SYN.
    pub(crate) fn stalled(&mut self, now: Instant, race: &Race) -> bool {
        let report = race.report();
        let winner = report.winner();
        let Some(winner) = winner.filter(|winner| winner.syn_data == SynData::Acknowledged) else {
            return false;
        };
        let Some((peer, path)) = self.paths.get(winner.target) else {
            return false;
        };
        if !std::mem::replace(&mut self.stalled, true) {
            let path = path.unwrap_or(without_local(*peer));
            let stalled = Evidence::Trouble(Trouble::Stalled);
            self.known.note(now, path, report.began, stalled);
        }
        true
    }
}
