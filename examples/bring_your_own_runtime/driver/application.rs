//! A connection as its application sees it: reads, writes, and who waits.

use std::task::Poll;

use headstart::core::Instant;
use headstart::core::race::{Accepted, Close, Ending, Exit, Failure, FailureKind, Race};
use headstart_sim::{Driver, SocketError, SocketId, Transports, Wakes};

use super::{Connection, Want, failure};

impl Connection {
    /// What can be read from: the connection, also while the race still gives
    /// it what was written before.
    fn readable(&self) -> Option<SocketId> {
        let early = || {
            let slot = (*self.slots.get(self.race.chosen()?.index())?)?;
            slot.heard.then_some(slot.socket)
        };
        self.handed.or_else(early)
    }

    /// Wakes those who have something to do now, and nobody else.
    fn wake_waiting(&mut self, net: &mut dyn Transports) {
        let over = self.race.ending().is_some();
        let may_read = over
            || self
                .readable()
                .is_some_and(|socket| net.poll_readable(socket));
        if self.reader && may_read {
            self.reader = false;
            self.wakes.reader = true;
        }
        let may_write = match (self.writer, self.handed) {
            (None, _) => false,
            (Some(_), _) if over => true,
            (Some(Want::Room), Some(socket)) => net.poll_writable(socket),
            (Some(Want::Room), None) => false,
            (Some(Want::Flushed), handed) => handed.is_some() || self.race.is_flushed(),
            (Some(Want::Finished), handed) => handed.is_some() || self.race.is_finished(),
        };
        if may_write {
            self.writer = None;
            self.wakes.writer = true;
        }
    }

    /// Until the first byte of reply, a failure is told with those of all
    /// other attempts (R5).
    fn answer(&mut self, result: Result<usize, Failure>) -> Result<usize, FailureKind> {
        let result = match (result, self.untold) {
            (Ok(0), Some(failure)) => Err(failure),
            _ => result,
        };
        let exit = match result {
            Ok(0) => Exit::Ended { whole: true },
            Ok(_) => {
                self.answered = true;
                return result.map_err(|failure| failure.kind);
            }
            Err(failure) => Exit::Failed(failure),
        };
        let chosen = self.race.chosen().filter(|_| !self.answered);
        match chosen.and_then(|id| Some((id, self.race.attempt(id)?.0))) {
            Some((id, kind)) => read_ending(self.race.reasons().end(id, kind, exit)),
            None => result.map_err(|failure| failure.kind),
        }
    }

    /// Waits until the race has done what is wanted.
    fn wait_for(&mut self, net: &mut dyn Transports, want: Want) -> Poll<Result<(), FailureKind>> {
        let before = self.handed.is_some();
        match want {
            _ if before => {}
            Want::Finished => self.race.shutdown(net.now()),
            Want::Flushed | Want::Room => self.race.end_flight(net.now()),
        }
        self.drive(net);
        let done = match want {
            Want::Finished => self.race.is_finished(),
            Want::Flushed | Want::Room => self.race.is_flushed(),
        };
        match (self.handed, self.race.ending()) {
            (Some(socket), _) if before && want == Want::Finished => {
                Poll::Ready(net.shutdown(socket).map_err(|error| failure(error).kind))
            }
            _ if done || self.handed.is_some() => Poll::Ready(Ok(())),
            (_, Some(ending)) => Poll::Ready(Err(write_ending(ending))),
            (_, None) => {
                self.writer = Some(want);
                Poll::Pending
            }
        }
    }
}

impl Driver for Connection {
    fn wake(&mut self, net: &mut dyn Transports) {
        self.drive(net);
        self.wake_waiting(net);
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn wakes(&mut self) -> Wakes {
        std::mem::take(&mut self.wakes)
    }

    fn write(
        &mut self,
        net: &mut dyn Transports,
        bytes: &[u8],
    ) -> Poll<Result<usize, FailureKind>> {
        // Driving may make room, or hand the connection over.
        for _ in 0..3 {
            if let Some(socket) = self.handed {
                while net.poll_writable(socket) {
                    match net.write(socket, [bytes, &[]]) {
                        Err(SocketError::WouldBlock) => {}
                        result => return Poll::Ready(result.map_err(|error| failure(error).kind)),
                    }
                }
                break;
            }
            if let Some(ending) = self.race.ending() {
                return Poll::Ready(Err(write_ending(ending)));
            }
            let accepted = self.race.write(net.now(), bytes);
            self.drive(net);
            self.wake_waiting(net);
            match accepted {
                Accepted::Bytes(taken) => return Poll::Ready(Ok(taken)),
                Accepted::Finished => return Poll::Ready(Err(FailureKind::Reset)),
                Accepted::Full | Accepted::Bound(_) | Accepted::Dead => {}
            }
        }
        self.writer = Some(Want::Room);
        Poll::Pending
    }

    fn read(
        &mut self,
        net: &mut dyn Transports,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, FailureKind>> {
        if self.handed.is_none() {
            self.race.end_flight(net.now());
            self.drive(net);
            self.wake_waiting(net);
        }
        let Some(socket) = self.readable() else {
            if let Some(ending) = self.race.ending() {
                return Poll::Ready(read_ending(ending));
            }
            self.reader = true;
            return Poll::Pending;
        };
        while net.poll_readable(socket) {
            match net.read(socket, buffer) {
                Err(SocketError::WouldBlock) => {}
                result => return Poll::Ready(self.answer(result.map_err(failure))),
            }
        }
        self.reader = true;
        Poll::Pending
    }

    fn flush(&mut self, net: &mut dyn Transports) -> Poll<Result<(), FailureKind>> {
        let polled = self.wait_for(net, Want::Flushed);
        self.wake_waiting(net);
        polled
    }

    fn shutdown(&mut self, net: &mut dyn Transports) -> Poll<Result<(), FailureKind>> {
        let polled = self.wait_for(net, Want::Finished);
        self.wake_waiting(net);
        polled
    }

    fn abandon(&mut self, net: &mut dyn Transports) {
        if self.handed.is_none() {
            self.race.abandon(net.now());
            self.drive(net);
        }
        if let Some(socket) = self.handed.take() {
            net.close(socket, Close::Graceful);
        }
        (self.reader, self.writer) = (false, None);
    }

    fn is_settled(&self) -> bool {
        self.settled
    }

    fn look(&self, look: &mut dyn FnMut(&Race)) {
        look(&self.race);
    }
}

/// What a read gives when the race has ended so.
fn read_ending(ending: Ending) -> Result<usize, FailureKind> {
    match ending {
        Ending::Eof => Ok(0),
        Ending::Failed(reasons) => Err(reasons
            .leading()
            .map_or(FailureKind::Reset, |failure| failure.kind)),
    }
}

/// What a write gives.
fn write_ending(ending: Ending) -> FailureKind {
    read_ending(ending).err().unwrap_or(FailureKind::Reset)
}
