//! What pairs may take (P3), and that nobody else is held up by them.

use std::time::Duration;

use headstart::Framing;
use headstart_lab::Rule;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::common::{Outcome, ensure, on_client, pattern};
use crate::copies::{
    Manner, Wire, admit, counts, fast_open, hear, is_reset, lab, on_loopback, plain, server, token,
};
use crate::harness::tests;
use crate::story::bytes_of;

tests![
    p3_beyond_the_number_of_pairs_copies_are_reset,
    p3_a_place_is_free_again_when_its_pair_is_settled,
    p3_beyond_the_bytes_of_pairs_the_connection_that_is_there_must_do,
    p3_a_log_that_is_full_waits_for_a_proof,
    p3_what_the_log_has_forgotten_cannot_be_joined,
    clients_that_say_nothing_sensible_are_closed_while_pairs_go_on,
];

fn p3_beyond_the_number_of_pairs_copies_are_reset() -> Outcome {
    on_loopback(
        Framing::token(),
        |gate| gate.pairs_max(2),
        async |gate| {
            let mut open = Vec::new();
            for number in 1..=3 {
                let message = token(number, false, b"hello");
                let first = fast_open(gate.local_addr(), &message)?;
                open.push((message, first, admit(&gate).await?));
            }
            assert_eq!((gate.counters().pairs, gate.counters().unpaired), (2, 1));
            for (index, (message, first, admitted)) in open.iter_mut().enumerate() {
                let mut copy = plain(gate.local_addr(), message).await?;
                let joins = index < 2;
                if !joins {
                    assert!(is_reset(&mut copy).await, "joined beyond the bound");
                }
                admitted.stream.write_all(b"answer").await?;
                hear(first, b"answer").await?;
                if joins {
                    hear(&mut copy, b"answer").await?;
                }
            }
            let counters = gate.counters();
            assert_eq!((counters.joined, counters.duplicates), (2, 1));
            Ok(())
        },
    )?;
    Ok(())
}

fn p3_a_place_is_free_again_when_its_pair_is_settled() -> Outcome {
    on_loopback(
        Framing::token(),
        |gate| gate.pairs_max(1),
        async |gate| {
            for number in 0..50 {
                let message = token(number, true, b"hello");
                let mut first = fast_open(gate.local_addr(), &message)?;
                let mut copy = plain(gate.local_addr(), &message).await?;
                let mut admitted = admit(&gate).await?;
                admitted.stream.write_all(b"answer").await?;
                hear(&mut copy, b"answer").await?;
                hear(&mut first, b"answer").await?;
                headstart_socket::close_abortively(first)?;
                copy.write_all(b"x").await?;
                admitted.stream.read_exact(&mut [0; 5]).await?;
                let settled = |c: &headstart::GateCounters| c.won_by_plain == number + 1;
                counts(&gate, settled).await?;
            }
            let counters = gate.counters();
            assert_eq!((counters.pairs, counters.unpaired), (50, 0));
            Ok(())
        },
    )?;
    Ok(())
}

fn p3_beyond_the_bytes_of_pairs_the_connection_that_is_there_must_do() -> Outcome {
    let answer = bytes_of(1, 400_000);
    on_loopback(
        Framing::token(),
        |gate| gate.pair_bytes_max(5_000),
        async |gate| {
            let message = token(1, false, &pattern(1_000, 0));
            let mut first = fast_open(gate.local_addr(), &message)?;
            let mut admitted = admit(&gate).await?;
            let answering = tokio::spawn(async move {
                admitted.stream.write_all(answer).await?;
                admitted.stream.shutdown().await
            });
            hear(&mut first, answer).await?;
            answering.await??;
            let counters = gate.counters();
            assert_eq!((counters.pairs, counters.cut_short), (1, 1), "{counters:?}");
            let mut copy = plain(gate.local_addr(), &message).await?;
            assert!(is_reset(&mut copy).await, "joined after it was decided");
            // All bytes are given back: there is room for this one, not for two.
            let messages = [2, 3, 4, 5, 6].map(|n| token(n, false, &pattern(1_000, 0)));
            let mut open = Vec::new();
            for message in &messages {
                open.push(fast_open(gate.local_addr(), message)?);
                open.push(plain(gate.local_addr(), message).await?);
                admit(&gate).await?.stream.write_all(b"!").await?;
                hear(open.last_mut().expect("a copy"), b"!").await.ok();
            }
            let counters = gate.counters();
            assert_eq!(counters.first, 6);
            assert!(
                counters.unpaired >= 1 && counters.pairs >= 4,
                "{counters:?}"
            );
            Ok(())
        },
    )?;
    Ok(())
}

fn p3_a_log_that_is_full_waits_for_a_proof() -> Outcome {
    const LOG: usize = 10_000;
    let answer = bytes_of(2, 500_000);
    let lab = lab(
        Duration::from_millis(20),
        Rule::DropServerDataAfterHandshake,
    )?;
    let manner = Manner {
        answer,
        after_end: false,
        drops: false,
    };
    let (server, _ear) = server(&lab, Wire::Noise, manner, |gate| gate.pair_log_max(LOG))?;
    on_client(&lab, async || {
        let message = Wire::Noise.message(1);
        let _dead = fast_open(server.address, &message)?;
        sleep(Duration::from_millis(300)).await;
        let mut copy = plain(server.address, &message).await?;
        hear(&mut copy, answer).await
    })?;
    let counters = server.stop()?;
    // Once it was proven, the rest went past the log.
    ensure!(
        counters.joined == 1 && counters.bytes_copied <= 2 * LOG as u64 + 200_000,
        "{counters:?}"
    );
    Ok(())
}

fn p3_what_the_log_has_forgotten_cannot_be_joined() -> Outcome {
    on_loopback(
        Framing::token(),
        |gate| gate.pair_log_max(1_000),
        async |gate| {
            let message = token(1, false, b"hello");
            let answer = bytes_of(3, 300_000);
            let mut first = fast_open(gate.local_addr(), &message)?;
            let mut admitted = admit(&gate).await?;
            let answering =
                tokio::spawn(
                    async move { admitted.stream.write_all(answer).await.map(|()| admitted) },
                );
            hear(&mut first, &answer[..200_000]).await?;
            let mut copy = plain(gate.local_addr(), &message).await?;
            assert!(is_reset(&mut copy).await, "the middle of an answer");
            hear(&mut first, &answer[200_000..]).await?;
            let _admitted = answering.await??;
            assert_eq!(gate.counters().duplicates, 1);
            Ok(())
        },
    )?;
    Ok(())
}

fn clients_that_say_nothing_sensible_are_closed_while_pairs_go_on() -> Outcome {
    const PATIENT: Duration = Duration::from_millis(400);
    on_loopback(
        Framing::tls_client_hello(),
        |gate| gate.message_timeout(PATIENT).message_max(2_000),
        async |gate| {
            let address = gate.local_addr();
            let too_long = [&[22, 3, 1, 64, 0, 1, 0, 63, 252][..], &pattern(3_000, 1)].concat();
            let bad: [&[u8]; 3] = [b"GET / HTTP/1.1", &[22, 3, 1, 0, 0], &too_long];
            let mut pairs = Vec::new();
            let mut silent = Vec::new();
            for round in 0..10 {
                let message = Wire::Tls.message(round);
                let first = fast_open(address, &message)?;
                for bytes in bad {
                    let mut stream = plain(address, bytes).await?;
                    assert!(is_reset(&mut stream).await, "{:?}", &bytes[..5]);
                }
                silent.push(TcpStream::connect(address).await?);
                silent.push(plain(address, &message[..100]).await?);
                let second = plain(address, &message).await?;
                pairs.push((admit(&gate).await?, first, second));
            }
            // The pairs sit idle until all others are gone.
            counts(&gate, |counters| counters.timeouts == 20).await?;
            for stream in &mut silent {
                assert!(is_reset(stream).await);
            }
            for (admitted, first, second) in &mut pairs {
                admitted.stream.write_all(b"answer").await?;
                hear(first, b"answer").await?;
                hear(second, b"answer").await?;
                second.write_all(b"on").await?;
                let mut rest = [0; 304 + 2];
                timeout(PATIENT * 5, admitted.stream.read_exact(&mut rest)).await??;
                assert_eq!(&rest[304..], b"on");
            }
            let counters = gate.counters();
            assert_eq!(
                (counters.malformed, counters.first, counters.joined),
                (30, 10, 10)
            );
            Ok(())
        },
    )?;
    Ok(())
}
