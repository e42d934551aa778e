//! Copies that come late: after the answer, after the application has gone,
//! after the window, or from elsewhere.

use std::io;
use std::time::Duration;

use headstart::Framing;
use headstart_lab::Rule;
use headstart_socket::{self as socket, Kind, Options};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::common::{Outcome, ensure, on_client};
use crate::copies::{
    Manner, Wire, admit, counts, end_of, fast_open, hear, is_reset, lab, on_loopback, plain,
    server, token,
};
use crate::harness::{lock, tests};
use crate::story::bytes_of;

tests![
    a_late_copy_gets_the_answer_of_an_application_that_is_gone,
    a_late_copy_gets_what_was_written_so_far,
    after_the_window_a_copy_is_a_duplicate,
    after_the_window_a_pair_takes_no_place,
    a_copy_from_elsewhere_is_a_duplicate,
    when_every_copy_was_reset_another_goes_on,
];

const RTT: Duration = Duration::from_millis(20);

fn a_late_copy_gets_the_answer_of_an_application_that_is_gone() -> Outcome {
    let answer = bytes_of(5, 50_000);
    let manner = Manner {
        answer,
        after_end: false,
        drops: true,
    };
    for rule in [Rule::DropSynAck, Rule::DropServerDataAfterHandshake] {
        let lab = lab(RTT, rule)?;
        let (server, ear) = server(&lab, Wire::Tls, manner, |gate| gate)?;
        let address = server.address;
        on_client(&lab, async || {
            let late = async |number, after| {
                let message = Wire::Tls.message(number);
                let _dead = fast_open(address, &message)?;
                sleep(after).await;
                let mut copy = plain(address, &message).await?;
                hear(&mut copy, answer).await?;
                end_of(&mut copy).await
            };
            let (one, five) = tokio::join!(
                late(1, Duration::from_secs(1)),
                late(5, Duration::from_secs(5))
            );
            one.and(five)
        })
        .map_err(|error| format!("{rule}: {error}"))?;
        ensure!(lock(&ear).len() == 2, "{rule}: {:?}", lock(&ear));
    }
    Ok(())
}

fn a_late_copy_gets_what_was_written_so_far() -> Outcome {
    let message = token(1, true, b"hello");
    let lab = lab(RTT, Rule::BlackholeAfterHandshake)?;
    let manner = Manner {
        answer: bytes_of(6, 30_000),
        after_end: false,
        drops: false,
    };
    let (server, ear) = server(&lab, Wire::Token, manner, |gate| gate)?;
    on_client(&lab, async || {
        let dead = fast_open(server.address, &message)?;
        sleep(Duration::from_millis(1200)).await;
        let mut copy = plain(server.address, &message).await?;
        hear(&mut copy, manner.answer).await?;
        socket::close_abortively(dead)?;
        copy.write_all(b"and on").await?;
        hear(&mut copy, b".").await?;
        copy.shutdown().await?;
        end_of(&mut copy).await
    })?;
    let heard = lock(&ear).clone();
    ensure!(heard.len() == 1 && heard[0].bytes == b"and on", "{heard:?}");
    Ok(())
}

fn after_the_window_a_copy_is_a_duplicate() -> Outcome {
    on_loopback(
        Framing::token(),
        |gate| gate.pair_window(Duration::from_millis(300)),
        async |gate| {
            let message = token(1, false, b"hello");
            let mut first = fast_open(gate.local_addr(), &message)?;
            let mut admitted = admit(&gate).await?;
            let mut joined = plain(gate.local_addr(), &message).await?;
            counts(&gate, |counters| counters.joined == 1).await?;
            sleep(Duration::from_millis(500)).await;
            let mut late = plain(gate.local_addr(), &message).await?;
            assert!(is_reset(&mut late).await);
            admitted.stream.write_all(b"answer").await?;
            hear(&mut first, b"answer").await?;
            hear(&mut joined, b"answer").await?;
            assert_eq!(gate.counters().duplicates, 1);
            Ok(())
        },
    )?;
    Ok(())
}

/// An application that waits keeps its connection, and no place for copies.
fn after_the_window_a_pair_takes_no_place() -> Outcome {
    on_loopback(
        Framing::token(),
        |gate| gate.pair_window(Duration::from_millis(200)).pairs_max(1),
        async |gate| {
            let mut open = Vec::new();
            for number in 1..=3 {
                let message = token(number, false, b"hello");
                let first = fast_open(gate.local_addr(), &message)?;
                open.push((first, admit(&gate).await?));
                counts(&gate, |counters| counters.won_by_fast_open == number).await?;
            }
            let counters = gate.counters();
            assert_eq!((counters.pairs, counters.unpaired), (3, 0));
            for (first, admitted) in &mut open {
                admitted.stream.write_all(b"answer").await?;
                hear(first, b"answer").await?;
            }
            Ok(())
        },
    )?;
    Ok(())
}

fn a_copy_from_elsewhere_is_a_duplicate() -> Outcome {
    on_loopback(
        Framing::token(),
        |gate| gate,
        async |gate| {
            let message = token(1, true, b"hello");
            let mut first = fast_open(gate.local_addr(), &message)?;
            let mut admitted = admit(&gate).await?;
            let elsewhere = Options::new().bind(Some(([127, 0, 0, 2], 0).into()));
            let copy = socket::connect(gate.local_addr(), Kind::Plain, &[], &elsewhere)?;
            let mut copy = TcpStream::from_std(copy.stream)?;
            copy.writable().await?;
            copy.write_all(&message).await?;
            assert!(is_reset(&mut copy).await, "joined from elsewhere");
            admitted.stream.write_all(b"answer").await?;
            hear(&mut first, b"answer").await?;
            let counters = gate.counters();
            assert_eq!((counters.joined, counters.duplicates), (0, 1));
            Ok(())
        },
    )?;
    Ok(())
}

fn when_every_copy_was_reset_another_goes_on() -> Outcome {
    on_loopback(
        Framing::token(),
        |gate| gate,
        async |gate| {
            let message = token(1, true, b"hello");
            let first = fast_open(gate.local_addr(), &message)?;
            let mut admitted = admit(&gate).await?;
            let second = plain(gate.local_addr(), &message).await?;
            counts(&gate, |counters| counters.joined == 1).await?;
            socket::close_abortively(first)?;
            socket::close_abortively(second)?;
            sleep(Duration::from_millis(50)).await;
            // Nobody is there; the application writes all the same.
            admitted.stream.write_all(b"answer").await?;
            let mut third = plain(gate.local_addr(), &message).await?;
            hear(&mut third, b"answer").await?;
            third.write_all(b"thanks").await?;
            let mut thanks = vec![0; 4 + 6];
            tokio::io::AsyncReadExt::read_exact(&mut admitted.stream, &mut thanks).await?;
            assert_eq!(thanks, b"ellothanks");
            io::Result::Ok(())
        },
    )?;
    Ok(())
}
