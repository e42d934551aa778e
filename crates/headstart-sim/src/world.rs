//! Everything but the client: virtual time, the network, both kernels, and
//! the server.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use headstart_core::race::AttemptKind;

use crate::dice::Dice;
use crate::gate::Gate;
use crate::host::Host;
use crate::link::{Link, Travel};
use crate::middlebox::Memory;
use crate::rule::Rule;
use crate::scenario::{Reach, Scenario};
use crate::segment::{FastOpenOption, Segment};
use crate::tcp::{Socket, State, nanos};
use crate::trace::{Entry, Trace, What};

/// Where the client's clock stands at the beginning, in nanoseconds.
pub(crate) const CLOCK_BEGIN: u64 = 3_600_000_000_000;

/// What a draw is for.
const SPURIOUS: u64 = 6;
const ORDER: u64 = 7;

/// Something that time brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Arrives(Segment),
    Timer(usize),
    /// A socket that refused a write on a whim takes one again.
    Unblocked(usize),
    /// Other clients' first messages come to every server.
    Crowd(u32),
    /// A handler has thought.
    Thought(usize),
    /// The run loop is to look again.
    Look,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// One attempt's way to the server, and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) kind: AttemptKind,
    pub(crate) target: usize,
    /// The client's socket.
    pub(crate) client: usize,
    pub(crate) reach: Reach,
    pub(crate) link: Link,
    pub(crate) travel: Travel,
    pub(crate) memory: Memory,
    /// The server that a balancer gives it.
    pub(crate) server: usize,
    /// The present end at each server.
    pub(crate) ends: [Option<usize>; 2],
    pub(crate) dice: Dice,
    pub(crate) packets: u32,
    /// Packets lost since one last passed, to the server and back.
    pub(crate) tail: [u32; 2],
    /// Packets from the server that were lost, or came too early to be kept.
    pub(crate) lost_back: u32,
    pub(crate) lost_there: u32,
    pub(crate) too_early: bool,
    /// An end of it gave up retransmitting.
    pub(crate) timed_out: bool,
    pub(crate) syn_at: u64,
    pub(crate) opened_at: Option<u64>,
    pub(crate) end_opened_at: Option<u64>,
    /// When bytes up to a number left for the first time.
    pub(crate) departures: Vec<(u32, u64)>,
    pub(crate) reply_left: Option<u64>,
    pub(crate) reply_came: Option<u64>,
    /// How the client's socket was closed: by RST or not.
    pub(crate) closed: Option<headstart_core::race::Close>,
    /// When the client's side closed it.
    pub(crate) closed_at: Option<u64>,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Packets sent, both ways.
    pub packets: u64,
    /// Packets that did not arrive.
    pub lost: u64,
    /// Packets that a fault of their link befell.
    pub befallen: u64,
    /// Events of the network and of timers.
    pub events: u64,
    /// Times that the driver was woken.
    pub wakes: u64,
    /// Times that a handler was called.
    pub handled: u32,
    /// Connections that were closed as copies.
    pub duplicates: u32,
    /// Messages that were kept open for copies.
    pub pairs: u32,
    /// Messages by Fast Open that were not, as there was no room.
    pub unpaired: u32,
    /// Copies that joined them.
    pub joined: u32,
    /// Pairs for which there were no bytes left.
    pub cut_short: u32,
    /// Times that a pair was woken.
    pub gate_wakes: u64,
}

pub(crate) struct World<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) now: u64,
    queue: BinaryHeap<Reverse<Due>>,
    order: u64,
    dice: Dice,
    pub(crate) sockets: Vec<Socket>,
    pub(crate) flows: Vec<Flow>,
    /// Kept by address, as by Linux.
    pub(crate) cookies: Vec<Option<FastOpenOption>>,
    pub(crate) host: Host,
    /// Servers' sockets with news.
    pub(crate) news: Vec<usize>,
    /// Handlers whose pairs woke them, by the place of what they were called for.
    pub(crate) called: Vec<usize>,
    /// The driver is to be woken.
    pub(crate) woken: bool,
    pub(crate) held: usize,
    /// Somebody closed a socket with bytes unread, or before more came: the
    /// reset that tells the peer destroys what is under way.
    pub(crate) cut: bool,
    pub(crate) counters: Counters,
    pub(crate) tracing: bool,
    pub(crate) trace: Trace,
}

/// What the client's kernel has at the beginning.
fn cookies(scenario: &Scenario) -> Vec<Option<FastOpenOption>> {
    let cookie = scenario.race.cookie.map(|kind| FastOpenOption {
        kind,
        cookie: Some(0),
    });
    let targets = scenario.race.targets.iter();
    targets
        .map(|target| cookie.filter(|_| target.cookie))
        .collect()
}

impl<'a> World<'a> {
    pub(crate) fn new(scenario: &'a Scenario, tracing: bool, gate: Box<dyn Gate>) -> Self {
        let mut world = Self {
            scenario,
            now: 0,
            queue: BinaryHeap::new(),
            order: 0,
            dice: Dice::new(scenario.seed),
            sockets: Vec::with_capacity(8),
            flows: Vec::with_capacity(4),
            cookies: cookies(scenario),
            host: Host::new(scenario, gate),
            news: Vec::new(),
            called: Vec::new(),
            woken: false,
            held: 0,
            cut: false,
            counters: Counters::default(),
            tracing,
            trace: Trace::default(),
        };
        world.queue_jump();
        if scenario.server.crowd.is_some() {
            world.push(0, Event::Crowd(0));
        }
        world
    }

    /// The client's clock.
    pub(crate) fn clock(&self) -> u64 {
        let begun = self.now.saturating_add(CLOCK_BEGIN);
        match self.scenario.noise.jump {
            Some(jump) if self.now >= nanos(jump.at) => {
                begun.saturating_add_signed(jump.millis.saturating_mul(1_000_000))
            }
            _ => begun,
        }
    }

    /// When the client's clock will show this, unless it jumps.
    pub(crate) fn at_clock(&self, clock: u64) -> u64 {
        self.now.saturating_add(clock.saturating_sub(self.clock()))
    }

    pub(crate) fn push(&mut self, at: u64, event: Event) {
        self.order = self.order.wrapping_add(1);
        let order = match self.scenario.noise.order {
            true => self.rank(event),
            false => self.order,
        };
        let at = at.max(self.now);
        self.queue.push(Reverse(Due { at, order, event }));
    }

    /// Where an event comes among those of its moment, by what it is: the same
    /// in a run and in its reference.
    fn rank(&self, event: Event) -> u64 {
        let of_socket = |id: usize, which: u64| {
            let socket = self.sockets.get(id);
            let client = socket.is_some_and(|socket| socket.client);
            let flow = socket.and_then(|socket| self.flows.get(socket.flow));
            let what = which << 1 | u64::from(client);
            flow.map_or(what, |flow| flow.dice.of(ORDER).draw(what))
        };
        match event {
            Event::Arrives(segment) => {
                let flow = self.flows.get(segment.flow);
                flow.map_or(0, |flow| flow.dice.of(ORDER).of(0).draw(segment.key()))
            }
            Event::Timer(id) => of_socket(id, 1),
            Event::Unblocked(id) => of_socket(id, 2),
            Event::Thought(_) | Event::Crowd(_) | Event::Look => self.dice.draw(ORDER),
        }
    }

    /// When the next thing happens.
    pub(crate) fn next_at(&self) -> Option<u64> {
        let queued = self.queue.peek().map(|due| due.0.at);
        queued.into_iter().chain(self.pairs_at()).min()
    }

    /// Lets one thing happen that is due now.
    pub(crate) fn step(&mut self) -> bool {
        if let Some(id) = self.news.pop() {
            self.host_looks(id);
            return true;
        }
        if let Some(place) = self.called.pop() {
            self.handler_goes_on(place);
            return true;
        }
        if self.wake_a_pair() {
            return true;
        }
        if self.queue.peek().is_none_or(|due| due.0.at > self.now) {
            return false;
        }
        let Some(Reverse(due)) = self.queue.pop() else {
            return false;
        };
        self.counters.events = self.counters.events.saturating_add(1);
        match due.event {
            Event::Arrives(segment) => self.arrives(segment),
            Event::Timer(id) => self.timer(id),
            Event::Unblocked(id) => self.becomes_writable(id),
            Event::Thought(place) => self.thought(place),
            Event::Crowd(time) => self.crowd_comes(time),
            Event::Look => self.woken = true,
        }
        while let Some(id) = self.news.pop() {
            self.host_looks(id);
        }
        true
    }

    fn arrives(&mut self, segment: Segment) {
        if segment.to_server {
            if segment.is_syn() {
                return self.syn_arrives(segment);
            }
            let end = self
                .flows
                .get(segment.flow)
                .and_then(|flow| *flow.ends.get(segment.server)?)
                .filter(|id| segment.end == Some(*id));
            let state = end.and_then(|id| Some((id, self.sockets.get(id)?.state)));
            match state {
                None | Some((_, State::Closed)) => self.refuse(segment),
                Some((id, State::Request | State::SynReceived))
                    if !segment.rst && segment.ack.is_some_and(|ack| ack > 0) =>
                {
                    self.completes(id, segment);
                    self.segment_arrives(id, segment);
                }
                Some((id, _)) => self.segment_arrives(id, segment),
            }
            if let Some(id) = end
                && self.sockets.get(id).is_some_and(|end| end.pair.is_some())
            {
                self.spurious(id, &segment);
            }
            return;
        }
        let Some(id) = self.flows.get(segment.flow).map(|flow| flow.client) else {
            return;
        };
        let Some(socket) = self.sockets.get(id) else {
            return;
        };
        match socket.state {
            State::SynSent => self.opens(id, segment),
            State::Closed => self.refuse(segment),
            // Another incarnation of the server's end: its numbers are foreign.
            _ if segment.end != socket.peer && !segment.rst && !segment.unreachable => {
                self.acknowledge(id);
            }
            _ => self.segment_arrives(id, segment),
        }
        self.spurious(id, &segment);
    }

    /// Says that a socket is ready when it may not be.
    fn spurious(&mut self, id: usize, segment: &Segment) {
        let open = self.sockets.get(id).is_some_and(Socket::is_open);
        if !self.scenario.noise.spurious || !open || !self.is_whim(segment) {
            return;
        }
        self.trace(What::Spurious(id));
        self.becomes_readable(id);
        self.becomes_writable(id);
    }

    fn is_whim(&self, segment: &Segment) -> bool {
        self.flows
            .get(segment.flow)
            .is_some_and(|flow| flow.dice.of(SPURIOUS).chance(250, segment.key()))
    }

    pub(crate) fn becomes_readable(&mut self, id: usize) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if !socket.client && socket.pair.is_none() {
            return self.news.push(id);
        }
        socket.readable.ready = true;
        if std::mem::take(&mut socket.readable.wanted) {
            self.wake_holder(id);
        }
    }

    pub(crate) fn becomes_writable(&mut self, id: usize) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        socket.no_space = false;
        socket.writable.ready = true;
        if !socket.client && socket.pair.is_none() {
            return self.news.push(id);
        }
        if std::mem::take(&mut socket.writable.wanted) {
            self.wake_holder(id);
        }
    }

    /// Wakes the driver that a socket is with.
    fn wake_holder(&mut self, id: usize) {
        match self.sockets.get(id).and_then(|socket| socket.pair) {
            None => self.woken = true,
            Some(pair) => {
                if let Some(kept) = self.host.pairs.get_mut(pair) {
                    kept.woken = true;
                }
            }
        }
    }

    /// Which server a new flow goes to.
    pub(crate) fn balanced(&self) -> usize {
        match self.scenario.rule {
            Rule::Balance => self.flows.len() % 2,
            _ => 0,
        }
    }

    pub(crate) fn dice_of(&self, kind: AttemptKind, target: usize) -> Dice {
        let fast_open = u64::from(kind == AttemptKind::FastOpen);
        self.dice.of(0x1000).of(fast_open).of(target as u64)
    }

    pub(crate) fn trace(&mut self, what: What) {
        if !self.tracing {
            return;
        }
        let socket = match what {
            What::Opened(id)
            | What::Ended(id)
            | What::Failed(id, _)
            | What::Timer(id)
            | What::Spurious(id)
            | What::Told(id, _)
            | What::Started(id, ..)
            | What::Accepted(id)
            | What::Verdict(id, _)
            | What::Malformed(id)
            | What::HandlerCalled(id)
            | What::HandlerRead(id, _)
            | What::HandlerEof(id)
            | What::Answered(id, _)
            | What::HandlerClosed(id, _)
            | What::PairOpened(id)
            | What::PairJoined(id)
            | What::PairTold(id, ..)
            | What::Uses(id)
            | What::StrangerRead(id, _)
            | What::PairHanded(id) => self.sockets.get(id).map(|socket| socket.flow),
            What::Sent(segment, _) | What::TooEarly(segment) => Some(segment.flow),
            What::Step(_)
            | What::PairStep(_)
            | What::PairSettled
            | What::Read(_)
            | What::ReadEnd(_)
            | What::Wrote(_)
            | What::Act(_)
            | What::Patience => None,
        };
        let flow = socket.and_then(|flow| self.flows.get(flow));
        self.trace.entries.push(Entry {
            at: self.now,
            what,
            flow: flow.map(|flow| (flow.kind, flow.target)),
        });
    }
}
