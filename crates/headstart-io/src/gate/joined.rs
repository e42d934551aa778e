//! One pair at work: the core's state machine, and the connections that
//! brought the same first message.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use headstart_core::pair::{Accepted, Event, GRACE, MemberId, Pair, Source, Step};
use headstart_core::race::Close;
use headstart_core::time::Instant;

use super::news::{News, Witness};
use super::pairs::PairPlace;
use super::slot::{Copy, Handed, Late, Slot};
use super::{GateEvent, Via};
use crate::driver::{self, Driven};
use crate::runtime::{Runtime, Stream};
use crate::waiters::{Waiters, Want};

/// Bytes thrown away at a time.
const DISCARD_SIZE: usize = 4096;

/// A pair and its connections.
#[derive(Debug)]
pub(super) struct Joined<R: Runtime> {
    pair: Pair,
    runtime: R,
    peer: IpAddr,
    message: Vec<u8>,
    slots: Vec<Option<Slot<R::Stream>>>,
    /// Its place in the directory, until it is settled.
    place: Option<PairPlace<R>>,
    /// Bytes of its place that are for the answer, also while there is less.
    reserve: usize,
    window: Duration,
    witness: Witness,
    news: News,
    /// Whether it was counted what became of it.
    concluded: bool,
    began: Instant,
    first: SocketAddr,
    /// The connection, until the application comes.
    handed: Option<Handed<R::Stream>>,
    handed_over: bool,
    /// Why the last member to fail did.
    failure: Option<io::Error>,
    deadline: Option<Instant>,
    pub(super) waiters: Waiters,
    settled: bool,
    orphan: bool,
}

impl<R: Runtime> Joined<R> {
    /// A pair, and the connection that brought its message first, in a place
    /// that has room for the bytes of both and a reserve for the answer.
    pub(super) fn new(
        pair: Pair,
        runtime: R,
        message: &[u8],
        first: Copy<R::Stream>,
        place: PairPlace<R>,
        witness: Witness,
    ) -> Self {
        let peer = first.peer;
        witness.counts.pairs.count();
        let mut joined = Self {
            reserve: place.limits().reserve(),
            window: place.limits().window,
            pair,
            began: runtime.now(),
            runtime,
            first: peer,
            peer: peer.ip().to_canonical(),
            message: message.to_vec(),
            slots: vec![Some(Slot::new(first))],
            place: Some(place),
            witness,
            news: News::default(),
            concluded: false,
            handed: None,
            handed_over: false,
            failure: None,
            deadline: None,
            waiters: Waiters::default(),
            settled: false,
            orphan: false,
        };
        joined.report(GateEvent::Admitted {
            peer,
            via: Via::FastOpen,
            bytes: message.len(),
        });
        joined.report(GateEvent::PairOpened { peer });
        joined
    }

    pub(super) fn now(&self) -> Instant {
        self.runtime.now()
    }

    /// Takes in another copy of the message, or gives it back: a duplicate.
    /// Either is counted and told by the gate that accepted it. A copy that was
    /// taken in is to be driven, once that is told.
    pub(super) fn join(
        &mut self,
        cx: &mut Context<'_>,
        message: &[u8],
        late: Late<R::Stream>,
        gate: Witness,
    ) -> Result<(), Copy<R::Stream>> {
        // Up to date first: a member may just have won.
        self.drive(cx);
        if !self.take_in(message, &late) {
            gate.counts.duplicates.count();
            self.news.note(late.duplicate(), gate);
            return Err(late.copy);
        }
        gate.counts.joined.count();
        self.news.note(late.paired(), gate);
        self.slots.push(Some(Slot::new(late.copy)));
        Ok(())
    }

    /// Whether a copy is a member now.
    fn take_in(&mut self, message: &[u8], late: &Late<R::Stream>) -> bool {
        let copy = &late.copy;
        let same = self.message == message && self.peer == copy.peer.ip().to_canonical();
        let bytes = copy.beyond.len();
        let fits = |place: &mut PairPlace<R>| place.take(bytes);
        if self.settled || !same || !self.pair.may_join() || !self.place.as_mut().is_some_and(fits)
        {
            return false;
        }
        self.pair.join(self.now(), late.via.kind()).is_some()
    }

    /// Reads what the client sent beyond the first message.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let id = match self.pair.source() {
                Source::From(id) => id,
                Source::Nowhere => return Poll::Pending,
                Source::End => return Poll::Ready(Ok(0)),
                Source::Dead => return Poll::Ready(Err(self.failed())),
            };
            match self.read(id, buf) {
                Ok(read) => {
                    self.tell(id, Event::Delivered(read));
                    self.drive(cx);
                    return Poll::Ready(Ok(read));
                }
                Err(event) => self.tell(id, event),
            }
            self.drive(cx);
            if self.handed.is_some() {
                return Poll::Pending;
            }
        }
    }

    /// Takes bytes of the answer, at most as many as all pairs together may
    /// keep. If there is no room left, the log is as good as full: what it has
    /// room for is kept for it, so that no pair waits for another.
    pub(super) fn write(&mut self, bufs: &[IoSlice<'_>]) -> Accepted {
        let now = self.now();
        let pieces = bufs.iter().map(|buf| &**buf);
        let offered = bufs.iter().map(|buf| buf.len()).sum::<usize>();
        let more = offered.min(self.pair.room());
        let granted = self.grant(more);
        if granted < more && granted > 0 {
            return self.pair.write_vectored(now, first_bytes(pieces, granted));
        }
        if granted < more {
            self.witness.counts.cut_short.count();
            self.pair.confine(now);
            self.reserve = self.pair.log_len();
        }
        self.pair.write_vectored(now, pieces)
    }

    /// How many more bytes may be kept, of so many.
    fn grant(&mut self, more: usize) -> usize {
        let kept = self.kept();
        let Some(place) = &mut self.place else {
            return more;
        };
        let spare = place.bytes().saturating_sub(kept).min(more);
        spare + place.take_up_to(more - spare)
    }

    pub(super) fn shutdown(&mut self) {
        self.pair.shutdown(self.runtime.now());
    }

    pub(super) fn abandon(&mut self, cx: &mut Context<'_>) {
        if self.handed_over {
            drop(self.handed.take());
            return;
        }
        self.pair.abandon(self.runtime.now());
        self.drive(cx);
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.pair.is_flushed()
    }

    pub(super) fn is_finished(&self) -> bool {
        self.pair.is_finished()
    }

    /// The connection, if it waits for the application.
    pub(super) fn take_handed(&mut self) -> Option<Handed<R::Stream>> {
        self.handed.take()
    }

    pub(super) fn is_handed(&self) -> bool {
        self.handed.is_some()
    }

    /// Whether its runtime has gone, and its connections with it.
    pub(super) fn is_orphan(&self) -> bool {
        self.orphan
    }

    /// Why nothing can be written any more, if so.
    pub(super) fn end(&self) -> Option<io::Error> {
        (self.settled && !self.handed_over).then(|| self.failed())
    }

    fn failed(&self) -> io::Error {
        match &self.failure {
            Some(error) => copy_of(error),
            None => io::ErrorKind::ConnectionReset.into(),
        }
    }

    /// Tells the pair what happened, and before an end how far its answer got.
    fn tell(&mut self, id: MemberId, event: Event) {
        let now = self.now();
        if matches!(event, Event::Ended | Event::Failed)
            && let Some(slot) = self.slot(id)
        {
            let acked = slot.acked();
            self.pair.handle(now, id, acked);
        }
        self.pair.handle(now, id, event);
    }

    /// Reads from a member; or what became of that.
    fn read(&mut self, id: MemberId, buf: &mut [u8]) -> Result<usize, Event> {
        let Some(slot) = self.slot_mut(id) else {
            return Err(Event::Drained);
        };
        let error = match slot.read(buf) {
            Ok(0) => match slot.broken.take() {
                None => return Err(Event::Ended),
                Some(error) => error,
            },
            Ok(read) => return Ok(read),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match slot.broken.take() {
                None => return Err(Event::Drained),
                Some(error) => error,
            },
            Err(error) => error,
        };
        Err(self.fail(error))
    }

    fn ask(&mut self, id: MemberId) -> Event {
        match self.slot(id).map(|slot| slot.stream.take_error()) {
            Some(Err(error)) => match self.broke(id, error) {
                Some(event) => event,
                None => self.slot(id).map_or(Event::Drained, Slot::acked),
            },
            Some(Ok(())) => self.slot(id).map_or(Event::Drained, Slot::acked),
            None => Event::Failed,
        }
    }

    fn send(&mut self, id: MemberId) -> Event {
        let parts = self.pair.unsent(id).map(IoSlice::new);
        let Some(Some(slot)) = self.slots.get_mut(id.index()) else {
            return Event::Failed;
        };
        match slot.stream.try_write_vectored(&parts) {
            Ok(written) => {
                slot.written = slot.written.saturating_add(written as u64);
                Event::Wrote(written)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Event::Blocked,
            // It takes nothing any more, and holds up nobody. Were it called
            // blocked, it would be ready at once, and so for ever.
            Err(error) => {
                let length = parts.iter().map(|part| part.len()).sum();
                self.broke(id, error).unwrap_or(Event::Wrote(length))
            }
        }
    }

    fn finish(&mut self, id: MemberId) -> Event {
        let Some(slot) = self.slot(id) else {
            return Event::Finished;
        };
        match slot.stream.shutdown_write() {
            Ok(()) => Event::Finished,
            // That it is not connected says less than why.
            Err(error) => {
                let why = slot.stream.take_error().err().unwrap_or(error);
                self.broke(id, why).unwrap_or(Event::Finished)
            }
        }
    }

    /// A member has failed; unless it has brought bytes that still count.
    fn broke(&mut self, id: MemberId, error: io::Error) -> Option<Event> {
        let slot = self.slot_mut(id)?;
        if slot.has_more() {
            slot.broken.get_or_insert(error);
            return None;
        }
        Some(self.fail(error))
    }

    fn fail(&mut self, error: io::Error) -> Event {
        self.failure = Some(error);
        Event::Failed
    }

    /// Holds no more bytes than it needs.
    fn give_back(&mut self) {
        let unused = self.reserve.saturating_sub(self.pair.log_len());
        let bytes = self.kept() + unused;
        if let Some(place) = &mut self.place {
            place.shrink_to(bytes);
        }
    }

    /// Bytes that are kept.
    fn kept(&self) -> usize {
        let beyond = |slot: &Slot<R::Stream>| slot.beyond.len();
        let beyond: usize = self.slots.iter().flatten().map(beyond).sum();
        self.message.len() + beyond + self.pair.log_len()
    }

    fn settle(&mut self) {
        self.deadline = None;
        if !self.settled {
            self.settled = true;
            self.place = None;
            self.message = Vec::new();
            self.conclude();
        }
    }

    /// Closes a connection that has all of the answer. Where another has served
    /// the client, and nothing says that this one's way back works, it is most
    /// likely dead, and the system is not to try for minutes. It is not reset:
    /// should the client have chosen it after all, the answer is on its way, and
    /// whatever the client acknowledges gives it its time again.
    fn say_goodbye(&self, id: MemberId, slot: Slot<R::Stream>) {
        let another = self.pair.winner().is_some_and(|winner| winner != id);
        match another && slot.acked() == Event::Acked(0) {
            true => slot.stream.close_within(self.window.max(GRACE)),
            false => drop(slot),
        }
    }

    /// Counts what became of it, and has it told, once.
    fn conclude(&mut self) {
        if std::mem::replace(&mut self.concluded, true) {
            return;
        }
        let winner = self.pair.winner().and_then(|id| self.pair.member(id));
        let won = winner.map(|(kind, _)| Via::from(kind));
        let counts = &self.witness.counts;
        let counter = match won {
            Some(Via::Plain) => &counts.won_by_plain,
            Some(Via::FastOpen) => &counts.won_by_fast_open,
            None => &counts.expired,
        };
        counter.count();
        self.report(GateEvent::PairEnded {
            peer: self.first,
            won,
            members: self.pair.joined(),
            age: self.now().saturating_since(self.began),
        });
    }

    fn report(&mut self, event: GateEvent) {
        self.news.note(event, self.witness.clone());
    }

    fn close(&mut self, id: MemberId, close: Close) {
        // Counted before the client can see who has lost.
        if self.pair.sure_winner().is_some() {
            self.conclude();
        }
        match (self.release(id), close) {
            (Some(slot), Close::Abortive) => slot.stream.close_abortively(),
            (Some(slot), Close::Graceful) => self.say_goodbye(id, slot),
            (None, _) => {}
        }
    }

    fn slot(&self, id: MemberId) -> Option<&Slot<R::Stream>> {
        self.slots.get(id.index())?.as_ref()
    }

    fn slot_mut(&mut self, id: MemberId) -> Option<&mut Slot<R::Stream>> {
        self.slots.get_mut(id.index())?.as_mut()
    }

    fn release(&mut self, id: MemberId) -> Option<Slot<R::Stream>> {
        let slot = self.slots.get_mut(id.index())?.take()?;
        // What the first member got is no copy.
        if id.index() > 0 {
            self.witness.counts.bytes_copied.add(slot.written);
        }
        Some(slot)
    }
}

impl<R: Runtime> Driven for Joined<R> {
    fn listen(&mut self, cx: &mut Context<'_>) -> bool {
        let mut heard = false;
        for index in 0..self.slots.len() {
            let Some(id) = self.pair.id(index) else {
                continue;
            };
            if self.pair.is_quiet(id)
                && let Some(event) = self.slot_mut(id).and_then(|slot| slot.poll_news(cx))
            {
                let event = event.unwrap_or_else(|error| self.fail(error));
                self.tell(id, event);
                heard = true;
            }
            if self.pair.is_blocked(id)
                && let Some(slot) = self.slot(id)
                && slot.stream.poll_writable(cx).is_ready()
            {
                self.tell(id, Event::Writable);
                heard = true;
            }
        }
        heard
    }

    fn act(&mut self) -> bool {
        let mut acted = false;
        loop {
            match self.pair.poll(self.now()) {
                Step::Discard(id, most) => {
                    let mut scratch = [0; DISCARD_SIZE];
                    let most = most.min(DISCARD_SIZE);
                    let room = scratch.get_mut(..most).unwrap_or_default();
                    let event = self.read(id, room).map_or_else(|end| end, Event::Discarded);
                    acted |= event == Event::Drained;
                    self.tell(id, event);
                }
                Step::Ask(id) => {
                    let event = self.ask(id);
                    self.tell(id, event);
                }
                Step::Write(id) => {
                    let event = self.send(id);
                    acted |= event == Event::Blocked;
                    self.tell(id, event);
                }
                Step::Shutdown(id) => {
                    let event = self.finish(id);
                    self.tell(id, event);
                }
                Step::Close(id, close) => self.close(id, close),
                Step::Wait(deadline) => {
                    // Time alone may have chosen.
                    if let Some(id) = self.pair.take() {
                        self.handed_over = true;
                        self.handed = self.release(id).map(Slot::hand_over);
                        continue;
                    }
                    self.deadline = deadline;
                    self.give_back();
                    return acted;
                }
                Step::Settled => {
                    self.settle();
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

    fn take_wakers(&mut self, _cx: &mut Context<'_>) -> [Option<Waker>; 2] {
        let over = self.handed_over || self.settled;
        let read = over || self.pair.source() != Source::Nowhere;
        let pair = &self.pair;
        self.waiters.take(read, |want| match want {
            _ if over => true,
            Want::Room => pair.has_room(),
            Want::Flushed => pair.is_flushed(),
            Want::Finished => pair.is_finished(),
        })
    }

    fn take_replaced(&mut self) -> Option<Waker> {
        self.waiters.take_replaced()
    }

    fn take_news(&mut self) -> Option<driver::News> {
        self.news.take()
    }

    fn told(&mut self) {
        self.news.told();
    }

    fn orphan(&mut self) {
        if !self.settled {
            self.orphan = true;
            self.settle();
            self.slots.clear();
        }
    }
}

/// Only so many bytes of these pieces.
fn first_bytes<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    mut left: usize,
) -> impl Iterator<Item = &'a [u8]> {
    pieces.map(move |piece| {
        let part = piece.get(..left).unwrap_or(piece);
        left -= part.len();
        part
    })
}

/// An error that is told more than once.
fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => error.kind().into(),
    }
}
