//! The gate: who is let in, who is not, and what is counted.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use headstart::core::debounce::Config;
use headstart::core::framing::token::{Header, Id};
use headstart::core::framing::{LengthPrefix, Malformed};
use headstart::tokio::{Admitted, Dialer, Gate, GateBuilder};
use headstart::{
    Claims, FirstFlight, Framing, GateConfigError, GateCounters, GateEvent, ListenOptions, Options,
    Peer, QueueLen, Via,
};
use headstart_lab::{Family, Rule};
use headstart_socket::Kind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::common::{self, Outcome, ensure, exchange, on_client, pattern, token_dialer};
use crate::support::{RTT, fetch_cookie, lock, tests, within};

tests![
    a_dropped_accept_loses_nothing,
    the_first_read_gives_the_message_back,
    a_copy_is_reset_and_the_handler_called_once,
    without_debouncing_every_copy_is_admitted,
    raced_copies_meet_one_handler,
    a_token_behind_a_preamble_is_taken_out,
    silence_and_drip_are_timed_out,
    garbage_is_reset_at_its_first_wrong_byte,
    ends_before_the_message_are_counted,
    the_longest_waiting_is_evicted,
    a_full_hall_holds_back_and_recovers,
    nobody_is_timed_out_for_what_a_full_gate_did_not_read,
    nobody_is_timed_out_for_what_a_busy_runtime_did_not_tell,
    a_failing_hook_costs_one_connection,
    fast_open_is_reported_as_it_is,
    a_dropped_gate_frees_its_port_and_closes_what_waits,
    wrong_settings_fail_when_built,
    gates_of_two_runtimes_share_claims_but_no_pairs,
    d1_p2_a_gate_made_later_is_as_old_as_the_first,
];

/// A first message: a Token of this number, and its flight.
fn message(number: u64, flight: &[u8]) -> Vec<u8> {
    let mut id = [0x5a; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let flight_len = flight.len() as u16;
    let header = Header {
        id: Id(id),
        flight_len,
        resets_losers: true,
    };
    [&header.encode(), flight].concat()
}

/// What a gate told, as text without addresses.
type Told = Arc<Mutex<Vec<GateEvent>>>;

/// A gate on the loopback of a place of its own, and what it tells.
fn on_gate<T: Send>(
    framing: Framing,
    settings: impl FnOnce(GateBuilder) -> GateBuilder + Send,
    test: impl AsyncFnOnce(Gate, Told) -> io::Result<T> + Send,
) -> io::Result<T> {
    let lab = common::lab(Duration::ZERO)?;
    on_client(&lab, async || {
        let told = Told::default();
        let seen = told.clone();
        let gate = settings(Gate::builder(framing)?)
            .watcher(move |event| lock(&seen).push(event))
            .bind(([127, 0, 0, 1], 0).into())?;
        test(gate, told).await
    })
}

async fn client(gate: &Gate, bytes: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(gate.local_addr()).await?;
    stream.set_nodelay(true)?;
    stream.write_all(bytes).await?;
    Ok(stream)
}

/// How the server ended a connection that was sent nothing.
async fn end_of(mut stream: TcpStream) -> io::Result<()> {
    let read = within("an end", async { Ok(stream.read(&mut [0; 1]).await) }).await?;
    match read {
        Ok(0) => Ok(()),
        Ok(_) => Err(io::Error::other("an answer")),
        Err(error) => Err(error),
    }
}

fn is_reset(end: io::Result<()>) -> bool {
    end.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

/// Waits for counters.
async fn counts(gate: &Gate, so: impl Fn(&GateCounters) -> bool) -> io::Result<GateCounters> {
    let began = Instant::now();
    loop {
        let counters = gate.counters();
        if so(&counters) {
            return Ok(counters);
        }
        if began.elapsed() > Duration::from_secs(3) {
            return Err(io::Error::other(format!("never so: {counters:?}")));
        }
        sleep(Duration::from_millis(2)).await;
    }
}

fn a_dropped_accept_loses_nothing() -> Outcome {
    const CLIENTS: usize = 300;
    let admitted = on_gate(
        Framing::token(),
        |gate| gate,
        async |gate, _| {
            let address = gate.local_addr();
            let clients = tokio::spawn(async move {
                let mut open = Vec::new();
                for number in 0..CLIENTS {
                    let mut stream = TcpStream::connect(address).await?;
                    stream.write_all(&message(number as u64, b"hello")).await?;
                    open.push(stream);
                    if number % 7 == 0 {
                        sleep(Duration::from_micros(200)).await;
                    }
                }
                io::Result::Ok(open)
            });
            let mut seen = std::collections::HashSet::new();
            let began = Instant::now();
            let mut round = 0_u32;
            while seen.len() < CLIENTS && began.elapsed() < Duration::from_secs(4) {
                round += 1;
                tokio::select! {
                    biased;
                    // Sometimes polled only once, sometimes woken and then dropped.
                    () = sleep(Duration::from_micros(u64::from(round % 5) * 30)), if round.is_multiple_of(2) => {}
                    admitted = gate.accept() => { seen.insert(admitted?.peer); }
                }
            }
            let _open = clients.await??;
            Ok(seen.len())
        },
    )?;
    ensure!(admitted == CLIENTS, "{admitted} of {CLIENTS} admitted");
    Ok(())
}

fn the_first_read_gives_the_message_back() -> Outcome {
    on_gate(
        Framing::token(),
        |gate| gate,
        async |gate, _| {
            // In pieces, and with more behind it.
            let bytes = [&message(1, &pattern(3000, 0))[..], b"and more"].concat();
            let mut stream = client(&gate, &bytes[..10]).await?;
            sleep(Duration::from_millis(5)).await;
            stream.write_all(&bytes[10..1000]).await?;
            sleep(Duration::from_millis(5)).await;
            stream.write_all(&bytes[1000..]).await?;
            let mut admitted = within("an accept", gate.accept()).await?;
            assert_eq!(admitted.message, 3024);
            assert_eq!(admitted.via, Via::Plain);
            assert_eq!(admitted.peer, stream.local_addr()?);
            let mut part = [0; 100];
            admitted.stream.read_exact(&mut part).await?;
            assert_eq!(part[..], pattern(3000, 0)[..100]);
            // The rest: what was read already, and what the socket still has.
            let (mut socket, read) = admitted.stream.into_parts().expect("plain: not paired");
            let mut rest = read;
            stream.shutdown().await?;
            within("the rest", socket.read_to_end(&mut rest)).await?;
            assert!(rest == bytes[24 + 100..], "{} bytes", rest.len());
            // Other framings keep all of their message.
            Ok(())
        },
    )?;
    let framing = Framing::length_prefixed(LengthPrefix::POSTGRES_STARTUP).assert_unique();
    on_gate(
        framing,
        |gate| gate,
        async |gate, _| {
            let _stream = client(&gate, &[0, 0, 0, 8, 1, 2, 3, 4]).await?;
            let mut admitted = within("an accept", gate.accept()).await?;
            let mut all = [0; 8];
            admitted.stream.read_exact(&mut all).await?;
            assert_eq!(all, [0, 0, 0, 8, 1, 2, 3, 4]);
            admitted.stream.write_all(b"ok").await
        },
    )?;
    Ok(())
}

fn a_copy_is_reset_and_the_handler_called_once() -> Outcome {
    on_gate(
        Framing::token(),
        |gate| gate,
        async |gate, told| {
            let first = client(&gate, &message(1, b"hello")).await?;
            within("an accept", gate.accept()).await?;
            for copy in 2..5 {
                let stream = client(&gate, &message(1, b"hello")).await?;
                assert!(is_reset(end_of(stream).await), "copy {copy} was not reset");
            }
            let other = client(&gate, &message(2, b"hello")).await?;
            within("an accept", gate.accept()).await?;
            let none = timeout(Duration::from_millis(50), gate.accept()).await;
            assert!(none.is_err(), "a copy was admitted");
            let counters = gate.counters();
            assert_eq!(
                (counters.accepted, counters.first, counters.duplicates),
                (5, 2, 3)
            );
            let told = std::mem::take(&mut *lock(&told));
            let [
                GateEvent::Admitted { bytes: 29, .. },
                GateEvent::Duplicate { copies: 2, .. },
                GateEvent::Duplicate { copies: 3, .. },
                GateEvent::Duplicate { copies: 4, .. },
                GateEvent::Admitted { .. },
            ] = &told[..]
            else {
                panic!("{told:?}");
            };
            drop((first, other));
            Ok(())
        },
    )?;
    Ok(())
}

fn without_debouncing_every_copy_is_admitted() -> Outcome {
    on_gate(
        Framing::token(),
        |gate| gate.debounce(false),
        async |gate, _| {
            assert!(gate.claims().is_none());
            let mut open = Vec::new();
            for _ in 0..3 {
                open.push(client(&gate, &message(1, b"hello")).await?);
                within("an accept", gate.accept()).await?;
            }
            assert_eq!(gate.counters().first, 3);
            Ok(())
        },
    )?;
    Ok(())
}

fn raced_copies_meet_one_handler() -> Outcome {
    let lab = common::lab(RTT)?;
    fetch_cookie(&lab, Family::V4)?;
    let told = Told::default();
    let seen = told.clone();
    let settings = move |gate: GateBuilder| gate.watcher(move |event| lock(&seen).push(event));
    let framing = Framing::token();
    let server = common::Server::start(
        &lab,
        lab.server(),
        Family::V4,
        framing,
        settings,
        common::server::echo,
    )?;
    let mut raced = 0;
    for _ in 0..10 {
        raced += on_client(&lab, async || {
            let mut stream = token_dialer()?.build()?.dial(server.address).await?;
            // Plain opens, and sends its copy, well before Fast Open's answer.
            sleep(lab.rtt() / 2).await;
            within("an exchange", exchange(&mut stream, &pattern(600, 0))).await?;
            Ok(usize::from(stream.report().raced()))
        })?;
    }
    // On a busy machine plain may be open before the flight is written.
    ensure!(raced >= 7, "only {raced} of 10 were races");
    let handled = server.handled();
    std::thread::sleep(lab.rtt());
    let counters = server.stop()?;
    ensure!(handled == 10, "{handled} handler calls");
    ensure!(counters.first == 10 && counters.joined >= 7, "{counters:?}");
    let by_fast_open = lock(&told)
        .iter()
        .filter(|event| {
            matches!(
                event,
                GateEvent::Admitted {
                    via: Via::FastOpen,
                    ..
                }
            )
        })
        .count();
    ensure!(
        by_fast_open >= 7,
        "only {by_fast_open} of 10 came first by Fast Open"
    );
    Ok(())
}

/// The application's own Token, behind what its protocol begins with.
fn a_token_behind_a_preamble_is_taken_out() -> Outcome {
    const RACES: usize = 10;
    let lab = common::lab(RTT)?;
    fetch_cookie(&lab, Family::V4)?;
    // The answer comes on the plain copy alone, which must be known as one.
    lab.set_rule(Rule::DropServerDataAfterHandshake);
    let framing = Framing::token().after(b"PRE!")?;
    let server = common::Server::echo(&lab, lab.server(), Family::V4, framing.clone())?;
    let mut raced = 0;
    for number in 0..RACES {
        raced += on_client(&lab, async || {
            let dialer = Dialer::builder()?
                .first_flight(FirstFlight::Framed(framing.clone()))
                .peer(Peer::Pairing)
                .memory(None)
                .build()?;
            let mut stream = dialer.dial(server.address).await?;
            let flight = pattern(600, number as u8);
            let written = [b"PRE!", &message(number as u64, &flight)[..], b"beyond"].concat();
            stream.write_all(&written).await?;
            let given = [b"PRE!", &flight[..], b"beyond"].concat();
            let mut echo = vec![0; given.len()];
            within("an echo", async { stream.read_exact(&mut echo).await }).await?;
            assert!(echo == given, "{}", echo.escape_ascii());
            Ok(u64::from(stream.report().raced()))
        })?;
    }
    let counters = server.stop()?;
    ensure!(counters.first == RACES as u64, "{counters:?}");
    // On a busy machine plain may be open before the flight is written.
    ensure!(raced >= 5 && counters.joined == raced, "{counters:?}");
    Ok(())
}

fn silence_and_drip_are_timed_out() -> Outcome {
    const PATIENT: Duration = Duration::from_millis(150);
    on_gate(
        Framing::token(),
        |gate| gate.message_timeout(PATIENT),
        async |gate, told| {
            let began = Instant::now();
            let silent = client(&gate, b"").await?;
            let mut drip = client(&gate, &message(1, b"hello")[..1]).await?;
            let dripping = tokio::spawn(async move {
                let bytes = message(1, b"hello");
                for byte in &bytes[1..28] {
                    sleep(Duration::from_millis(20)).await;
                    if drip.write_all(&[*byte]).await.is_err() {
                        return Ok(Instant::now());
                    }
                }
                io::Result::Err(io::Error::other("dripped to the end"))
            });
            assert!(is_reset(end_of(silent).await));
            let took = began.elapsed();
            assert!(took >= PATIENT && took < PATIENT * 4, "{took:?}");
            assert!(dripping.await?? >= began + PATIENT);
            let counters = counts(&gate, |counters| counters.timeouts == 2).await?;
            assert_eq!(counters.accepted, 2);
            let told = lock(&told);
            let [
                GateEvent::TimedOut { bytes: 0, .. },
                GateEvent::TimedOut { bytes: 1.., .. },
            ] = &told[..]
            else {
                panic!("{told:?}");
            };
            Ok(())
        },
    )?;
    Ok(())
}

fn garbage_is_reset_at_its_first_wrong_byte() -> Outcome {
    let tls = Framing::tls_client_hello;
    let too_long = message(1, &pattern(1000, 0));
    let empty_record = [22, 3, 1, 0, 0];
    let cases: [(Framing, &[u8], Malformed); 4] = [
        (Framing::token(), b"GET / HTTP/1.1", Malformed::NotToken),
        (
            Framing::token(),
            &too_long,
            Malformed::TooLong { limit: 1000 },
        ),
        (tls(), b"GET / HTTP/1.1", Malformed::NotTls),
        (tls(), &empty_record, Malformed::EmptyRecord),
    ];
    for (framing, bytes, wanted) in cases {
        on_gate(
            framing,
            |gate| gate.message_max(1000),
            async |gate, told| {
                let stream = client(&gate, bytes).await?;
                assert!(is_reset(end_of(stream).await), "{wanted}");
                let counters = counts(&gate, |counters| counters.malformed == 1).await?;
                assert_eq!(counters.accepted, 1);
                let told = lock(&told);
                let [GateEvent::Malformed { error, .. }] = &told[..] else {
                    panic!("{told:?}");
                };
                assert_eq!(*error, wanted);
                Ok(())
            },
        )?;
    }
    Ok(())
}

fn ends_before_the_message_are_counted() -> Outcome {
    on_gate(
        Framing::token(),
        |gate| gate,
        async |gate, told| {
            let half = &message(1, b"hello")[..12];
            drop(client(&gate, half).await?);
            counts(&gate, |counters| counters.closed == 1).await?;
            let reset = client(&gate, half).await?;
            counts(&gate, |counters| counters.accepted == 2).await?;
            headstart_socket::close_abortively(reset)?;
            counts(&gate, |counters| counters.closed == 2).await?;
            // The same message, whole, was not claimed by its halves.
            let _whole = client(&gate, &message(1, b"hello")).await?;
            within("an accept", gate.accept()).await?;
            let counters = gate.counters();
            assert_eq!(
                (counters.accepted, counters.first, counters.duplicates),
                (3, 1, 0)
            );
            let told = lock(&told);
            assert!(matches!(
                told[..2],
                [
                    GateEvent::Closed { bytes: 12, .. },
                    GateEvent::Closed { .. }
                ]
            ));
            Ok(())
        },
    )?;
    Ok(())
}

fn the_longest_waiting_is_evicted() -> Outcome {
    on_gate(
        Framing::token(),
        |gate| gate.waiting_max(8),
        async |gate, told| {
            let mut silent = Vec::new();
            for _ in 0..20 {
                silent.push(client(&gate, b"").await?);
            }
            counts(&gate, |counters| counters.accepted == 20).await?;
            // Others are served meanwhile.
            let _served = client(&gate, &message(1, b"hello")).await?;
            within("an accept", gate.accept()).await?;
            let counters = gate.counters();
            assert!((12..=13).contains(&counters.evicted), "{counters:?}");
            let oldest: Vec<SocketAddr> = silent
                .iter()
                .take(12)
                .map(|s| s.local_addr())
                .collect::<io::Result<_>>()?;
            let evicted: Vec<SocketAddr> = lock(&told)
                .iter()
                .filter_map(|event| match event {
                    GateEvent::Evicted { peer } => Some(*peer),
                    _ => None,
                })
                .collect();
            assert_eq!(evicted[..12], oldest[..]);
            assert!(is_reset(end_of(silent.remove(0)).await));
            // The youngest may still speak.
            let mut last = silent.pop().ok_or(io::ErrorKind::NotFound)?;
            last.write_all(&message(2, b"hello")).await?;
            within("an accept", gate.accept()).await?;
            Ok(())
        },
    )?;
    Ok(())
}

fn a_full_hall_holds_back_and_recovers() -> Outcome {
    on_gate(
        Framing::token(),
        |gate| gate.admitted_max(2),
        async |gate, _| {
            let mut open = Vec::new();
            for number in 0..50 {
                open.push(client(&gate, &message(number, b"hello")).await?);
            }
            sleep(Duration::from_millis(50)).await;
            assert_eq!(gate.counters().first, 2);
            for _ in 0..50 {
                within("an accept", gate.accept()).await?;
            }
            assert_eq!(gate.counters().first, 50);
            Ok(())
        },
    )?;
    Ok(())
}

fn nobody_is_timed_out_for_what_a_full_gate_did_not_read() -> Outcome {
    const PATIENT: Duration = Duration::from_millis(400);
    const CLIENTS: u64 = 300;
    let settings = |gate: GateBuilder| gate.admitted_max(100).message_timeout(PATIENT);
    on_gate(Framing::token(), settings, async |gate, _| {
        // All are accepted and none is whole.
        let mut open = Vec::new();
        for number in 0..CLIENTS {
            open.push(client(&gate, &message(number, b"hello")[..20]).await?);
        }
        counts(&gate, |counters| counters.accepted == CLIENTS).await?;
        for (number, stream) in open.iter_mut().enumerate() {
            stream
                .write_all(&message(number as u64, b"hello")[20..])
                .await?;
        }
        // The gate is full with the first hundred, and nobody accepts for a while.
        sleep(2 * PATIENT).await;
        let mut served = 0;
        while let Ok(admitted) = timeout(PATIENT, gate.accept()).await {
            admitted?;
            served += 1;
        }
        assert_eq!(
            (served, gate.counters().timeouts),
            (CLIENTS, 0),
            "{:?}",
            gate.counters()
        );
        Ok(())
    })?;
    Ok(())
}

fn nobody_is_timed_out_for_what_a_busy_runtime_did_not_tell() -> Outcome {
    const PATIENT: Duration = Duration::from_millis(400);
    const CLIENTS: u64 = 300;
    let settings = |gate: GateBuilder| gate.message_timeout(PATIENT);
    on_gate(Framing::token(), settings, async |gate, _| {
        let mut open = Vec::new();
        for _ in 0..CLIENTS {
            open.push(std::net::TcpStream::connect(gate.local_addr())?);
        }
        counts(&gate, |counters| counters.accepted == CLIENTS).await?;
        for (number, mut stream) in open.iter().enumerate() {
            io::Write::write_all(&mut stream, &message(number as u64, b"hello"))?;
        }
        // The runtime's only thread does other things until time is up.
        std::thread::sleep(2 * PATIENT);
        for _ in 0..CLIENTS {
            within("an accept", gate.accept()).await?;
        }
        assert_eq!(gate.counters().timeouts, 0);
        Ok(())
    })?;
    Ok(())
}

fn a_failing_hook_costs_one_connection() -> Outcome {
    let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let options = Options::new().hook(move |_| {
        // The first call is for the listener itself.
        match calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            1 => Err(io::Error::other("not this one")),
            _ => Ok(()),
        }
    });
    let listen = ListenOptions::new().options(options);
    on_gate(
        Framing::token(),
        |gate| gate.listen_options(listen),
        async |gate, told| {
            let _refused = client(&gate, &message(1, b"hello")).await?;
            counts(&gate, |counters| counters.accept_errors == 1).await?;
            let _served = client(&gate, &message(2, b"hello")).await?;
            within("an accept", gate.accept()).await?;
            let told = lock(&told);
            assert!(
                matches!(told[0], GateEvent::AcceptFailed { .. }),
                "{told:?}"
            );
            Ok(())
        },
    )?;
    Ok(())
}

fn fast_open_is_reported_as_it_is() -> Outcome {
    let lab = common::lab(Duration::ZERO)?;
    let status = |bits: u32, listen: ListenOptions| {
        lab.server().set_fast_open(bits)?;
        lab.server().run(|| {
            common::runtime()?.block_on(async {
                let gate = Gate::builder(Framing::token())?
                    .listen_options(listen)
                    .bind(([127, 0, 0, 1], 0).into())?;
                let status = gate.fast_open();
                io::Result::Ok((status.is_on(), format!("{status}")))
            })
        })?
    };
    let (on, text) = status(0x3, ListenOptions::new())?;
    ensure!(on, "{text}");
    let (on, text) = status(0x1, ListenOptions::new())?;
    ensure!(!on && text.contains("0x2"), "{text}");
    let (on, text) = status(0x3, ListenOptions::new().fast_open(QueueLen::Off))?;
    ensure!(!on, "{text}");
    Ok(())
}

fn a_dropped_gate_frees_its_port_and_closes_what_waits() -> Outcome {
    on_gate(
        Framing::token(),
        |gate| gate,
        async |gate, told| {
            let address = gate.local_addr();
            let silent = client(&gate, b"").await?;
            let admitted = client(&gate, &message(1, b"hello")).await?;
            let served = client(&gate, &message(2, b"hello")).await?;
            let mut first: Admitted = within("an accept", gate.accept()).await?;
            counts(&gate, |counters| {
                counters.accepted == 3 && counters.first == 2
            })
            .await?;
            drop(gate);
            // One that was accepted stays.
            first.stream.write_all(b"still here").await?;
            drop((admitted, served));
            let waited = silent.local_addr()?;
            assert!(is_reset(end_of(silent).await));
            let last = lock(&told).pop();
            assert!(
                matches!(last, Some(GateEvent::Closed { peer, bytes: 0 }) if peer == waited),
                "{last:?}"
            );
            let began = Instant::now();
            while let Err(error) = TcpListener::bind(address).await {
                assert!(began.elapsed() < Duration::from_secs(2), "{error}");
                sleep(Duration::from_millis(2)).await;
            }
            Ok(())
        },
    )?;
    Ok(())
}

fn wrong_settings_fail_when_built() -> Outcome {
    let lab = common::lab(Duration::ZERO)?;
    let repeats = || Framing::length_prefixed(LengthPrefix::POSTGRES_STARTUP);
    type Settings = fn(GateBuilder) -> GateBuilder;
    let cases: [(Framing, Settings, Option<GateConfigError>); 7] = [
        (Framing::token(), |gate| gate.message_max(24), None),
        (repeats(), |gate| gate, Some(GateConfigError::NotUnique)),
        (repeats(), |gate| gate.debounce(false), None),
        (repeats().assert_unique(), |gate| gate, None),
        (
            Framing::token(),
            |gate| gate.message_max(23),
            Some(GateConfigError::MessageMax { least: 24 }),
        ),
        (
            Framing::tls_client_hello(),
            |gate| gate.message_max(16_385),
            Some(GateConfigError::MessageMax { least: 50 }),
        ),
        (
            Framing::token(),
            |gate| gate.debounce(false).pairing(true),
            Some(GateConfigError::PairingUndebounced),
        ),
    ];
    for (number, (framing, settings, wrong)) in cases.into_iter().enumerate() {
        let built = on_client(&lab, async || {
            let address = ([127, 0, 0, 1], 0).into();
            Ok(settings(Gate::builder(framing)?).bind(address).map(drop))
        })?;
        let told = told_by(built);
        ensure!(told == Ok(wrong), "case {number}: {told:?}");
    }
    Ok(())
}

/// The setting that is wrong, if one is; or another error.
fn told_by(built: io::Result<()>) -> Result<Option<GateConfigError>, String> {
    let Err(error) = built else {
        return Ok(None);
    };
    let inside = error.get_ref().and_then(|error| error.downcast_ref());
    match (inside, error.kind()) {
        (Some(inside), io::ErrorKind::InvalidInput) => Ok(Some(*inside)),
        _ => Err(format!("{error:?}")),
    }
}

fn gates_of_two_runtimes_share_claims_but_no_pairs() -> Outcome {
    on_gate(
        Framing::token(),
        |gate| gate,
        async |gate, _| {
            let beside = || {
                let claims = gate.claims().cloned().ok_or(io::ErrorKind::NotFound)?;
                Ok::<_, io::Error>(headstart_smol::Gate::builder(Framing::token())?.claims(claims))
            };
            let address = ([127, 0, 0, 1], 0).into();
            let told = told_by(beside()?.bind(address).map(drop));
            assert_eq!(told, Ok(Some(GateConfigError::OtherRuntime)));

            let other = beside()?.pairing(false).bind(address)?;
            let _first = client(&gate, &message(1, b"hello")).await?;
            within("an accept", gate.accept()).await?;
            let mut copy = TcpStream::connect(other.local_addr()).await?;
            copy.write_all(&message(1, b"hello")).await?;
            assert!(is_reset(end_of(copy).await));
            assert_eq!(other.counters().duplicates, 1);
            Ok(())
        },
    )?;
    Ok(())
}

/// By their own clocks alone, a claim of the one would be past the window to
/// the other as soon as it is made.
fn d1_p2_a_gate_made_later_is_as_old_as_the_first() -> Outcome {
    const WINDOW: Duration = Duration::from_millis(500);
    let lab = common::lab(Duration::ZERO)?;
    // Both sides, and without a cookie.
    lab.client().set_fast_open(0x207)?;
    on_client(&lab, async || {
        let claims = Claims::new(Config {
            window: WINDOW,
            ..Config::default()
        })?;
        let address = ([127, 0, 0, 1], 0).into();
        let builder =
            || Ok::<_, io::Error>(Gate::builder(Framing::token())?.claims(claims.clone()));
        let older = builder()?.bind(address)?;
        sleep(WINDOW * 2).await;
        let younger = builder()?.bind(address)?;
        let bytes = message(1, b"hello");
        let options = Options::new();
        let first =
            headstart_socket::connect(younger.local_addr(), Kind::FastOpen, &bytes, &options)?;
        within("an accept", younger.accept()).await?;
        let _copy = client(&older, &bytes).await?;
        counts(&older, |counters| counters.first + counters.joined == 1).await?;
        assert_eq!(older.counters().joined, 1);
        drop(first);
        Ok(())
    })?;
    Ok(())
}
