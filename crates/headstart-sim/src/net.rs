//! What a driver sees of the network: sockets that never wait.

use headstart_core::Instant;
use headstart_core::race::{
    AttemptKind, Close, Event, Failure, FailureKind, Progress, Step, SynData,
};

use crate::link::Travel;
use crate::segment::FastOpenOption;
use crate::tcp::{Readiness, SYN_DATA_MAX, Socket, State, millis};
use crate::trace::What;
use crate::world::{self, Flow, World};

/// Bytes of a connection that are written in parts by noise.
const PARTIAL_UPTO: usize = 8_192;

/// A socket of the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId(pub(crate) usize);

impl SocketId {
    /// The socket with this number, for other [`Transports`] than the
    /// simulated ones.
    #[must_use]
    pub const fn new(index: usize) -> Self {
        Self(index)
    }

    /// Its number.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }
}

/// Why a socket could not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketError {
    /// Not now: ask for readiness.
    WouldBlock,
    /// Never.
    Failed(Failure),
}

/// Why an attempt has no socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StartError {
    /// What went wrong.
    pub failure: Failure,
    /// The socket could not be had, or not with Fast Open (R12); otherwise the
    /// network refused it.
    pub not_had: bool,
}

/// The transports that a driver races. Nothing here waits; readiness works as
/// with an edge-triggered poll behind a flag: it stays until an operation
/// would block, and whoever found none is woken once when it comes.
pub trait Transports {
    /// The client's clock, which may jump.
    fn now(&self) -> Instant;

    /// Opens a socket of this kind to the address at this position. Fast Open
    /// takes what fits of `flight` into its SYN, if a cookie is there.
    ///
    /// # Errors
    /// [`StartError`] if there is no socket.
    fn start(
        &mut self,
        kind: AttemptKind,
        target: usize,
        flight: &[u8],
    ) -> Result<(SocketId, Progress), StartError>;

    /// Whether reading may give something. If not, the driver is woken when it may.
    fn poll_readable(&mut self, socket: SocketId) -> bool;

    /// Whether the handshake is over and writing may take something. If not,
    /// the driver is woken when it may.
    fn poll_writable(&mut self, socket: SocketId) -> bool;

    /// How many bytes a read would give; 0 at the end.
    ///
    /// # Errors
    /// [`SocketError`], as reading.
    fn peek(&mut self, socket: SocketId) -> Result<usize, SocketError>;

    /// Reads; 0 bytes at the end.
    ///
    /// # Errors
    /// [`SocketError::WouldBlock`] if there is nothing yet, the failure once.
    fn read(&mut self, socket: SocketId, buffer: &mut [u8]) -> Result<usize, SocketError>;

    /// Writes what fits of these, in order; how many bytes that was.
    ///
    /// # Errors
    /// [`SocketError::WouldBlock`] if nothing fits, the failure once.
    fn write(&mut self, socket: SocketId, parts: [&[u8]; 2]) -> Result<usize, SocketError>;

    /// Sends FIN behind what was written.
    ///
    /// # Errors
    /// The failure, once, or a reset if the connection is gone.
    fn shutdown(&mut self, socket: SocketId) -> Result<(), SocketError>;

    /// The failure of the connection, once.
    ///
    /// # Errors
    /// That failure.
    fn take_error(&mut self, socket: SocketId) -> Result<(), SocketError>;

    /// What became of the data in its SYN, as the kernel knows.
    fn syn_data(&self, socket: SocketId) -> SynData;

    /// Closes it.
    fn close(&mut self, socket: SocketId, close: Close);

    /// For the trace: what the race asked. Nothing depends on it.
    fn note_step(&mut self, _step: Step) {}

    /// For the trace: what the race was told. Nothing depends on it.
    fn note_event(&mut self, _socket: Option<SocketId>, _event: Event) {}
}

impl World<'_> {
    fn socket(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.sockets.get_mut(id.0)
    }

    fn refuse_start(kind: FailureKind) -> StartError {
        StartError {
            failure: Failure::new(kind),
            not_had: true,
        }
    }

    /// The failure of a socket, once; if it is gone without one, a reset.
    fn write_failure(&mut self, id: SocketId) -> Option<SocketError> {
        let socket = self.socket(id)?;
        if let Some(kind) = socket.error.take() {
            return Some(SocketError::Failed(Failure::new(kind)));
        }
        let gone = matches!(socket.state, State::Closed | State::TimeWait);
        (gone || socket.fin).then(|| SocketError::Failed(Failure::new(FailureKind::Reset)))
    }

    fn new_flow(&self, kind: AttemptKind, target: usize, client: usize) -> Option<Flow> {
        let at = self.scenario.race.targets.get(target)?;
        let link = match kind {
            AttemptKind::Plain => at.plain,
            AttemptKind::FastOpen => at.fast_open,
        };
        Some(Flow {
            kind,
            target,
            client,
            reach: at.reach,
            link,
            travel: Travel::new(&link),
            memory: crate::middlebox::Memory::new(self.scenario.rule),
            server: self.balanced(),
            ends: [None, None],
            dice: self.dice_of(kind, target),
            packets: 0,
            tail: [0, 0],
            lost_back: 0,
            lost_there: 0,
            too_early: false,
            timed_out: false,
            syn_at: self.now,
            opened_at: None,
            end_opened_at: None,
            departures: Vec::new(),
            reply_left: None,
            reply_came: None,
            closed: None,
            closed_at: None,
        })
    }
}

fn poll(readiness: &mut Readiness) -> bool {
    readiness.wanted = !readiness.ready;
    readiness.ready
}

impl Transports for World<'_> {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.clock())
    }

    fn start(
        &mut self,
        kind: AttemptKind,
        target: usize,
        flight: &[u8],
    ) -> Result<(SocketId, Progress), StartError> {
        let race = &self.scenario.race;
        if self.held >= race.sockets {
            return Err(Self::refuse_start(FailureKind::NoResources));
        }
        let fast_open = kind == AttemptKind::FastOpen;
        if fast_open && !race.fast_open {
            return Err(Self::refuse_start(FailureKind::Unsupported));
        }
        let id = self.sockets.len();
        let Some(flow) = self.new_flow(kind, target, id) else {
            return Err(Self::refuse_start(FailureKind::Other));
        };
        let known = self.cookies.get(target).copied().flatten();
        let mut socket = Socket::new(
            self.flows.len(),
            flow.server,
            true,
            State::SynSent,
            self.now,
        );
        socket.send_buffer = race.send_buffer;
        let progress = match known {
            _ if !fast_open => Progress::Handshake,
            Some(cookie) => {
                let taken = flight.get(..SYN_DATA_MAX).unwrap_or(flight);
                socket.option = Some(cookie);
                socket.tx = taken.to_vec();
                socket.syn_len = socket.written();
                socket.syn_data = match socket.syn_len {
                    0 => SynData::None,
                    _ => SynData::Sent,
                };
                socket.nxt = socket.tx_end();
                Progress::DataInSyn(taken.len())
            }
            None => {
                socket.option = Some(FastOpenOption {
                    kind: crate::segment::OptionKind::Standard,
                    cookie: None,
                });
                Progress::CookieRequest
            }
        };
        let departed = socket.nxt;
        self.flows.push(flow);
        self.sockets.push(socket);
        self.held = self.held.saturating_add(1);
        if let Some(flow) = self.flows.last_mut()
            && departed > 1
        {
            flow.departures.push((departed, self.now));
        }
        self.trace(What::Started(id, kind, target));
        self.send_syn(id);
        self.set_timer(id, millis(1_000));
        Ok((SocketId(id), progress))
    }

    fn poll_readable(&mut self, socket: SocketId) -> bool {
        self.socket(socket)
            .is_some_and(|socket| poll(&mut socket.readable))
    }

    fn poll_writable(&mut self, socket: SocketId) -> bool {
        self.socket(socket)
            .is_some_and(|socket| poll(&mut socket.writable))
    }

    fn peek(&mut self, id: SocketId) -> Result<usize, SocketError> {
        let Some(socket) = self.socket(id) else {
            return Err(SocketError::Failed(Failure::new(FailureKind::Other)));
        };
        if socket.unread() > 0 {
            return Ok(socket.unread() as usize);
        }
        if let Some(kind) = socket.error.take() {
            return Err(SocketError::Failed(Failure::new(kind)));
        }
        let ended = socket.fin_came() || matches!(socket.state, State::Closed | State::TimeWait);
        if ended {
            return Ok(0);
        }
        socket.readable.ready = false;
        Err(SocketError::WouldBlock)
    }

    fn read(&mut self, id: SocketId, buffer: &mut [u8]) -> Result<usize, SocketError> {
        let there = self.peek(id)?;
        let take = there.min(buffer.len());
        let Some(socket) = self.socket(id) else {
            return Ok(0);
        };
        let (from, peer) = (socket.read as usize, socket.peer);
        socket.read = socket
            .read
            .saturating_add(u32::try_from(take).unwrap_or(u32::MAX));
        let to = socket.read as usize;
        let bytes = peer
            .and_then(|peer| self.sockets.get(peer)?.tx.get(from..to))
            .unwrap_or_default();
        if let Some(place) = buffer.get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn write(&mut self, id: SocketId, parts: [&[u8]; 2]) -> Result<usize, SocketError> {
        if let Some(error) = self.write_failure(id) {
            return Err(error);
        }
        let pairs = self.scenario.server.pairing.is_some();
        let noise = self.scenario.noise;
        let now = self.now;
        let Some(socket) = self.socket(id) else {
            return Err(SocketError::WouldBlock);
        };
        // Of servers, only those that pair have noise of their own.
        let (blocks, most) = match socket.client || pairs {
            true => (noise.blocks, noise.write_max),
            false => (false, None),
        };
        let whim = blocks && !socket.blocked_once && socket.is_open();
        socket.blocked_once |= whim;
        let room = match socket.state {
            State::SynSent => 0,
            _ if whim => 0,
            _ if socket.tx.len() >= PARTIAL_UPTO => socket.room(),
            _ => socket.room().min(most.unwrap_or(u32::MAX)),
        };
        if room == 0 {
            socket.writable.ready = false;
            socket.no_space = !whim;
            if whim {
                self.push(now.saturating_add(millis(1)), world::Event::Unblocked(id.0));
            }
            return Err(SocketError::WouldBlock);
        }
        let before = socket.tx.len();
        let mut left = room as usize;
        for part in parts {
            let taken = part.get(..left).unwrap_or(part);
            socket.tx.extend_from_slice(taken);
            left = left.saturating_sub(taken.len());
        }
        socket.no_space = left == 0;
        let taken = socket.tx.len().saturating_sub(before);
        self.transmit(id.0);
        Ok(taken)
    }

    fn shutdown(&mut self, id: SocketId) -> Result<(), SocketError> {
        if let Some(error) = self.write_failure(id) {
            return Err(error);
        }
        self.finish(id.0);
        Ok(())
    }

    fn take_error(&mut self, id: SocketId) -> Result<(), SocketError> {
        match self.socket(id).and_then(|socket| socket.error.take()) {
            Some(kind) => Err(SocketError::Failed(Failure::new(kind))),
            None => Ok(()),
        }
    }

    fn syn_data(&self, id: SocketId) -> SynData {
        self.sockets
            .get(id.0)
            .map_or(SynData::None, |socket| socket.syn_data)
    }

    fn close(&mut self, id: SocketId, close: Close) {
        let now = self.now;
        let flow = self.sockets.get(id.0).map(|socket| socket.flow);
        if let Some(flow) = flow.and_then(|flow| self.flows.get_mut(flow)) {
            flow.closed.get_or_insert(close);
            flow.closed_at.get_or_insert(now);
        }
        self.held = self.held.saturating_sub(1);
        match close {
            Close::Abortive => self.abort(id.0),
            Close::Graceful => self.close(id.0),
        }
    }

    fn note_step(&mut self, step: Step) {
        self.trace(What::Step(step));
    }

    fn note_event(&mut self, socket: Option<SocketId>, event: Event) {
        self.trace(What::Told(socket.map_or(usize::MAX, |id| id.0), event));
    }
}
