//! What a gate tells to `metrics` and to `tracing`: a binary of its own, as
//! both have one recorder for the whole process.
#![cfg(all(feature = "metrics", feature = "tracing"))]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use headstart::Framing;
use headstart::core::framing::token::{Header, Id};
use headstart::tokio::Gate;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tracing::Level;

/// What was traced, as text.
#[derive(Clone, Default)]
struct Traced(Arc<Mutex<Vec<u8>>>);

impl Write for Traced {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_gate_tells_what_it_counts_and_what_happens() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().unwrap();
    let traced = Traced::default();
    let writer = traced.clone();
    tracing_subscriber::fmt()
        .with_max_level(Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let gate = runtime.block_on(async {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Gate::builder(Framing::token()).unwrap().bind(any).unwrap()
    });
    let address = gate.local_addr();
    let header = Header {
        id: Id([7; 16]),
        flight_len: 0,
        resets_losers: true,
    };
    // Twice the same message, then something else.
    let other = b"GET / HTTP/1.1\r\n";
    for (message, is_first) in [
        (&header.encode()[..], true),
        (&header.encode()[..], false),
        (other, false),
    ] {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(message).unwrap();
        if is_first {
            // Dropped at once, so that the client reads its end.
            drop(runtime.block_on(gate.accept()).unwrap());
        }
        let _ = stream.read(&mut [0; 1]);
    }

    let counters = gate.counters();
    assert_eq!(
        (counters.first, counters.duplicates, counters.malformed),
        (1, 1, 1)
    );
    let told = snapshotter.snapshot().into_vec();
    let told = |name: &str| {
        told.iter()
            .find(|(key, ..)| key.key().name() == name)
            .map(|(_, _, what, value)| (what.is_some(), matches!(value, DebugValue::Counter(1))))
    };
    for name in [
        "headstart_gate_first_total",
        "headstart_gate_duplicates_total",
        "headstart_gate_malformed_total",
    ] {
        assert_eq!(told(name), Some((true, true)), "described, and 1: {name}");
    }
    let text = String::from_utf8(traced.0.lock().unwrap().clone()).unwrap();
    for event in ["admitted", "duplicate", "malformed"] {
        assert!(text.contains(event), "{event} in {text}");
    }
    assert!(text.contains("via=plain"), "{text}");
    // D4: neither the message nor its digest.
    assert!(
        !text.contains("07070707") && !text.contains("7, 7, 7"),
        "{text}"
    );
}
