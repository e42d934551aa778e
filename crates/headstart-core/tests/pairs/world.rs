//! The model: what each socket, the client and the application have done.

use std::hash::{Hash, Hasher};

use headstart_core::Instant;
use headstart_core::pair::{
    Accepted, Event, GRACE, LOG_LIMIT, MemberId, Outcome, Pair, Snapshot, Source, Step,
};
use headstart_core::race::{AttemptKind, Close};

use super::{Action, Setup, Verdict, edges, states};
use crate::rule;

/// Not zero, so that a clock can go back.
pub const BEGAN: Instant = Instant::from_nanos(1_000_000_000);

/// One accepted connection as its kernel and its client know it.
#[derive(Clone, Copy, Debug)]
pub struct Leg {
    pub kind: AttemptKind,
    pub live: bool,
    pub sent: u64,
    pub acked: u64,
    pub writable: bool,
    pub finished: bool,
    pub received: u64,
    pub readable: bool,
    pub ended_at: Option<Instant>,
    pub asked_at: Option<Instant>,
    pub proven_at: Option<Instant>,
    /// Since when the client's bytes are here.
    pub brought_at: Option<Instant>,
    pub closed: Option<Close>,
}

impl Leg {
    fn new(kind: AttemptKind) -> Self {
        Self {
            kind,
            live: true,
            sent: 0,
            acked: 0,
            writable: true,
            finished: false,
            received: 0,
            readable: false,
            ended_at: None,
            asked_at: None,
            proven_at: None,
            brought_at: None,
            closed: None,
        }
    }

    pub fn eligible(&self) -> bool {
        self.kind == AttemptKind::Plain || self.proven_at.is_some()
    }
}

#[derive(Clone)]
pub struct World {
    pub setup: Setup,
    pub pair: Pair,
    pub now: Instant,
    pub legs: Vec<Leg>,
    /// Bytes of the answer that the application has written.
    pub written: u64,
    /// Bytes of the client's that it has read.
    pub read: u64,
    pub finishing: bool,
    pub abandoned_at: Option<Instant>,
    pub deserted_at: Option<Instant>,
    /// Most bytes that may be kept.
    pub log_max: usize,
    pub wanting: bool,
    pub taken: Option<usize>,
    pub step: Step,
    pub snap: Snapshot,
}

impl World {
    pub fn new(setup: Setup) -> Result<Self, String> {
        let pair = Pair::new(setup.config, BEGAN);
        let mut world = Self {
            setup,
            snap: pair.snapshot(),
            pair,
            now: BEGAN,
            legs: vec![Leg::new(AttemptKind::FastOpen)],
            written: 0,
            read: 0,
            finishing: false,
            abandoned_at: None,
            deserted_at: None,
            log_max: setup.config.log_max.clamp(1, LOG_LIMIT),
            wanting: false,
            taken: None,
            step: Step::Wait(None),
        };
        world.poll()?;
        states::check(&world)?;
        Ok(world)
    }

    /// Acts, and judges what has come of it.
    pub fn apply(&mut self, action: Action) -> Verdict {
        let before = self.clone();
        self.act(action)?;
        edges::check(&before, self, action)?;
        states::check(self)
    }

    pub fn act(&mut self, action: Action) -> Verdict {
        match action {
            Action::Tell(index, event) => self.tell(index, event),
            Action::Join(kind) => {
                if let Some(id) = self.pair.join(self.now, kind) {
                    rule!(
                        id.index() == self.legs.len(),
                        "members are not numbered in order"
                    );
                    self.legs.push(Leg::new(kind));
                }
            }
            Action::Write(bytes) => self.write(bytes)?,
            Action::Shutdown => {
                self.pair.shutdown(self.now);
                (self.finishing, self.wanting) = (true, false);
            }
            Action::Abandon => {
                self.pair.abandon(self.now);
                (self.finishing, self.wanting) = (true, false);
                self.abandoned_at.get_or_insert(self.now);
            }
            Action::Confine => {
                self.log_max = self.log_max.min(self.pair.log_len().max(1));
                self.pair.confine(self.now);
            }
            Action::Take => {
                if let Some(id) = self.pair.take() {
                    rule!(self.taken.is_none(), "taken twice");
                    rule!(self.pair.chosen() == Some(id), "taken, but not chosen");
                    let leg = &mut self.legs[id.index()];
                    rule!(
                        leg.sent == self.written,
                        "P1 taken before it was sent everything"
                    );
                    rule!(leg.finished >= self.finishing, "P1 taken before its FIN");
                    rule!(
                        leg.received >= self.read || leg.ended_at.is_some(),
                        "P2 taken while it would repeat bytes"
                    );
                    leg.live = false;
                    self.taken = Some(id.index());
                }
            }
            Action::Pass(time) => self.now = self.now.saturating_add(time),
            Action::Deadline => {
                if let Step::Wait(Some(at)) = self.step {
                    self.now = self.now.max(at);
                }
            }
        }
        self.poll()
    }

    fn write(&mut self, bytes: usize) -> Verdict {
        let from = self.written;
        let piece = answer(from, from + bytes as u64);
        let accepted = self.pair.write(self.now, &piece);
        self.wanting = accepted == Accepted::Full;
        match accepted {
            Accepted::Bytes(taken) => {
                rule!(
                    (1..=bytes).contains(&taken),
                    "{bytes} bytes taken as {taken}"
                );
                rule!(!self.finishing, "bytes are taken behind the end");
                self.written += taken as u64;
            }
            Accepted::Full => {}
            Accepted::Bound => {
                let mut pair = self.pair.clone();
                let bound = self.taken.is_some() || pair.take().is_some();
                rule!(
                    bound,
                    "P1 a write is referred to a connection that cannot be had"
                );
            }
            Accepted::Finished => rule!(self.finishing, "a write is refused as if finished"),
            Accepted::Dead => rule!(self.live().next().is_none(), "P1 dead beside the living"),
        }
        Ok(())
    }

    /// What the event means to the model; what a driver cannot truly say is cut
    /// down to what it can.
    fn tell(&mut self, index: usize, event: Event) {
        let Some(id) = self.pair.id(index) else {
            return;
        };
        self.pair.handle(self.now, id, event);
        let (now, written) = (self.now, self.written);
        let leg = &mut self.legs[index];
        if !leg.live {
            return;
        }
        match event {
            Event::Readable => leg.readable = leg.ended_at.is_none(),
            Event::Delivered(bytes) => {
                leg.received += bytes as u64;
                self.read = self.read.max(leg.received);
            }
            Event::Discarded(bytes) => {
                leg.received += bytes as u64;
                leg.readable &= bytes > 0;
            }
            Event::Drained => leg.readable = false,
            Event::Ended => {
                leg.readable = false;
                leg.ended_at.get_or_insert(now);
            }
            Event::Failed => leg.live = false,
            Event::Wrote(bytes) => {
                leg.sent = (leg.sent + bytes as u64).min(written);
                leg.writable = bytes > 0;
            }
            Event::Blocked => leg.writable = false,
            Event::Writable => leg.writable = true,
            Event::Finished => leg.finished = true,
            Event::Acked(acked) => {
                leg.acked = leg.acked.max(acked.min(leg.sent + u64::from(leg.finished)));
                leg.asked_at = Some(now);
                if leg.acked > 0 {
                    leg.proven_at.get_or_insert(now);
                }
            }
        }
        match leg.received > 0 || leg.readable {
            true => _ = leg.brought_at.get_or_insert(now),
            false => leg.brought_at = None,
        }
    }

    /// Closes what is to be closed, and stops before any other step.
    fn poll(&mut self) -> Verdict {
        loop {
            self.step = self.pair.poll(self.now);
            let Step::Close(id, close) = self.step else {
                break;
            };
            let leg = &mut self.legs[id.index()];
            rule!(leg.closed.is_none(), "closed twice");
            rule!(
                self.taken != Some(id.index()),
                "P1 the application's is closed"
            );
            (leg.closed, leg.live) = (Some(close), false);
        }
        self.snap = self.pair.snapshot();
        match self.taken.is_none() && self.live().next().is_none() {
            true => _ = self.deserted_at.get_or_insert(self.now),
            false => self.deserted_at = None,
        }
        Ok(())
    }

    /// Whether a driver that says the truth may say this now.
    pub fn may_happen(&self, index: usize, event: Event) -> bool {
        let leg = self.legs[index];
        let Some(id) = self.pair.id(index).filter(|_| leg.live) else {
            return false;
        };
        let more = |bytes: usize| leg.received + bytes as u64 <= self.setup.upload;
        match event {
            // Also what is known.
            Event::Readable => leg.ended_at.is_none() && (leg.readable || more(1)),
            Event::Delivered(bytes) => self.pair.source() == Source::From(id) && more(bytes),
            Event::Discarded(bytes) => {
                matches!(self.step, Step::Discard(at, most) if at == id && (1..=most).contains(&bytes))
            }
            Event::Drained => leg.readable,
            Event::Ended | Event::Failed | Event::Writable => true,
            Event::Wrote(bytes) => {
                self.step == Step::Write(id) && leg.sent + bytes as u64 <= self.written
            }
            Event::Blocked => self.step == Step::Write(id),
            Event::Finished => self.step == Step::Shutdown(id),
            Event::Acked(acked) => {
                (leg.acked..=leg.sent + u64::from(leg.finished)).contains(&acked)
            }
        }
    }

    pub fn live(&self) -> impl Iterator<Item = (usize, &Leg)> {
        self.legs.iter().enumerate().filter(|(_, leg)| leg.live)
    }

    pub fn id(&self, index: usize) -> MemberId {
        self.pair.id(index).expect("a member")
    }

    pub fn chosen(&self) -> Option<usize> {
        self.snap.chosen.map(MemberId::index)
    }

    pub fn winner(&self) -> Option<usize> {
        self.pair.winner().map(MemberId::index)
    }

    pub fn outcome(&self, index: usize) -> Outcome {
        self.snap.members[index].outcome
    }

    pub fn window_end(&self) -> Instant {
        BEGAN.saturating_add(self.setup.config.window)
    }

    /// Whether nothing that may matter differs.
    pub fn is_like(&self, other: &Self) -> bool {
        self.snap == other.snap && self.step == other.step && self.written == other.written
    }

    /// All that may matter later. How long the next question may wait is left
    /// out: by any step of time that is longer than its longest pause, it is due.
    /// So is how much of LINGER is left, which is passed in one step.
    pub fn key(&self, hasher: &mut impl Hasher) {
        let mut snap = self.snap.clone();
        snap.times[5] = snap.times[5].map(|left| left.min(std::time::Duration::from_nanos(1)));
        snap.times[6] = None;
        snap.times[2] = snap.times[2].map(|left| left.min(GRACE));
        snap.hash(hasher);
        let left = |since: Option<Instant>| {
            since.map(|at| at.saturating_add(GRACE).saturating_since(self.now))
        };
        for leg in self.legs.iter().filter(|leg| leg.live) {
            left(leg.brought_at).hash(hasher);
        }
        (self.wanting, self.written, self.read).hash(hasher);
    }
}

/// The answer's bytes, each one telling its place.
pub fn answer(from: u64, to: u64) -> Vec<u8> {
    (from..to).map(|at| (at % 251) as u8).collect()
}
