//! One race at work: the core's state machine, and the sockets it asked for.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

use headstart_core::race::{
    AttemptId, AttemptKind, Close, Ending, Event, Failure, FailureKind, Progress, Race, Step,
    SynData,
};
use headstart_core::time::Instant;

use crate::budget::{Budget, Permit};
use crate::driver::Driven;
use crate::error::failure_of;
use crate::memory::Witness;
use crate::reading::{Untold, poll_read};
use crate::runtime::{Runtime, Stream};
use crate::waiters::{Waiters, Want};

/// A socket of the race's.
#[derive(Debug)]
struct Slot<S> {
    stream: S,
    data_in_syn: bool,
    /// It has said all that the race needs to hear: a reply, or its end.
    heard: bool,
    _permit: Option<Permit>,
}

/// How a race ended without a connection.
#[derive(Debug)]
pub(crate) enum Over {
    /// Every attempt is out.
    Race(Ending),
    /// The runtime that drove it is gone.
    Orphaned,
}

/// A race and its sockets.
#[derive(Debug)]
pub(crate) struct Running<R: Runtime> {
    pub(crate) race: Race,
    runtime: R,
    addresses: Vec<SocketAddr>,
    options: R::Options,
    budget: Budget,
    /// What tells the path memory, if there is one.
    witness: Option<Witness>,
    slots: Vec<Option<Slot<R::Stream>>>,
    /// The connection, until its application comes for it.
    pub(crate) handed: Option<R::Stream>,
    /// What reading the reply is to end with.
    pub(crate) untold: Untold,
    /// Whether there was a connection to come for.
    handed_over: bool,
    deadline: Option<Instant>,
    pub(crate) waiters: Waiters,
    settled: bool,
    /// Whether the driver was gone before the race was settled.
    orphan: bool,
}

impl<R: Runtime> Running<R> {
    pub(crate) fn new(
        race: Race,
        runtime: R,
        addresses: Vec<SocketAddr>,
        options: R::Options,
        budget: Budget,
        witness: Option<Witness>,
    ) -> Self {
        Self {
            race,
            runtime,
            addresses,
            options,
            budget,
            witness,
            slots: Vec::new(),
            handed: None,
            untold: Untold::default(),
            handed_over: false,
            deadline: None,
            waiters: Waiters::default(),
            settled: false,
            orphan: false,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.runtime.now()
    }

    /// Tells the path memory what the race has shown, once that is known.
    pub(crate) fn tell(&mut self, now: Instant, answered: Option<Instant>) {
        if let Some(witness) = &mut self.witness {
            witness.tell(now, &self.race, answered);
        }
    }

    /// Tells it that the connection has died; whether that is its affair.
    pub(crate) fn tell_of_a_stall(&mut self) -> bool {
        let now = self.runtime.now();
        match &mut self.witness {
            Some(witness) => witness.stalled(now, &self.race),
            None => false,
        }
    }

    /// How it ended without a connection.
    pub(crate) fn ending(&self) -> Option<Over> {
        match self.orphan {
            _ if self.handed_over => None,
            true => Some(Over::Orphaned),
            false => self.race.ending().map(Over::Race),
        }
    }

    fn may_read_early(&self, cx: &mut Context<'_>) -> bool {
        self.replied()
            .is_some_and(|stream| stream.poll_readable(cx).is_ready())
    }

    /// Reads from the connection while it is still being handed what was
    /// written before.
    pub(crate) fn read_early(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.replied()
            .map_or(Poll::Pending, |stream| poll_read(stream, cx, buf))
    }

    /// The connection, while the race still has it, once it has been heard.
    fn replied(&self) -> Option<&R::Stream> {
        let slot = self.slot(self.race.chosen()?)?;
        slot.heard.then_some(&slot.stream)
    }

    fn start(&mut self, id: AttemptId) -> Event {
        let target = self.race.attempt(id);
        let address =
            target.and_then(|(kind, target)| Some((kind, target, self.addresses.get(target)?)));
        let Some((kind, target, address)) = address else {
            return Event::NotStarted(Failure::new(FailureKind::Other));
        };
        // A plain attempt to the next address is no extra: a program without
        // races would make it too.
        let extra = kind == AttemptKind::FastOpen && self.slots.iter().flatten().next().is_some();
        let permit = match extra {
            true => match self.budget.take() {
                Some(permit) => Some(permit),
                None => return Event::NotStarted(Failure::new(FailureKind::NoResources)),
            },
            false => None,
        };
        let flight = match kind {
            AttemptKind::Plain => &[],
            // Nothing is held when Fast Open starts beside others, and the
            // flight is one piece.
            AttemptKind::FastOpen => self.race.unsent(id)[0],
        };
        match self.runtime.start(*address, kind, flight, &self.options) {
            Ok((stream, progress)) => {
                let data_in_syn = matches!(progress, Progress::DataInSyn(_));
                if let Some(witness) = &mut self.witness {
                    witness.started(target, &stream);
                }
                let slot = Slot {
                    stream,
                    data_in_syn,
                    heard: false,
                    _permit: permit,
                };
                if self.slots.len() <= id.index() {
                    self.slots.resize_with(id.index() + 1, || None);
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

    fn write(&mut self, id: AttemptId) -> Event {
        let Some(slot) = self.slot(id) else {
            return Event::Failed(Failure::new(FailureKind::Other));
        };
        let unsent = self.race.unsent(id);
        match slot.stream.try_write_vectored(&unsent.map(IoSlice::new)) {
            Ok(written) => Event::Wrote(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Event::Blocked,
            // What came before the end still counts (R4): it is to be read,
            // and what cannot be sent any more is lost, as it would have been
            // in the buffer of a plain connection.
            Err(error) if slot.has_reply() => {
                let all = unsent.iter().map(|part| part.len()).sum();
                self.untold.keep(error);
                match self.race.chosen() {
                    Some(_) => Event::Wrote(all),
                    None => Event::Replied,
                }
            }
            Err(error) => Event::Failed(failure_of(&error)),
        }
    }

    fn shutdown(&mut self, id: AttemptId) -> Event {
        let Some(slot) = self.slot(id) else {
            return Event::Finished;
        };
        match slot.stream.shutdown_write() {
            Ok(()) => Event::Finished,
            // As for bytes that cannot be sent any more.
            Err(error) if slot.has_reply() => {
                self.untold.keep(error);
                match self.race.chosen() {
                    Some(_) => Event::Finished,
                    None => Event::Replied,
                }
            }
            Err(error) => Event::Failed(failure_of(&error)),
        }
    }

    fn slot(&self, id: AttemptId) -> Option<&Slot<R::Stream>> {
        self.slots.get(id.index())?.as_ref()
    }

    fn release(&mut self, id: AttemptId) -> Option<Slot<R::Stream>> {
        self.slots.get_mut(id.index())?.take()
    }
}

impl<R: Runtime> Driven for Running<R> {
    fn listen(&mut self, cx: &mut Context<'_>) -> bool {
        let now = self.runtime.now();
        let mut heard = false;
        for index in 0..self.slots.len() {
            let Some(Some(slot)) = self.slots.get_mut(index) else {
                continue;
            };
            let Some(id) = self.race.id(index) else {
                continue;
            };
            let opening = self.race.is_opening(id);
            if let Some(event) = slot.poll_reply(cx) {
                if opening && event == Event::Replied {
                    self.race.handle(now, id, Event::Opened(slot.syn_data()));
                }
                self.race.handle(now, id, event);
                heard = true;
            } else if (opening || self.race.is_blocked(id))
                && let Poll::Ready(result) = slot.stream.poll_writable(cx)
            {
                let event = match result.and_then(|()| slot.stream.take_error()) {
                    // It is broken, but has replied: writing will find that out.
                    Err(error) if slot.has_reply() => {
                        self.untold.keep(error);
                        Event::Writable
                    }
                    Err(error) => Event::Failed(failure_of(&error)),
                    Ok(()) if opening => Event::Opened(slot.syn_data()),
                    Ok(()) => Event::Writable,
                };
                self.race.handle(now, id, event);
                heard = true;
            }
        }
        heard
    }

    fn act(&mut self) -> bool {
        let mut acted = false;
        let now = self.runtime.now();
        loop {
            if let Some(id) = self.race.take() {
                self.handed = self.release(id).map(|slot| slot.stream);
                self.handed_over = true;
                self.race.release_log();
            }
            match self.race.poll(now) {
                Step::Start(id) => {
                    acted = true;
                    let event = self.start(id);
                    self.race.handle(now, id, event);
                }
                Step::Look(id) => {
                    let event = match self.slot(id).map(|slot| slot.stream.try_peek()) {
                        Some(result) => reply(result).unwrap_or(Event::Quiet),
                        None => Event::Quiet,
                    };
                    self.race.handle(now, id, event);
                }
                Step::Write(id) => {
                    let event = self.write(id);
                    acted |= event == Event::Blocked;
                    self.race.handle(now, id, event);
                }
                Step::Shutdown(id) => {
                    let event = self.shutdown(id);
                    self.race.handle(now, id, event);
                }
                Step::Close(id, close) => {
                    let slot = self.release(id);
                    if let (Some(slot), Some(witness)) = (&slot, &mut self.witness)
                        && slot.data_in_syn
                    {
                        witness.closing(id, &slot.stream);
                    }
                    match (slot, close) {
                        (Some(slot), Close::Abortive) => slot.stream.close_abortively(),
                        (Some(slot), Close::Graceful) => drop(slot),
                        (None, _) => {}
                    }
                }
                Step::Wait(deadline) => {
                    self.deadline = deadline;
                    if self.handed_over {
                        self.tell(now, None);
                    }
                    return acted;
                }
                Step::Settled => {
                    self.settled = true;
                    self.deadline = None;
                    self.tell(now, None);
                    return false;
                }
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn is_settled(&self) -> bool {
        self.settled
    }

    fn take_wakers(&mut self, cx: &mut Context<'_>) -> [Option<Waker>; 2] {
        let over = self.handed_over || self.settled || self.ending().is_some();
        let read = self.waiters.is_read() && (over || self.may_read_early(cx));
        let race = &self.race;
        self.waiters.take(read, |want| match want {
            _ if over => true,
            Want::Room => false,
            Want::Flushed => race.is_flushed(),
            Want::Finished => race.is_finished(),
        })
    }

    fn take_replaced(&mut self) -> Option<Waker> {
        self.waiters.take_replaced()
    }

    fn orphan(&mut self) {
        if !self.settled {
            self.slots.clear();
            self.orphan = true;
            self.settled = true;
            self.deadline = None;
        }
    }
}

impl<S: Stream> Slot<S> {
    /// A reply, an end or a failure, told once.
    fn poll_reply(&mut self, cx: &mut Context<'_>) -> Option<Event> {
        while !self.heard {
            let event = match self.stream.poll_readable(cx) {
                Poll::Pending => return None,
                Poll::Ready(Ok(())) => reply(self.stream.try_peek()),
                Poll::Ready(Err(error)) => Some(Event::Failed(failure_of(&error))),
            };
            if event.is_some() {
                self.heard = true;
                return event;
            }
        }
        None
    }

    /// Whether there are bytes to read, whatever else is the matter.
    fn has_reply(&self) -> bool {
        matches!(self.stream.try_peek(), Ok(1..))
    }

    fn syn_data(&self) -> SynData {
        match self.data_in_syn {
            false => SynData::None,
            true => match self.stream.syn_data_acked() {
                Ok(true) => SynData::Acknowledged,
                Ok(false) => SynData::Ignored,
                Err(_) => SynData::Sent,
            },
        }
    }
}

/// What a look at a socket tells the race; nothing, if there is nothing to read.
fn reply(peeked: io::Result<usize>) -> Option<Event> {
    match peeked {
        Ok(0) => Some(Event::Ended),
        Ok(_) => Some(Event::Replied),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => Some(Event::Failed(failure_of(&error))),
    }
}
