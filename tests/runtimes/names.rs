//! The promise that changing runtime is changing one line: one source that
//! uses every public method of streams, dialers and gates, compiled with the
//! names of each runtime's crate. Each test has a process of its own: it runs
//! on the global executors.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use headstart_io::Runtime as _;
use headstart_socket::socket2::SockRef;
use headstart_socket::{State, TcpInfo};

use crate::common::conn::Conn;
use crate::common::runtimes::{AsyncStdOne, Rt, SmolOne, TokioMany, TokioOne};
use crate::common::{Outcome, PATIENCE};
use crate::harness::tests;

tests![tokio, tokio_threads, smol, async_std];

/// What streams of every runtime call alike: of a race's or a gate's `get_ref`
/// as of what `into_inner` gives.
macro_rules! use_as_a_stream {
    ($stream:expr) => {{
        let stream = $stream;
        stream.set_nodelay(true)?;
        assert!(stream.nodelay()?);
        stream.set_ttl(61)?;
        assert_eq!(stream.ttl()?, 61);
        (stream.local_addr()?, stream.peer_addr()?)
    }};
}

/// As a socket: what this project's own crates take, and `socket2`.
fn as_a_socket<'a>(stream: &'a (impl AsFd + 'a)) -> io::Result<Option<SocketAddr>> {
    assert!(TcpInfo::of(stream)?.state == State::Established);
    Ok(SockRef::from(stream).peer_addr()?.as_socket())
}

macro_rules! one_source {
    ($test:ident, $names:ident::$runtime:ident, $executor:ty) => {
        fn $test() -> Outcome {
            // The one line.
            use $names as headstart;

            use headstart::core::debounce::Config;
            use headstart::core::race::AttemptKind;
            use headstart::{
                Admitted, Budget, Claims, Dialer, DialerBuilder, Directory, FirstFlight, Framing,
                Gate, GateBuilder, GateCounters, GateEvent, GateStream, Kinds, ListenOptions,
                ListenerFastOpen, LoserClose, Memory, Options, Peer, RaceStream, Report, Schedule,
                Target, Via,
            };

            /// Every setting, at its default or one that changes nothing here.
            fn settings(builder: DialerBuilder, memory: &Memory) -> DialerBuilder {
                builder
                    .first_flight(FirstFlight::tls())
                    .token()
                    .peer(Peer::FirstCome)
                    .peers(Directory::default())
                    .memory(memory.clone())
                    .insist(false)
                    .kinds(Kinds::Both)
                    .schedule(Schedule::Staggered {
                        first: AttemptKind::Plain,
                        delay: Duration::from_millis(1),
                    })
                    .losers(LoserClose::Abortive)
                    .held_max(64 * 1024)
                    .address_delay(Duration::from_millis(250))
                    .options(Options::new())
                    .budget(Budget::process())
            }

            fn bounds(builder: GateBuilder) -> GateBuilder {
                builder
                    .debounce(true)
                    .pairing(true)
                    .pair_window(Duration::from_secs(15))
                    .pair_log_max(64 * 1024)
                    .pairs_max(100)
                    .pair_bytes_max(1 << 20)
                    .message_timeout(Duration::from_secs(5))
                    .message_max(1000)
                    .waiting_max(100)
                    .admitted_max(100)
                    .watcher(|_: GateEvent| {})
            }

            /// A race that is not decided.
            async fn ask(dialer: &Dialer, target: Target) -> io::Result<RaceStream> {
                let stream: RaceStream = dialer.dial(target).await?;
                assert!(stream.get_ref().is_none(), "nothing is chosen");
                match stream.into_inner() {
                    Err(stream) => Ok(stream),
                    Ok(_) => Err(io::Error::other("given before it was chosen")),
                }
            }

            /// The gate's side: an echo of five bytes, then of five more.
            async fn echo(admitted: Admitted) -> io::Result<()> {
                let mut stream: GateStream = admitted.stream;
                assert!(admitted.message >= 5 && admitted.via == Via::Plain);
                let mut word = [0; 5];
                stream.read_exact(&mut word).await?;
                stream.write_all(&word).await?;
                let of = stream.get_ref().ok_or(io::ErrorKind::NotConnected)?;
                let (local, peer) = use_as_a_stream!(of);
                assert_eq!((Some(local), peer), (admitted.local, admitted.peer));
                assert_eq!(of.peek(&mut word).await?, 5);
                let Ok((mut inner, before)) = stream.into_parts() else {
                    return Err(io::Error::other("a plain connection is not paired"));
                };
                assert!(before.is_empty());
                assert_eq!(use_as_a_stream!(&inner), (local, peer));
                inner.read_exact(&mut word).await?;
                inner.write_all(&word).await?;
                inner.close().await
            }

            <$executor>::block_on(async |here| {
                let here_too = $names::$runtime::current()?;
                let any = ([127, 0, 0, 1], 0).into();
                let options = ListenOptions::new();
                let gate: Gate = bounds(Gate::builder(Framing::token())?)
                    .listen_options(options.clone())
                    .claims(Claims::new(Config::default())?)
                    .bind(any)?;
                let second: Gate = Gate::builder_on(here_too.clone(), Framing::token())
                    .beside(&gate)
                    .serve(here_too.listen(any, &options)?)?;
                let _: &ListenerFastOpen = gate.fast_open();
                assert!(second.pairs() && second.claims().is_some());

                let memory = Memory::default();
                let dialer: Dialer = settings(Dialer::builder()?, &memory).build()?;
                let others = settings(Dialer::builder_on(here_too), &memory).build()?;
                assert!(others.memory().is_some());

                for (dialer, gate) in [(&dialer, &gate), (&others, &second)] {
                    let mut stream = ask(dialer, gate.local_addr().into()).await?;
                    assert!(dialer.unsettled() > 0);
                    stream.first_flight(b"hello")?;
                    let admitted = match gate.local_addr() == second.local_addr() {
                        true => poll_fn(|cx| gate.poll_accept(cx)).await?,
                        false => here.within("an admission", gate.accept()).await?,
                    };
                    let serving = here.spawn(echo(admitted));

                    let mut word = [0; 5];
                    here.within("an echo", stream.read_exact(&mut word)).await?;
                    assert_eq!(&word, b"hello");
                    let of = stream.get_ref().ok_or(io::ErrorKind::NotConnected)?;
                    let (local, peer) = use_as_a_stream!(of);
                    assert_eq!(peer, gate.local_addr());
                    assert_eq!(as_a_socket(of)?, Some(peer));
                    stream.write_all(b"world").await?;
                    let of = stream.get_ref().ok_or(io::ErrorKind::NotConnected)?;
                    assert_eq!(here.within("a peek", of.peek(&mut word)).await?, 5);

                    let report: Report = stream.report();
                    assert!(report.winner().is_some());
                    assert!(!stream.report_stall(), "plain, so not to blame");
                    let Ok(mut inner) = stream.into_inner() else {
                        return Err(io::Error::other("chosen, and not given"));
                    };
                    assert_eq!(use_as_a_stream!(&inner), (local, peer));
                    here.within("an echo", inner.read_exact(&mut word)).await?;
                    assert_eq!(&word, b"world");
                    here.within("the gate's side", serving).await?;
                    here.until(PATIENCE, dialer.settled()).await;
                    assert_eq!(dialer.unsettled(), 0);
                    let counters: GateCounters = gate.counters();
                    assert_eq!(counters.first, 1);
                }
                for gate in [gate, second] {
                    gate.close().await;
                }
                Ok(())
            })?;
            Ok(())
        }
    };
}

one_source!(tokio, headstart_tokio::Tokio, TokioOne);
one_source!(tokio_threads, headstart_tokio::Tokio, TokioMany);
one_source!(smol, headstart_smol::Smol, SmolOne);
one_source!(async_std, headstart_async_std::AsyncStd, AsyncStdOne);
