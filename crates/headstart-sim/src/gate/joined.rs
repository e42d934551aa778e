//! One pair at work: step by step what the asynchronous gate does.

use std::task::Poll;

use headstart_core::Instant;
use headstart_core::pair::{Accepted, Event, MemberId, Pair, Source, Step};
use headstart_core::race::{AttemptKind, FailureKind};

use super::{Members, Place};
use crate::driver::Wakes;
use crate::net::{SocketError, SocketId};

/// Bytes thrown away at a time.
const DISCARD_SIZE: usize = 4_096;

/// A connection, and what was read from it beyond its first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The connection.
    pub socket: SocketId,
    /// Bytes that were read from it already.
    pub beyond: Vec<u8>,
}

/// Connections that brought one first message, as one logical connection.
///
/// The simulation calls [`wake`](Self::wake) when a socket that was polled in
/// vain is ready, and when [`deadline`](Self::deadline) has come; never
/// otherwise. The application waits until [`wakes`](Self::wakes) names it.
pub trait PairDriver {
    /// Takes in another copy of the message, or gives it back: a duplicate.
    ///
    /// # Errors
    /// The copy, if it is no member.
    fn join(&mut self, net: &mut dyn Members, kind: AttemptKind, copy: Copy) -> Result<(), Copy>;

    /// Something happened that this waited for.
    fn wake(&mut self, net: &mut dyn Members);

    /// When to be woken though nothing happens.
    fn deadline(&self) -> Option<Instant>;

    /// Who is to be woken since this was last asked.
    fn wakes(&mut self) -> Wakes;

    /// Reads; 0 at the end.
    fn read(
        &mut self,
        net: &mut dyn Members,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, FailureKind>>;

    /// Writes; how many bytes were taken.
    fn write(&mut self, net: &mut dyn Members, bytes: &[u8]) -> Poll<Result<usize, FailureKind>>;

    /// Waits until FIN is handed to a kernel.
    fn shutdown(&mut self, net: &mut dyn Members) -> Poll<Result<(), FailureKind>>;

    /// The connection, once it is the application's; to be asked for after
    /// every other call. From then on the application goes on with it.
    fn take_handed(&mut self) -> Option<Copy>;

    /// The application drops the stream.
    fn abandon(&mut self, net: &mut dyn Members);

    /// Nothing is left to be done.
    fn is_settled(&self) -> bool;

    /// Shows the pair, for what it says of itself; also when it is over.
    fn look(&self, look: &mut dyn FnMut(&Pair));
}

/// What the application's writing waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Room,
    Finished,
}

#[derive(Clone, Debug)]
struct Slot {
    socket: SocketId,
    beyond: Vec<u8>,
    /// A failure, kept until what came before it has been read.
    broken: Option<FailureKind>,
}

/// A pair and its connections.
#[derive(Debug)]
pub struct Joined {
    pair: Pair,
    slots: Vec<Option<Slot>>,
    handed: Option<Copy>,
    handed_over: bool,
    deadline: Option<Instant>,
    reader: bool,
    writer: Option<Want>,
    wakes: Wakes,
    settled: bool,
    /// Until it is settled.
    place: Option<Place>,
    /// Bytes of the first message.
    message: usize,
    /// Bytes of its place that are for the answer, also while there is less.
    reserve: usize,
}

impl Joined {
    /// A pair, and the connection that brought its message first, in a place
    /// that has taken the bytes of both and a reserve for the answer. To be woken once: it then hears from
    /// its connection, and of the passing of time.
    #[must_use]
    pub fn new(pair: Pair, first: Copy, place: Place) -> Self {
        let reserve = place.reserve();
        let beyond = first.beyond.len();
        Self {
            pair,
            message: place.bytes().saturating_sub(beyond.saturating_add(reserve)),
            reserve,
            place: Some(place),
            slots: vec![Some(Slot::new(first))],
            handed: None,
            handed_over: false,
            deadline: None,
            reader: false,
            writer: None,
            wakes: Wakes::default(),
            settled: false,
        }
    }

    fn drive(&mut self, net: &mut dyn Members) {
        while !self.settled {
            let heard = self.listen(net);
            let acted = self.act(net);
            if !heard && !acted {
                return;
            }
        }
    }

    /// Tells the pair what happened, and before an end how far its answer got.
    fn tell(&mut self, net: &mut dyn Members, id: MemberId, event: Event) {
        let socket = self.slot(id).map(|slot| slot.socket);
        if matches!(event, Event::Ended | Event::Failed)
            && let Some(socket) = socket
        {
            self.pair
                .handle(net.now(), id, Event::Acked(net.acked(socket)));
        }
        net.note_event(socket, id, event);
        self.pair.handle(net.now(), id, event);
    }

    /// Tells the pair what its connections say; whether they said anything.
    fn listen(&mut self, net: &mut dyn Members) -> bool {
        let mut heard = false;
        for index in 0..self.slots.len() {
            let Some(id) = self.pair.id(index) else {
                continue;
            };
            if self.pair.is_quiet(id)
                && let Some(event) = self.slot_mut(id).and_then(|slot| slot.poll_news(net))
            {
                self.tell(net, id, event);
                heard = true;
            }
            if self.pair.is_blocked(id)
                && let Some(slot) = self.slot(id)
                && net.poll_writable(slot.socket)
            {
                self.tell(net, id, Event::Writable);
                heard = true;
            }
        }
        heard
    }

    /// Does what the pair asks; whether that gave its connections something to say.
    fn act(&mut self, net: &mut dyn Members) -> bool {
        let mut acted = false;
        loop {
            let step = self.pair.poll(net.now());
            net.note_step(step);
            match step {
                Step::Discard(id, most) => {
                    let mut scratch = [0; DISCARD_SIZE];
                    let room = scratch.get_mut(..most.min(DISCARD_SIZE));
                    let read = self.read_from(net, id, room.unwrap_or_default());
                    let event = read.map_or_else(|end| end, Event::Discarded);
                    acted |= event == Event::Drained;
                    self.tell(net, id, event);
                }
                Step::Ask(id) => {
                    let event = self.ask(net, id);
                    self.tell(net, id, event);
                }
                Step::Write(id) => {
                    let event = self.send(net, id);
                    acted |= event == Event::Blocked;
                    self.tell(net, id, event);
                }
                Step::Shutdown(id) => {
                    let result = self.slot(id).map(|slot| net.shutdown(slot.socket));
                    let event = match result {
                        None | Some(Ok(())) => Event::Finished,
                        Some(Err(error)) => self.broke(net, id, error).unwrap_or(Event::Finished),
                    };
                    self.tell(net, id, event);
                }
                Step::Close(id, close) => {
                    if let Some(slot) = self.release(id) {
                        net.close(slot.socket, close);
                    }
                }
                Step::Wait(deadline) => {
                    // Time alone may have chosen.
                    if let Some(id) = self.pair.take() {
                        self.handed_over = true;
                        self.handed = self.release(id).map(Slot::into_copy);
                        continue;
                    }
                    self.deadline = deadline;
                    self.give_back();
                    return acted;
                }
                Step::Settled => {
                    self.deadline = None;
                    self.settled = true;
                    self.place = None;
                    return false;
                }
            }
        }
    }

    /// Holds no more bytes than it needs.
    fn give_back(&mut self) {
        let unused = self.reserve.saturating_sub(self.pair.log_len());
        let bytes = self.kept().saturating_add(unused);
        if let Some(place) = &mut self.place {
            place.shrink_to(bytes);
        }
    }

    /// Bytes that are kept.
    fn kept(&self) -> usize {
        let slots = self.slots.iter().flatten();
        let beyond: usize = slots.map(|slot| slot.beyond.len()).sum();
        let kept = self.pair.log_len().saturating_add(beyond);
        kept.saturating_add(self.message)
    }

    /// Takes bytes of the answer, at most as many as all pairs together may
    /// keep. If there is no room left, the log is as good as full: what it has
    /// room for is kept for it, so that no pair waits for another.
    fn accept(&mut self, now: Instant, bytes: &[u8]) -> Accepted {
        let more = bytes.len().min(self.pair.room());
        let granted = self.grant(more);
        if granted < more && granted > 0 {
            return self.pair.write(now, bytes.get(..granted).unwrap_or(bytes));
        }
        if granted < more {
            self.pair.confine(now);
            self.reserve = self.pair.log_len();
        }
        self.pair.write(now, bytes)
    }

    /// How many more bytes may be kept, of so many.
    fn grant(&mut self, more: usize) -> usize {
        let kept = self.kept();
        let Some(place) = &mut self.place else {
            return more;
        };
        let spare = place.bytes().saturating_sub(kept).min(more);
        spare.saturating_add(place.take_up_to(more.saturating_sub(spare)))
    }

    /// Reads from a member; or what became of that.
    fn read_from(
        &mut self,
        net: &mut dyn Members,
        id: MemberId,
        buffer: &mut [u8],
    ) -> Result<usize, Event> {
        let slot = self.slot_mut(id).ok_or(Event::Drained)?;
        if !slot.beyond.is_empty() {
            let length = slot.beyond.len().min(buffer.len());
            for (place, byte) in buffer.iter_mut().zip(slot.beyond.drain(..length)) {
                *place = byte;
            }
            return Ok(length);
        }
        match net.read(slot.socket, buffer) {
            Ok(0) => Err(slot.take_broken().unwrap_or(Event::Ended)),
            Ok(read) => Ok(read),
            Err(SocketError::WouldBlock) => Err(slot.take_broken().unwrap_or(Event::Drained)),
            Err(SocketError::Failed(_)) => Err(Event::Failed),
        }
    }

    fn ask(&mut self, net: &mut dyn Members, id: MemberId) -> Event {
        let Some(socket) = self.slot(id).map(|slot| slot.socket) else {
            return Event::Failed;
        };
        let broken = match net.take_error(socket) {
            Ok(()) => None,
            Err(error) => self.broke(net, id, error),
        };
        broken.unwrap_or_else(|| Event::Acked(net.acked(socket)))
    }

    fn send(&mut self, net: &mut dyn Members, id: MemberId) -> Event {
        let Some(socket) = self.slot(id).map(|slot| slot.socket) else {
            return Event::Failed;
        };
        let unsent = self.pair.unsent(id);
        let length = unsent.iter().map(|part| part.len()).sum();
        match net.write(socket, unsent) {
            Ok(written) => Event::Wrote(written),
            Err(SocketError::WouldBlock) => Event::Blocked,
            // It takes nothing any more, and holds up nobody.
            Err(error) => self.broke(net, id, error).unwrap_or(Event::Wrote(length)),
        }
    }

    /// A member has failed; unless it has brought bytes that still count.
    fn broke(&mut self, net: &mut dyn Members, id: MemberId, error: SocketError) -> Option<Event> {
        let slot = self.slot_mut(id)?;
        if slot.beyond.is_empty() && !matches!(net.peek(slot.socket), Ok(1..)) {
            return Some(Event::Failed);
        }
        slot.broken.get_or_insert(match error {
            SocketError::Failed(failure) => failure.kind,
            SocketError::WouldBlock => FailureKind::Other,
        });
        None
    }

    /// Notes who has something to do now, and nobody else.
    fn take_wakes(&mut self) {
        let over = self.handed_over || self.settled;
        let readable = over || self.pair.source() != Source::Nowhere;
        let writable = self.writer.is_some_and(|want| match want {
            _ if over => true,
            Want::Room => self.pair.has_room(),
            Want::Finished => self.pair.is_finished(),
        });
        if self.reader && readable {
            self.reader = false;
            self.wakes.reader = true;
        }
        if writable {
            self.writer = None;
            self.wakes.writer = true;
        }
    }

    /// Brings the pair up to date, and operates on it unless that has handed
    /// the connection over: then the application goes on with it.
    fn operate<T>(
        &mut self,
        net: &mut dyn Members,
        operation: impl FnOnce(&mut Self, &mut dyn Members) -> Poll<T>,
    ) -> Poll<T> {
        self.drive(net);
        let polled = match self.handed {
            Some(_) => Poll::Pending,
            None => operation(self, net),
        };
        self.take_wakes();
        polled
    }

    fn has_failed(&self) -> bool {
        self.settled && !self.handed_over
    }

    fn slot(&self, id: MemberId) -> Option<&Slot> {
        self.slots.get(id.index())?.as_ref()
    }

    fn slot_mut(&mut self, id: MemberId) -> Option<&mut Slot> {
        self.slots.get_mut(id.index())?.as_mut()
    }

    fn release(&mut self, id: MemberId) -> Option<Slot> {
        self.slots.get_mut(id.index())?.take()
    }
}

impl PairDriver for Joined {
    fn join(&mut self, net: &mut dyn Members, kind: AttemptKind, copy: Copy) -> Result<(), Copy> {
        // Up to date first: a member may just have won.
        self.drive(net);
        let bytes = copy.beyond.len();
        let fits = |place: &mut Place| place.take(bytes);
        let may = !self.settled && self.pair.may_join();
        let joined = match may && self.place.as_mut().is_some_and(fits) {
            true => self.pair.join(net.now(), kind),
            false => None,
        };
        if joined.is_some() {
            self.slots.push(Some(Slot::new(copy)));
            self.drive(net);
            self.take_wakes();
            return Ok(());
        }
        self.take_wakes();
        Err(copy)
    }

    fn wake(&mut self, net: &mut dyn Members) {
        self.drive(net);
        self.take_wakes();
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn wakes(&mut self) -> Wakes {
        std::mem::take(&mut self.wakes)
    }

    fn read(
        &mut self,
        net: &mut dyn Members,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, FailureKind>> {
        self.operate(net, |joined, net| {
            loop {
                let id = match joined.pair.source() {
                    Source::From(id) => id,
                    Source::Nowhere => break,
                    Source::End => return Poll::Ready(Ok(0)),
                    Source::Dead => return Poll::Ready(Err(FailureKind::Reset)),
                };
                let read = joined.read_from(net, id, buffer);
                joined.tell(net, id, read.map_or_else(|end| end, Event::Delivered));
                joined.drive(net);
                if let Ok(read) = read {
                    return Poll::Ready(Ok(read));
                }
                if joined.handed.is_some() {
                    return Poll::Pending;
                }
            }
            joined.reader = true;
            Poll::Pending
        })
    }

    fn write(&mut self, net: &mut dyn Members, bytes: &[u8]) -> Poll<Result<usize, FailureKind>> {
        self.operate(net, |joined, net| {
            for _ in 0..2 {
                match joined.accept(net.now(), bytes) {
                    Accepted::Bytes(taken) => {
                        joined.drive(net);
                        return Poll::Ready(Ok(taken));
                    }
                    Accepted::Finished => return Poll::Ready(Err(FailureKind::Other)),
                    Accepted::Full | Accepted::Bound | Accepted::Dead => joined.drive(net),
                }
                if joined.handed.is_some() {
                    return Poll::Pending;
                }
                if joined.has_failed() {
                    return Poll::Ready(Err(FailureKind::Reset));
                }
            }
            joined.writer = Some(Want::Room);
            Poll::Pending
        })
    }

    fn shutdown(&mut self, net: &mut dyn Members) -> Poll<Result<(), FailureKind>> {
        self.operate(net, |joined, net| {
            joined.pair.shutdown(net.now());
            joined.drive(net);
            if joined.pair.is_finished() {
                return Poll::Ready(Ok(()));
            }
            if joined.has_failed() {
                return Poll::Ready(Err(FailureKind::Reset));
            }
            joined.writer = Some(Want::Finished);
            Poll::Pending
        })
    }

    fn take_handed(&mut self) -> Option<Copy> {
        self.handed.take()
    }

    fn abandon(&mut self, net: &mut dyn Members) {
        self.reader = false;
        self.writer = None;
        self.pair.abandon(net.now());
        self.drive(net);
    }

    fn is_settled(&self) -> bool {
        self.settled
    }

    fn look(&self, look: &mut dyn FnMut(&Pair)) {
        look(&self.pair);
    }
}

impl Slot {
    fn new(copy: Copy) -> Self {
        Self {
            socket: copy.socket,
            beyond: copy.beyond,
            broken: None,
        }
    }

    fn into_copy(self) -> Copy {
        Copy {
            socket: self.socket,
            beyond: self.beyond,
        }
    }

    fn take_broken(&mut self) -> Option<Event> {
        self.broken.take().map(|_| Event::Failed)
    }

    /// Something to read, an end or a failure.
    fn poll_news(&mut self, net: &mut dyn Members) -> Option<Event> {
        if !self.beyond.is_empty() {
            return Some(Event::Readable);
        }
        loop {
            if !net.poll_readable(self.socket) {
                return self.take_broken();
            }
            match net.peek(self.socket) {
                Ok(0) => return Some(self.take_broken().unwrap_or(Event::Ended)),
                Ok(_) => return Some(Event::Readable),
                Err(SocketError::WouldBlock) => {}
                Err(SocketError::Failed(_)) => return Some(Event::Failed),
            }
        }
    }
}
