//! Gates that pair, on a virtual network.

mod support;

use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use headstart_core::framing::{Framing, NoiseHeader};
use headstart_core::pair::{LOG_RESERVE, WINDOW_DEFAULT};
use headstart_io::{Admitted, Gate, GateBuilder, Runtime};
use support::network::{Arrival, Network, REFUSALS_MAX, address};

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
