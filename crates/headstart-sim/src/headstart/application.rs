//! The driver as its application sees it.

use std::task::Poll;

use headstart_core::Instant;
use headstart_core::race::{Accepted, Close, Ending, Exit, Failure, FailureKind, Race};

use super::{Headstart, Slot, Want, failure};
use crate::driver::{Driver, Wakes};
use crate::net::{SocketError, SocketId, Transports};

impl Headstart {
    /// Notes who has something to do now, and nobody else.
    fn take_wakes(&mut self, net: &mut dyn Transports) {
        let ended = self.settled && self.handed.is_none() || self.race.ending().is_some();
        let readable = match (self.handed, self.early()) {
            _ if !self.reader => false,
            _ if ended => true,
            (Some(socket), _) => net.poll_readable(socket),
            (None, Some(slot)) => net.poll_readable(slot.id),
            (None, None) => false,
        };
        let writable = match (self.writer, self.handed) {
            (None, _) => false,
            (Some(_), _) if ended => true,
            (Some(Want::Room), Some(socket)) => net.poll_writable(socket),
            (Some(Want::Flushed | Want::Finished), Some(_)) => true,
            (Some(Want::Room), None) => false,
            (Some(Want::Flushed), None) => self.race.is_flushed(),
            (Some(Want::Finished), None) => self.race.is_finished(),
        };
        self.reader &= !readable;
        self.wakes.reader |= readable;
        if writable {
            self.writer = None;
            self.wakes.writer = true;
        }
    }

    /// The chosen connection, where it has a reply and still takes held bytes.
    fn early(&self) -> Option<Slot> {
        let slot = self.slot(self.race.chosen()?)?;
        slot.heard.then_some(slot)
    }

    /// What a race without a connection gives to a reader.
    fn read_ending(&self) -> Option<Result<usize, FailureKind>> {
        self.race.ending().map(result_of)
    }

    fn write_ending(&self) -> Option<FailureKind> {
        Some(match self.read_ending()? {
            Ok(_) => FailureKind::Reset,
            Err(kind) => kind,
        })
    }

    fn read_from(
        &mut self,
        net: &mut dyn Transports,
        socket: SocketId,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, FailureKind>> {
        loop {
            if !net.poll_readable(socket) {
                self.reader = true;
                return Poll::Pending;
            }
            match net.read(socket, buffer) {
                Err(SocketError::WouldBlock) => {}
                Ok(0) if self.untold.is_some() => {
                    let kind = self.untold.take().unwrap_or(FailureKind::Reset);
                    return Poll::Ready(self.first_answer(Err(Failure::new(kind))));
                }
                Ok(read) => return Poll::Ready(self.first_answer(Ok(read))),
                Err(SocketError::Failed(failure)) => {
                    return Poll::Ready(self.first_answer(Err(failure)));
                }
            }
        }
    }

    /// The first answer, or none: where the connection is a sole survivor, its
    /// failure is told with the others' (R5).
    fn first_answer(&mut self, result: Result<usize, Failure>) -> Result<usize, FailureKind> {
        let exit = match result {
            _ if self.answered => return result.map_err(|failure| failure.kind),
            Ok(1..) => {
                self.answered = true;
                return result.map_err(|failure| failure.kind);
            }
            Ok(0) => Exit::Ended { whole: true },
            Err(failure) => Exit::Failed(failure),
        };
        let chosen = self.race.chosen();
        match chosen.and_then(|id| Some((id, self.race.attempt(id)?))) {
            Some((id, (kind, _))) => result_of(self.race.reasons().end(id, kind, exit)),
            None => result.map_err(|failure| failure.kind),
        }
    }

    fn write_into(
        &mut self,
        net: &mut dyn Transports,
        socket: SocketId,
        bytes: &[u8],
    ) -> Poll<Result<usize, FailureKind>> {
        loop {
            if !net.poll_writable(socket) {
                self.writer = Some(Want::Room);
                return Poll::Pending;
            }
            match net.write(socket, [bytes, &[]]) {
                Err(SocketError::WouldBlock) => {}
                Ok(written) => return Poll::Ready(Ok(written)),
                Err(error) => return Poll::Ready(Err(failure(error).kind)),
            }
        }
    }

    fn poll_write(
        &mut self,
        net: &mut dyn Transports,
        bytes: &[u8],
    ) -> Poll<Result<usize, FailureKind>> {
        for _ in 0..2 {
            if let Some(socket) = self.handed {
                return self.write_into(net, socket, bytes);
            }
            if let Some(kind) = self.write_ending() {
                return Poll::Ready(Err(kind));
            }
            match self.race.write(net.now(), bytes) {
                Accepted::Bytes(taken) => {
                    self.drive(net);
                    return Poll::Ready(Ok(taken));
                }
                Accepted::Finished => return Poll::Ready(Err(FailureKind::Reset)),
                Accepted::Full | Accepted::Bound(_) | Accepted::Dead => self.drive(net),
            }
        }
        if let Some(socket) = self.handed {
            return self.write_into(net, socket, bytes);
        }
        self.writer = Some(Want::Room);
        Poll::Pending
    }

    fn poll_read(
        &mut self,
        net: &mut dyn Transports,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, FailureKind>> {
        if self.handed.is_none() {
            self.race.end_flight(net.now());
            self.drive(net);
        }
        if let Some(socket) = self.handed {
            return self.read_from(net, socket, buffer);
        }
        if let Some(ending) = self.read_ending() {
            return Poll::Ready(ending);
        }
        match self.early() {
            Some(slot) => self.read_from(net, slot.id, buffer),
            None => {
                self.reader = true;
                Poll::Pending
            }
        }
    }

    fn poll_done(&mut self, net: &mut dyn Transports, want: Want) -> Poll<Result<(), FailureKind>> {
        if self.handed.is_none() {
            match want {
                Want::Finished => self.race.shutdown(net.now()),
                Want::Flushed | Want::Room => self.race.end_flight(net.now()),
            }
            self.drive(net);
        }
        let done = match want {
            Want::Finished => self.race.is_finished(),
            Want::Flushed | Want::Room => self.race.is_flushed(),
        };
        if done {
            return Poll::Ready(Ok(()));
        }
        if let Some(socket) = self.handed {
            return Poll::Ready(match want {
                Want::Finished => net.shutdown(socket).map_err(|error| failure(error).kind),
                Want::Flushed | Want::Room => Ok(()),
            });
        }
        if let Some(kind) = self.write_ending() {
            return Poll::Ready(Err(kind));
        }
        self.writer = Some(want);
        Poll::Pending
    }
}

impl Driver for Headstart {
    fn wake(&mut self, net: &mut dyn Transports) {
        self.drive(net);
        self.take_wakes(net);
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
        let result = self.poll_write(net, bytes);
        self.take_wakes(net);
        result
    }

    fn read(
        &mut self,
        net: &mut dyn Transports,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, FailureKind>> {
        let result = self.poll_read(net, buffer);
        self.take_wakes(net);
        result
    }

    fn flush(&mut self, net: &mut dyn Transports) -> Poll<Result<(), FailureKind>> {
        let result = self.poll_done(net, Want::Flushed);
        self.take_wakes(net);
        result
    }

    fn shutdown(&mut self, net: &mut dyn Transports) -> Poll<Result<(), FailureKind>> {
        let result = self.poll_done(net, Want::Finished);
        self.take_wakes(net);
        result
    }

    fn abandon(&mut self, net: &mut dyn Transports) {
        self.reader = false;
        self.writer = None;
        match self.handed.take() {
            Some(socket) => net.close(socket, Close::Graceful),
            None => {
                self.race.abandon(net.now());
                self.drive(net);
                // Handed over at the very last moment: nobody is there to have it.
                if let Some(socket) = self.handed.take() {
                    net.close(socket, Close::Graceful);
                }
            }
        }
    }

    fn is_settled(&self) -> bool {
        self.settled
    }

    fn look(&self, look: &mut dyn FnMut(&Race)) {
        look(&self.race);
    }
}

fn result_of(ending: Ending) -> Result<usize, FailureKind> {
    match ending {
        Ending::Eof => Ok(0),
        Ending::Failed(reasons) => Err(reasons
            .leading()
            .map_or(FailureKind::Reset, |failure| failure.kind)),
    }
}
