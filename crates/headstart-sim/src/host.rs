//! The servers: the gate's way of reading first messages, and a handler.

use headstart_core::Instant;
use headstart_core::debounce::{Config, Debouncer, SECRET_LEN, Secret, Verdict};
use headstart_core::framing::{Progress, Scanner};

use crate::scenario::{End, Scenario, Trigger};
use crate::stream;
use crate::tcp::{State, nanos};
use crate::trace::What;
use crate::world::{Event, World};

/// First messages that a server remembers.
const CAPACITY: usize = 16;

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
    /// Bytes of the stream that the handler has read, the header included.
    pub(crate) read: u32,
    pub(crate) eof: bool,
    pub(crate) answered: bool,
    pub(crate) closed: bool,
}

/// What an accepted connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its first message is not whole.
    Reading,
    /// A handler has it.
    Handled,
    /// Closed.
    Gone,
}

/// Both servers.
#[derive(Debug)]
pub(crate) struct Host {
    memories: Vec<Debouncer>,
    secret: Option<Secret>,
    pub(crate) accepted: Vec<Accepted>,
}

impl Host {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let servers = match scenario.rule {
            crate::Rule::Balance => 2,
            _ => 1,
        };
        let mut memories = Vec::new();
        let mut secret = None;
        if let Some(window) = scenario.server.debounce {
            let config = Config {
                capacity: CAPACITY,
                window,
            };
            memories.extend((0..servers).filter_map(|_| Debouncer::new(config).ok()));
            secret = Some(secret_of(scenario.seed));
        }
        Self {
            memories,
            secret,
            accepted: Vec::new(),
        }
    }

    /// Messages that are remembered, and the most that may be.
    pub(crate) fn remembered(&self) -> (usize, usize) {
        let most = self.memories.iter().map(Debouncer::len).max();
        (most.unwrap_or(0), CAPACITY)
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

impl World<'_> {
    /// The kernel hands a connection to a server.
    pub(crate) fn accept(&mut self, socket: usize) {
        self.trace(What::Accepted(socket));
        let debounces = self.host.secret.is_some();
        let place = self.host.accepted.len();
        self.host.accepted.push(Accepted {
            socket,
            scanner: debounces.then(|| self.scenario.client.statement.framing().scanner()),
            message: None,
            stage: Stage::Reading,
            called: None,
            duplicate: false,
            read: 0,
            eof: false,
            answered: false,
            closed: false,
        });
        if !debounces {
            self.call_handler(place);
        }
        self.news.push(socket);
    }

    /// A server's socket has news.
    pub(crate) fn host_looks(&mut self, socket: usize) {
        let place = self
            .host
            .accepted
            .iter()
            .position(|accepted| accepted.socket == socket);
        let Some(place) = place else {
            return;
        };
        match self.host.accepted.get(place).map(|accepted| accepted.stage) {
            Some(Stage::Reading) => self.read_message(place),
            Some(Stage::Handled) => self.handler_reads(place),
            Some(Stage::Gone) | None => {}
        }
    }

    fn read_message(&mut self, place: usize) {
        let Some(accepted) = self.host.accepted.get_mut(place) else {
            return;
        };
        let id = accepted.socket;
        let Some(socket) = self.sockets.get(id) else {
            return;
        };
        let sent = socket
            .peer
            .and_then(|peer| self.sockets.get(peer))
            .map_or(&[][..], |peer| &peer.tx);
        let fresh = sent
            .get(accepted.read as usize..socket.received() as usize)
            .unwrap_or_default();
        accepted.read = socket.received();
        let scanned = match &mut accepted.scanner {
            Some(scanner) => scanner.feed(fresh),
            None => return,
        };
        let over = socket.error.is_some() || socket.fin_came();
        match scanned {
            Ok(Progress::Complete(length)) => {
                let message = sent.get(..length).unwrap_or_default();
                let digest = self
                    .host
                    .secret
                    .as_ref()
                    .map(|secret| secret.digest(message));
                let length = u32::try_from(length).unwrap_or(u32::MAX);
                accepted.message = digest.map(|digest| (length, digest));
                self.decide(place);
            }
            Ok(Progress::Partial) if over => self.let_go(place, false),
            Ok(Progress::Partial) => {
                if let Some(socket) = self.sockets.get_mut(id) {
                    socket.read = socket.received();
                }
            }
            Err(_) => {
                self.trace(What::Malformed(id));
                self.let_go(place, true);
            }
        }
    }

    fn decide(&mut self, place: usize) {
        let now = Instant::from_nanos(self.now);
        let Some(accepted) = self.host.accepted.get_mut(place) else {
            return;
        };
        let id = accepted.socket;
        let server = self.sockets.get(id).map_or(0, |socket| socket.server);
        let verdict = match (accepted.message, self.host.memories.get_mut(server)) {
            (Some((_, digest)), Some(memory)) => memory.observe(now, digest, place as u64),
            _ => Verdict::First,
        };
        match verdict {
            Verdict::First => {
                self.trace(What::Verdict(id, true));
                self.call_handler(place);
                self.handler_reads(place);
            }
            Verdict::Duplicate { .. } => {
                accepted.duplicate = true;
                self.counters.duplicates = self.counters.duplicates.saturating_add(1);
                self.trace(What::Verdict(id, false));
                self.let_go(place, true);
            }
        }
    }

    fn call_handler(&mut self, place: usize) {
        let now = self.now;
        let Some(accepted) = self.host.accepted.get_mut(place) else {
            return;
        };
        accepted.stage = Stage::Handled;
        accepted.called = Some(now);
        let id = accepted.socket;
        self.counters.handled = self.counters.handled.saturating_add(1);
        self.trace(What::HandlerCalled(id));
        if self.scenario.server.trigger == Trigger::Call {
            self.think(place);
        }
    }

    fn handler_reads(&mut self, place: usize) {
        let message = self.scenario.client.message;
        let header = self.scenario.client.statement.header_len();
        let Some(accepted) = self.host.accepted.get_mut(place) else {
            return;
        };
        let id = accepted.socket;
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        socket.read = socket.received();
        let fresh = socket.received() > accepted.read;
        accepted.read = socket.received();
        let (read, error) = (accepted.read, socket.error.is_some());
        let eof = socket.fin_came() && !accepted.eof;
        accepted.eof |= eof;
        let whole = u64::from(read) >= u64::from(message).saturating_add(header as u64);
        let due = match self.scenario.server.trigger {
            Trigger::Call => false,
            Trigger::Message => accepted.message.is_some() || whole,
            Trigger::Eof => accepted.eof,
        };
        if fresh {
            self.trace(What::HandlerRead(id, read));
        }
        if eof {
            self.trace(What::HandlerEof(id));
        }
        if error {
            return self.let_go(place, false);
        }
        if due {
            self.think(place);
        }
        self.finish_if_done(place);
    }

    fn think(&mut self, place: usize) {
        let Some(accepted) = self.host.accepted.get_mut(place) else {
            return;
        };
        if std::mem::replace(&mut accepted.answered, true) {
            return;
        }
        let think = nanos(self.scenario.server.think);
        match think {
            0 => self.thought(place),
            think => self.push(self.now.saturating_add(think), Event::Thought(place)),
        }
    }

    /// A handler answers.
    pub(crate) fn thought(&mut self, place: usize) {
        let Some(accepted) = self.host.accepted.get_mut(place) else {
            return;
        };
        let id = accepted.socket;
        let answer = self.scenario.server.answer;
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if !matches!(socket.state, State::Established | State::SynReceived) || socket.orphan {
            return;
        }
        if answer > 0 {
            socket.tx = stream::pattern(id as u64, answer);
            self.trace(What::Answered(id, answer));
            self.transmit(id);
        }
        match self.scenario.server.end {
            End::AfterEof => self.finish_if_done(place),
            End::HalfClose => {
                self.finish(id);
                self.finish_if_done(place);
            }
            End::Close => self.let_go(place, false),
            End::Reset => self.let_go(place, true),
        }
    }

    /// Closes what has been read to the end and answered.
    fn finish_if_done(&mut self, place: usize) {
        let Some(accepted) = self.host.accepted.get(place) else {
            return;
        };
        let answered = self
            .sockets
            .get(accepted.socket)
            .is_some_and(|socket| socket.written() >= self.scenario.server.answer);
        let gone_quiet = accepted.answered && answered;
        // One that will never be asked has nothing to wait for.
        if accepted.eof && (gone_quiet || !accepted.answered) {
            self.let_go(place, false);
        }
    }

    fn let_go(&mut self, place: usize, reset: bool) {
        let Some(accepted) = self.host.accepted.get_mut(place) else {
            return;
        };
        let id = accepted.socket;
        let handled = accepted.stage == Stage::Handled;
        accepted.stage = Stage::Gone;
        accepted.closed = true;
        if handled {
            self.trace(What::HandlerClosed(id, reset));
        }
        match reset {
            true => self.abort(id),
            false => self.close(id),
        }
    }
}
