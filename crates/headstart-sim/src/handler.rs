//! The server's application: a handler of few words, called once a message.

use std::task::Poll;

use headstart_core::race::FailureKind;

use crate::driver::Wakes;
use crate::gate::Copy;
use crate::host::Stage;
use crate::net::{SocketError, SocketId, Transports};
use crate::scenario::{End, Trigger};
use crate::stream;
use crate::tcp::{State, nanos};
use crate::trace::What;
use crate::world::{Event, World};

/// Bytes that a handler reads at a time.
const READ_SIZE: usize = 16 * 1024;

/// What a handler reads from and writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// A connection of its own.
    Socket(usize),
    /// A pair of which nobody knows yet which member it will be.
    Pair(usize),
}

/// A call of the application, and how far it is.
#[derive(Debug)]
pub(crate) struct Handler {
    pub(crate) stream: Stream,
    /// Bytes that were read for it before.
    beyond: Vec<u8>,
    /// What it has read beyond the first message, in order.
    pub(crate) got: Vec<u8>,
    pub(crate) eof: bool,
    /// When it read that.
    pub(crate) eof_at: Option<u64>,
    failed: bool,
    /// It waits to be woken by its pair, to read and to write.
    waits: Wakes,
    /// A write was refused, by a connection of its own.
    refused: bool,
    /// It thinks, or has thought.
    pub(crate) asked: bool,
    /// It has thought, and answers.
    pub(crate) answers: bool,
    /// Bytes of its answer that were taken from it.
    pub(crate) written: u32,
    shut: bool,
    pub(crate) closed: bool,
}

impl Handler {
    pub(crate) const fn new(socket: usize) -> Self {
        Self {
            stream: Stream::Socket(socket),
            beyond: Vec::new(),
            got: Vec::new(),
            eof: false,
            eof_at: None,
            failed: false,
            waits: Wakes {
                reader: false,
                writer: false,
            },
            refused: false,
            asked: false,
            answers: false,
            written: 0,
            shut: false,
            closed: false,
        }
    }

    /// Goes on with this connection.
    pub(crate) fn take(&mut self, copy: Copy) {
        self.stream = Stream::Socket(copy.socket.0);
        self.beyond.extend(copy.beyond);
        self.refused = false;
    }

    /// Its pair has something for it.
    pub(crate) const fn wake(&mut self, wakes: Wakes) {
        self.waits.reader &= !wakes.reader;
        self.waits.writer &= !wakes.writer;
    }
}

impl World<'_> {
    pub(crate) fn call_handler(&mut self, place: usize) {
        let now = self.now;
        let Some(accepted) = self.host.accepted.get_mut(place) else {
            return;
        };
        accepted.stage = Stage::Handled;
        accepted.called = Some(now);
        // What came behind the message is for it to read.
        accepted.read = accepted.message.map_or(0, |(length, _)| length);
        let id = accepted.socket;
        self.counters.handled = self.counters.handled.saturating_add(1);
        self.trace(What::HandlerCalled(id));
        if self.scenario.server.trigger == Trigger::Call {
            self.think(place);
        }
    }

    /// A handler does what it can now.
    pub(crate) fn handler_goes_on(&mut self, place: usize) {
        self.handler_reads(place);
        self.handler_answers(place);
        self.finish_if_done(place);
    }

    fn handler_reads(&mut self, place: usize) {
        let message = self.scenario.client.message;
        let header = self.scenario.client.statement.header_len();
        let (fresh, ended) = self.read_all(place);
        let now = self.now;
        let Some(accepted) = self.host.accepted.get_mut(place) else {
            return;
        };
        if accepted.stage != Stage::Handled {
            return;
        }
        let (id, read) = (accepted.socket, accepted.read);
        let handler = &mut accepted.handler;
        let eof = ended == Some(Ok(())) && !handler.eof;
        handler.eof |= eof;
        if eof {
            handler.eof_at = Some(now);
        }
        handler.failed |= matches!(ended, Some(Err(_)));
        let failed = handler.failed;
        let whole = u64::from(read) >= u64::from(message).saturating_add(header as u64);
        let due = match self.scenario.server.trigger {
            Trigger::Call => false,
            Trigger::Message => accepted.message.is_some() || whole,
            Trigger::Eof => accepted.handler.eof,
        };
        if fresh {
            self.trace(What::HandlerRead(id, read));
        }
        if eof {
            self.trace(What::HandlerEof(id));
        }
        if failed {
            return self.let_go(place, false);
        }
        if due {
            self.think(place);
        }
    }

    /// Reads what is there; whether that was anything, and the end if it came.
    fn read_all(&mut self, place: usize) -> (bool, Option<Result<(), FailureKind>>) {
        let mut fresh = false;
        let mut buffer = std::mem::take(&mut self.host.buffer);
        buffer.resize(READ_SIZE, 0);
        let ended = self.read_into(place, &mut buffer, &mut fresh);
        self.host.buffer = buffer;
        (fresh, ended)
    }

    fn read_into(
        &mut self,
        place: usize,
        buffer: &mut [u8],
        fresh: &mut bool,
    ) -> Option<Result<(), FailureKind>> {
        loop {
            let accepted = self.host.accepted.get_mut(place)?;
            let handler = &mut accepted.handler;
            // Who has read the end reads no more, whatever comes.
            if accepted.stage != Stage::Handled || handler.failed || handler.eof {
                return None;
            }
            let beyond = std::mem::take(&mut handler.beyond);
            if !beyond.is_empty() {
                *fresh = true;
                self.got(place, &beyond);
                continue;
            }
            let stream = handler.stream;
            let polled = match stream {
                _ if handler.waits.reader => return None,
                Stream::Pair(pair) => self
                    .with_pair(pair, |driver, world| driver.read(world, buffer))
                    .unwrap_or(Poll::Pending),
                Stream::Socket(id) => self.read_socket(id, buffer),
            };
            match polled {
                Poll::Pending if self.went_on(place, stream) => {}
                Poll::Pending => {
                    self.waits(
                        place,
                        Wakes {
                            reader: true,
                            writer: false,
                        },
                    );
                    return None;
                }
                Poll::Ready(Ok(0)) => return Some(Ok(())),
                Poll::Ready(Ok(count)) => {
                    *fresh = true;
                    let bytes = buffer.get(..count).unwrap_or_default().to_vec();
                    self.got(place, &bytes);
                }
                Poll::Ready(Err(kind)) => return Some(Err(kind)),
            }
        }
    }

    /// Whether the connection was handed over by what was just done.
    fn went_on(&self, place: usize, from: Stream) -> bool {
        let accepted = self.host.accepted.get(place);
        accepted.is_some_and(|one| one.handler.stream != from)
    }

    /// Where a pair says pending, it says when to try again.
    fn waits(&mut self, place: usize, waits: Wakes) {
        if let Some(accepted) = self.host.accepted.get_mut(place)
            && let Stream::Pair(_) = accepted.handler.stream
        {
            accepted.handler.waits.reader |= waits.reader;
            accepted.handler.waits.writer |= waits.writer;
        }
    }

    fn read_socket(&mut self, id: usize, buffer: &mut [u8]) -> Poll<Result<usize, FailureKind>> {
        match Transports::read(self, SocketId(id), buffer) {
            Ok(count) => Poll::Ready(Ok(count)),
            Err(SocketError::WouldBlock) => Poll::Pending,
            Err(SocketError::Failed(failure)) => Poll::Ready(Err(failure.kind)),
        }
    }

    fn got(&mut self, place: usize, bytes: &[u8]) {
        if let Some(accepted) = self.host.accepted.get_mut(place) {
            accepted.handler.got.extend_from_slice(bytes);
            let more = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            accepted.read = accepted.read.saturating_add(more);
        }
    }

    fn think(&mut self, place: usize) {
        let Some(accepted) = self.host.accepted.get_mut(place) else {
            return;
        };
        if std::mem::replace(&mut accepted.handler.asked, true) {
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
        if accepted.stage != Stage::Handled {
            return;
        }
        if let Stream::Socket(id) = accepted.handler.stream {
            let alive = self.sockets.get(id).is_some_and(|socket| {
                matches!(socket.state, State::Established | State::SynReceived) && !socket.orphan
            });
            if !alive {
                return;
            }
        }
        accepted.handler.answers = true;
        let (id, answer) = (accepted.socket, self.scenario.server.answer);
        if answer > 0 {
            self.trace(What::Answered(id, answer));
        }
        self.handler_answers(place);
        self.finish_if_done(place);
    }

    /// Writes what is left of the answer, and ends as the handler ends.
    fn handler_answers(&mut self, place: usize) {
        let answer = self.scenario.server.answer;
        let Some(accepted) = self.host.accepted.get(place) else {
            return;
        };
        let first = accepted.socket as u64;
        if !accepted.handler.answers || accepted.stage != Stage::Handled {
            return;
        }
        if accepted.handler.written < answer {
            let bytes = std::mem::take(&mut self.host.answer);
            let bytes = match bytes {
                (of, bytes) if of == first && !bytes.is_empty() => bytes,
                _ => stream::pattern(first, answer),
            };
            while self.write_some(place, &bytes) {}
            self.host.answer = (first, bytes);
        }
        let Some(handler) = self.host.accepted.get(place).map(|one| &one.handler) else {
            return;
        };
        if handler.written < answer || handler.shut {
            return;
        }
        match self.scenario.server.end {
            End::AfterEof => {}
            End::HalfClose => self.shut(place),
            End::Close => self.let_go(place, false),
            End::Reset => self.let_go(place, true),
        }
    }

    /// Writes some of the answer; whether there may be more to write at once.
    fn write_some(&mut self, place: usize, answer: &[u8]) -> bool {
        let Some(accepted) = self.host.accepted.get(place) else {
            return false;
        };
        let handler = &accepted.handler;
        let left = answer.get(handler.written as usize..).unwrap_or_default();
        if left.is_empty() || accepted.stage != Stage::Handled {
            return false;
        }
        let (stream, refused) = (handler.stream, handler.refused);
        let polled = match stream {
            _ if handler.waits.writer => return false,
            Stream::Socket(id) if refused && !self.is_writable(id) => return false,
            Stream::Pair(pair) => self
                .with_pair(pair, |driver, world| driver.write(world, left))
                .unwrap_or(Poll::Pending),
            Stream::Socket(id) => self.write_socket(id, left),
        };
        match polled {
            Poll::Pending if self.went_on(place, stream) => true,
            Poll::Pending => {
                self.waits(
                    place,
                    Wakes {
                        reader: false,
                        writer: true,
                    },
                );
                let accepted = self.host.accepted.get_mut(place);
                if let Some(accepted) = accepted
                    && accepted.handler.stream == stream
                {
                    accepted.handler.refused = true;
                }
                false
            }
            Poll::Ready(Ok(taken)) => {
                let taken = u32::try_from(taken).unwrap_or(u32::MAX);
                if let Some(accepted) = self.host.accepted.get_mut(place) {
                    accepted.handler.written = accepted.handler.written.saturating_add(taken);
                }
                true
            }
            Poll::Ready(Err(_)) => {
                self.let_go(place, false);
                false
            }
        }
    }

    fn is_writable(&self, id: usize) -> bool {
        self.sockets.get(id).is_some_and(|end| end.writable.ready)
    }

    fn write_socket(&mut self, id: usize, bytes: &[u8]) -> Poll<Result<usize, FailureKind>> {
        match Transports::write(self, SocketId(id), [bytes, &[]]) {
            Ok(taken) => Poll::Ready(Ok(taken)),
            Err(SocketError::WouldBlock) => Poll::Pending,
            Err(SocketError::Failed(failure)) => Poll::Ready(Err(failure.kind)),
        }
    }

    fn shut(&mut self, place: usize) {
        let Some(accepted) = self.host.accepted.get(place) else {
            return;
        };
        let stream = accepted.handler.stream;
        let done = match stream {
            _ if accepted.handler.waits.writer => return,
            Stream::Socket(id) => {
                self.finish(id);
                true
            }
            Stream::Pair(pair) => self
                .with_pair(pair, |driver, world| driver.shutdown(world).is_ready())
                .unwrap_or(true),
        };
        if !done && self.went_on(place, stream) {
            return self.shut(place);
        }
        if !done {
            self.waits(
                place,
                Wakes {
                    reader: false,
                    writer: true,
                },
            );
        }
        if let Some(accepted) = self.host.accepted.get_mut(place) {
            accepted.handler.shut |= done;
        }
    }

    /// Closes what has been read to the end and answered.
    fn finish_if_done(&mut self, place: usize) {
        let Some(accepted) = self.host.accepted.get(place) else {
            return;
        };
        let handler = &accepted.handler;
        let answered = handler.answers && handler.written >= self.scenario.server.answer;
        // One that will never be asked has nothing to wait for.
        if accepted.stage == Stage::Handled && handler.eof && (answered || !handler.asked) {
            self.let_go(place, false);
        }
    }

    pub(crate) fn let_go(&mut self, place: usize, reset: bool) {
        let now = self.now;
        let Some(accepted) = self.host.accepted.get_mut(place) else {
            return;
        };
        let id = accepted.socket;
        let handled = accepted.stage == Stage::Handled;
        let stream = accepted.handler.stream;
        accepted.stage = Stage::Gone;
        accepted.handler.closed = true;
        if handled {
            self.trace(What::HandlerClosed(id, reset));
        }
        match stream {
            Stream::Pair(pair) => {
                // A pair cannot be reset: what was written is delivered.
                if let Some(kept) = self.host.pairs.get_mut(pair) {
                    kept.abandoned.get_or_insert(now);
                }
                self.with_pair(pair, |driver, world| driver.abandon(world));
            }
            Stream::Socket(id) if reset => self.abort(id),
            Stream::Socket(id) => self.close(id),
        }
    }
}
