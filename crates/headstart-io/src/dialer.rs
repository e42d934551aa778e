//! Where races begin.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use headstart_core::config::{
    FirstFlight, Kinds, LoserClose, Peer, RaceBuilder, RaceConfig, Schedule, TARGETS_MAX,
};
use headstart_core::framing::token::Id;
use headstart_core::path::Plan;
use headstart_core::peers::Directory;
use headstart_core::race::Race;

use crate::budget::Budget;
use crate::driver::{Driven, Driver, Queue};
use crate::error::write_error;
use crate::memory::{Known, Memory, Witness};
use crate::race::Running;
use crate::runtime::Runtime;
use crate::stream::RaceStream;
use crate::target::Target;

/// Dials by races. Clones share one driver task, which ends with the last
/// clone and the last undecided race.
#[derive(Clone, Debug)]
pub struct Dialer<R: Runtime> {
    shared: Arc<Shared<R>>,
}

#[derive(Debug)]
struct Shared<R: Runtime> {
    runtime: R,
    settings: DialerBuilder<R>,
    known: Option<Known>,
    queue: Arc<Queue<Running<R>>>,
}

impl<R: Runtime> Drop for Shared<R> {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl<R: Runtime> Dialer<R> {
    /// Starts from the defaults of [`RaceConfig::builder`], on the runtime
    /// that this is called in.
    ///
    /// # Errors
    /// If there is no runtime.
    pub fn builder() -> io::Result<DialerBuilder<R>> {
        Ok(Self::builder_on(R::current()?))
    }

    /// As [`builder`](Self::builder), on a given runtime.
    pub fn builder_on(runtime: R) -> DialerBuilder<R> {
        DialerBuilder {
            runtime,
            options: R::Options::default(),
            budget: Budget::process(),
            race: RaceConfig::builder(),
            token: false,
            peer: Peer::default(),
            peers: Directory::with_capacity(0),
            memory: Some(Memory::default()),
        }
    }

    /// Dials, and returns at once when the addresses are known: plain's SYN is
    /// on its way, and the stream can be written to (R1).
    ///
    /// **Cancel safety.** Dropping the future before it is ready dials nothing;
    /// it waits only for the name.
    ///
    /// # Errors
    /// If the name is not found, has no address, or every attempt fails on the
    /// spot; a wrong setting is [`InvalidInput`](io::ErrorKind::InvalidInput).
    ///
    /// # Panics
    /// On tokio, if the runtime has no IO enabled.
    pub async fn dial(&self, target: impl Into<Target>) -> io::Result<R::RaceStream> {
        let target = target.into();
        let settings = &self.shared.settings;
        let peer = target.peer(&settings.peers, settings.peer);
        let mut addresses = target.resolve(&self.shared.runtime).await?;
        addresses.truncate(TARGETS_MAX);
        let runtime = self.shared.runtime.clone();
        let began = runtime.now();
        let mut race = settings.race.clone().peer(peer);
        if settings.token {
            race = race.first_flight(FirstFlight::Token { id: token_id()? });
        }
        let known = self.shared.known.as_ref().filter(|_| race.may_race());
        let mut paths = Vec::new();
        for address in &addresses {
            let local_ip = || runtime.local_ip(*address, &settings.options).ok();
            let (plan, path) = match known {
                Some(known) => known.plan(began, *address, local_ip),
                None => (Plan::Race, None),
            };
            race = race.planned_target(runtime.syn_payload(*address), plan);
            paths.push((*address, path));
        }
        let config = race.build().map_err(invalid)?;
        let race = Race::new(config, began);
        let (options, budget) = (settings.options.clone(), settings.budget.clone());
        let witness = known.map(|known| Witness::new(known.clone(), paths));
        let running = Running::new(race, runtime, addresses, options, budget, witness);
        let cell = self.shared.queue.adopt(running);
        let failed = cell.with(|running, cx| {
            running.drive(cx);
            running.ending()
        });
        match failed {
            Some(over) => Err(write_error(over)),
            None => Ok(RaceStream::new(cell).into()),
        }
    }

    /// The latest race, for a test that looks on.
    #[cfg(all(test, not(shuttle)))]
    pub(crate) fn take_latest(&self) -> Option<Arc<crate::driver::Cell<Running<R>>>> {
        self.shared.queue.take_latest()
    }

    /// What it remembers of paths, unless that is switched off: for counters,
    /// a listing or a store.
    pub fn memory(&self) -> Option<&Memory> {
        self.shared.known.as_ref().map(Known::memory)
    }

    /// Races that are not settled: those undecided, those whose application is
    /// gone but whose bytes are not out, and handshakes that fetch a cookie.
    pub fn unsettled(&self) -> usize {
        self.shared.queue.live()
    }

    /// Waits until no race is [`unsettled`](Self::unsettled): call it before
    /// the runtime goes, so that what dropped streams had taken is delivered.
    /// A stream that is kept without having been used keeps it waiting.
    ///
    /// **Cancel safety.** It only waits.
    pub async fn settled(&self) {
        self.shared.queue.settled().await;
    }
}

/// Builds a [`Dialer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct DialerBuilder<R: Runtime> {
    runtime: R,
    options: R::Options,
    budget: Budget,
    race: RaceBuilder,
    token: bool,
    peer: Peer,
    peers: Directory,
    memory: Option<Memory>,
}

impl<R: Runtime> DialerBuilder<R> {
    /// What the first bytes written will be (R13). Default: unstated, so
    /// there is one plain attempt per address and no race.
    pub fn first_flight(mut self, first_flight: FirstFlight) -> Self {
        self.race = self.race.first_flight(first_flight);
        self.token = false;
        self
    }

    /// Puts the first flight under a Token of its own for every dial. The
    /// peer must be a gate that expects one.
    pub fn token(mut self) -> Self {
        self.token = true;
        self.race = self.race.first_flight(FirstFlight::Asserted);
        self
    }

    /// What the peers do with a first message that arrives twice. Default:
    /// they act on it twice, so they are not raced.
    pub fn peer(mut self, peer: Peer) -> Self {
        self.race = self.race.peer(peer);
        self.peer = peer;
        self
    }

    /// What is known of single peers, in place of [`peer`](Self::peer): by the
    /// host and port dialled, whether a name or addresses. Of several addresses
    /// the peer that can do least counts. Default: nothing.
    pub fn peers(mut self, peers: Directory) -> Self {
        self.peers = peers;
        self
    }

    /// Where it is remembered on which paths Fast Open fails, so that races do
    /// not try it there again and again. Default: a memory of this dialer and
    /// its clones. Give several dialers the same to let them learn from each
    /// other, or `None` to let every race run as if it were the first.
    pub fn memory(mut self, memory: impl Into<Option<Memory>>) -> Self {
        self.memory = memory.into();
        self
    }

    /// Races peers that are not known to debounce, too.
    pub fn insist(mut self, insist: bool) -> Self {
        self.race = self.race.insist(insist);
        self
    }

    /// Which kinds of attempt may be used. Default: both.
    pub fn kinds(mut self, kinds: Kinds) -> Self {
        self.race = self.race.kinds(kinds);
        self
    }

    /// When attempts start. Default: at once.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.race = self.race.schedule(schedule);
        self
    }

    /// How losers are closed. Default: abortively.
    pub fn losers(mut self, losers: LoserClose) -> Self {
        self.race = self.race.losers(losers);
        self
    }

    /// Most bytes held beyond the first flight; default 64 KiB.
    pub fn held_max(mut self, bytes: usize) -> Self {
        self.race = self.race.held_max(bytes);
        self
    }

    /// Time between attempts to different addresses; default 250 ms.
    pub fn address_delay(mut self, delay: Duration) -> Self {
        self.race = self.race.address_delay(delay);
        self
    }

    /// Socket options of every attempt.
    pub fn options(mut self, options: R::Options) -> Self {
        self.options = options;
        self
    }

    /// The bound on extra attempts; default: the process's.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Checks the settings and starts the driver.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) with a
    /// [`ConfigError`](headstart_core::config::ConfigError) inside.
    pub fn build(self) -> io::Result<Dialer<R>> {
        self.race.clone().target(0).build().map_err(invalid)?;
        let queue = Queue::new();
        let runtime = self.runtime.clone();
        let memory = self.memory.clone();
        let known = memory.map(|memory| Known::new(memory, &runtime));
        runtime.spawn(Driver::new(queue.clone(), runtime.clone()));
        Ok(Dialer {
            shared: Arc::new(Shared {
                runtime,
                settings: self,
                known,
                queue,
            }),
        })
    }
}

fn token_id() -> io::Result<Id> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    Ok(Id(id))
}

fn invalid(error: headstart_core::config::ConfigError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}
