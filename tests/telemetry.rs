//! What a gate tells to `metrics`, to `tracing` and to its watcher: a binary of
//! its own, as the first two have one recorder for the whole process.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use headstart::core::debounce::Config;
use headstart::core::framing::token::{Header, Id};
use headstart::tokio::Gate;
use headstart::{Claims, Framing};
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

/// Pairs, in a network namespace with Fast Open.
#[cfg(target_os = "linux")]
mod pairs {
    use std::io::Write;
    use std::net::{SocketAddr, TcpStream};
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::{Duration, Instant};

    use headstart::core::framing::token::{Header, Id};
    use headstart::tokio::Gate;
    use headstart::{Framing, GateEvent, Via};
    use headstart_lab::Lab;
    use headstart_socket::{Kind, Options, close_abortively, connect};
    use tokio::io::AsyncWriteExt;
    use tokio::runtime::Runtime;

    const PATIENCE: Duration = Duration::from_secs(10);
    const WINDOW: Duration = Duration::from_millis(400);

    type Told = Arc<Mutex<Vec<GateEvent>>>;

    /// Whether there was a lab, and so were pairs.
    pub(super) fn are_told(runtime: &Runtime) -> bool {
        let lab = match Lab::builder().rtt(Duration::ZERO).build() {
            Ok(lab) => lab,
            Err(error) => {
                headstart_lab::skip_or_fail(&error);
                return false;
            }
        };
        // Both sides, and without a cookie.
        lab.client().set_fast_open(0x207).unwrap();
        lab.client().run(|| tell(runtime)).unwrap();
        true
    }

    fn tell(runtime: &Runtime) {
        let told = Told::default();
        let (all, few) = (gate(runtime, &told, 1000), gate(runtime, &told, 1));

        // Answered, and used, on the copy by plain TCP.
        let _dead = fast_open(&all, 1);
        let mut admitted = runtime.block_on(all.accept()).unwrap();
        let mut plain = TcpStream::connect(all.local_addr()).unwrap();
        plain.write_all(&message(1)).unwrap();
        expect(&told, |e| matches!(e, GateEvent::Paired { .. }));
        plain.write_all(b"more").unwrap();
        runtime
            .block_on(admitted.stream.write_all(b"answer"))
            .unwrap();
        let won = |via| move |event: &GateEvent| matches!(event, GateEvent::PairEnded { won, members: 2, .. } if *won == via);
        expect(&told, won(Some(Via::Plain)));

        // Its client goes, and nobody comes.
        let lone = fast_open(&all, 2);
        let _admitted = runtime.block_on(all.accept()).unwrap();
        close_abortively(lone).unwrap();
        expect(
            &told,
            |event| matches!(event, GateEvent::PairEnded { won: None, members: 1, age, .. } if *age >= WINDOW),
        );

        // One is as many as there may be.
        let _clients = [3, 4].map(|number| fast_open(&few, number));
        let _admitted = [(); 2].map(|()| runtime.block_on(few.accept()).unwrap());
        expect(&told, |e| matches!(e, GateEvent::Unpaired { .. }));

        let told = told.lock().unwrap_or_else(PoisonError::into_inner);
        let [
            GateEvent::Admitted { peer, .. },
            GateEvent::PairOpened { peer: opened },
            GateEvent::Paired { .. },
            GateEvent::PairEnded { peer: ended, .. },
            GateEvent::Admitted { .. },
            GateEvent::PairOpened { .. },
            GateEvent::PairEnded { .. },
            GateEvent::Admitted { .. },
            GateEvent::PairOpened { .. },
            GateEvent::Admitted { .. },
            GateEvent::Unpaired { .. },
        ] = &told[..]
        else {
            panic!("{told:?}");
        };
        assert!(peer == opened && peer == ended, "{told:?}");
    }

    /// A gate that keeps so many messages open.
    fn gate(runtime: &Runtime, told: &Told, pairs: usize) -> Gate {
        let told = told.clone();
        runtime.block_on(async {
            Gate::builder(Framing::token())
                .unwrap()
                .pairs_max(pairs)
                .pair_window(WINDOW)
                .watcher(move |event| {
                    told.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(event);
                })
                .bind(SocketAddr::from(([127, 0, 0, 1], 0)))
                .unwrap()
        })
    }

    fn message(number: u8) -> Vec<u8> {
        let header = Header {
            id: Id([number; 16]),
            flight_len: 0,
            resets_losers: true,
        };
        header.encode().to_vec()
    }

    /// A first message in a SYN.
    fn fast_open(gate: &Gate, number: u8) -> TcpStream {
        let attempt = connect(
            gate.local_addr(),
            Kind::FastOpen,
            &message(number),
            &Options::new(),
        );
        attempt.unwrap().stream
    }

    fn expect(told: &Told, wanted: impl Fn(&GateEvent) -> bool) {
        let began = Instant::now();
        let seen = || {
            let told = told.lock().unwrap_or_else(PoisonError::into_inner);
            told.iter().any(&wanted)
        };
        while !seen() {
            assert!(began.elapsed() < PATIENCE, "never told: {told:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    // Before any thread.
    #[cfg(target_os = "linux")]
    let _ = headstart_lab::enter();
    let name = "a_gate_tells_what_it_counts_and_what_happens";
    let test = libtest_mimic::Trial::test(name, || {
        a_gate_tells_what_it_counts_and_what_happens();
        Ok(())
    });
    libtest_mimic::run(&arguments, vec![test]).exit();
}

/// Two gates that share a memory of one message are sent one each.
fn force_one_out(runtime: &tokio::runtime::Runtime) {
    let claims = Claims::new(Config {
        capacity: 1,
        ..Config::default()
    });
    let claims = claims.unwrap();
    let gates = [8, 9].map(|number| {
        let gate = runtime.block_on(async {
            let builder = Gate::builder(Framing::token()).unwrap();
            let builder = builder.claims(claims.clone());
            builder.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap()
        });
        let message = Header {
            id: Id([number; 16]),
            flight_len: 0,
            resets_losers: true,
        };
        let mut stream = TcpStream::connect(gate.local_addr()).unwrap();
        stream.write_all(&message.encode()).unwrap();
        runtime.block_on(gate.accept()).unwrap();
        gate
    });
    assert_eq!(gates.map(|gate| gate.counters().forced_out), [0, 1]);
}

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
    let told_once = |names: &[&str]| {
        let told = snapshotter.snapshot().into_vec();
        for name in names {
            let told = told.iter().find(|(key, ..)| key.key().name() == *name);
            let once = told.is_some_and(|(_, _, what, value)| {
                what.is_some() && *value == DebugValue::Counter(1)
            });
            assert!(once, "described, and 1: {name}");
        }
    };
    told_once(&[
        "headstart_gate_first_total",
        "headstart_gate_duplicates_total",
        "headstart_gate_malformed_total",
    ]);
    force_one_out(&runtime);
    told_once(&["headstart_gate_forced_out_total"]);
    #[cfg(target_os = "linux")]
    let told_of_pairs = pairs::are_told(&runtime);
    #[cfg(target_os = "linux")]
    if told_of_pairs {
        told_once(&[
            "headstart_gate_won_by_plain_total",
            "headstart_gate_expired_total",
            "headstart_gate_unpaired_total",
        ]);
    }
    let text = String::from_utf8(traced.0.lock().unwrap().clone()).unwrap();
    for event in ["admitted", "duplicate", "malformed"] {
        assert!(text.contains(event), "{event} in {text}");
    }
    assert!(text.contains("via=plain"), "{text}");
    #[cfg(target_os = "linux")]
    if told_of_pairs {
        for event in ["pair opened", "pair won", "pair expired", "unpaired"] {
            assert!(text.contains(event), "{event} in {text}");
        }
        assert!(
            text.contains("INFO headstart_io::gate::event: unpaired"),
            "{text}"
        );
    }
    // D4: neither the message nor its digest.
    assert!(
        !text.contains("07070707") && !text.contains("7, 7, 7"),
        "{text}"
    );
}
