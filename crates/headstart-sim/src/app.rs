//! The client's application: a script, and a reader beside it.

use std::task::Poll;

use headstart_core::race::FailureKind;

use crate::driver::{Driver, Wakes, look_at};
use crate::scenario::{Act, Scenario};
use crate::tcp::nanos;
use crate::trace::What;
use crate::world::World;

/// Bytes that the application reads at a time.
const READ_SIZE: usize = 16 * 1024;

/// How reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadEnd {
    /// End of file.
    Eof,
    /// An error of this kind.
    Failed(FailureKind),
    /// The application left before.
    Left,
}

/// The application, and what it has seen.
#[derive(Debug)]
pub(crate) struct App<'a> {
    script: &'a [Act],
    place: usize,
    upload: &'a [u8],
    pub(crate) written: usize,
    /// Where the present write ends.
    write_to: Option<usize>,
    pause_until: Option<u64>,
    patience: u64,
    /// The script may go on.
    write_woken: bool,
    reading: bool,
    read_woken: bool,
    pub(crate) read: Vec<u8>,
    pub(crate) first_byte: Option<u64>,
    pub(crate) last_byte: Option<u64>,
    pub(crate) read_end: Option<ReadEnd>,
    pub(crate) write_failed: Option<FailureKind>,
    pub(crate) shut: bool,
    pub(crate) left: Option<u64>,
    /// A flush was done when nobody had what was written.
    pub(crate) flushed_in_vain: Option<u64>,
    buffer: Vec<u8>,
}

impl<'a> App<'a> {
    pub(crate) fn new(scenario: &'a Scenario, upload: &'a [u8]) -> Self {
        Self {
            script: &scenario.client.script,
            place: 0,
            upload,
            written: 0,
            write_to: None,
            pause_until: None,
            patience: nanos(scenario.client.patience),
            write_woken: true,
            reading: false,
            read_woken: false,
            read: Vec::new(),
            first_byte: None,
            last_byte: None,
            read_end: None,
            write_failed: None,
            shut: false,
            left: None,
            flushed_in_vain: None,
            buffer: vec![0; READ_SIZE],
        }
    }

    pub(crate) const fn patience(&self) -> u64 {
        self.patience
    }

    /// When it acts without being woken.
    pub(crate) fn next_at(&self) -> Option<u64> {
        match self.left {
            Some(_) => None,
            None => Some(self.pause_until.unwrap_or(u64::MAX).min(self.patience)),
        }
    }

    pub(crate) fn wake(&mut self, wakes: Wakes) {
        self.read_woken |= wakes.reader && self.reading;
        self.write_woken |= wakes.writer;
    }

    /// What it waits for, and would have at once if it asked: who should have
    /// woken it has not.
    pub(crate) fn is_forgotten(
        &mut self,
        driver: &mut dyn Driver,
        world: &mut World<'_>,
    ) -> Option<&'static str> {
        let reads = self.reading && self.read_end.is_none();
        if reads && driver.read(world, &mut self.buffer).is_ready() {
            return Some("a read");
        }
        if self.pause_until.is_some() || self.write_woken {
            return None;
        }
        let done = match self.script.get(self.place)? {
            Act::Flush => driver.flush(world).is_ready(),
            Act::Shutdown => driver.shutdown(world).is_ready(),
            Act::Write(_) => {
                let left = self.upload.get(self.written..self.write_to?)?;
                !left.is_empty() && driver.write(world, left).is_ready()
            }
            _ => false,
        };
        done.then_some("a write")
    }

    /// Does what it can now; whether that was anything.
    pub(crate) fn act(&mut self, driver: &mut dyn Driver, world: &mut World<'_>) -> bool {
        if self.left.is_some() {
            return false;
        }
        if world.now >= self.patience {
            world.trace(What::Patience);
            self.leave(driver, world);
            return true;
        }
        if self.pause_until.is_some_and(|until| world.now >= until) {
            self.pause_until = None;
            self.write_woken = true;
        }
        if std::mem::take(&mut self.read_woken) {
            self.read_some(driver, world);
            return true;
        }
        if self.pause_until.is_none() && std::mem::take(&mut self.write_woken) {
            self.perform(driver, world);
            return true;
        }
        false
    }

    /// One act, or a part of one.
    fn perform(&mut self, driver: &mut dyn Driver, world: &mut World<'_>) {
        let Some(act) = self.script.get(self.place).copied() else {
            // What is read is read to the end; then the stream is dropped.
            if !self.reading || self.read_end.is_some() {
                self.leave(driver, world);
            }
            return;
        };
        let done = match act {
            Act::Write(bytes) => self.write_some(driver, world, bytes as usize),
            Act::Pause(time) => {
                self.pause_until = Some(world.now.saturating_add(nanos(time)));
                self.place = self.place.saturating_add(1);
                return;
            }
            Act::Flush => {
                let flushed = driver.flush(world);
                if matches!(flushed, Poll::Ready(Ok(()))) && !self.is_flushed(driver, world) {
                    self.flushed_in_vain.get_or_insert(world.now);
                }
                self.settle(flushed)
            }
            Act::Read => {
                self.reading = true;
                self.read_woken = true;
                true
            }
            Act::AwaitReply => !self.read.is_empty() || self.read_end.is_some(),
            Act::AwaitEnd => self.read_end.is_some(),
            Act::Shutdown => {
                self.shut = true;
                self.settle(driver.shutdown(world))
            }
            Act::Drop => {
                self.leave(driver, world);
                return;
            }
        };
        if done {
            world.trace(What::Act(act));
            self.place = self.place.saturating_add(1);
            self.write_woken = true;
        }
    }

    /// Whether there is a connection, or a kernel that has all that was written.
    fn is_flushed(&self, driver: &dyn Driver, world: &World<'_>) -> bool {
        let header = world.scenario.client.statement.header_len();
        let due = match self.written {
            0 => 0,
            written => written.saturating_add(header),
        };
        let mut flows = world.flows.iter();
        look_at(driver, |race| race.chosen().is_some()) == Some(true)
            || flows.any(|flow| {
                let socket = world.sockets.get(flow.client);
                socket.is_some_and(|socket| socket.tx.len() >= due)
            })
    }

    fn settle(&mut self, polled: Poll<Result<(), FailureKind>>) -> bool {
        match polled {
            Poll::Pending => false,
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(kind)) => {
                self.write_fails(kind);
                true
            }
        }
    }

    /// What cannot be written is skipped; reading goes on.
    fn write_fails(&mut self, kind: FailureKind) {
        self.write_failed.get_or_insert(kind);
        self.write_to = None;
    }

    fn write_some(&mut self, driver: &mut dyn Driver, world: &mut World<'_>, bytes: usize) -> bool {
        if self.write_failed.is_some() {
            return true;
        }
        let to = *self
            .write_to
            .get_or_insert(self.written.saturating_add(bytes));
        let left = self.upload.get(self.written..to).unwrap_or_default();
        if left.is_empty() {
            self.write_to = None;
            return true;
        }
        match driver.write(world, left) {
            Poll::Pending => false,
            Poll::Ready(Ok(taken)) => {
                world.trace(What::Wrote(u32::try_from(taken).unwrap_or(u32::MAX)));
                self.written = self.written.saturating_add(taken);
                if self.written >= to {
                    self.write_to = None;
                    return true;
                }
                self.write_woken = true;
                false
            }
            Poll::Ready(Err(kind)) => {
                self.write_fails(kind);
                true
            }
        }
    }

    fn read_some(&mut self, driver: &mut dyn Driver, world: &mut World<'_>) {
        if self.read_end.is_some() {
            return;
        }
        let result = match driver.read(world, &mut self.buffer) {
            Poll::Pending => return,
            Poll::Ready(result) => result,
        };
        // Acts that wait for reading look again.
        let waits = matches!(
            self.script.get(self.place),
            None | Some(Act::AwaitReply | Act::AwaitEnd)
        );
        self.write_woken |= waits;
        match result {
            Ok(0) => {
                world.trace(What::ReadEnd(None));
                self.read_end = Some(ReadEnd::Eof);
            }
            Ok(count) => {
                world.trace(What::Read(u32::try_from(count).unwrap_or(u32::MAX)));
                self.first_byte.get_or_insert(world.now);
                self.last_byte = Some(world.now);
                let bytes = self.buffer.get(..count).unwrap_or_default();
                self.read.extend_from_slice(bytes);
                self.read_woken = true;
            }
            Err(kind) => {
                world.trace(What::ReadEnd(Some(kind)));
                self.read_end = Some(ReadEnd::Failed(kind));
            }
        }
    }

    fn leave(&mut self, driver: &mut dyn Driver, world: &mut World<'_>) {
        if self.read_end.is_none() {
            self.read_end = Some(ReadEnd::Left);
        }
        world.trace(What::Act(Act::Drop));
        self.left = Some(world.now);
        driver.abandon(world);
    }
}
