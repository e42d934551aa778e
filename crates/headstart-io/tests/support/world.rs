//! A gate, its clients and its application, and what must hold of them.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use headstart_core::Instant;
use headstart_core::debounce::Config;
use headstart_core::framing::token::{HEADER_LEN, Header, Id};
use headstart_core::framing::{
    ByteOrder, Framing, LengthPrefix, Malformed, NoiseHeader, PrefixWidth, Progress,
};
use headstart_io::{
    Admitted, AfterAcceptError, Claims, Gate, GateEvent, GateStream, Runtime, Stream, Via,
};

use super::network::{Arrival, End, Fate, Flag, Network, Socket, address};

/// Most clients of one gate: more than it serves in one turn.
pub const CLIENTS_MAX: usize = 160;
/// Most clients that a gate asks for a word before it turns one away that has
/// just said something.
const CALLED_MAX: usize = 64;
/// What stands before a Token that stands behind something.
const PREAMBLE: &[u8] = b"PRE!";
/// Longest pause after a failed accept.
const BACK_OFF_MAX: Duration = Duration::from_secs(1);
/// The debouncer's unit of time, in nanoseconds.
const TICK: u64 = 1 << 20;
/// Bodies of first messages that are said to be long.
const LONG: usize = 5000;

/// A broken rule: what was seen.
pub type Verdict = Result<(), String>;

macro_rules! rule {
    ($holds:expr, $($what:tt)*) => {
        if !$holds {
            return Err(format!($($what)*));
        }
    };
}

/// What first messages look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Noise,
    Storj,
    Token,
    /// A Token behind four bytes, which the application is given.
    TokenBehind,
    Prefix,
    Tls,
}

/// A gate under test.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub shape: Shape,
    pub debounce: bool,
    pub message_max: usize,
    pub message_timeout: Duration,
    pub waiting_max: usize,
    pub admitted_max: usize,
}

/// What a client will send.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// Which message: equal numbers, equal messages.
    pub message: u8,
    /// Length of its body; 255 is a long one.
    pub body: u8,
    /// Bytes behind it; 255 are many.
    pub tail: u8,
    /// Which byte is wrong, counted from the first.
    pub spoilt: Option<u8>,
    /// What the system says of data in the SYN.
    pub syn_data: Option<bool>,
}

/// Something that happens. Clients are named by any number.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Connect(Plan),
    /// So many of a client's next bytes come, in one piece.
    Deliver(usize, usize),
    /// All that clients have yet to send comes at once.
    DeliverAll,
    End(usize),
    Fail(usize),
    CryWolf(usize),
    /// Other tasks take their time: so much happens before the gate's runs.
    Busy(u8),
    /// The runtime does not look at its sockets: what comes is there, and
    /// nobody is told.
    LookAway,
    LookAgain,
    FailAccept(AfterAcceptError),
    /// One more task waits in `accept`.
    Accept,
    /// One of them no longer does.
    GiveUp(usize),
    /// A connection is asked for without an `accept`.
    Take,
    /// So many bytes are read from an admitted connection.
    Read(usize, usize),
    Pass(Duration),
    /// The application accepts no more.
    Close,
    /// Time passes to when the gate has set its timer.
    Alarm,
}

#[derive(Debug)]
struct Client {
    bytes: Vec<u8>,
    sent: usize,
    ended: bool,
    failed: bool,
    syn_data: Option<bool>,
    outcome: Option<&'static str>,
}

/// A connection that the application has.
struct Served {
    number: usize,
    stream: GateStream<Network>,
    /// Where it has read to, of what it is given.
    at: usize,
}

/// How a read came out.
#[derive(Debug, PartialEq, Eq)]
enum ReadEnd {
    Pending,
    Ended,
    Failed,
}

type Accepting = Pin<Box<dyn Future<Output = std::io::Result<Admitted<Network>>>>>;

/// All of it.
pub struct World {
    setup: Setup,
    framing: Framing,
    network: Network,
    gate: Option<Arc<Gate<Network>>>,
    events: Arc<Mutex<Vec<GateEvent>>>,
    clients: Vec<Client>,
    /// Admitted and not taken: numbers and lengths of first messages.
    hall: VecDeque<(usize, usize)>,
    served: Vec<Served>,
    accepting: Vec<(Arc<Flag>, Accepting)>,
    /// When each first message came, and how many copies.
    seen: HashMap<Vec<u8>, (Instant, u32)>,
    failed_accepts: u64,
    backs_off: bool,
    stopped: bool,
    /// It was closed, or its listener is broken: who waits is reset, though he may have said all.
    closed: bool,
    /// The runtime has looked away: what is asked for only to make room for a
    /// newcomer was said before he came, and read after.
    looked_away: bool,
    /// Acts that come before the gate's task runs.
    busy: u8,
}

impl World {
    pub fn new(setup: Setup) -> Self {
        let network = Network::new();
        let events = Arc::<Mutex<Vec<GateEvent>>>::default();
        let told = events.clone();
        let framing = setup.shape.framing();
        // Less is refused.
        let setup = Setup {
            message_max: setup.message_max.max(framing.message_min()),
            ..setup
        };
        let config = Config {
            capacity: CLIENTS_MAX,
            window: Duration::MAX,
        };
        let gate = Gate::builder_on(network.clone(), framing.clone())
            .debounce(setup.debounce)
            .pairing(false)
            .claims(Claims::new(config).expect("settings in range"))
            .message_max(setup.message_max)
            .message_timeout(setup.message_timeout)
            .waiting_max(setup.waiting_max)
            .admitted_max(setup.admitted_max)
            .watcher(move |event| told.lock().expect("one thread").push(event))
            .bind(address(0))
            .expect("settings in range");
        Self {
            setup,
            framing,
            network,
            gate: Some(Arc::new(gate)),
            events,
            clients: Vec::new(),
            hall: VecDeque::new(),
            served: Vec::new(),
            accepting: Vec::new(),
            seen: HashMap::new(),
            failed_accepts: 0,
            backs_off: false,
            stopped: false,
            closed: false,
            looked_away: false,
            busy: 0,
        }
    }

    /// Does one thing, lets all come to rest, and asserts what must hold.
    pub fn apply(&mut self, act: Act) -> Verdict {
        self.act(act)?;
        if self.busy > 0 {
            self.busy -= 1;
            return Ok(());
        }
        self.settle()?;
        self.standing()
    }

    /// Lets time pass until the gate has decided of everyone.
    pub fn finish(&mut self) -> Verdict {
        self.busy = 0;
        self.network.look_again();
        self.settle()?;
        self.standing()?;
        for _ in 0..4 * CLIENTS_MAX {
            while !self.hall.is_empty() {
                self.apply(Act::Take)?;
            }
            match self.network.alarm() {
                Some(_) if !self.stopped => self.apply(Act::Alarm)?,
                _ => break,
            }
        }
        let left = self.waiting().count();
        rule!(
            self.stopped || left == 0,
            "{left} connections wait for ever"
        );
        let arriving = self.network.arriving();
        rule!(
            self.stopped || arriving == 0,
            "{arriving} are never accepted"
        );
        for mut served in std::mem::take(&mut self.served) {
            let client = &self.clients[served.number];
            let mut read = Vec::new();
            let end = match served.number % 2 {
                0 => read_all(&mut served.stream, &mut read),
                _ => {
                    let Ok((stream, before)) = served.stream.into_parts() else {
                        return Err(format!("{} came plainly, and is paired", served.number));
                    };
                    read.extend_from_slice(&before);
                    read_raw(&stream, &mut read)
                }
            };
            rule!(
                read == self.given(served.number)[served.at..],
                "admitted connection {} lost bytes: {} after {}, {} sent",
                served.number,
                read.len(),
                served.at,
                client.sent
            );
            let expected = match (client.failed, client.ended) {
                (true, _) => ReadEnd::Failed,
                (false, true) => ReadEnd::Ended,
                (false, false) => ReadEnd::Pending,
            };
            rule!(end == expected, "{end:?} where {expected:?} was sent");
        }
        Ok(())
    }

    /// Those who were turned away to make room, oldest first.
    pub fn evicted(&self) -> impl Iterator<Item = usize> {
        let evicted = |number: &usize| self.clients[*number].outcome == Some("evicted");
        (0..self.clients.len()).filter(evicted)
    }

    fn act(&mut self, act: Act) -> Verdict {
        let number = |any: usize, clients: &[Client]| any.checked_rem(clients.len());
        match act {
            Act::Connect(plan) => self.connect(plan),
            Act::Deliver(any, bytes) => {
                if let Some(number) = number(any, &self.clients) {
                    self.deliver(number, bytes);
                }
            }
            Act::DeliverAll => (0..self.clients.len()).for_each(|i| self.deliver(i, usize::MAX)),
            Act::End(any) => {
                if let Some(number) = number(any, &self.clients) {
                    self.clients[number].ended = true;
                    self.network.end(number);
                }
            }
            Act::Fail(any) => {
                if let Some(number) = number(any, &self.clients) {
                    self.clients[number].failed = true;
                    self.network.fail(number);
                }
            }
            Act::CryWolf(any) => {
                if let Some(number) = number(any, &self.clients) {
                    self.network.cry_wolf(number);
                }
            }
            Act::Busy(acts) => self.busy = acts,
            Act::LookAway => {
                self.looked_away = true;
                self.network.look_away();
            }
            Act::LookAgain => self.network.look_again(),
            Act::FailAccept(after) => self.network.arrive(Arrival::Error(after)),
            Act::Close => {
                self.closed = true;
                let gate = self.gate();
                let mut cx = Context::from_waker(Waker::noop());
                let _ = pin!(gate.close()).poll(&mut cx);
            }
            Act::Accept => {
                let gate = self.gate();
                let flag = Arc::<Flag>::default();
                std::task::Wake::wake(flag.clone());
                let accepting = Box::pin(async move { gate.accept().await });
                self.accepting.push((flag, accepting));
            }
            Act::GiveUp(any) => {
                if let Some(index) = any.checked_rem(self.accepting.len()) {
                    drop(self.accepting.swap_remove(index));
                }
            }
            Act::Take => self.take()?,
            Act::Read(any, bytes) => self.read(any, bytes)?,
            Act::Pass(time) => self
                .network
                .pass_to(self.network.now().saturating_add(time)),
            Act::Alarm => {
                if let Some(alarm) = self.network.alarm() {
                    self.network.pass_to(alarm);
                }
            }
        }
        Ok(())
    }

    fn gate(&self) -> Arc<Gate<Network>> {
        self.gate.clone().expect("there until dropped")
    }

    fn connect(&mut self, plan: Plan) {
        if self.clients.len() == CLIENTS_MAX {
            return;
        }
        let mut bytes = self.setup.shape.message(plan.message, plan.body);
        if let Some(spoilt) = plan.spoilt {
            let at = usize::from(spoilt) % bytes.len();
            bytes[at] ^= 0x55;
        }
        let tail = if plan.tail == 255 {
            2 * LONG
        } else {
            plan.tail.into()
        };
        bytes.extend((0..tail).map(|place| (place * 7) as u8));
        let number = self.network.connect(plan.syn_data);
        self.clients.push(Client {
            bytes,
            sent: 0,
            ended: false,
            failed: false,
            syn_data: plan.syn_data,
            outcome: None,
        });
        self.network.arrive(Arrival::Connection(number));
    }

    fn deliver(&mut self, number: usize, bytes: usize) {
        let client = &mut self.clients[number];
        let rest = &client.bytes[client.sent..];
        let piece = &rest[..bytes.min(rest.len())];
        if !piece.is_empty() && !client.ended && !client.failed {
            self.network.deliver(number, piece);
            client.sent += piece.len();
        }
    }

    /// Lets the gate and its application run until nobody is woken.
    fn settle(&mut self) -> Verdict {
        loop {
            self.network.run()?;
            let told = std::mem::take(&mut *self.events.lock().expect("one thread"));
            for event in told {
                self.hear(event)?;
            }
            self.stopped = !self.network.has_task();
            let woken = self.accepting.iter().position(|(flag, _)| flag.take());
            let Some(woken) = woken else {
                return Ok(());
            };
            let (flag, accepting) = &mut self.accepting[woken];
            let waker = Waker::from(flag.clone());
            let accepted = accepting.as_mut().poll(&mut Context::from_waker(&waker));
            if let Poll::Ready(accepted) = accepted {
                drop(self.accepting.swap_remove(woken));
                self.accepted(accepted)?;
            }
        }
    }

    fn take(&mut self) -> Verdict {
        let gate = self.gate();
        match gate.poll_accept(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => {
                rule!(self.hall.is_empty(), "an admitted connection is kept back");
                rule!(!self.stopped, "a gate that has stopped says nothing");
                Ok(())
            }
            Poll::Ready(accepted) => self.accepted(accepted),
        }
    }

    fn accepted(&mut self, accepted: std::io::Result<Admitted<Network>>) -> Verdict {
        let admitted = match accepted {
            Ok(admitted) => admitted,
            Err(error) => {
                rule!(self.stopped, "the gate ends: {error}");
                rule!(self.hall.is_empty(), "the gate ends before all were taken");
                return Ok(());
            }
        };
        let number = usize::from(admitted.peer.port());
        let next = self.hall.pop_front();
        rule!(
            next == Some((number, admitted.message)),
            "{next:?} is next, {number} with {} bytes was given",
            admitted.message
        );
        let via = self.via(number);
        rule!(admitted.via == via, "{number} came by {via}");
        self.served.push(Served {
            number,
            stream: admitted.stream,
            at: 0,
        });
        Ok(())
    }

    fn read(&mut self, any: usize, bytes: usize) -> Verdict {
        let Some(index) = any.checked_rem(self.served.len()) else {
            return Ok(());
        };
        let given = self.given(self.served[index].number);
        let served = &mut self.served[index];
        let mut buf = vec![0; bytes];
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(Ok(got)) = Pin::new(&mut served.stream).poll_read(&mut cx, &mut buf) {
            let expected = given.get(served.at..served.at + got);
            rule!(
                expected == Some(&buf[..got]),
                "connection {} reads other bytes at {}",
                served.number,
                served.at
            );
            served.at += got;
        }
        Ok(())
    }

    /// Checks what the gate tells of.
    fn hear(&mut self, event: GateEvent) -> Verdict {
        let now = self.network.now();
        let is = |peer: &SocketAddr| {
            let number = usize::from(peer.port());
            self.network.socket(number, |socket| socket.fate)
        };
        let (peer, outcome, fate) = match &event {
            GateEvent::AcceptFailed { error } => {
                self.backs_off = error.kind() == std::io::ErrorKind::OutOfMemory;
                self.closed |= error.kind() == std::io::ErrorKind::InvalidInput;
                self.failed_accepts += 1;
                return Ok(());
            }
            GateEvent::Admitted { peer, .. } => (peer, "first", Fate::Kept),
            GateEvent::Duplicate { peer, .. } => (peer, "duplicate", Fate::Reset),
            GateEvent::Malformed { peer, .. } => (peer, "malformed", Fate::Reset),
            GateEvent::TimedOut { peer, .. } => (peer, "timed out", Fate::Reset),
            GateEvent::Closed { peer, .. } if self.closed && is(peer) == Fate::Reset => {
                (peer, "closed", Fate::Reset)
            }
            GateEvent::Closed { peer, .. } => (peer, "closed", Fate::Dropped),
            GateEvent::Evicted { peer, .. } => (peer, "evicted", Fate::Reset),
            other => return Err(format!("an event that is not known: {other:?}")),
        };
        let number = usize::from(peer.port());
        let waiting = self.waiting().count();
        let word = |number| self.network.socket(number, |socket| socket.word);
        let most_silent = self.waiting().min_by_key(|number| word(*number));
        let via = self.via(number);
        let scanned = self.scan(number);
        let client = &mut self.clients[number];
        let already = client.outcome.replace(outcome);
        rule!(already.is_none(), "{number} is {already:?}, then {event:?}");
        let (is, accepted) = self
            .network
            .socket(number, |socket| (socket.fate, socket.accepted));
        rule!(is == fate, "{number} is {outcome}, and its socket {is:?}");
        let Some(accepted) = accepted else {
            return Err(format!("{event:?} of one that was never accepted"));
        };
        let said = format!(
            "{number}: {event:?}, though its {} bytes are {scanned:?}",
            client.sent
        );
        let deadline = accepted.saturating_add(self.setup.message_timeout);
        match event {
            GateEvent::Admitted { via: by, bytes, .. } => {
                rule!(
                    scanned == Ok(Progress::Complete(bytes)) && by == via,
                    "{said}"
                );
                let message = client.bytes[..bytes].to_vec();
                let copies = self.seen.insert(message, (now, 1));
                let again = copies.is_some() && self.setup.debounce;
                rule!(!again, "D1 {number} is admitted, and a copy of it was");
                self.hall.push_back((number, bytes));
            }
            GateEvent::Duplicate {
                via: by,
                age,
                copies,
                ..
            } => {
                let Ok(Progress::Complete(bytes)) = scanned else {
                    return Err(said);
                };
                let Some((first, before)) = self.seen.get_mut(&client.bytes[..bytes]) else {
                    return Err(format!("D1 {number} is a copy of nothing"));
                };
                *before += 1;
                let old = now.saturating_since(*first).as_nanos() as u64;
                let about = old.abs_diff(age.as_nanos() as u64) < 2 * TICK;
                rule!(copies == *before && by == via && about, "{said}");
                rule!(self.setup.debounce, "a duplicate without debouncing");
            }
            GateEvent::Malformed { error, .. } => rule!(scanned == Err(error), "{said}"),
            GateEvent::TimedOut { bytes, .. } => {
                let in_vain = scanned == Ok(Progress::Partial) && bytes == client.sent;
                rule!(in_vain && !client.ended && !client.failed, "{said}");
                rule!(now >= deadline, "{number} is turned away early");
            }
            GateEvent::Closed { bytes, .. } if is == Fate::Reset => {
                rule!(bytes <= client.sent, "{said}");
            }
            GateEvent::Closed { bytes, .. } => {
                let in_vain = scanned == Ok(Progress::Partial) && bytes == client.sent;
                rule!(in_vain && (client.ended || client.failed), "{said}");
            }
            GateEvent::Evicted { .. } => {
                rule!(
                    waiting > self.setup.waiting_max,
                    "{number} is evicted, with room"
                );
                rule!(
                    most_silent == Some(number) || waiting > CALLED_MAX || self.looked_away,
                    "{number} is evicted, {most_silent:?} is silent for longer"
                );
                rule!(scanned == Ok(Progress::Partial), "{said}");
            }
            _ => {}
        }
        Ok(())
    }

    /// What must hold when nobody is woken.
    fn standing(&mut self) -> Verdict {
        self.counters_add_up()?;
        let now = self.network.now();
        let waiting: Vec<usize> = self.waiting().collect();
        if self.stopped {
            rule!(
                waiting.is_empty(),
                "the gate ends and says nothing of {waiting:?}"
            );
            rule!(
                self.accepting.is_empty(),
                "the gate ends, and an accept waits"
            );
            return Ok(());
        }
        let room = self.setup.admitted_max;
        rule!(
            self.hall.len() <= room,
            "{} in a hall of {room}",
            self.hall.len()
        );
        let most = self.setup.waiting_max;
        rule!(waiting.len() <= most, "{} of {most} wait", waiting.len());
        let idle = self.hall.is_empty() || self.accepting.is_empty();
        rule!(idle, "an accept waits before a full hall");
        if self.hall.len() == room {
            return Ok(());
        }
        let alarm = self.network.alarm();
        let soon = |at: Instant| alarm.is_some_and(|alarm| alarm <= at);
        let pause = now.saturating_add(BACK_OFF_MAX);
        let arriving = self.network.arriving();
        rule!(
            arriving == 0 || self.backs_off && soon(pause),
            "{arriving} connections are left to wait"
        );
        for number in waiting {
            let unread = self.network.socket(number, |socket| socket.is_readable());
            rule!(
                !unread || self.network.looks_away(),
                "{number} has something to say, and is not heard"
            );
            let deadline = self.deadline(number);
            rule!(
                deadline > now && soon(deadline),
                "{number} is due at {deadline:?}, it is {now:?}, and the alarm set to {alarm:?}"
            );
        }
        Ok(())
    }

    fn counters_add_up(&self) -> Verdict {
        let count = |outcome| {
            let of_it = |client: &&Client| client.outcome == Some(outcome);
            self.clients.iter().filter(of_it).count() as u64
        };
        let accepted = (0..self.clients.len()).filter(|number| {
            self.network
                .socket(*number, |socket| socket.accepted.is_some())
        });
        let expected = [
            accepted.count() as u64,
            count("first"),
            count("duplicate"),
            count("malformed"),
            count("timed out"),
            count("closed"),
            count("evicted"),
        ];
        let gate = self.gate();
        let is = gate.counters();
        let counted = [
            is.accepted,
            is.first,
            is.duplicates,
            is.malformed,
            is.timeouts,
            is.closed,
            is.evicted,
        ];
        rule!(
            counted == expected,
            "counted {counted:?}, were {expected:?}"
        );
        rule!(
            is.accept_errors == self.failed_accepts,
            "{} failed accepts counted, were {}",
            is.accept_errors,
            self.failed_accepts
        );
        let claims = gate.claims().map(|claims| claims.stats());
        rule!(
            claims.is_none_or(|stats| stats.first == is.first && stats.forced_out == 0),
            "the memory says {claims:?}"
        );
        Ok(())
    }

    /// Those whom the gate has accepted and said nothing of, oldest first.
    fn waiting(&self) -> impl Iterator<Item = usize> {
        (0..self.clients.len()).filter(|number| {
            let accepted = |socket: &Socket| socket.accepted.is_some();
            self.clients[*number].outcome.is_none() && self.network.socket(*number, accepted)
        })
    }

    /// What a client has sent, without a Token's header.
    fn given(&self, number: usize) -> Vec<u8> {
        let client = &self.clients[number];
        let mut given = client.bytes[..client.sent].to_vec();
        given.drain(self.setup.shape.header());
        given
    }

    fn deadline(&self, number: usize) -> Instant {
        let accepted = self.network.socket(number, |socket| socket.accepted);
        accepted
            .unwrap_or_default()
            .saturating_add(self.setup.message_timeout)
    }

    fn via(&self, number: usize) -> Via {
        match self.clients[number].syn_data {
            Some(true) => Via::FastOpen,
            Some(false) | None => Via::Plain,
        }
    }

    /// What a client has sent, by the framing, which is tested elsewhere.
    fn scan(&self, number: usize) -> Result<Progress, Malformed> {
        let client = &self.clients[number];
        self.framing
            .scanner_with_limit(self.setup.message_max)
            .feed(&client.bytes[..client.sent])
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The network holds the task, and the task the network.
        self.accepting.clear();
        self.gate = None;
        let _ = self.network.run();
    }
}

impl Shape {
    pub fn framing(self) -> Framing {
        match self {
            Self::Noise => Framing::noise(NoiseHeader::Len16),
            Self::Storj => Framing::noise(NoiseHeader::Storj)
                .after(b"DRPC!N!1")
                .expect("a short preamble"),
            Self::Token => Framing::token(),
            Self::TokenBehind => Framing::token().after(PREAMBLE).expect("a short preamble"),
            Self::Prefix => Framing::length_prefixed(LengthPrefix {
                width: PrefixWidth::One,
                order: ByteOrder::Big,
                counts_itself: false,
            })
            .assert_unique(),
            Self::Tls => Framing::tls_client_hello(),
        }
    }

    /// Where a Token's header is, which the application is not given.
    fn header(self) -> Range<usize> {
        match self {
            Self::Token => 0..HEADER_LEN,
            Self::TokenBehind => PREAMBLE.len()..PREAMBLE.len() + HEADER_LEN,
            Self::Noise | Self::Storj | Self::Prefix | Self::Tls => 0..0,
        }
    }

    fn message(self, which: u8, body: u8) -> Vec<u8> {
        let length = match (self, body) {
            (Self::Prefix, body) => usize::from(body).max(1),
            (_, 255) => LONG,
            (Self::Tls, body) => 41 + usize::from(body),
            (_, body) => 1 + usize::from(body),
        };
        let [high, low] = (length as u16).to_be_bytes();
        let header = match self {
            Self::Noise => vec![high, low],
            Self::Storj => [&b"DRPC!N!1"[..], &[0x80, 0, high, low]].concat(),
            Self::Token | Self::TokenBehind => {
                let header = Header {
                    id: Id([which; 16]),
                    flight_len: length as u16,
                    resets_losers: which % 2 == 1,
                };
                [&PREAMBLE[..self.header().start], &header.encode()].concat()
            }
            Self::Prefix => vec![low],
            Self::Tls => {
                let [record_high, record_low] = (length as u16 + 4).to_be_bytes();
                vec![22, 3, 1, record_high, record_low, 1, 0, high, low]
            }
        };
        let body = (0..length).map(|place| which.wrapping_add(place as u8));
        header.into_iter().chain(body).collect()
    }
}

/// Reads what is there, in pieces of several sizes.
fn read_all(stream: &mut GateStream<Network>, read: &mut Vec<u8>) -> ReadEnd {
    let mut buf = [0; 700];
    loop {
        let room = 1 + read.len() % buf.len();
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(&mut *stream).poll_read(&mut cx, &mut buf[..room]) {
            Poll::Pending => return ReadEnd::Pending,
            Poll::Ready(Err(_)) => return ReadEnd::Failed,
            Poll::Ready(Ok(0)) => return ReadEnd::Ended,
            Poll::Ready(Ok(got)) => read.extend_from_slice(&buf[..got]),
        }
    }
}

fn read_raw(stream: &End, read: &mut Vec<u8>) -> ReadEnd {
    let mut buf = [0; 700];
    loop {
        match stream.try_read(&mut buf) {
            Ok(0) => return ReadEnd::Ended,
            Ok(got) => read.extend_from_slice(&buf[..got]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return ReadEnd::Pending;
            }
            Err(_) => return ReadEnd::Failed,
        }
    }
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        loop {
            std::task::ready!(self.poll_readable(cx))?;
            match self.try_read(buf) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(self.try_write_vectored(&[std::io::IoSlice::new(buf)]))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(self.shutdown_write())
    }
}
