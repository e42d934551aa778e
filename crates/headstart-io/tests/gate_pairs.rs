//! Gates that pair, on a virtual network.

mod support;

use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_io::{AsyncRead, AsyncWrite};
use headstart_core::framing::{Framing, NoiseHeader};
use headstart_io::{Admitted, Gate, GateBuilder};
use support::network::{Arrival, Network, REFUSALS_MAX, address};

/// A first message of 10 bytes, and 9 that follow it.
const MESSAGE: &[u8] = &[0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
const BEYOND: &[u8] = b"and on it";

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

#[test]
fn p3_no_more_is_taken_than_all_pairs_may_keep() {
    let room = 5_000;
    let most = MESSAGE.len() + BEYOND.len() + room;
    let (network, gate, mut admitted) = admitted(|gate| gate.pair_bytes_max(most));
    let written = write(&mut admitted, 2 * room);
    assert!(
        matches!(&written, Poll::Ready(Ok(n)) if *n == room),
        "{written:?}"
    );
    assert_eq!(gate.counters().cut_short, 0);
    // No more can be kept: what is there must do.
    let written = write(&mut admitted, room);
    assert!(
        matches!(&written, Poll::Ready(Ok(n)) if *n == room),
        "{written:?}"
    );
    assert_eq!(gate.counters().cut_short, 1);
    assert_eq!(network.socket(0, |socket| socket.taken), 2 * room);
    // All is given back: there is room for another.
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
