//! Gates that pair, on a virtual network.

mod support;

use std::future::Future;
use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use headstart_core::Instant;
use headstart_core::debounce::Config;
use headstart_core::framing::token::{Header, Id};
use headstart_core::framing::{Framing, LengthPrefix, NoiseHeader};
use headstart_core::pair::{GRACE, LOG_RESERVE, MEMBERS_MAX, WINDOW_DEFAULT};
use headstart_io::{
    Admitted, Claims, Gate, GateBuilder, GateConfigError, GateCounters, GateEvent, Runtime,
};
use support::network::{Arrival, Flag, Network, REFUSALS_MAX, address};

/// A first message of 10 bytes, and 9 that follow it.
const MESSAGE: &[u8] = &[0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
const BEYOND: &[u8] = b"and on it";

/// What all pairs may keep, but for messages.
const ROOM: usize = 5_000;

/// Longer than the longest pause between questions.
const SOON: Duration = Duration::from_millis(300);

/// A client whose message, and what follows it, came by Fast Open.
fn admitted(
    set: impl FnOnce(GateBuilder<Network>) -> GateBuilder<Network>,
) -> (Network, Gate<Network>, Admitted<Network>) {
    let network = Network::new();
    let builder = Gate::builder_on(network.clone(), Framing::noise(NoiseHeader::Len16));
    let gate = set(builder).bind(address(0)).expect("settings in range");
    let client = network.connect(Some(true));
    network.deliver(client, &[MESSAGE, BEYOND].concat());
    network.arrive(Arrival::Connection(client));
    network.run().expect("the task rests");
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(admitted)) = gate.poll_accept(&mut cx) else {
        panic!("not admitted");
    };
    assert_eq!(gate.counters().pairs, 1, "not kept open");
    (network, gate, admitted)
}

fn write(admitted: &mut Admitted<Network>, length: usize) -> Poll<std::io::Result<usize>> {
    let mut cx = Context::from_waker(Waker::noop());
    Pin::new(&mut admitted.stream).poll_write(&mut cx, &vec![7; length])
}

fn read(admitted: &mut Admitted<Network>) -> Poll<std::io::Result<Vec<u8>>> {
    let (mut cx, mut buf) = (Context::from_waker(Waker::noop()), [0; 100]);
    let polled = Pin::new(&mut admitted.stream).poll_read(&mut cx, &mut buf);
    polled.map_ok(|length| buf[..length].to_vec())
}

/// The application only writes, and its only member is reset before what it
/// has brought was read.
#[test]
fn p1_a_failed_member_with_bytes_unread_holds_up_nobody() {
    let (network, _gate, mut admitted) = admitted(|gate| gate);
    network.fail(0);
    network.run().expect("the task rests");
    for _ in 0..3 {
        let written = write(&mut admitted, 1_000);
        assert!(matches!(written, Poll::Ready(Ok(1_000))), "{written:?}");
        network.run().expect("the task rests");
    }
    let refusals = network.socket(0, |socket| socket.refusals);
    assert!(refusals < REFUSALS_MAX, "written to for ever");
    // What came before the end still counts.
    let got = read(&mut admitted);
    assert!(
        matches!(&got, Poll::Ready(Ok(got)) if *got == [MESSAGE, BEYOND].concat()[..got.len()]),
        "{got:?}"
    );
    let got = read(&mut admitted);
    assert!(
        matches!(&got, Poll::Ready(Ok(got)) if got == BEYOND),
        "{got:?}"
    );
    // Another copy may yet come.
    assert!(read(&mut admitted).is_pending());
    network.run().expect("the task rests");
}

/// All that a read gives, and how it ends.
fn read_to_end(admitted: &mut Admitted<Network>) -> (Vec<u8>, Poll<Result<(), ErrorKind>>) {
    let mut all = Vec::new();
    loop {
        match read(admitted) {
            Poll::Ready(Ok(got)) if got.is_empty() => return (all, Poll::Ready(Ok(()))),
            Poll::Ready(Ok(got)) => all.extend(got),
            Poll::Ready(Err(error)) => return (all, Poll::Ready(Err(error.kind()))),
            Poll::Pending => return (all, Poll::Pending),
        }
    }
}

/// Its client is known to be there, has sent more, and is reset before that
/// was read. The system tells why once: to the pair that asks, writes or ends
/// the answer.
#[test]
fn what_was_cut_off_does_not_look_whole_where_the_pair_heard_why() {
    type Hear = fn(&Network, &mut Admitted<Network>);
    let hears: [Hear; 3] = [
        |_, _| {},
        |_, admitted| assert!(write(admitted, 1).is_ready()),
        |_, admitted| {
            let mut cx = Context::from_waker(Waker::noop());
            let _ = Pin::new(&mut admitted.stream).poll_close(&mut cx);
        },
    ];
    for hear in hears {
        let (network, _gate, mut admitted) = admitted(|gate| gate);
        assert!(write(&mut admitted, 2).is_ready());
        network.run().expect("the task rests");
        network.deliver(0, b", cut o");
        network.fail(0);
        network.acknowledge(0);
        hear(&network, &mut admitted);
        ask_again(&network);
        // The stream is not to be had before its error was told, ...
        admitted.stream = match admitted.stream.into_parts() {
            Ok(_) => panic!("the bare stream only ends"),
            Err(stream) => stream,
        };
        let whole = [MESSAGE, BEYOND, b", cut o"].concat();
        let (got, end) = read_to_end(&mut admitted);
        assert_eq!(got, whole);
        assert_eq!(end, Poll::Ready(Err(ErrorKind::ConnectionReset)));
        // ... once.
        assert!(matches!(&read(&mut admitted), Poll::Ready(Ok(end)) if end.is_empty()));
        assert!(admitted.stream.into_parts().is_ok());
    }
}

/// Time passes until the driver has asked again what was acknowledged.
fn ask_again(network: &Network) {
    network.run().expect("the task rests");
    let soon = network.now().saturating_add(SOON);
    while let Some(alarm) = network.alarm().filter(|at| *at < soon) {
        network.pass_to(alarm);
        network.run().expect("the task rests");
    }
}

/// Nobody is dropped for want of bytes, though nobody is proven, and the
/// answer goes on where one is.
#[test]
fn p1_beyond_the_bytes_of_pairs_an_answer_waits_for_a_proof() {
    let most = MESSAGE.len() + BEYOND.len() + ROOM;
    let (network, gate, mut admitted) = admitted(|gate| gate.pair_bytes_max(most));
    let written = write(&mut admitted, 2 * ROOM);
    assert!(matches!(&written, Poll::Ready(Ok(ROOM))), "{written:?}");
    assert_eq!(gate.counters().cut_short, 0);
    for _ in 0..3 {
        assert!(write(&mut admitted, ROOM).is_pending());
        network.run().expect("the task rests");
    }
    assert_eq!(gate.counters().cut_short, 1);
    // A copy is a member all the same, and gets all of it.
    let copy = network.connect(Some(false));
    network.deliver(copy, MESSAGE);
    network.arrive(Arrival::Connection(copy));
    network.run().expect("the task rests");
    assert_eq!((gate.counters().joined, gate.counters().duplicates), (1, 0));
    assert_eq!(network.socket(copy, |socket| socket.taken), ROOM);
    ask_again(&network);
    assert!(write(&mut admitted, ROOM).is_pending());
    network.acknowledge(copy);
    ask_again(&network);
    for _ in 0..3 {
        let written = write(&mut admitted, 2 * ROOM);
        assert!(matches!(&written, Poll::Ready(Ok(ROOM))), "{written:?}");
        network.run().expect("the task rests");
    }
    for member in [0, copy] {
        assert_eq!(network.socket(member, |socket| socket.taken), 4 * ROOM);
    }
    assert_eq!(gate.counters().cut_short, 1);
}

/// What the others have taken is nothing to a pair: each has room to be proven.
#[test]
fn p1_each_pair_has_room_for_a_proof_whatever_others_take() {
    let most = MESSAGE.len() + BEYOND.len() + ROOM + 3 + LOG_RESERVE;
    let (network, gate, mut greedy) = admitted(|gate| gate.pair_bytes_max(most));
    let other = network.connect(Some(true));
    network.deliver(other, &[0, 1, 9]);
    network.arrive(Arrival::Connection(other));
    network.run().expect("the task rests");
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(mut admitted)) = gate.poll_accept(&mut cx) else {
        panic!("not admitted");
    };
    assert_eq!((gate.counters().pairs, gate.counters().unpaired), (2, 0));
    let written = write(&mut greedy, 2 * ROOM);
    assert!(matches!(&written, Poll::Ready(Ok(ROOM))), "{written:?}");
    let written = write(&mut admitted, ROOM);
    assert!(
        matches!(&written, Poll::Ready(Ok(LOG_RESERVE))),
        "{written:?}"
    );
    assert!(write(&mut admitted, ROOM).is_pending());
    assert!(write(&mut greedy, ROOM).is_pending());
    network.acknowledge(other);
    ask_again(&network);
    let written = write(&mut admitted, 1);
    assert!(matches!(&written, Poll::Ready(Ok(1))), "{written:?}");
}

/// Its only member is behind on the client's bytes, so it is not handed over:
/// all that is kept for it keeps its bound.
#[test]
fn p3_no_more_is_taken_than_all_pairs_may_keep() {
    let most = MESSAGE.len() + BEYOND.len() + ROOM;
    let (network, gate, mut admitted) = admitted(|gate| gate.pair_bytes_max(most));
    assert!(matches!(read(&mut admitted), Poll::Ready(Ok(_))));
    assert!(matches!(read(&mut admitted), Poll::Ready(Ok(_))));
    let copy = network.connect(Some(false));
    network.deliver(copy, MESSAGE);
    network.arrive(Arrival::Connection(copy));
    network.run().expect("the task rests");
    assert_eq!(gate.counters().joined, 1);
    network.fail(0);
    network.pass_to(network.now().saturating_add(WINDOW_DEFAULT));
    network.run().expect("the task rests");
    // What the client sent is read, and its place taken.
    let room = ROOM + BEYOND.len();
    for _ in 0..3 {
        let written = write(&mut admitted, 2 * room);
        assert!(
            matches!(&written, Poll::Ready(Ok(taken)) if *taken == room),
            "{written:?}"
        );
        network.run().expect("the task rests");
    }
    assert_eq!(network.socket(copy, |socket| socket.taken), 3 * room);
    // What it has taken is not there for another: one that would need it is
    // not kept open.
    let other = network.connect(Some(true));
    network.deliver(other, &[0, 1, 9]);
    network.arrive(Arrival::Connection(other));
    network.run().expect("the task rests");
    assert_eq!((gate.counters().pairs, gate.counters().unpaired), (1, 1));
}

/// A pair that is decided gives everything back.
#[test]
fn p3_what_a_pair_has_taken_is_given_back() {
    let most = MESSAGE.len() + BEYOND.len() + ROOM;
    let (network, gate, mut admitted) = admitted(|gate| gate.pair_bytes_max(most));
    let written = write(&mut admitted, 2 * ROOM);
    assert!(matches!(&written, Poll::Ready(Ok(ROOM))), "{written:?}");
    network.pass_to(network.now().saturating_add(WINDOW_DEFAULT));
    network.run().expect("the task rests");
    let written = write(&mut admitted, ROOM);
    assert!(matches!(&written, Poll::Ready(Ok(ROOM))), "{written:?}");
    assert_eq!(network.socket(0, |socket| socket.taken), 2 * ROOM);
    let client = network.connect(Some(true));
    network.deliver(client, &[0, 1, 9]);
    network.arrive(Arrival::Connection(client));
    network.run().expect("the task rests");
    assert_eq!((gate.counters().pairs, gate.counters().unpaired), (2, 0));
    // Errors of this kind are told as they are.
    network.fail(0);
    let written = write(&mut admitted, 1);
    let reset = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionReset;
    assert!(matches!(&written, Poll::Ready(Err(error)) if reset(error)));
}

/// What happened, in the order in which it was seen.
#[derive(Clone, Default)]
struct Story(Arc<Mutex<Vec<String>>>);

impl Story {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().expect("no panic").push(what.into());
    }

    fn hear(&self, event: &GateEvent) {
        self.note(match event {
            GateEvent::Admitted { .. } => "admitted",
            GateEvent::PairOpened { .. } => "opened",
            GateEvent::Paired { .. } => "paired",
            GateEvent::Duplicate { .. } => "a duplicate",
            GateEvent::PairEnded { .. } => "ended",
            _ => "something else",
        });
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("no panic"))
    }
}

#[test]
fn what_a_client_sees_was_counted_before() {
    let story = Story::default();
    let teller = story.clone();
    let (network, gate) = builder();
    let gate = gate.watcher(move |event| teller.hear(&event));
    let gates = Arc::new(Gates::new([(network.clone(), gate)]));
    let mut open = gates.meet(0, 1, true).expect("the first");
    assert_eq!(story.take(), ["admitted", "opened"]);
    let (seen, counting) = (story.clone(), Arc::downgrade(&gates));
    network.watched_by(move |number, sent| {
        let gates = counting.upgrade().expect("the gate is open");
        let counters = gates.0[0].1.counters();
        let (joined, won) = (counters.joined, counters.won_by_plain);
        seen.note(format!("{number}: {sent:?}, {joined} joined, {won} won"));
    });
    assert!(write(&mut open, 2).is_ready());
    assert_eq!(story.take(), ["0: Bytes, 0 joined, 0 won"]);

    assert!(gates.meet(0, 1, false).is_none());
    assert_eq!(story.take(), ["paired", "1: Bytes, 1 joined, 0 won"]);

    network.deliver(1, b"more");
    network.run().expect("the task rests");
    while read(&mut open).is_ready() {}
    network.pass_to(network.now().saturating_add(GRACE));
    network.run().expect("the task rests");
    assert_eq!(story.take(), ["0: Reset, 1 joined, 1 won", "ended"]);
    let counters = gates.0[0].1.counters();
    assert_eq!((counters.won_by_plain, counters.expired), (1, 0));
}

/// Its bytes beyond the message decide, in the turn in which it joins: its
/// client resets its losers.
#[test]
fn a_copy_is_told_of_before_the_end_that_it_brings() {
    let story = Story::default();
    let (network, teller) = (Network::new(), story.clone());
    let gate = Gate::builder_on(network.clone(), Framing::token())
        .watcher(move |event| teller.hear(&event))
        .bind(address(0))
        .expect("settings in range");
    let header = Header {
        id: Id([1; 16]),
        flight_len: 5,
        resets_losers: true,
    };
    let message = [&header.encode()[..], b"hello"].concat();
    let pieces = [
        (true, message.clone()),
        (false, [&message, BEYOND].concat()),
    ];
    for (syn_data, piece) in pieces {
        let client = network.connect(Some(syn_data));
        network.deliver(client, &piece);
        network.arrive(Arrival::Connection(client));
        network.run().expect("the task rests");
    }
    assert_eq!(story.take(), ["admitted", "opened", "paired", "ended"]);
    let counters = gate.counters();
    assert_eq!((counters.joined, counters.won_by_plain), (1, 1));
}

/// A copy comes to a gate beside the first one as soon as that one tells of
/// the message.
#[test]
fn of_one_pair_no_gate_tells_before_what_came_earlier() {
    let (story, claims) = (Story::default(), claims());
    let beside: Arc<OnceLock<Gates>> = Arc::default();
    let (network, first) = builder();
    let (teller, other) = (story.clone(), beside.clone());
    let first = first.claims(claims.clone()).watcher(move |event| {
        teller.hear(&event);
        if let (GateEvent::Admitted { .. }, Some(other)) = (event, other.get()) {
            for _ in 0..MEMBERS_MAX {
                assert!(other.meet(0, 1, false).is_none());
            }
        }
    });
    let (there, second) = builder();
    let teller = story.clone();
    let second = second
        .claims(claims)
        .watcher(move |event| teller.hear(&event));
    let _ = beside.set(Gates::new([(there, second)]));
    let gates = Gates::new([(network, first)]);
    let _open = gates.meet(0, 1, true).expect("the first");
    let joined = MEMBERS_MAX - 1;
    let told = story.take();
    assert_eq!(told[..2], ["admitted", "opened"]);
    assert_eq!(told[2..told.len() - 1], vec!["paired"; joined]);
    assert_eq!(told[told.len() - 1], "a duplicate");
    let other = beside.get().expect("it was set");
    assert_eq!(
        (gates.counts(), other.counts()),
        ([1, 0, 0], [0, joined as u64, 1])
    );
}

/// So many wait, each with a waker of its own, and give up; how many wakers are
/// left.
fn left_behind<F: Future>(wait: impl Fn() -> F) -> usize {
    let wakers: Vec<_> = (0..1000).map(|_| Arc::<Flag>::default()).collect();
    for waker in &wakers {
        let waker = Waker::from(waker.clone());
        let polled = pin!(wait()).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    let left = wakers.iter().filter(|waker| Arc::strong_count(waker) > 1);
    left.count()
}

#[test]
fn who_gives_up_waiting_for_a_gate_leaves_nothing() {
    let (network, gate, open) = admitted(|gate| gate);
    assert_eq!(left_behind(|| gate.accept()), 0);
    assert_eq!(left_behind(|| gate.close()), 0);
    // Whoever goes on waiting is woken.
    let flag = Arc::<Flag>::default();
    let waker = Waker::from(flag.clone());
    let mut closing = pin!(gate.close());
    assert!(
        closing
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    network.run().expect("the task rests");
    drop(open);
    network.pass_to(network.now().saturating_add(WINDOW_DEFAULT * 10));
    network.run().expect("the task rests");
    assert!(flag.take());
    assert!(
        closing
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
    );
}

/// The rest of a message comes, and the gate is closed, before its task runs:
/// who is let in all the same is served.
#[test]
fn who_is_let_in_while_the_gate_closes_is_served() {
    let network = Network::new();
    let builder = Gate::builder_on(network.clone(), Framing::noise(NoiseHeader::Len16));
    let gate = builder.bind(address(0)).expect("settings in range");
    let client = network.connect(Some(true));
    network.deliver(client, &MESSAGE[..4]);
    network.arrive(Arrival::Connection(client));
    network.run().expect("the task rests");
    network.deliver(client, &MESSAGE[4..]);
    let mut cx = Context::from_waker(Waker::noop());
    let mut closing = pin!(gate.close());
    assert!(closing.as_mut().poll(&mut cx).is_pending());
    network.run().expect("the task rests");
    let Poll::Ready(Ok(mut admitted)) = gate.poll_accept(&mut cx) else {
        panic!("not admitted");
    };
    let written = write(&mut admitted, 1_000);
    assert!(matches!(written, Poll::Ready(Ok(1_000))), "{written:?}");
    assert!(closing.as_mut().poll(&mut cx).is_pending());
    // It goes on until it is over.
    drop(admitted);
    network.pass_to(network.now().saturating_add(WINDOW_DEFAULT * 10));
    network.run().expect("the task rests");
    assert!(closing.as_mut().poll(&mut cx).is_ready());
}

/// Gates, each on a network of its own, and what they have let in.
struct Gates(Vec<(Network, Gate<Network>)>);

impl Gates {
    fn new(builders: impl IntoIterator<Item = (Network, GateBuilder<Network>)>) -> Self {
        let gates = builders.into_iter().map(|(network, builder)| {
            let gate = builder.bind(address(0)).expect("settings in range");
            (network, gate)
        });
        Self(gates.collect())
    }

    /// A copy of the message of this number comes to a gate.
    fn meet(&self, gate: usize, message: u8, syn_data: bool) -> Option<Admitted<Network>> {
        let (network, gate) = &self.0[gate];
        let client = network.connect(Some(syn_data));
        network.deliver(client, &[0, 2, 7, message]);
        network.arrive(Arrival::Connection(client));
        network.run().expect("the task rests");
        match gate.poll_accept(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(admitted) => Some(admitted.expect("the gate is open")),
            Poll::Pending => None,
        }
    }

    /// How many were let in, joined and reset, by all.
    fn counts(&self) -> [u64; 3] {
        let sum = |count: fn(&GateCounters) -> u64| {
            let counters = self.0.iter().map(|(_, gate)| gate.counters());
            counters.map(|counters| count(&counters)).sum()
        };
        [sum(|c| c.first), sum(|c| c.joined), sum(|c| c.duplicates)]
    }
}

fn builder() -> (Network, GateBuilder<Network>) {
    builder_on(Network::new())
}

fn builder_on(network: Network) -> (Network, GateBuilder<Network>) {
    let framing = Framing::noise(NoiseHeader::Len16);
    (network.clone(), Gate::builder_on(network, framing))
}

fn claims() -> Claims {
    Claims::new(Config::default()).expect("settings in range")
}

fn refused(builder: GateBuilder<Network>) -> GateConfigError {
    let error = builder.bind(address(0)).expect_err("a wrong setting");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let inside = error.get_ref().and_then(|error| error.downcast_ref());
    *inside.expect("a typed error")
}

#[test]
fn p1_gates_that_share_claims_share_pairs() {
    let claims = claims();
    let gates = Gates::new((0..3).map(|_| {
        let (network, builder) = builder();
        (network, builder.claims(claims.clone()))
    }));
    let _first: Vec<_> = (0..3)
        .map(|gate| {
            let first = gates.meet(gate, gate as u8, true).expect("the first");
            for other in 0..3 {
                assert!(gates.meet(other, gate as u8, false).is_none());
            }
            first
        })
        .collect();
    assert_eq!(gates.counts(), [3, 9, 0]);
}

#[test]
fn d2_each_gate_counts_what_it_forced_out() {
    let claims = Claims::new(Config {
        capacity: 1,
        ..Config::default()
    });
    let claims = claims.expect("settings in range");
    let gates = Gates::new((0..2).map(|_| {
        let (network, builder) = builder();
        (network, builder.claims(claims.clone()))
    }));
    let forced_out = || [0, 1].map(|gate| gates.0[gate].1.counters().forced_out);
    for (gate, message, told) in [(0, 1, [0, 0]), (1, 1, [0, 0]), (1, 2, [0, 1])] {
        gates.meet(gate, message, false);
        assert_eq!(forced_out(), told);
    }
    for message in [3, 4] {
        gates.meet(0, message, false);
    }
    assert_eq!(forced_out(), [2, 1]);
    assert_eq!(claims.stats().forced_out, 3);
}

/// What one clock calls now is long ago on another, and far ahead on a third.
#[test]
fn d1_p2_gates_that_share_claims_agree_on_the_time() {
    const HOUR: u64 = 3_600_000_000_000;
    let (claims, window) = (claims(), Config::default().window);
    let networks = [2 * HOUR, HOUR, 3 * HOUR].map(Instant::from_nanos);
    let gates = Gates::new(networks.map(|now| {
        let (network, builder) = builder_on(Network::at(now));
        (network, builder.claims(claims.clone()))
    }));
    let pass = |time| {
        for (network, _) in &gates.0 {
            network.pass_to(network.now().saturating_add(time));
            network.run().expect("the task rests");
        }
    };
    let mut open = Vec::new();
    for first in 0..3 {
        let message = first as u8;
        open.extend(gates.meet(first, message, true));
        // Each joins by the clock of its pair.
        for other in 0..3 {
            pass(WINDOW_DEFAULT / 4);
            assert!(gates.meet(other, message, false).is_none());
        }
    }
    assert_eq!(gates.counts(), [3, 9, 0]);
    pass(window - WINDOW_DEFAULT * 3);
    for gate in 0..3 {
        assert!(gates.meet(gate, 2, false).is_none());
    }
    assert_eq!(gates.counts(), [3, 9, 3]);
    pass(WINDOW_DEFAULT * 3);
    for gate in 0..3 {
        assert_eq!(gates.meet(gate, 2, false).is_some(), gate == 0);
    }
}

/// Numbers of two memories would meet in one directory.
#[test]
fn p1_claims_of_ones_own_beside_a_gate_are_pairs_of_ones_own() {
    let (network, beside) = builder();
    let first = Gates::new([(network, beside)]);
    let (network, beside) = builder();
    let other = Gates::new([(network, beside.beside(&first.0[0].1).claims(claims()))]);
    // Both memories give their connections the same numbers.
    let _here = first.meet(0, 1, true).expect("the first");
    let _there = other.meet(0, 2, true).expect("the first there");
    assert!(first.meet(0, 1, false).is_none());
    assert!(other.meet(0, 2, false).is_none());
    assert_eq!(first.counts(), [1, 1, 0]);
    assert_eq!(other.counts(), [1, 1, 0]);
}

#[test]
fn p3_gates_that_share_claims_have_the_same_bounds() {
    type Change = fn(GateBuilder<Network>) -> GateBuilder<Network>;
    let claims = claims();
    let (_, first) = builder();
    let first = first.claims(claims.clone()).pairs_max(1);
    let first = first.bind(address(0)).expect("settings in range");
    let changes: [Change; 5] = [
        |gate| gate,
        |gate| gate.pairs_max(2),
        |gate| gate.pairs_max(1).pair_window(SOON),
        |gate| gate.pairs_max(1).pair_log_max(10),
        |gate| gate.pairs_max(1).pair_bytes_max(1_000),
    ];
    for change in changes {
        let other = change(builder().1).claims(claims.clone());
        assert_eq!(refused(other), GateConfigError::OtherBounds);
    }
    let other = builder().1.beside(&first).pairs_max(2);
    assert_eq!(refused(other), GateConfigError::OtherBounds);

    let (network, other) = builder();
    let gates = Gates::new([(network, other.beside(&first))]);
    let _open = gates.meet(0, 1, true).expect("the first");
    let _alone = gates.meet(0, 2, true).expect("another");
    let counters = gates.0[0].1.counters();
    assert_eq!((counters.pairs, counters.unpaired), (1, 1));
}

#[test]
fn what_gates_shared_ends_with_them_and_their_messages_are_remembered() {
    let claims = claims();
    let (network, first) = builder();
    let gates = Gates::new([(network, first.claims(claims.clone()).pairs_max(1))]);
    drop(gates.meet(0, 1, true).expect("the first"));
    let networks: Vec<Network> = gates.0.iter().map(|(network, _)| network.clone()).collect();
    drop(gates);
    for network in networks {
        let now = network.now();
        network.pass_to(now.saturating_add(WINDOW_DEFAULT * 10));
        network.run().expect("the task rests");
        assert!(!network.has_task());
    }
    let (network, second) = builder();
    let gates = Gates::new([(network, second.claims(claims).pairs_max(2))]);
    assert!(gates.meet(0, 1, false).is_none());
    assert_eq!(gates.counts(), [0, 0, 1]);
}

#[test]
fn a_gate_beside_another_pairs_only_as_that_one_does() {
    let alone = builder().1.debounce(false).bind(address(0)).unwrap();
    let resets = builder().1.pairing(false).bind(address(0)).unwrap();
    for (first, debounces) in [(&alone, false), (&resets, true)] {
        let beside = builder().1.beside(first).bind(address(0)).unwrap();
        assert!(!beside.pairs());
        assert_eq!(beside.claims().is_some(), debounces);
    }
    let pairs = builder().1.beside(&resets).pairing(true);
    assert!(pairs.bind(address(0)).unwrap().pairs());
}

#[test]
fn each_setting_out_of_its_range_is_named() {
    type Change = fn(GateBuilder<Network>) -> GateBuilder<Network>;
    let cases: [(Change, GateConfigError, &str); 17] = [
        (
            |gate| gate.message_max(2),
            GateConfigError::MessageMax { least: 3 },
            "message_max must be 3 to 16384 bytes",
        ),
        (
            |gate| gate.message_max(0),
            GateConfigError::MessageMax { least: 3 },
            "message_max",
        ),
        (
            |gate| gate.message_max(16_385),
            GateConfigError::MessageMax { least: 3 },
            "message_max",
        ),
        (
            |gate| gate.message_timeout(Duration::ZERO),
            GateConfigError::MessageTimeout,
            "message_timeout must be above zero",
        ),
        (
            |gate| gate.waiting_max(0),
            GateConfigError::WaitingMax,
            "waiting_max must be at least 1",
        ),
        (
            |gate| gate.admitted_max(0),
            GateConfigError::AdmittedMax,
            "admitted_max must be at least 1",
        ),
        (
            |gate| gate.pair_window(Duration::ZERO),
            GateConfigError::PairWindow,
            "pair_window must be above zero",
        ),
        (
            |gate| gate.pair_log_max(0),
            GateConfigError::PairLogMax,
            "pair_log_max must be 1 to 16777216 bytes",
        ),
        (
            |gate| gate.pair_log_max(16_777_217),
            GateConfigError::PairLogMax,
            "pair_log_max",
        ),
        (
            |gate| gate.pairs_max(0),
            GateConfigError::PairsMax,
            "pairs_max must be at least 1",
        ),
        (
            |gate| gate.pair_bytes_max(0),
            GateConfigError::PairBytesMax { least: 515 },
            "pair_bytes_max must be at least 515 bytes",
        ),
        (
            |gate| gate.pair_bytes_max(514),
            GateConfigError::PairBytesMax { least: 515 },
            "pair_bytes_max",
        ),
        (
            |gate| gate.pair_log_max(100).pair_bytes_max(102),
            GateConfigError::PairBytesMax { least: 103 },
            "pair_bytes_max",
        ),
        (
            |gate| gate.debounce(false).pairing(true),
            GateConfigError::PairingUndebounced,
            "debouncing",
        ),
        (
            |gate| gate.pairing(true).debounce(false),
            GateConfigError::PairingUndebounced,
            "debouncing",
        ),
        (
            |_| {
                let repeats = Framing::length_prefixed(LengthPrefix::POSTGRES_STARTUP);
                Gate::builder_on(Network::new(), repeats)
            },
            GateConfigError::NotUnique,
            "repeat by nature",
        ),
        (
            |_| Gate::builder_on(Network::new(), Framing::token()).message_max(23),
            GateConfigError::MessageMax { least: 24 },
            "message_max must be 24 to",
        ),
    ];
    for (change, wanted, text) in cases {
        let error = refused(change(builder().1));
        assert_eq!(error, wanted);
        assert!(error.to_string().contains(text), "{error}");
    }
    let fine: [Change; 6] = [
        |gate| gate.message_max(3),
        |gate| gate.pair_bytes_max(515),
        |gate| gate.pair_log_max(100).pair_bytes_max(103),
        |gate| gate.debounce(false),
        |gate| gate.debounce(false).pairing(false),
        |gate| gate.pairs_max(1).waiting_max(1).admitted_max(1),
    ];
    for change in fine {
        assert!(change(builder().1).bind(address(0)).is_ok());
    }
}
