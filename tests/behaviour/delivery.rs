//! Written bytes arrive as plain TCP alone would have brought them, whoever
//! polls (R11, R16).

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use headstart::FirstFlight;
use headstart::core::framing::Framing;
use headstart::core::race::{AttemptKind, Exit, NotStarted, Outcome as Out};
use headstart::tokio::{Admitted, Dialer, DialerBuilder, RaceStream};
use headstart_lab::{Family, Lab, Rule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use crate::common::{self, Outcome, Server, ensure, on_client, pattern, token_dialer};
use crate::support::{
    Bare, Manner, PATIENCE, RTT, attempt, fetch_cookie, lock, settle, tests, until, within,
};

tests![
    r16_write_then_idle_is_delivered,
    r16_write_then_drop_is_delivered_whole_and_ends,
    r16_an_upload_dropped_at_once_arrives,
    r16_a_drop_is_delivered_beside_a_dead_fast_open,
    r16_drop_without_writing_leaves_no_connection,
    r16_halves_do_not_steal_wakes,
    r16_waiting_readers_sleep,
    r16_flush_is_ready_when_a_kernel_holds_the_flight,
    r16_shutdown_after_the_reply_came_sends_fin,
    r16_a_reply_before_a_reset_is_read,
    a_reply_that_was_cut_off_does_not_look_whole_on_the_bare_stream,
    r11_half_close_is_raced_and_the_big_answer_read,
    r3_a_server_that_speaks_first_is_heard,
    into_inner_gives_the_stream_only_when_all_is_out,
    first_flight_is_stated_once,
];

type Statement = fn() -> io::Result<DialerBuilder>;

/// What each handler of a [`Collector`] read, and whether to the end.
type Collected = Arc<Mutex<Vec<(Vec<u8>, io::Result<()>)>>>;

/// A gate whose handler reads to the end.
fn collector(lab: &Lab) -> io::Result<(Server, Collected)> {
    let collected = Collected::default();
    let seen = collected.clone();
    let handler = move |mut admitted: Admitted| {
        let seen = seen.clone();
        async move {
            let mut bytes = Vec::new();
            let end = admitted.stream.read_to_end(&mut bytes).await.map(drop);
            lock(&seen).push((bytes, end));
            Ok(())
        }
    };
    let framing = Framing::token();
    let server = Server::start(lab, lab.server(), Family::V4, framing, |gate| gate, handler)?;
    Ok((server, collected))
}

fn one_whole(collected: &Collected, wanted: &[u8]) -> Outcome {
    let collected = lock(collected);
    let [(bytes, end)] = &collected[..] else {
        return Err(format!("{} handlers", collected.len()).into());
    };
    ensure!(
        end.is_ok(),
        "ended by {end:?} after {} bytes of {}",
        bytes.len(),
        wanted.len()
    );
    ensure!(
        bytes == wanted,
        "{} bytes, not the {} written",
        bytes.len(),
        wanted.len()
    );
    Ok(())
}

fn asserted() -> io::Result<DialerBuilder> {
    Ok(Dialer::builder()?
        .first_flight(FirstFlight::Asserted)
        .insist(true))
}

fn unstated() -> io::Result<DialerBuilder> {
    Dialer::builder()
}

fn tls() -> io::Result<DialerBuilder> {
    let framing = FirstFlight::Framed(Framing::tls_client_hello());
    Ok(Dialer::builder()?.first_flight(framing).insist(true))
}

fn r16_write_then_idle_is_delivered() -> Outcome {
    let lab = common::lab(RTT / 2)?;
    fetch_cookie(&lab, Family::V4)?;
    let hello = crate::statements::client_hello(&[])?;
    let ways: [(&str, Statement, Vec<u8>); 4] = [
        ("token", || token_dialer(), pattern(600, 1)),
        ("asserted", asserted, pattern(600, 2)),
        ("unstated", unstated, pattern(600, 3)),
        ("tls", tls, hello),
    ];
    for (name, statement, flight) in ways {
        let bare = Bare::start(&lab, Family::V4, Manner::Swallow)?;
        on_client(&lab, async || {
            let dialer = statement()?.build()?;
            let mut stream = dialer.dial(bare.address).await?;
            stream.write_all(&flight).await?;
            // Nobody polls it from here on.
            let arrived = || bare.received().iter().any(|c| c.bytes.ends_with(&flight));
            let began = Instant::now();
            while !arrived() {
                assert!(began.elapsed() < PATIENCE, "{name}: {:?}", stream.report());
                sleep(lab.rtt() / 4).await;
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn r16_write_then_drop_is_delivered_whole_and_ends() -> Outcome {
    for cookie in [false, true] {
        let lab = common::lab(RTT / 2)?;
        if cookie {
            fetch_cookie(&lab, Family::V4)?;
        }
        for rule in [
            Rule::Transparent,
            Rule::DropSynWithData,
            Rule::StripOption,
            Rule::CutData,
        ] {
            lab.set_rule(rule);
            let (server, collected) = collector(&lab)?;
            // Where a SYN vanishes, its copy is given up a second later.
            let waits = if rule == Rule::DropSynWithData {
                1..2
            } else {
                0..4
            };
            for wait in waits {
                lock(&collected).clear();
                on_client(&lab, async || {
                    let dialer = token_dialer()?.build()?;
                    let mut stream = dialer.dial(server.address).await?;
                    // Plain is ahead of Fast Open, so that it opens first.
                    sleep(lab.rtt() * wait / 4).await;
                    stream.write_all(&pattern(600, 1)).await?;
                    drop(stream);
                    settle(&dialer).await
                })?;
                until("a handler's end", || !lock(&collected).is_empty())?;
                std::thread::sleep(lab.rtt());
                one_whole(&collected, &pattern(600, 1))
                    .map_err(|error| format!("{rule}, cookie {cookie}: {error}"))?;
            }
        }
    }
    Ok(())
}

/// Writes as much as is taken within a time, then drops.
async fn write_and_drop(mut stream: RaceStream, bytes: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        taken += within("room", stream.write(&bytes[taken..])).await?;
    }
    drop(stream);
    Ok(taken)
}

fn r16_an_upload_dropped_at_once_arrives() -> Outcome {
    let bytes = pattern(3 << 19, 5);
    for rule in [
        Rule::Transparent,
        Rule::DropSynWithData,
        Rule::StripOptionAndData,
    ] {
        let lab = common::lab(RTT / 5)?;
        fetch_cookie(&lab, Family::V4)?;
        lab.set_rule(rule);
        let (server, collected) = collector(&lab)?;
        on_client(&lab, async || {
            let dialer = token_dialer()?.build()?;
            let stream = dialer.dial(server.address).await?;
            write_and_drop(stream, &bytes).await?;
            settle(&dialer).await
        })?;
        until("a handler's end", || !lock(&collected).is_empty())?;
        one_whole(&collected, &bytes).map_err(|error| format!("{rule}: {error}"))?;
    }
    Ok(())
}

/// A peer that takes both copies: plain brings everything, dead as the other is.
fn r16_a_drop_is_delivered_beside_a_dead_fast_open() -> Outcome {
    for rule in [
        Rule::DropSynAck,
        Rule::BlackholeAfterHandshake,
        Rule::ResetSyn,
    ] {
        let lab = common::lab(RTT / 5)?;
        fetch_cookie(&lab, Family::V4)?;
        lab.set_rule(rule);
        let bare = Bare::start(&lab, Family::V4, Manner::Swallow)?;
        let bytes = pattern(100_000, 7);
        on_client(&lab, async || {
            let dialer = asserted()?.build()?;
            let mut stream = dialer.dial(bare.address).await?;
            stream.first_flight(&bytes[..600])?;
            write_and_drop(stream, &bytes[600..]).await?;
            settle(&dialer).await
        })?;
        let whole = || {
            bare.received()
                .iter()
                .any(|c| c.bytes == bytes && c.end == Some(Ok(())))
        };
        until("everything", whole).map_err(|error| {
            let got: Vec<_> = bare
                .received()
                .iter()
                .map(|c| (c.bytes.len(), c.end))
                .collect();
            format!("{rule}: {error}: {got:?}")
        })?;
    }
    Ok(())
}

fn r16_drop_without_writing_leaves_no_connection() -> Outcome {
    let lab = common::lab(RTT / 2)?;
    fetch_cookie(&lab, Family::V4)?;
    let bare = Bare::start(&lab, Family::V4, Manner::Swallow)?;
    for wait in [Duration::ZERO, lab.rtt() / 2, 3 * lab.rtt()] {
        on_client(&lab, async || {
            let dialer = token_dialer()?.build()?;
            let stream = dialer.dial(bare.address).await?;
            sleep(wait).await;
            drop(stream);
            assert_eq!(dialer.unsettled(), 0);
            Ok(())
        })?;
        std::thread::sleep(2 * lab.rtt());
        let received = bare.received();
        let open = received.iter().filter(|c| c.end.is_none()).count();
        ensure!(open == 0, "after {wait:?}: {received:?}");
        ensure!(
            received.iter().all(|c| c.bytes.is_empty()),
            "after {wait:?}: {received:?}"
        );
    }
    Ok(())
}

fn r16_halves_do_not_steal_wakes() -> Outcome {
    for rule in [Rule::Transparent, Rule::DropSynWithData, Rule::StripOption] {
        let lab = common::lab(RTT / 5)?;
        fetch_cookie(&lab, Family::V4)?;
        lab.set_rule(rule);
        let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
        lab.client()
            .run(|| -> Outcome {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(3)
                    .enable_all()
                    .build()?;
                let result = runtime.block_on(async {
                    let dialer = token_dialer()?.build()?;
                    let mut stream = dialer.dial(server.address).await?;
                    stream.first_flight(&pattern(600, 0))?;
                    let (mut reader, mut writer) = tokio::io::split(stream);
                    let rest = pattern(1 << 20, 9);
                    let expected = rest.clone();
                    let reading = tokio::spawn(async move {
                        let mut all = Vec::new();
                        reader.read_to_end(&mut all).await.map(|_| all)
                    });
                    let writing = tokio::spawn(async move {
                        writer.write_all(&rest).await?;
                        writer.flush().await?;
                        writer.shutdown().await
                    });
                    within("writing", async { writing.await? }).await?;
                    let all = within("reading", async { reading.await? }).await?;
                    assert!(all[600..] == expected[..]);
                    io::Result::Ok(())
                });
                Ok(result?)
            })?
            .map_err(|error| format!("{rule}: {error}"))?;
    }
    Ok(())
}

/// Counts how often a future is polled.
struct Polled<'a, F>(F, &'a AtomicUsize);

impl<F: Future + Unpin> Future for Polled<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll(cx)
    }
}

fn r16_waiting_readers_sleep() -> Outcome {
    let lab = common::lab(RTT)?;
    for cookie in [false, true] {
        if cookie {
            fetch_cookie(&lab, Family::V4)?;
        }
        let bare = Bare::start(&lab, Family::V4, Manner::Swallow)?;
        for statement in [token_dialer as Statement, unstated] {
            let polls = AtomicUsize::new(0);
            on_client(&lab, async || {
                let mut stream = statement()?.build()?.dial(bare.address).await?;
                stream.write_all(&pattern(600, 0)).await?;
                let mut buf = [0; 10];
                let reading = Polled(pin!(stream.read(&mut buf)), &polls);
                let _ = tokio::time::timeout(4 * RTT, reading).await;
                Ok(())
            })?;
            let polls = polls.into_inner();
            ensure!(polls < 12, "{polls} polls for nothing, cookie {cookie}");
        }
    }
    Ok(())
}

fn r16_flush_is_ready_when_a_kernel_holds_the_flight() -> Outcome {
    let lab = common::lab(RTT)?;
    fetch_cookie(&lab, Family::V4)?;
    let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
    let flush = |statement: Statement| {
        on_client(&lab, async || {
            let mut stream = statement()?.build()?.dial(server.address).await?;
            let began = Instant::now();
            stream.write_all(&pattern(600, 0)).await?;
            within("a flush", stream.flush()).await?;
            Ok(began.elapsed())
        })
    };
    let mut best = Duration::MAX;
    for _ in 0..5 {
        best = best.min(flush(token_dialer)?);
    }
    ensure!(best < RTT / 2, "a flush into the SYN took {best:?}");
    // By plain alone: when it is open, though it was chosen before.
    let plain = flush(unstated)?;
    ensure!(
        plain >= RTT * 9 / 10,
        "a flush before the handshake: {plain:?}"
    );
    Ok(())
}

fn r16_shutdown_after_the_reply_came_sends_fin() -> Outcome {
    let lab = common::lab(RTT / 5)?;
    for cookie in [false, true] {
        if cookie {
            fetch_cookie(&lab, Family::V4)?;
        }
        let bare = Bare::start(&lab, Family::V4, Manner::Answer(b"answer"))?;
        on_client(&lab, async || {
            let mut stream = asserted()?.build()?.dial(bare.address).await?;
            stream.write_all(&pattern(600, 0)).await?;
            stream.flush().await?;
            // The driver takes the connection over meanwhile.
            sleep(6 * lab.rtt()).await;
            within("a shutdown", stream.shutdown()).await?;
            sleep(2 * lab.rtt()).await;
            let ended = bare.received().iter().any(|c| c.end == Some(Ok(())));
            assert!(ended, "no FIN: {:?}", bare.received());
            let mut answer = Vec::new();
            within("the answer", stream.read_to_end(&mut answer)).await?;
            assert_eq!(answer, b"answer");
            let late = stream.write(b"late").await;
            assert_eq!(late.map_err(|e| e.kind()), Err(io::ErrorKind::BrokenPipe));
            Ok(())
        })?;
    }
    Ok(())
}

fn r16_a_reply_before_a_reset_is_read() -> Outcome {
    let lab = common::lab(RTT / 5)?;
    for cookie in [false, true] {
        if cookie {
            fetch_cookie(&lab, Family::V4)?;
        }
        let bare = Bare::start(&lab, Family::V4, Manner::Reset(b"too large"))?;
        for statement in [asserted as Statement, unstated] {
            for _ in 0..5 {
                on_client(&lab, async || {
                    let mut stream = statement()?.build()?.dial(bare.address).await?;
                    let upload = pattern(1 << 20, 0);
                    let mut sent = 0;
                    while sent < upload.len() {
                        match within("writing", stream.write(&upload[sent..])).await {
                            Ok(taken) => sent += taken,
                            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                                return Err(error);
                            }
                            Err(_) => break,
                        }
                    }
                    let mut answer = [0; 9];
                    let read = within("the answer", stream.read_exact(&mut answer)).await;
                    let report = stream.report();
                    assert!(read.is_ok(), "{read:?} after {sent} bytes: {report:?}");
                    assert_eq!(&answer, b"too large");
                    Ok(())
                })?;
            }
        }
    }
    Ok(())
}

/// The race writes what is held when the reset comes, and so hears of it: the
/// bare stream would only end.
fn a_reply_that_was_cut_off_does_not_look_whole_on_the_bare_stream() -> Outcome {
    let lab = common::lab(RTT / 5)?;
    let bare = Bare::start(&lab, Family::V4, Manner::Reset(b"too large"))?;
    let mut heard_by_the_race = 0;
    for _ in 0..5 {
        on_client(&lab, async || {
            let dialer = unstated()?.held_max(8 << 20).build()?;
            let mut stream = dialer.dial(bare.address).await?;
            stream.write_all(&pattern(8 << 20, 0)).await?;
            sleep(RTT * 2).await;
            let mut answer = Vec::new();
            let end = match stream.into_inner() {
                Ok(mut inner) => within("an end", inner.read_to_end(&mut answer)).await,
                Err(mut stream) => {
                    heard_by_the_race += 1;
                    within("an end", stream.read_to_end(&mut answer)).await
                }
            };
            let end = end.map_err(|error| error.kind());
            assert_eq!(end, Err(io::ErrorKind::ConnectionReset));
            assert_eq!(answer, b"too large");
            Ok(())
        })?;
    }
    ensure!(heard_by_the_race > 0, "the race never heard of it");
    Ok(())
}

fn r11_half_close_is_raced_and_the_big_answer_read() -> Outcome {
    let lab = common::lab(RTT / 5)?;
    fetch_cookie(&lab, Family::V4)?;
    const BIG: usize = 8 << 20;
    let handler = |mut admitted: Admitted| async move {
        let mut question = Vec::new();
        admitted.stream.read_to_end(&mut question).await?;
        assert_eq!(question.len(), 600);
        admitted.stream.write_all(&pattern(BIG, 4)).await?;
        admitted.stream.shutdown().await
    };
    let framing = Framing::token();
    let server = Server::start(
        &lab,
        lab.server(),
        Family::V4,
        framing,
        // One that pairs answers both at once: then either wins.
        |gate| gate.pairing(false),
        handler,
    )?;
    let mut fast_open_won = false;
    for rule in [Rule::Transparent, Rule::DropSynWithData, Rule::StripOption] {
        lab.set_rule(rule);
        let report = on_client(&lab, async || {
            let mut stream = token_dialer()?.build()?.dial(server.address).await?;
            stream.write_all(&pattern(600, 0)).await?;
            within("a shutdown", stream.shutdown()).await?;
            let mut answer = Vec::new();
            within("the answer", stream.read_to_end(&mut answer)).await?;
            assert!(answer == pattern(BIG, 4), "{} bytes", answer.len());
            Ok(stream.report())
        })
        .map_err(|error| format!("{rule}: {error}"))?;
        ensure!(report.raced(), "{report:?}");
        let won = attempt(&report, AttemptKind::FastOpen)?.outcome == Out::Won;
        fast_open_won |= won && rule == Rule::Transparent;
    }
    ensure!(fast_open_won, "a half-closed Fast Open never won");
    Ok(())
}

fn r3_a_server_that_speaks_first_is_heard() -> Outcome {
    let lab = common::lab(RTT / 5)?;
    fetch_cookie(&lab, Family::V4)?;
    let bare = Bare::start(&lab, Family::V4, Manner::Greet(b"hello"))?;
    for statement in [asserted as Statement, unstated, tls] {
        let report = on_client(&lab, async || {
            let mut stream = statement()?.build()?.dial(bare.address).await?;
            let mut greeting = [0; 5];
            within("a greeting", stream.read_exact(&mut greeting)).await?;
            assert_eq!(&greeting, b"hello");
            Ok(stream.report())
        })?;
        let fast_open = attempt(&report, AttemptKind::FastOpen)?.outcome;
        ensure!(
            matches!(fast_open, Out::Out(Exit::NotStarted(why)) if matches!(why,
                NotStarted::NoFlight | NotStarted::NotReplaySafe | NotStarted::PlainOpen)),
            "{report:?}"
        );
    }
    Ok(())
}

fn into_inner_gives_the_stream_only_when_all_is_out() -> Outcome {
    let lab = common::lab(RTT / 5)?;
    fetch_cookie(&lab, Family::V4)?;
    let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
    on_client(&lab, async || {
        let dialer = token_dialer()?.build()?;
        let back = |stream: RaceStream| stream.into_inner().err().ok_or("too early");
        let stream = dialer.dial(server.address).await?;
        let mut stream = back(stream).map_err(io::Error::other)?;
        let bytes = pattern(60_000, 0);
        stream.first_flight(&bytes[..500])?;
        let mut stream = back(stream).map_err(io::Error::other)?;
        stream.write_all(&bytes[500..]).await?;
        let mut stream = back(stream).map_err(io::Error::other)?;
        assert!(stream.get_ref().is_none());
        // Held bytes go out as soon as a connection is chosen.
        let began = Instant::now();
        let mut inner = loop {
            stream = match stream.into_inner() {
                Ok(inner) => break inner,
                Err(stream) => stream,
            };
            assert!(began.elapsed() < PATIENCE, "never given");
            sleep(Duration::from_millis(2)).await;
        };
        let mut echo = vec![0; bytes.len()];
        within("an echo", inner.read_exact(&mut echo)).await?;
        assert!(echo == bytes);
        Ok(())
    })?;
    Ok(())
}

fn first_flight_is_stated_once() -> Outcome {
    let lab = common::lab(RTT / 5)?;
    let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
    on_client(&lab, async || {
        let dialer = token_dialer()?.build()?;
        let mut stream = dialer.dial(server.address).await?;
        let refused =
            |result: io::Result<()>| result.is_err_and(|e| e.kind() == io::ErrorKind::InvalidInput);
        assert!(refused(stream.first_flight(&vec![0; 20_000])));
        stream.first_flight(b"first")?;
        assert!(refused(stream.first_flight(b"second")));
        stream.write_all(b", then more").await?;
        let mut echo = [0; 16];
        within("an echo", stream.read_exact(&mut echo)).await?;
        assert_eq!(&echo, b"first, then more");
        assert_eq!(stream.report().flight, Some(24 + 5));
        assert!(refused(stream.first_flight(b"third")));
        let mut unstated = unstated()?.build()?.dial(server.address).await?;
        assert!(refused(unstated.first_flight(b"first")));
        Ok(())
    })?;
    Ok(())
}
