//! The whole of a driver: here what it does for the race, and in
//! `application.rs` what it is to its application.

mod application;

use headstart::core::race::{
    AttemptId, Event, Failure, FailureKind, Progress, Race, Step, SynData,
};
use headstart::core::{Instant, RaceConfig};
use headstart_sim::{SocketError, SocketId, Transports, Wakes};

/// A socket of the race's.
#[derive(Clone, Copy)]
struct Slot {
    socket: SocketId,
    data_in_syn: bool,
    /// It has said all that the race needs to hear: a reply, or its end.
    heard: bool,
}

/// What a writer waits for.
#[derive(Clone, Copy, PartialEq)]
enum Want {
    Room,
    Flushed,
    Finished,
}

/// One logical connection.
pub(crate) struct Connection {
    race: Race,
    slots: Vec<Option<Slot>>,
    /// The connection's socket, once the race is done with it.
    handed: Option<SocketId>,
    deadline: Option<Instant>,
    settled: bool,
    /// A byte was read: a failure from now on is the connection's own.
    answered: bool,
    /// A failure that has to wait until the reply before it was read.
    untold: Option<Failure>,
    reader: bool,
    writer: Option<Want>,
    wakes: Wakes,
}

impl Connection {
    /// Dials: plain's SYN leaves before this returns (R1).
    pub(crate) fn dial(config: RaceConfig, net: &mut dyn Transports) -> Self {
        let mut connection = Self {
            race: Race::new(config, net.now()),
            slots: Vec::new(),
            handed: None,
            deadline: None,
            settled: false,
            answered: false,
            untold: None,
            reader: false,
            writer: None,
            wakes: Wakes::default(),
        };
        connection.drive(net);
        connection
    }

    /// Tells the race what happened, and does what it asks, until both rest.
    fn drive(&mut self, net: &mut dyn Transports) {
        while !self.settled {
            let heard = self.listen(net);
            let acted = self.act(net);
            if !heard && !acted {
                return;
            }
        }
    }

    /// Tells the race what its sockets say; whether they said anything.
    fn listen(&mut self, net: &mut dyn Transports) -> bool {
        let mut heard = false;
        for index in 0..self.slots.len() {
            let (Some(slot), Some(id)) = (self.slots[index], self.race.id(index)) else {
                continue;
            };
            let opening = self.race.is_opening(id);
            let event = if let Some(event) = reply(net, slot) {
                self.slots[index] = Some(Slot {
                    heard: true,
                    ..slot
                });
                if opening && event == Event::Replied {
                    let opened = Event::Opened(syn_data(net, slot));
                    self.race.handle(net.now(), id, opened);
                }
                event
            } else if (opening || self.race.is_blocked(id)) && net.poll_writable(slot.socket) {
                match net.take_error(slot.socket) {
                    Err(error) => self.fails(net, slot.socket, error, Event::Writable),
                    Ok(()) if opening => Event::Opened(syn_data(net, slot)),
                    Ok(()) => Event::Writable,
                }
            } else {
                continue;
            };
            self.race.handle(net.now(), id, event);
            heard = true;
        }
        heard
    }

    /// Does what the race asks, until it asks to wait; whether its sockets may
    /// have something to say of that.
    fn act(&mut self, net: &mut dyn Transports) -> bool {
        let mut acted = false;
        loop {
            if let Some(id) = self.race.take() {
                self.handed = self.release(id);
            }
            let (id, event) = match self.race.poll(net.now()) {
                Step::Start(id) => (id, self.start(net, id)),
                Step::Look(id) => (id, self.look_again(net, id)),
                Step::Write(id) => (id, self.send(net, id)),
                Step::Shutdown(id) => (id, self.finish(net, id)),
                Step::Close(id, close) => {
                    if let Some(socket) = self.release(id) {
                        net.close(socket, close);
                    }
                    continue;
                }
                Step::Wait(deadline) => {
                    self.deadline = deadline;
                    return acted;
                }
                Step::Settled => {
                    self.deadline = None;
                    self.settled = true;
                    return false;
                }
            };
            acted |= matches!(event, Event::Started(_) | Event::Failed(_) | Event::Blocked);
            self.race.handle(net.now(), id, event);
        }
    }

    fn start(&mut self, net: &mut dyn Transports, id: AttemptId) -> Event {
        let Some((kind, target)) = self.race.attempt(id) else {
            return Event::NotStarted(Failure::new(FailureKind::Other));
        };
        match net.start(kind, target, self.race.unsent(id)[0]) {
            Ok((socket, progress)) => {
                let count = self.slots.len().max(id.index() + 1);
                self.slots.resize(count, None);
                self.slots[id.index()] = Some(Slot {
                    socket,
                    data_in_syn: matches!(progress, Progress::DataInSyn(_)),
                    heard: false,
                });
                Event::Started(progress)
            }
            Err(error) if error.not_had => Event::NotStarted(error.failure),
            Err(error) => Event::Failed(error.failure),
        }
    }

    /// The last look before others are given up (R6).
    fn look_again(&self, net: &mut dyn Transports, id: AttemptId) -> Event {
        let slot = self.slots.get(id.index()).copied().flatten();
        slot.and_then(|slot| told(net.peek(slot.socket)))
            .unwrap_or(Event::Quiet)
    }

    fn send(&mut self, net: &mut dyn Transports, id: AttemptId) -> Event {
        let Some(slot) = self.slots.get(id.index()).copied().flatten() else {
            return Event::Failed(Failure::new(FailureKind::Other));
        };
        let unsent = self.race.unsent(id);
        let all = unsent[0].len() + unsent[1].len();
        match net.write(slot.socket, unsent) {
            Ok(written) => Event::Wrote(written),
            Err(SocketError::WouldBlock) => Event::Blocked,
            Err(error) => self.fails(net, slot.socket, error, Event::Wrote(all)),
        }
    }

    fn finish(&mut self, net: &mut dyn Transports, id: AttemptId) -> Event {
        let Some(slot) = self.slots.get(id.index()).copied().flatten() else {
            return Event::Finished;
        };
        match net.shutdown(slot.socket) {
            Ok(()) => Event::Finished,
            Err(error) => self.fails(net, slot.socket, error, Event::Finished),
        }
    }

    /// A socket fails. Bytes that came before still count (R4): the failure is
    /// kept until they are read, and what cannot be sent any more is lost, as
    /// in the buffer of a plain connection.
    fn fails(
        &mut self,
        net: &mut dyn Transports,
        socket: SocketId,
        error: SocketError,
        instead: Event,
    ) -> Event {
        if !matches!(net.peek(socket), Ok(1..)) {
            return Event::Failed(failure(error));
        }
        self.untold.get_or_insert(failure(error));
        match (self.race.chosen(), instead) {
            (None, Event::Wrote(_) | Event::Finished) => Event::Replied,
            _ => instead,
        }
    }

    fn release(&mut self, id: AttemptId) -> Option<SocketId> {
        let slot = self.slots.get_mut(id.index())?.take()?;
        Some(slot.socket)
    }
}

/// A reply, an end or a failure, told once.
fn reply(net: &mut dyn Transports, slot: Slot) -> Option<Event> {
    while !slot.heard && net.poll_readable(slot.socket) {
        let event = told(net.peek(slot.socket));
        if event.is_some() {
            return event;
        }
    }
    None
}

/// What a look at a socket tells; nothing, if there is nothing to read.
fn told(peeked: Result<usize, SocketError>) -> Option<Event> {
    match peeked {
        Ok(0) => Some(Event::Ended),
        Ok(_) => Some(Event::Replied),
        Err(SocketError::WouldBlock) => None,
        Err(SocketError::Failed(failure)) => Some(Event::Failed(failure)),
    }
}

fn syn_data(net: &dyn Transports, slot: Slot) -> SynData {
    match slot.data_in_syn {
        true => net.syn_data(slot.socket),
        false => SynData::None,
    }
}

fn failure(error: SocketError) -> Failure {
    match error {
        SocketError::Failed(failure) => failure,
        SocketError::WouldBlock => Failure::new(FailureKind::Other),
    }
}
