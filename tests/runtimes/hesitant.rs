//! Cancel safety: every future, dropped at every await, takes nothing with it.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use headstart::Framing;
use headstart_io::Admitted;
use headstart_lab::Rule;

use crate::common::conn::{Conn, Race};
use crate::common::runtimes::{Here, Rt};
use crate::common::{Outcome, PATIENCE, ensure, pattern};
use crate::harness::tests_of;
use crate::streams::{client, counts, lab, server};

tests_of![X:
    clients_that_drop_every_future_lose_nothing,
    dropped_accepts_lose_nobody,
    a_dropped_dial_leaves_nothing,
];

const ANSWER: usize = 400_000;
const UPLOAD: usize = 200_000;

/// Makes a future, polls it, and drops it when it is not ready: again and
/// again, until one is ready. Every third is dropped only after some time.
macro_rules! hesitantly {
    ($runtime:ident, $make:expr) => {{
        let mut round = 0_u32;
        loop {
            round += 1;
            let polled = {
                let mut future = pin!($make);
                if round % 3 == 0 {
                    let later = async {
                        $runtime::sleep(Duration::from_millis(2)).await;
                        Poll::Pending
                    };
                    smol::future::or(async { Poll::Ready(future.await) }, later).await
                } else {
                    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
                }
            };
            match polled {
                Poll::Ready(done) => break done,
                Poll::Pending => $runtime::sleep(Duration::from_millis(u64::from(round % 2))).await,
            }
        }
    }};
}

/// Reads this many bytes, hesitating.
async fn hear<X: Rt>(stream: &mut impl Conn, length: usize) -> io::Result<Vec<u8>> {
    let mut heard = Vec::new();
    let mut buf = vec![0; 10_000];
    while heard.len() < length {
        match hesitantly!(X, stream.read(&mut buf))? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            got => heard.extend_from_slice(&buf[..got]),
        }
    }
    Ok(heard)
}

/// Writes all, hesitating.
async fn say<X: Rt>(stream: &mut impl Conn, bytes: &[u8]) -> io::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        let part = &bytes[sent..(sent + 30_000).min(bytes.len())];
        sent += hesitantly!(X, stream.write(part))?;
    }
    hesitantly!(X, stream.flush())
}

/// The application: a long answer to the flight, an upload, and a last word.
async fn serve<X: Rt>(mut admitted: Admitted<X::Runtime>) -> io::Result<()> {
    let stream = &mut admitted.stream;
    let flight = hear::<X>(stream, 600).await?;
    say::<X>(stream, &pattern(ANSWER, 1)).await?;
    let upload = hear::<X>(stream, UPLOAD + 600 - flight.len()).await?;
    let heard = [flight, upload].concat();
    if heard[600..] != pattern(UPLOAD, 2) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    say::<X>(stream, b"all").await?;
    hesitantly!(X, stream.close())
}

fn clients_that_drop_every_future_lose_nothing<X: Rt>() -> Outcome {
    for rule in [
        Rule::Transparent,
        Rule::DropSynWithData,
        Rule::DropSynAck,
        Rule::StripOption,
    ] {
        let lab = lab(rule)?;
        let server = server::<X, _>(&lab, true, serve::<X>)?;
        client::<X, _>(&lab, async |here: Here<X>| {
            let dialer = here.token_dialer().build()?;
            let mut stream = dialer.dial(server.address).await?;
            stream.first_flight(&pattern(600, 0))?;
            let talk = async {
                let answer = hear::<X>(&mut stream, ANSWER).await?;
                assert!(answer == pattern(ANSWER, 1), "another answer");
                say::<X>(&mut stream, &pattern(UPLOAD, 2)).await?;
                hesitantly!(X, stream.close())?;
                let word = hear::<X>(&mut stream, 3).await?;
                assert_eq!(word, b"all");
                let mut nothing = [0];
                let end = hesitantly!(X, stream.read(&mut nothing))?;
                assert_eq!(end, 0);
                Ok(())
            };
            let done: Option<io::Result<()>> = here.until(PATIENCE * 2, talk).await;
            done.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))?;
            assert!(counts(&stream.report()));
            drop(stream);
            here.within("settling", async {
                hesitantly!(X, dialer.settled());
                Ok(())
            })
            .await
        })
        .map_err(|error| format!("{rule}: {error}"))?;
        ensure!(server.handled() == 1, "{rule}: handled more than once");
    }
    Ok(())
}

fn dropped_accepts_lose_nobody<X: Rt>() -> Outcome {
    const CLIENTS: usize = 60;
    X::block_on(async |here| {
        let gate = here
            .gate(Framing::token())
            .bind(([127, 0, 0, 1], 0).into())?;
        let dialer = here.token_dialer().build()?;
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let mut stream = dialer.dial(gate.local_addr()).await?;
            stream.write_all(&pattern(600, number as u8)).await?;
            stream.flush().await?;
            clients.push(stream);
        }
        for _ in 0..CLIENTS {
            let accepted = async { hesitantly!(X, gate.accept()) };
            let mut admitted = here.within("an admission", accepted).await?;
            let message = hear::<X>(&mut admitted.stream, 600).await?;
            say::<X>(&mut admitted.stream, &message).await?;
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let answer = here.within("an answer", hear::<X>(client, 600)).await?;
            assert!(answer == pattern(600, number as u8), "client {number}");
        }
        let close = async {
            hesitantly!(X, gate.close());
            Ok(())
        };
        drop(clients);
        here.within("closing", close).await?;
        assert_eq!(gate.counters().first, CLIENTS as u64);
        Ok(())
    })?;
    Ok(())
}

fn a_dropped_dial_leaves_nothing<X: Rt>() -> Outcome {
    const DIALS: usize = 200;
    X::block_on(async |here| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let dialer = here.dialer().build()?;
        let mut dialled = 0;
        for _ in 0..DIALS {
            // It waits for the name, which may be there at once.
            let mut dial = pin!(dialer.dial(("localhost", port)));
            dialled +=
                usize::from(poll_fn(|cx| Poll::Ready(dial.as_mut().poll(cx).is_ready())).await);
        }
        assert!(dialled < DIALS, "none waited");
        X::sleep(Duration::from_millis(100)).await;
        assert_eq!(dialer.unsettled(), 0);
        let came = std::iter::from_fn(|| listener.accept().ok()).count();
        assert!(came <= dialled, "{came} connections of {dialled} dials");
        Ok(())
    })?;
    Ok(())
}
