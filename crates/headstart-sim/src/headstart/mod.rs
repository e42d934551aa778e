//! The driver of this crate: step by step what the asynchronous one does.

mod application;

use headstart_core::race::{AttemptId, Event, Failure, FailureKind, Progress, Race, Step, SynData};
use headstart_core::{Instant, RaceConfig};

use crate::driver::Wakes;
use crate::net::{SocketError, SocketId, Transports};

/// A socket of the race's.
#[derive(Clone, Copy, Debug)]
struct Slot {
    id: SocketId,
    data_in_syn: bool,
    /// It has said all that the race needs to hear.
    heard: bool,
}

/// What a writer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Room,
    Flushed,
    Finished,
}

/// The driver of this crate.
#[derive(Debug)]
pub struct Headstart {
    race: Race,
    slots: Vec<Option<Slot>>,
    /// The application's own, once the race is over.
    handed: Option<SocketId>,
    answered: bool,
    deadline: Option<Instant>,
    reader: bool,
    writer: Option<Want>,
    wakes: Wakes,
    /// A failure that nobody was told, since there was a reply to be read
    /// first: the end of reading is no end of file.
    untold: Option<FailureKind>,
    settled: bool,
}

impl Headstart {
    /// Dials: the first attempt starts before this returns.
    pub fn dial(config: RaceConfig, net: &mut dyn Transports) -> Self {
        let mut driver = Self {
            race: Race::new(config, net.now()),
            slots: Vec::new(),
            handed: None,
            answered: false,
            deadline: None,
            reader: false,
            writer: None,
            wakes: Wakes::default(),
            untold: None,
            settled: false,
        };
        driver.drive(net);
        driver
    }

    fn drive(&mut self, net: &mut dyn Transports) {
        while !self.settled {
            let heard = self.listen(net);
            let acted = self.act(net);
            if !heard && !acted {
                break;
            }
        }
    }

    fn tell(&mut self, net: &mut dyn Transports, id: AttemptId, event: Event) {
        net.note_event(self.slot(id).map(|slot| slot.id), event);
        self.race.handle(net.now(), id, event);
    }

    /// Tells the race what its sockets say; whether they said anything.
    fn listen(&mut self, net: &mut dyn Transports) -> bool {
        let mut heard = false;
        for index in 0..self.slots.len() {
            let (Some(Some(slot)), Some(id)) =
                (self.slots.get(index).copied(), self.race.id(index))
            else {
                continue;
            };
            let opening = self.race.is_opening(id);
            if let Some(event) = self.poll_reply(net, index, slot) {
                if opening && event == Event::Replied {
                    let syn_data = syn_data(net, slot);
                    self.tell(net, id, Event::Opened(syn_data));
                }
                self.tell(net, id, event);
                heard = true;
            } else if (opening || self.race.is_blocked(id)) && net.poll_writable(slot.id) {
                let event = match net.take_error(slot.id) {
                    Err(error) if has_reply(net, slot) => {
                        self.untold = Some(failure(error).kind);
                        Event::Writable
                    }
                    Err(error) => Event::Failed(failure(error)),
                    Ok(()) if opening => Event::Opened(syn_data(net, slot)),
                    Ok(()) => Event::Writable,
                };
                self.tell(net, id, event);
                heard = true;
            }
        }
        heard
    }

    /// A reply, an end or a failure, told once.
    fn poll_reply(&mut self, net: &mut dyn Transports, index: usize, slot: Slot) -> Option<Event> {
        if slot.heard {
            return None;
        }
        loop {
            if !net.poll_readable(slot.id) {
                return None;
            }
            if let Some(event) = reply(net.peek(slot.id)) {
                if let Some(Some(slot)) = self.slots.get_mut(index) {
                    slot.heard = true;
                }
                return Some(event);
            }
        }
    }

    /// Does what the race asks; whether that gave its sockets something to say.
    fn act(&mut self, net: &mut dyn Transports) -> bool {
        let mut acted = false;
        loop {
            if let Some(id) = self.race.take() {
                self.handed = self.release(id).map(|slot| slot.id);
            }
            let step = self.race.poll(net.now());
            net.note_step(step);
            match step {
                Step::Start(id) => {
                    acted = true;
                    let event = self.start(net, id);
                    self.tell(net, id, event);
                }
                Step::Look(id) => {
                    let peeked = self.slot(id).map(|slot| net.peek(slot.id));
                    let event = peeked.and_then(reply).unwrap_or(Event::Quiet);
                    self.tell(net, id, event);
                }
                Step::Write(id) => {
                    let event = self.write_to(net, id);
                    acted |= event == Event::Blocked;
                    self.tell(net, id, event);
                }
                Step::Shutdown(id) => {
                    let event = self.shut(net, id);
                    self.tell(net, id, event);
                }
                Step::Close(id, close) => {
                    if let Some(slot) = self.release(id) {
                        net.close(slot.id, close);
                    }
                }
                Step::Wait(deadline) => {
                    self.deadline = deadline;
                    return acted;
                }
                Step::Settled => {
                    self.settled = true;
                    self.deadline = None;
                    return false;
                }
            }
        }
    }

    fn start(&mut self, net: &mut dyn Transports, id: AttemptId) -> Event {
        let Some((kind, target)) = self.race.attempt(id) else {
            return Event::NotStarted(Failure::new(FailureKind::Other));
        };
        let [flight, _] = self.race.unsent(id);
        match net.start(kind, target, flight) {
            Ok((socket, progress)) => {
                let slot = Slot {
                    id: socket,
                    data_in_syn: matches!(progress, Progress::DataInSyn(_)),
                    heard: false,
                };
                if self.slots.len() <= id.index() {
                    self.slots.resize(id.index().saturating_add(1), None);
                }
                if let Some(place) = self.slots.get_mut(id.index()) {
                    *place = Some(slot);
                }
                Event::Started(progress)
            }
            Err(error) if error.not_had => Event::NotStarted(error.failure),
            Err(error) => Event::Failed(error.failure),
        }
    }

    fn write_to(&mut self, net: &mut dyn Transports, id: AttemptId) -> Event {
        let Some(slot) = self.slot(id) else {
            return Event::Failed(Failure::new(FailureKind::Other));
        };
        let unsent = self.race.unsent(id);
        match net.write(slot.id, unsent) {
            Ok(written) => Event::Wrote(written),
            Err(SocketError::WouldBlock) => Event::Blocked,
            // What came before the end still counts (R4).
            Err(error) if has_reply(net, slot) => {
                self.untold.get_or_insert(failure(error).kind);
                match self.race.chosen() {
                    Some(_) => Event::Wrote(unsent.iter().map(|part| part.len()).sum()),
                    None => Event::Replied,
                }
            }
            Err(error) => Event::Failed(failure(error)),
        }
    }

    fn shut(&mut self, net: &mut dyn Transports, id: AttemptId) -> Event {
        let Some(slot) = self.slot(id) else {
            return Event::Finished;
        };
        match net.shutdown(slot.id) {
            Ok(()) => Event::Finished,
            Err(error) if has_reply(net, slot) => {
                self.untold.get_or_insert(failure(error).kind);
                match self.race.chosen() {
                    Some(_) => Event::Finished,
                    None => Event::Replied,
                }
            }
            Err(error) => Event::Failed(failure(error)),
        }
    }

    fn slot(&self, id: AttemptId) -> Option<Slot> {
        self.slots.get(id.index()).copied().flatten()
    }

    fn release(&mut self, id: AttemptId) -> Option<Slot> {
        self.slots.get_mut(id.index())?.take()
    }
}

/// What a look at a socket tells the race; nothing, if there is nothing to read.
fn reply(peeked: Result<usize, SocketError>) -> Option<Event> {
    match peeked {
        Ok(0) => Some(Event::Ended),
        Ok(_) => Some(Event::Replied),
        Err(SocketError::WouldBlock) => None,
        Err(SocketError::Failed(failure)) => Some(Event::Failed(failure)),
    }
}

fn failure(error: SocketError) -> Failure {
    match error {
        SocketError::Failed(failure) => failure,
        SocketError::WouldBlock => Failure::new(FailureKind::Other),
    }
}

/// Whether there are bytes to read, whatever else is the matter.
fn has_reply(net: &mut dyn Transports, slot: Slot) -> bool {
    matches!(net.peek(slot.id), Ok(1..))
}

fn syn_data(net: &dyn Transports, slot: Slot) -> SynData {
    match slot.data_in_syn {
        true => net.syn_data(slot.id),
        false => SynData::None,
    }
}
