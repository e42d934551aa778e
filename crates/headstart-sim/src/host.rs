//! The servers' doors: the gate's way of reading first messages, the
//! debouncer, and the pairs.

use std::rc::Rc;

use headstart_core::Instant;
use headstart_core::debounce::Verdict;
use headstart_core::framing::token::Header;
use headstart_core::framing::{Progress, Scanner};
use headstart_core::pair::{self, MemberId, Pair};
use headstart_core::race::{AttemptKind, SynData};

use crate::gate::{Admission, Budget, Claim, Copy, Gate, PairDriver, Place, Shortage};
use crate::memory::Memory;
use crate::net::SocketId;
use crate::rules::Violation;
use crate::scenario::{Pairing, Scenario};
use crate::stream::Statement;
use crate::tcp::nanos;
use crate::trace::What;
use crate::world::World;

/// A connection that a server has accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) socket: usize,
    scanner: Option<Scanner>,
    /// Its first message, once whole: length and digest.
    pub(crate) message: Option<(u32, headstart_core::debounce::Digest)>,
    pub(crate) stage: Stage,
    /// When its handler was called.
    pub(crate) called: Option<u64>,
    pub(crate) duplicate: bool,
    /// When its message was whole.
    pub(crate) decided: Option<u64>,
    /// The pair that it is in, or was in.
    pub(crate) pair: Option<usize>,
    /// Bytes of the stream that the door or the handler has read, the header
    /// included.
    pub(crate) read: u32,
    pub(crate) handler: crate::handler::Handler,
}

/// What an accepted connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its first message is not whole.
    Reading,
    /// A handler has it, or the pair that it began.
    Handled,
    /// It is a later member of a pair.
    Joined,
    /// Closed.
    Gone,
}

/// A pair, and what is known of it.
pub(crate) struct Kept {
    /// Who drives it; away while it does.
    pub(crate) driver: Option<Box<dyn PairDriver>>,
    /// The accepted connection that began it.
    pub(crate) place: usize,
    pub(crate) began: u64,
    pub(crate) deadline: Option<u64>,
    pub(crate) woken: bool,
    pub(crate) settled: bool,
    pub(crate) settled_at: Option<u64>,
    /// When its application dropped it.
    pub(crate) abandoned: Option<u64>,
    /// Its members, in the order in which they joined.
    pub(crate) members: Vec<usize>,
    shortage: Rc<Shortage>,
    /// That is counted.
    counted: bool,
}

impl Kept {
    /// Whether there were no bytes left for all of its log: it forgets sooner
    /// what a proven member has had.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.shortage.log.get()
    }

    /// Whether there were no bytes left for what a copy had brought: beyond
    /// the bounds, that is a duplicate.
    pub(crate) fn lacks_a_copy(&self) -> bool {
        self.shortage.copy.get()
    }

    /// The member that is the connection.
    pub(crate) fn chosen(&self) -> Option<usize> {
        self.member(Pair::chosen)
    }

    /// The member that the client uses, as the pair says.
    pub(crate) fn winner(&self) -> Option<usize> {
        self.member(Pair::winner)
    }

    fn member(&self, which: impl Fn(&Pair) -> Option<MemberId>) -> Option<usize> {
        let mut member = None;
        self.driver.as_ref()?.look(&mut |pair| member = which(pair));
        self.members.get(member?.index()).copied()
    }
}

/// All servers.
pub(crate) struct Host {
    memories: Vec<Memory>,
    /// What the pairs of each server may take.
    budgets: Vec<Budget>,
    pub(crate) gate: Box<dyn Gate>,
    pub(crate) accepted: Vec<Accepted>,
    pub(crate) pairs: Vec<Kept>,
    /// What a driver of pairs, or a memory, did that none may do.
    pub(crate) broken: Option<Violation>,
    /// For handlers to read into.
    pub(crate) buffer: Vec<u8>,
    /// The answer that was made last, and for which connection.
    pub(crate) answer: (u64, Vec<u8>),
}

impl Host {
    pub(crate) fn new(scenario: &Scenario, gate: Box<dyn Gate>) -> Self {
        let servers = match scenario.rule {
            crate::Rule::Balance => 2,
            _ => 1,
        };
        let crowd = scenario.server.crowd;
        let memory = |window| Memory::new(scenario.seed, window, crowd);
        let window = scenario.server.debounce;
        let memories = (0..servers).filter_map(|_| window.and_then(memory));
        let pairing = scenario.server.pairing;
        let budget = |pairing: Pairing| Budget::new(pairing.bytes_max, pairing.log_max);
        let budgets = (0..servers).filter_map(|_| pairing.map(budget));
        Self {
            memories: memories.collect(),
            budgets: budgets.collect(),
            gate,
            accepted: Vec::new(),
            pairs: Vec::new(),
            broken: None,
            buffer: Vec::new(),
            answer: (0, Vec::new()),
        }
    }

    /// Messages that are remembered, and the most that may be.
    pub(crate) fn remembered(&self) -> (usize, usize) {
        let most = self.memories.iter().map(Memory::remembered).max();
        most.unwrap_or_default()
    }

    /// Pairs of a server that are open now.
    pub(crate) fn open(&self, of: impl Fn(&Kept) -> bool) -> u32 {
        let open = self.pairs.iter().filter(|kept| !kept.settled && of(kept));
        u32::try_from(open.count()).unwrap_or(u32::MAX)
    }
}

impl World<'_> {
    /// The kernel hands a connection to a server.
    pub(crate) fn accept(&mut self, socket: usize) {
        self.trace(What::Accepted(socket));
        let debounces = !self.host.memories.is_empty();
        let place = self.host.accepted.len();
        self.host.accepted.push(Accepted {
            socket,
            scanner: debounces.then(|| self.scenario.client.statement.framing().scanner()),
            message: None,
            stage: Stage::Reading,
            called: None,
            duplicate: false,
            decided: None,
            pair: None,
            read: 0,
            handler: crate::handler::Handler::new(socket),
        });
        if !debounces {
            self.call_handler(place);
        }
        self.news.push(socket);
    }

    /// A server's socket has news.
    pub(crate) fn host_looks(&mut self, socket: usize) {
        let of = |accepted: &Accepted| match accepted.stage {
            Stage::Reading => accepted.socket == socket,
            Stage::Handled => accepted.handler.stream == crate::handler::Stream::Socket(socket),
            Stage::Joined | Stage::Gone => false,
        };
        let Some(place) = self.host.accepted.iter().position(of) else {
            return;
        };
        match self.host.accepted.get(place).map(|accepted| accepted.stage) {
            Some(Stage::Reading) => self.read_message(place),
            _ => self.handler_goes_on(place),
        }
    }

    /// Other clients' first messages come to every server.
    pub(crate) fn crowd_comes(&mut self, time: u32) {
        let Some(crowd) = self.scenario.server.crowd else {
            return;
        };
        let now = Instant::from_nanos(self.now);
        for memory in &mut self.host.memories {
            if let Err((rule, text)) = memory.observe_crowd(now, &crowd, time) {
                let violation = Violation::new(rule, self.now, text);
                self.host.broken.get_or_insert(violation);
            }
        }
        let next = time.saturating_add(1);
        if next < crowd.times {
            let at = self.now.saturating_add(nanos(crowd.every));
            self.push(at, crate::world::Event::Crowd(next));
        }
    }

    fn read_message(&mut self, place: usize) {
        let Some(accepted) = self.host.accepted.get_mut(place) else {
            return;
        };
        let id = accepted.socket;
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        let (received, peer) = (socket.received(), socket.peer);
        let over = socket.error.is_some() || socket.fin_came();
        socket.read = received;
        let sent = peer
            .and_then(|peer| self.sockets.get(peer))
            .map_or(&[][..], |peer| &peer.tx);
        let fresh = sent
            .get(accepted.read as usize..received as usize)
            .unwrap_or_default();
        accepted.read = received;
        let scanned = match &mut accepted.scanner {
            Some(scanner) => scanner.feed(fresh),
            None => return,
        };
        match scanned {
            Ok(Progress::Complete(length)) => {
                let message = sent.get(..length).unwrap_or_default().to_vec();
                let beyond = sent.get(length..received as usize).unwrap_or_default();
                let copy = Copy {
                    socket: SocketId(id),
                    beyond: beyond.to_vec(),
                };
                self.decide(place, &message, copy);
            }
            Ok(Progress::Partial) if over => self.let_go(place, false),
            Ok(Progress::Partial) => {}
            Err(_) => {
                self.trace(What::Malformed(id));
                self.let_go(place, true);
            }
        }
    }

    /// Admits the first copy of a message, joins a later one, or resets it.
    fn decide(&mut self, place: usize, message: &[u8], copy: Copy) {
        let now = Instant::from_nanos(self.now);
        let id = copy.socket.0;
        let Some(end) = self.sockets.get(id) else {
            return;
        };
        let (server, kind) = match end.syn_data {
            SynData::Acknowledged => (end.server, AttemptKind::FastOpen),
            _ => (end.server, AttemptKind::Plain),
        };
        let memory = self.host.memories.get_mut(server);
        let digest = memory.as_ref().map(|memory| memory.digest(message));
        let observed = memory.map(|memory| memory.observe(now, message, place as u64));
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
        if let Some(accepted) = self.host.accepted.get_mut(place) {
            accepted.message = digest.map(|digest| (length, digest));
            accepted.decided = Some(self.now);
        }
        let verdict = match observed {
            Some(Ok(verdict)) => verdict,
            Some(Err((rule, text))) => {
                let violation = Violation::new(rule, self.now, text);
                self.host.broken.get_or_insert(violation);
                Verdict::First
            }
            None => Verdict::First,
        };
        let pair = match verdict {
            Verdict::First => None,
            Verdict::Duplicate { of, .. } => self.pair_of(of),
        };
        let bytes = message.len().saturating_add(copy.beyond.len());
        let taken = match verdict {
            Verdict::First => self.place_for_a_pair(server, bytes),
            Verdict::Duplicate { .. } => None,
        };
        let claim = Claim {
            verdict,
            kind,
            room: taken.is_some(),
            open: pair.is_some(),
        };
        let fast_open = kind == AttemptKind::FastOpen;
        if verdict == Verdict::First && fast_open && self.has_pairs() && taken.is_none() {
            self.counters.unpaired = self.counters.unpaired.saturating_add(1);
        }
        match self.host.gate.admit(&claim) {
            Admission::Alone => self.admit_alone(place, copy),
            Admission::Open => {
                let taken = taken.unwrap_or_else(Place::boundless);
                self.admit_open(place, message, copy, taken);
            }
            Admission::Join if self.joins(place, pair, kind, &copy) => {}
            Admission::Join | Admission::Reset => {
                if let Some(accepted) = self.host.accepted.get_mut(place) {
                    accepted.duplicate = true;
                }
                self.counters.duplicates = self.counters.duplicates.saturating_add(1);
                self.trace(What::Verdict(id, false));
                self.let_go(place, true);
            }
        }
    }

    /// The pair that this accepted connection began, if it is open.
    fn pair_of(&self, place: u64) -> Option<usize> {
        let place = usize::try_from(place).ok()?;
        let of = |kept: &Kept| kept.place == place && !kept.settled;
        self.host.pairs.iter().position(of)
    }

    const fn has_pairs(&self) -> bool {
        self.scenario.server.pairing.is_some()
    }

    /// A place for one more pair, with room for so many bytes.
    fn place_for_a_pair(&self, server: usize, bytes: usize) -> Option<Place> {
        let pairing = self.scenario.server.pairing.as_ref()?;
        let few = self.pairs_of(server) < pairing.pairs_max;
        let budget = self.host.budgets.get(server).filter(|_| few)?;
        budget.place(bytes)
    }

    /// Pairs that this server keeps open.
    pub(crate) fn pairs_of(&self, server: usize) -> u32 {
        self.host.open(|kept| {
            let first = self.host.accepted.get(kept.place);
            let end = first.and_then(|first| self.sockets.get(first.socket));
            end.is_some_and(|end| end.server == server)
        })
    }

    fn admit_alone(&mut self, place: usize, copy: Copy) {
        self.trace(What::Verdict(copy.socket.0, true));
        if let Some(accepted) = self.host.accepted.get_mut(place) {
            accepted.handler.take(copy);
        }
        self.call_handler(place);
        self.handler_goes_on(place);
    }

    fn admit_open(&mut self, place: usize, message: &[u8], copy: Copy, taken: Place) {
        let Some(pairing) = &self.scenario.server.pairing else {
            return self.admit_alone(place, copy);
        };
        let id = copy.socket.0;
        let token = self.scenario.client.statement == Statement::Token;
        let header = message.first_chunk().map(Header::decode);
        let config = pair::Config {
            window: pairing.window,
            log_max: pairing.log_max,
            resets_losers: token && matches!(header, Some(Ok(header)) if header.resets_losers),
        };
        self.trace(What::Verdict(id, true));
        self.trace(What::PairOpened(id));
        self.becomes_member(id, self.host.pairs.len());
        let now = Instant::from_nanos(self.now);
        let shortage = taken.shortage();
        let driver = self.host.gate.open(config, now, copy, taken);
        let pair = self.host.pairs.len();
        self.host.pairs.push(Kept {
            driver: Some(driver),
            place,
            began: self.now,
            deadline: None,
            woken: false,
            settled: false,
            settled_at: None,
            abandoned: None,
            members: vec![id],
            shortage,
            counted: false,
        });
        if let Some(accepted) = self.host.accepted.get_mut(place) {
            accepted.pair = Some(pair);
            accepted.handler.stream = crate::handler::Stream::Pair(pair);
        }
        self.counters.pairs = self.counters.pairs.saturating_add(1);
        self.call_handler(place);
        self.with_pair(pair, |driver, world| driver.wake(world));
        self.handler_goes_on(place);
    }

    fn becomes_member(&mut self, id: usize, pair: usize) {
        if let Some(socket) = self.sockets.get_mut(id) {
            socket.pair = Some(pair);
            socket.readable.ready = true;
        }
    }

    fn joins(&mut self, place: usize, pair: Option<usize>, kind: AttemptKind, copy: &Copy) -> bool {
        let Some(pair) = pair else {
            return false;
        };
        let id = copy.socket.0;
        self.becomes_member(id, pair);
        let joined = self.with_pair(pair, |driver, world| {
            driver.join(world, kind, copy.clone()).is_ok()
        });
        if joined != Some(true) {
            if let Some(socket) = self.sockets.get_mut(id) {
                socket.pair = None;
            }
            return false;
        }
        if let Some(kept) = self.host.pairs.get_mut(pair) {
            kept.members.push(id);
        }
        self.trace(What::PairJoined(id));
        self.counters.joined = self.counters.joined.saturating_add(1);
        if let Some(accepted) = self.host.accepted.get_mut(place) {
            accepted.pair = Some(pair);
            accepted.stage = Stage::Joined;
        }
        true
    }

    /// Lets a pair's driver do something, and does what follows from it.
    pub(crate) fn with_pair<T>(
        &mut self,
        pair: usize,
        work: impl FnOnce(&mut dyn PairDriver, &mut Self) -> T,
    ) -> Option<T> {
        let mut driver = self.host.pairs.get_mut(pair)?.driver.take()?;
        let result = work(driver.as_mut(), self);
        let (wakes, handed) = (driver.wakes(), driver.take_handed());
        let deadline = driver.deadline().map(Instant::as_nanos);
        let settled = driver.is_settled();
        let now = self.now;
        let kept = self.host.pairs.get_mut(pair)?;
        kept.driver = Some(driver);
        kept.deadline = deadline;
        let (place, news) = (kept.place, settled && !kept.settled);
        if handed.is_some() && kept.abandoned.is_some() {
            let text = "a pair is handed to an application that is gone";
            let violation = Violation::new("P3", now, text);
            self.host.broken.get_or_insert(violation);
        }
        let kept = self.host.pairs.get_mut(pair)?;
        kept.settled |= settled;
        if kept.is_cut_short() && !std::mem::replace(&mut kept.counted, true) {
            self.counters.cut_short = self.counters.cut_short.saturating_add(1);
        }
        if deadline.is_some_and(|at| at <= now) {
            let text = "a pair's deadline that is not in the future";
            self.host
                .broken
                .get_or_insert_with(|| Violation::new("poll", now, text));
        }
        if let Some(copy) = handed {
            self.trace(What::PairHanded(copy.socket.0));
            if let Some(socket) = self.sockets.get_mut(copy.socket.0) {
                socket.pair = None;
            }
            if let Some(accepted) = self.host.accepted.get_mut(place) {
                accepted.handler.take(copy);
            }
        }
        if news {
            if let Some(kept) = self.host.pairs.get_mut(pair) {
                kept.settled_at = Some(now);
            }
            self.trace(What::PairSettled);
        }
        if wakes.reader || wakes.writer {
            if let Some(accepted) = self.host.accepted.get_mut(place) {
                accepted.handler.wake(wakes);
            }
            self.called.push(place);
        }
        Some(result)
    }

    /// Wakes a pair that is to be woken now; whether there was one.
    pub(crate) fn wake_a_pair(&mut self) -> bool {
        let now = self.now;
        let due = |kept: &Kept| kept.woken || kept.deadline.is_some_and(|at| at <= now);
        let Some(pair) = self.host.pairs.iter().position(due) else {
            return false;
        };
        if let Some(kept) = self.host.pairs.get_mut(pair) {
            kept.woken = false;
        }
        self.counters.gate_wakes = self.counters.gate_wakes.saturating_add(1);
        self.with_pair(pair, |driver, world| driver.wake(world));
        true
    }

    /// When the first pair's time comes.
    pub(crate) fn pairs_at(&self) -> Option<u64> {
        self.host
            .pairs
            .iter()
            .filter_map(|kept| kept.deadline)
            .min()
    }

    /// Window of a pair, in nanoseconds.
    pub(crate) fn pair_window(&self) -> u64 {
        let pairing = self.scenario.server.pairing.as_ref();
        pairing.map_or(0, |pairing| nanos(pairing.window))
    }
}
