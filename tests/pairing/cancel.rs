//! Cancel safety: futures of a paired stream that are dropped at every await
//! take nothing with them.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use headstart::Framing;
use headstart::tokio::{Admitted, Dialer};
use headstart_lab::{Family, Rule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::common::{self, Outcome, Server, ensure, on_client};
use crate::copies::{PATIENCE, admit, end_of, fast_open, hear, lab, on_loopback, plain, token};
use crate::harness::tests;
use crate::story::{bytes_of, expect};

tests![
    reads_and_writes_dropped_at_every_await_lose_nothing,
    a_dropped_shutdown_shuts_down,
    a_dropped_close_closes,
    a_dropped_accept_loses_no_pair,
];

const RTT: Duration = Duration::from_millis(20);
const ANSWER: usize = 1_000_000;
const UPLOAD: usize = 300_000;

/// Makes a future, polls it, and drops it when it is not ready: again and
/// again, until one is ready. Every third is dropped only after some time.
macro_rules! hesitantly {
    ($make:expr) => {{
        let mut round = 0_u32;
        loop {
            round += 1;
            let polled = {
                let mut future = pin!($make);
                if round % 3 == 0 {
                    timeout(Duration::from_millis(3), future)
                        .await
                        .map_or(Poll::Pending, Poll::Ready)
                } else {
                    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
                }
            };
            match polled {
                Poll::Ready(done) => break done,
                Poll::Pending => sleep(Duration::from_millis(u64::from(round % 2))).await,
            }
        }
    }};
}

/// The application: a long answer, an upload heard to its end, and a last word.
async fn serve(admitted: Admitted) -> io::Result<()> {
    let mut stream = admitted.stream;
    let answer = bytes_of(1, ANSWER);
    let mut sent = 0;
    while sent < ANSWER {
        let part = &answer[sent..(sent + 30_000).min(ANSWER)];
        sent += hesitantly!(stream.write(part))?;
        hesitantly!(stream.flush())?;
    }
    let mut heard = Vec::new();
    let mut buf = [0; 10_000];
    loop {
        match hesitantly!(stream.read(&mut buf))? {
            0 => break,
            got => heard.extend_from_slice(&buf[..got]),
        }
    }
    if heard[600..] != *bytes_of(2, UPLOAD) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    hesitantly!(stream.write(b"all"))?;
    hesitantly!(stream.shutdown())
}

fn reads_and_writes_dropped_at_every_await_lose_nothing() -> Outcome {
    for rule in [
        Rule::Transparent,
        Rule::DropSynAck,
        Rule::DropServerDataAfterHandshake,
        Rule::LoseFirstServerData,
    ] {
        let lab = lab(RTT, rule)?;
        let framing = Framing::token();
        let server = Server::start(
            &lab,
            lab.server(),
            Family::V4,
            framing,
            |gate| gate.pair_log_max(20_000),
            serve,
        )?;
        on_client(&lab, async || {
            for _ in 0..3 {
                let dialer: Dialer = common::token_dialer()?.build()?;
                let mut stream = dialer.dial(server.address).await?;
                stream.first_flight(bytes_of(7, 600))?;
                let talk = async {
                    let mut answer = vec![0; ANSWER];
                    stream.read_exact(&mut answer).await?;
                    assert!(answer == bytes_of(1, ANSWER), "{rule}: another answer");
                    stream.write_all(bytes_of(2, UPLOAD)).await?;
                    stream.shutdown().await?;
                    expect(&mut stream, b"all").await
                };
                timeout(PATIENCE * 2, talk).await??;
            }
            Ok(())
        })
        .map_err(|error| format!("{rule}: {error}"))?;
        ensure!(server.handled() == 3, "{rule}: handled more than once");
    }
    Ok(())
}

fn a_dropped_shutdown_shuts_down() -> Outcome {
    on_loopback(
        Framing::token(),
        |gate| gate,
        async |gate| {
            let message = token(1, false, b"hello");
            let mut first = fast_open(gate.local_addr(), &message)?;
            let mut admitted = admit(&gate).await?;
            admitted.stream.write_all(b"answer").await?;
            {
                let mut shutdown = pin!(admitted.stream.shutdown());
                let _once = poll_fn(|cx| Poll::Ready(shutdown.as_mut().poll(cx).is_ready())).await;
            }
            let mut second = plain(gate.local_addr(), &message).await?;
            for stream in [&mut first, &mut second] {
                hear(stream, b"answer").await?;
                end_of(stream).await?;
            }
            assert!(admitted.stream.write(b"more").await.is_err());
            Ok(())
        },
    )?;
    Ok(())
}

fn a_dropped_close_closes() -> Outcome {
    on_loopback(
        Framing::token(),
        |gate| gate.pair_window(Duration::from_millis(200)),
        async |gate| {
            let message = token(1, false, b"hello");
            let mut first = fast_open(gate.local_addr(), &message)?;
            let mut admitted = admit(&gate).await?;
            assert!(
                timeout(Duration::ZERO, gate.close()).await.is_err(),
                "at once"
            );
            sleep(Duration::from_millis(20)).await;
            assert!(plain(gate.local_addr(), &message).await.is_err(), "listens");
            admitted.stream.write_all(b"answer").await?;
            hear(&mut first, b"answer").await?;
            timeout(PATIENCE, gate.close()).await?;
            Ok(())
        },
    )?;
    Ok(())
}

fn a_dropped_accept_loses_no_pair() -> Outcome {
    const PAIRS: u64 = 100;
    on_loopback(
        Framing::token(),
        |gate| gate,
        async |gate| {
            let mut clients = Vec::new();
            let mut admitted = Vec::new();
            for number in 0..PAIRS {
                let message = token(number, true, b"hello");
                clients.push(fast_open(gate.local_addr(), &message)?);
                clients.push(plain(gate.local_addr(), &message).await?);
                let accepted = async { hesitantly!(gate.accept()) };
                admitted.push(timeout(PATIENCE, accepted).await??);
            }
            for admitted in &mut admitted {
                admitted.stream.write_all(b"answer").await?;
            }
            for client in &mut clients {
                hear(client, b"answer").await?;
            }
            assert_eq!(
                (gate.counters().first, gate.counters().joined),
                (PAIRS, PAIRS)
            );
            Ok(())
        },
    )?;
    Ok(())
}
