//! Ends: of the gate, of the application's stream, of the runtime.

use std::io;
use std::time::{Duration, Instant};

use headstart::Framing;
use headstart_lab::Rule;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::common::{self, Outcome, ensure, on_client};
use crate::copies::{
    Manner, PATIENCE, Wire, admit, end_of, fast_open, hear, is_reset, lab, on_loopback, plain,
    server, token,
};
use crate::harness::tests;
use crate::story::bytes_of;

tests![
    a_closed_gate_finishes_its_pairs,
    a_dropped_gate_finishes_its_pairs,
    a_runtime_that_goes_ends_the_pairs,
    an_upload_that_was_cut_off_does_not_look_whole,
    an_application_that_goes_delivers_what_it_wrote,
    an_application_that_goes_unheard_keeps_nobody,
    dead_members_do_not_stay_behind,
];

fn a_closed_gate_finishes_its_pairs() -> Outcome {
    let answer = bytes_of(4, 200_000);
    on_loopback(
        Framing::token(),
        |gate| gate.pair_window(Duration::from_millis(600)),
        async |gate| {
            let address = gate.local_addr();
            let message = token(1, false, b"hello");
            let mut first = fast_open(address, &message)?;
            let mut admitted = admit(&gate).await?;
            let mut second = plain(address, &message).await?;
            while gate.counters().joined == 0 {
                sleep(Duration::from_millis(1)).await;
            }
            let closing = async {
                gate.close().await;
                Instant::now()
            };
            let using = async {
                sleep(Duration::from_millis(100)).await;
                assert!(plain(address, &message).await.is_err(), "still listening");
                let answering = tokio::spawn(async move {
                    admitted.stream.write_all(answer).await?;
                    admitted.stream.shutdown().await?;
                    admitted.stream.read_to_end(&mut Vec::new()).await
                });
                tokio::try_join!(hear(&mut first, answer), hear(&mut second, answer))?;
                let answered = Instant::now();
                drop(first);
                second.shutdown().await?;
                end_of(&mut second).await?;
                answering.await??;
                io::Result::Ok(answered)
            };
            let (closed, answered) =
                timeout(PATIENCE, async { tokio::join!(closing, using) }).await?;
            assert!(closed >= answered?, "closed before the pair was done");
            Ok(())
        },
    )?;
    Ok(())
}

fn a_dropped_gate_finishes_its_pairs() -> Outcome {
    let answer = bytes_of(4, 200_000);
    on_loopback(
        Framing::token(),
        |gate| gate,
        async |gate| {
            let address = gate.local_addr();
            let message = token(1, true, b"hello");
            let mut first = fast_open(address, &message)?;
            let mut admitted = admit(&gate).await?;
            let mut second = plain(address, &message).await?;
            while gate.counters().joined == 0 {
                sleep(Duration::from_millis(1)).await;
            }
            drop(gate);
            sleep(Duration::from_millis(50)).await;
            let answering = tokio::spawn(async move { admitted.stream.write_all(answer).await });
            tokio::try_join!(hear(&mut first, answer), hear(&mut second, answer))?;
            answering.await??;
            end_of(&mut second).await
        },
    )?;
    Ok(())
}

fn a_runtime_that_goes_ends_the_pairs() -> Outcome {
    let lab = common::lab(Duration::ZERO)?;
    lab.client().set_fast_open(0x207)?;
    lab.client().run(|| -> Outcome {
        let clients = common::runtime()?;
        let gates = common::runtime()?;
        let gate = gates.block_on(async {
            headstart::tokio::Gate::builder(Framing::token())?.bind(([127, 0, 0, 1], 0).into())
        })?;
        let message = token(1, true, b"hello");
        let (mut first, mut second) = clients.block_on(async {
            let first = fast_open(gate.local_addr(), &message)?;
            io::Result::Ok((first, plain(gate.local_addr(), &message).await?))
        })?;
        let mut admitted = gates.block_on(admit(&gate))?;
        gates.block_on(async {
            while gate.counters().joined == 0 {
                sleep(Duration::from_millis(1)).await;
            }
        });
        drop(gates);
        clients.block_on(async {
            let read = timeout(PATIENCE, admitted.stream.read_to_end(&mut Vec::new())).await?;
            let error = read.err().ok_or("an end of file")?;
            ensure!(error.kind() == io::ErrorKind::NotConnected, "{error:?}");
            ensure!(
                admitted.stream.write_all(b"to nobody").await.is_err(),
                "a write to nobody"
            );
            ensure!(gate.accept().await.is_err(), "an accept of nobody");
            // Their sockets are closed, in whatever way.
            for stream in [&mut first, &mut second] {
                let end = end_of(stream).await;
                let open = end.is_err_and(|error| error.kind() == io::ErrorKind::TimedOut);
                ensure!(!open, "a connection that nobody has");
            }
            Ok(())
        })
    })?
}

/// A client that the server hears sends a part of its upload, and resets: the
/// error comes behind what was sent, as on a plain connection, whoever heard of
/// it first.
fn an_upload_that_was_cut_off_does_not_look_whole() -> Outcome {
    let upload = bytes_of(3, 5_000);
    for late in [Duration::ZERO, Duration::from_millis(60)] {
        for (number, by_fast_open) in [(1, true), (2, false)] {
            let case = format!("Fast Open {by_fast_open}, read after {late:?}");
            on_loopback(
                Framing::token(),
                |gate| gate,
                async |gate| {
                    let address = gate.local_addr();
                    let message = token(number, true, b"hello");
                    let mut client = match by_fast_open {
                        true => fast_open(address, &message)?,
                        false => plain(address, &message).await?,
                    };
                    let mut admitted = admit(&gate).await?;
                    admitted.stream.read_exact(&mut [0; 4]).await?;
                    admitted.stream.write_all(b"go on").await?;
                    hear(&mut client, b"go on").await?;
                    client.write_all(upload).await?;
                    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
                    drop(client);
                    // Meanwhile the pair asks what was acknowledged.
                    sleep(late).await;
                    let mut heard = Vec::new();
                    let read = admitted.stream.read_to_end(&mut heard);
                    let end = timeout(PATIENCE, read).await?.map_err(|error| error.kind());
                    assert_eq!(end, Err(io::ErrorKind::ConnectionReset), "{case}");
                    assert!(heard == upload, "{case}: {} bytes", heard.len());
                    Ok(())
                },
            )?;
        }
    }
    Ok(())
}

/// Whenever it goes: before the first read, halfway through, after a
/// shutdown; whoever of the two is used.
fn an_application_that_goes_delivers_what_it_wrote() -> Outcome {
    let answer = bytes_of(9, 120_000);
    for written in [0, 1, 1_000, 64 * 1024, 120_000] {
        for (joined, shut) in [(false, false), (true, false), (false, true), (true, true)] {
            let case = format!("{written} bytes, joined {joined}, shut {shut}");
            on_loopback(
                Framing::token(),
                |gate| gate,
                async |gate| {
                    let message = token(1, false, b"hello");
                    let mut first = fast_open(gate.local_addr(), &message)?;
                    let mut admitted = admit(&gate).await?;
                    let mut second = match joined {
                        true => Some(plain(gate.local_addr(), &message).await?),
                        false => None,
                    };
                    while joined && gate.counters().joined == 0 {
                        sleep(Duration::from_millis(1)).await;
                    }
                    let going = tokio::spawn(async move {
                        admitted.stream.write_all(&answer[..written]).await?;
                        if shut {
                            admitted.stream.shutdown().await?;
                        }
                        io::Result::Ok(())
                    });
                    for stream in [Some(&mut first), second.as_mut()].into_iter().flatten() {
                        hear(stream, &answer[..written]).await?;
                        end_of(stream).await?;
                    }
                    going.await?
                },
            )
            .map_err(|error| format!("{case}: {error}"))?;
        }
    }
    Ok(())
}

/// A pair whose application is gone, and whose client never is.
fn an_application_that_goes_unheard_keeps_nobody() -> Outcome {
    let manner = Manner {
        answer: bytes_of(1, 50_000),
        after_end: false,
        drops: true,
    };
    let lab = lab(Duration::from_millis(20), Rule::BlackholeAfterHandshake)?;
    let window = Duration::from_millis(500);
    let (server, _ear) = server(&lab, Wire::Token, manner, move |gate| {
        gate.pair_window(window)
    })?;
    on_client(&lab, async || {
        let message = token(1, true, b"hello");
        let _dead = fast_open(server.address, &message)?;
        sleep(Duration::from_secs(1)).await;
        let mut late = plain(server.address, &message).await?;
        assert!(is_reset(&mut late).await, "joined after the window");
        // Others are served meanwhile.
        let other = token(2, true, b"hello");
        let mut other = plain(server.address, &other).await?;
        hear(&mut other, manner.answer).await?;
        end_of(&mut other).await
    })?;
    Ok(())
}

/// What is left of members on which nothing comes back, once another has served
/// the client: their kernel would try for minutes.
fn dead_members_do_not_stay_behind() -> Outcome {
    const RACES: u64 = 6;
    let window = Duration::from_secs(1);
    for rule in [
        Rule::BlackholeAfterHandshake,
        Rule::DropServerDataAfterHandshake,
    ] {
        let manner = Manner {
            answer: bytes_of(1, 1_000),
            after_end: false,
            drops: true,
        };
        let lab = lab(Duration::from_millis(20), rule)?;
        let (server, _ear) = server(&lab, Wire::Token, manner, move |gate| {
            gate.pair_window(window)
        })?;
        on_client(&lab, async || {
            for number in 0..RACES {
                let message = token(number, true, b"hello");
                let dead = fast_open(server.address, &message)?;
                let mut used = plain(server.address, &message).await?;
                hear(&mut used, manner.answer).await?;
                drop(dead);
                end_of(&mut used).await?;
            }
            Ok(())
        })?;
        let port = server.address.port();
        let closing = || lab.server().run(move || unfinished(port))?;
        let before = closing()?;
        ensure!(before as u64 >= RACES, "{rule}: {before} are being closed");
        let began = Instant::now();
        while closing()? > 0 {
            let left = began.elapsed() < window + PATIENCE;
            ensure!(left, "{rule}: {} are still being closed", closing()?);
            std::thread::sleep(Duration::from_millis(50));
        }
        // None was reset: the client might yet have used it.
        ensure!(began.elapsed() * 2 > window, "{:?}", began.elapsed());
    }
    Ok(())
}

/// Connections of this port that are not closed yet, whoever has them.
fn unfinished(port: u16) -> io::Result<usize> {
    const LISTEN: &str = "0A";
    const TIME_WAIT: &str = "06";
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp")?;
    let local = format!(":{port:04X}");
    let unfinished = |line: &&str| {
        let mut words = line.split_whitespace().skip(1);
        let here = words
            .next()
            .is_some_and(|address| address.ends_with(&local));
        here && !matches!(words.nth(1), Some(LISTEN | TIME_WAIT))
    };
    Ok(table.lines().filter(unfinished).count())
}
