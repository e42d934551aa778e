//! A stranger at work.

use headstart_core::config::LoserClose;
use headstart_core::race::{AttemptKind, Close};

use super::Stranger;
use crate::app::ReadEnd;
use crate::net::{SocketError, SocketId, Transports};
use crate::party::Party;
use crate::rules::{self, Violation};
use crate::scenario::{Reach, Scenario, Trigger};
use crate::tcp::{millis, nanos};
use crate::trace::What;
use crate::world::World;

/// How long it waits for the connection that it prefers, once the other has
/// answered.
const SETTLE: u64 = millis(1_000);
/// Bytes that it reads at a time.
const READ_SIZE: usize = 16 * 1024;

/// Something that it has decided to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    /// Says what it has to say up to here.
    Say(usize, usize),
    /// Ends its side, behind what it was to say.
    End(usize),
    /// Closes a connection that it does not use.
    Drop(usize),
}

/// One of its connections.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) kind: AttemptKind,
    pub(crate) socket: SocketId,
    /// How far it is to say what there is to say, and how far it has.
    to_say: usize,
    pub(crate) said: usize,
    ends: bool,
    /// When its FIN was given to the kernel.
    pub(crate) ended: Option<u64>,
    /// When something to read was seen first.
    answered: Option<u64>,
    pub(crate) got: Vec<u8>,
    pub(crate) read_end: Option<ReadEnd>,
    /// When it was closed.
    pub(crate) closed: Option<u64>,
}

/// A stranger, and what it has seen.
#[derive(Debug)]
pub(crate) struct Bare<'a> {
    stranger: &'a Stranger,
    bytes: Vec<u8>,
    message: usize,
    /// Bytes of an answer; how a client knows is between it and its server.
    answer: usize,
    /// Answers come only at the end of file.
    blind: bool,
    tells_both: bool,
    /// Plain, then Fast Open, where they could be had.
    pub(crate) wires: Vec<Wire>,
    /// The one that it goes on with.
    pub(crate) used: Option<usize>,
    jobs: Vec<(u64, Job)>,
    patience: u64,
    /// When it had done everything, or enough.
    pub(crate) left: Option<u64>,
    buffer: Vec<u8>,
}

impl<'a> Bare<'a> {
    pub(crate) fn dial(
        scenario: &Scenario,
        stranger: &'a Stranger,
        upload: &[u8],
        world: &mut World<'_>,
    ) -> Self {
        let (bytes, message) = scenario.stranger_says(stranger, upload);
        let mut targets = scenario.race.targets.iter();
        let target = targets.position(|target| target.reach == Reach::Server);
        let first = bytes.get(..message).unwrap_or_default();
        let wires = [AttemptKind::Plain, AttemptKind::FastOpen]
            .into_iter()
            .filter_map(|kind| {
                let (socket, _) = world.start(kind, target.unwrap_or(0), first).ok()?;
                let said = world.sockets.get(socket.index())?.tx.len();
                Some(Wire::new(kind, socket, message, said))
            });
        let mut bare = Self {
            stranger,
            message,
            answer: scenario.server.answer as usize,
            blind: scenario.server.trigger == Trigger::Eof,
            tells_both: scenario.tells_both(stranger),
            wires: wires.collect(),
            used: None,
            jobs: Vec::new(),
            patience: nanos(scenario.client.patience),
            left: None,
            buffer: vec![0; READ_SIZE],
            bytes,
        };
        bare.plan_the_beginning(world);
        bare.work(world);
        bare
    }

    /// What it does before it has heard anything.
    fn plan_the_beginning(&mut self, world: &mut World<'_>) {
        let all = self.bytes.len();
        let copied = self.copied_to();
        for wire in 0..self.wires.len() {
            if self.tells_both {
                self.jobs.push((0, Job::Say(wire, all)));
                self.jobs.push((0, Job::End(wire)));
            } else if self.stranger.upfront {
                self.jobs.push((0, Job::Say(wire, copied)));
            }
        }
        if self.blind && !self.tells_both {
            let wished = |wire: &Wire| Some(wire.kind) == self.stranger.prefers;
            let used = self.wires.iter().position(wished);
            self.goes_on_with(used.unwrap_or(0), world);
        }
    }

    fn copied_to(&self) -> usize {
        self.message.saturating_add(self.stranger.copied as usize)
    }

    /// Chooses, and plans everything else.
    fn goes_on_with(&mut self, used: usize, world: &mut World<'_>) {
        let Some(socket) = self.wires.get(used).map(|wire| wire.socket) else {
            return;
        };
        world.trace(What::Uses(socket.index()));
        self.used = Some(used);
        let (now, stranger) = (world.now, self.stranger);
        let others: Vec<_> = (0..self.wires.len()).filter(|one| *one != used).collect();
        if let Some(keeps) = stranger.keeps {
            let at = now.saturating_add(nanos(keeps));
            self.jobs
                .extend(others.iter().map(|one| (at, Job::Drop(*one))));
        }
        if self.tells_both {
            return;
        }
        let (lag, pause) = (nanos(stranger.lag), nanos(stranger.pause));
        let (mut at, mut to) = (now, self.message);
        while to < self.copied_to() {
            to = to
                .saturating_add(stranger.piece.max(1) as usize)
                .min(self.copied_to());
            for other in &others {
                self.jobs.push((at, Job::Say(*other, to)));
            }
            self.jobs.push((at.saturating_add(lag), Job::Say(used, to)));
            at = at.saturating_add(pause);
        }
        let at = at.saturating_add(lag);
        self.jobs.push((at, Job::Say(used, self.bytes.len())));
        if !stranger.hears_out || self.blind {
            self.jobs.push((at, Job::End(used)));
        }
    }

    /// The connection to go on with, if that is decided.
    fn choice(&self, now: u64) -> Option<usize> {
        let answered = |one: usize| self.wires.get(one).and_then(|wire| wire.answered);
        let all = 0..self.wires.len();
        let first = all.clone().filter(|one| answered(*one).is_some());
        let first = first.min_by_key(|one| answered(*one))?;
        let wished = all.clone().find(|one| {
            let wire = self.wires.get(*one);
            wire.is_some_and(|wire| Some(wire.kind) == self.stranger.prefers && !wire.is_over())
        });
        match wished {
            Some(wished) if answered(wished).is_none() => {
                let waited = answered(first)?.saturating_add(SETTLE) <= now;
                waited.then_some(first)
            }
            Some(wished) => Some(wished),
            None => Some(first),
        }
    }

    /// Hears what there is to hear, on the connections that it reads.
    fn hear(&mut self, world: &mut World<'_>) {
        for (index, wire) in self.wires.iter_mut().enumerate() {
            let reads = self.used == Some(index) || self.stranger.reads_both;
            wire.hear(world, reads, &mut self.buffer);
        }
    }

    fn say(&mut self, world: &mut World<'_>) {
        for wire in &mut self.wires {
            wire.say(world, &self.bytes);
        }
    }

    fn do_due_jobs(&mut self, world: &mut World<'_>) {
        let now = world.now;
        // In the order in which they are due, and then were planned.
        while let Some(next) = self.next_job().filter(|next| self.is_due_job(*next, now)) {
            let (_, job) = self.jobs.remove(next);
            match job {
                Job::Say(one, to) => {
                    if let Some(wire) = self.wires.get_mut(one) {
                        wire.to_say = wire.to_say.max(to);
                    }
                }
                Job::End(one) => {
                    if let Some(wire) = self.wires.get_mut(one) {
                        wire.ends = true;
                    }
                }
                Job::Drop(one) => self.close(one, world),
            }
            self.say(world);
        }
    }

    fn next_job(&self) -> Option<usize> {
        (0..self.jobs.len()).min_by_key(|place| self.jobs.get(*place).map(|(at, _)| *at))
    }

    fn is_due_job(&self, place: usize, now: u64) -> bool {
        self.jobs.get(place).is_some_and(|(at, _)| *at <= now)
    }

    fn close(&mut self, one: usize, world: &mut World<'_>) {
        let used = self.used == Some(one);
        let close = match used {
            true => Close::Graceful,
            false => match self.stranger.loser {
                LoserClose::Abortive => Close::Abortive,
                LoserClose::Graceful => Close::Graceful,
            },
        };
        if let Some(wire) = self.wires.get_mut(one)
            && wire.closed.is_none()
        {
            wire.closed = Some(world.now);
            Transports::close(world, wire.socket, close);
        }
    }

    fn leave(&mut self, world: &mut World<'_>) {
        self.left = Some(world.now);
        self.jobs.clear();
        for one in 0..self.wires.len() {
            self.close(one, world);
        }
    }

    /// Whether there is nothing left to wait for.
    fn is_done(&self) -> bool {
        let over = |wire: &Wire| wire.is_over();
        match self.used.and_then(|used| self.wires.get(used)) {
            Some(wire) => over(wire) && self.jobs.is_empty(),
            None => self.wires.iter().all(over),
        }
    }

    fn work(&mut self, world: &mut World<'_>) {
        if self.left.is_some() {
            return;
        }
        self.hear(world);
        if self.used.is_none()
            && let Some(used) = self.choice(world.now)
        {
            self.goes_on_with(used, world);
            self.hear(world);
        }
        self.do_due_jobs(world);
        if let Some(wire) = self.used.and_then(|used| self.wires.get_mut(used)) {
            wire.ends |= wire.got.len() >= self.answer && wire.to_say >= self.bytes.len();
        }
        self.say(world);
        if self.is_done() || world.now >= self.patience {
            self.leave(world);
        }
    }
}

impl Party for Bare<'_> {
    fn next_at(&self, _: &World<'_>) -> Option<u64> {
        if self.left.is_some() {
            return None;
        }
        let jobs = self.jobs.iter().map(|(at, _)| *at);
        let settled = self.wires.iter().filter_map(|wire| wire.answered);
        let settled = settled.map(|at| at.saturating_add(SETTLE));
        let settled = settled.filter(|_| self.used.is_none());
        jobs.chain(settled).chain([self.patience]).min()
    }

    fn is_due(&self, world: &World<'_>) -> bool {
        self.next_at(world).is_some_and(|at| at <= world.now)
    }

    fn wake(&mut self, world: &mut World<'_>) -> Result<(), Violation> {
        self.work(world);
        Ok(())
    }

    fn act(&mut self, _: &mut World<'_>) -> bool {
        false
    }

    fn at_rest(&self, world: &World<'_>) -> Result<(), Violation> {
        rules::server_at_rest(world)
    }
}

impl Wire {
    const fn new(kind: AttemptKind, socket: SocketId, message: usize, said: usize) -> Self {
        Self {
            kind,
            socket,
            to_say: message,
            said,
            ends: false,
            ended: None,
            answered: None,
            got: Vec::new(),
            read_end: None,
            closed: None,
        }
    }

    const fn is_over(&self) -> bool {
        self.read_end.is_some() || self.closed.is_some()
    }

    fn hear(&mut self, world: &mut World<'_>, reads: bool, buffer: &mut [u8]) {
        while !self.is_over() && world.poll_readable(self.socket) {
            match world.peek(self.socket) {
                Ok(1..) => {
                    self.answered.get_or_insert(world.now);
                    if !reads {
                        return;
                    }
                    let count = world.read(self.socket, buffer).unwrap_or(0);
                    let bytes = buffer.get(..count).unwrap_or_default();
                    self.got.extend_from_slice(bytes);
                    world.trace(What::StrangerRead(self.socket.index(), count));
                }
                Ok(0) => self.read_end = Some(ReadEnd::Eof),
                Err(SocketError::WouldBlock) => {}
                Err(SocketError::Failed(failure)) => {
                    self.read_end = Some(ReadEnd::Failed(failure.kind));
                }
            }
        }
    }

    fn say(&mut self, world: &mut World<'_>, bytes: &[u8]) {
        if self.closed.is_some() {
            return;
        }
        while let Some(rest) = bytes.get(self.said..self.to_say).filter(|r| !r.is_empty()) {
            if !world.poll_writable(self.socket) {
                return;
            }
            match world.write(self.socket, [rest, &[]]) {
                Ok(taken) => self.said = self.said.saturating_add(taken),
                Err(SocketError::WouldBlock) => {}
                Err(SocketError::Failed(failure)) => {
                    self.read_end.get_or_insert(ReadEnd::Failed(failure.kind));
                    self.to_say = self.said;
                }
            }
        }
        let done = self.ends && self.ended.is_none() && self.said >= self.to_say;
        if done && world.poll_writable(self.socket) {
            self.ended = Some(world.now);
            // Of a connection that has failed, reading tells.
            let _ = world.shutdown(self.socket);
        }
    }
}
