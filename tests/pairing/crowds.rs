//! Crowds, and descriptors: none leaks, running out of them is survived, and
//! pairs that are stuck keep nobody out. Each test has a process of its own.

use std::io;
use std::time::{Duration, Instant};

use headstart::Framing;
use headstart_lab::{Family, Rule};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::common::{self, Outcome, Server, ensure, exchange, on_client, pattern, token_dialer};
use crate::copies::{
    Manner, Wire, admit, counts, end_of, fast_open, hear, lab, on_loopback, plain, server, token,
};
use crate::descriptors::{back_to, descriptors, leave, unlimited};
use crate::harness::{fetch_cookie, tests, within};
use crate::story::bytes_of;

tests![
    no_descriptor_leaks_from_races,
    no_descriptor_leaks_beyond_the_window,
    running_out_of_descriptors_leaves_pairs_alone,
    stuck_pairs_and_silent_clients_keep_nobody_out,
];

fn no_descriptor_leaks_from_races() -> Outcome {
    const RACES: usize = 300;
    let lab = common::lab(Duration::from_millis(1))?;
    fetch_cookie(&lab, Family::V6)?;
    let server = Server::echo(&lab, lab.server(), Family::V6, Framing::token())?;
    let before = descriptors()?;
    on_client(&lab, async || {
        let dialer = token_dialer()?.build()?;
        for _ in 0..RACES {
            let mut stream = dialer.dial(server.address).await?;
            within("an exchange", exchange(&mut stream, &pattern(600, 0))).await?;
        }
        dialer.settled().await;
        Ok(())
    })?;
    ensure!(server.handled() == RACES, "handled more than once");
    back_to(before)
}

/// Clients that never come back, applications that go at once or stay.
fn no_descriptor_leaks_beyond_the_window() -> Outcome {
    const COPIES: u64 = 200;
    unlimited()?;
    for drops in [true, false] {
        let manner = Manner {
            // Its kernel takes it whole; else the gate waits a minute for room.
            answer: bytes_of(1, 10_000),
            after_end: false,
            drops,
        };
        let lab = lab(Duration::from_millis(5), Rule::BlackholeAfterHandshake)?;
        let window = Duration::from_millis(700);
        let (server, _) = server(&lab, Wire::Token, manner, move |gate| {
            gate.pair_window(window)
        })?;
        let before = descriptors()?;
        on_client(&lab, async || {
            let mut dead = Vec::new();
            for number in 0..COPIES {
                dead.push(fast_open(server.address, &token(number, true, b"hello"))?);
                if number % 4 == 0 {
                    let mut joined = plain(server.address, &token(number, true, b"hello")).await?;
                    hear(&mut joined, manner.answer).await?;
                    joined.shutdown().await?;
                    end_of(&mut joined).await?;
                }
            }
            sleep(window + Duration::from_secs(2)).await;
            // Only the client's: an application that stays has its connection.
            let held = if drops { COPIES } else { 2 * COPIES };
            let now = descriptors()? as u64;
            assert!(
                now <= before as u64 + held + 10,
                "{now} after {before}, drops {drops}"
            );
            Ok(())
        })?;
        let counters = server.stop()?;
        ensure!(counters.pairs == COPIES, "{counters:?}");
    }
    Ok(())
}

fn running_out_of_descriptors_leaves_pairs_alone() -> Outcome {
    on_loopback(
        Framing::token(),
        |gate| gate,
        async |gate| {
            let address = gate.local_addr();
            let message = |number| token(number, true, b"hello");
            let mut pairs = Vec::new();
            for number in 0..5 {
                let first = fast_open(address, &message(number))?;
                let mut admitted = admit(&gate).await?;
                admitted.stream.write_all(b"answer").await?;
                pairs.push((first, admitted));
            }
            // The kernel takes the copies; the gate cannot.
            let mut copies = Vec::new();
            for number in 0..5 {
                copies.push(std::net::TcpStream::connect(address)?);
                io::Write::write_all(&mut copies[number as usize], &message(number))?;
            }
            leave(0)?;
            sleep(Duration::from_millis(300)).await;
            let starved = gate.counters();
            assert!(
                starved.accept_errors > 0 && starved.joined == 0,
                "{starved:?}"
            );
            for (first, _) in &mut pairs {
                hear(first, b"answer").await?;
            }
            unlimited()?;
            counts(&gate, |counters| counters.joined == 5).await?;
            for ((first, admitted), copy) in pairs.into_iter().zip(copies) {
                copy.set_nonblocking(true)?;
                let mut copy = TcpStream::from_std(copy)?;
                hear(&mut copy, b"answer").await?;
                headstart_socket::close_abortively(first)?;
                copy.write_all(b"on").await?;
                let mut stream = admitted.stream;
                tokio::io::AsyncReadExt::read_exact(&mut stream, &mut [0; 6]).await?;
            }
            Ok(())
        },
    )?;
    Ok(())
}

fn stuck_pairs_and_silent_clients_keep_nobody_out() -> Outcome {
    const STUCK: u64 = 1_000;
    unlimited()?;
    let lab = lab(
        Duration::from_millis(10),
        Rule::DropServerDataAfterHandshake,
    )?;
    let manner = Manner {
        answer: bytes_of(3, 200_000),
        after_end: false,
        drops: false,
    };
    let (server, ear) = server(&lab, Wire::Token, manner, |gate| gate)?;
    let address = server.address;
    let mut times = on_client(&lab, async || {
        let (mut stuck, mut silent, mut times) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..STUCK {
            stuck.push(fast_open(address, &token(number, true, b"stuck"))?);
            silent.push(TcpStream::connect(address).await?);
            if number % 100 == 99 {
                // Another client, and a copy that frees a stuck one.
                let began = Instant::now();
                let other = token(STUCK + number, true, b"other");
                hear(&mut plain(address, &other).await?, manner.answer).await?;
                times.push(began.elapsed());
                let copy = token(number, true, b"stuck");
                hear(&mut plain(address, &copy).await?, manner.answer).await?;
            }
        }
        Ok(times)
    })?;
    let admitted = crate::harness::lock(&ear).len() as u64;
    let counters = server.stop()?;
    ensure!(admitted == STUCK + STUCK / 100, "{admitted}: {counters:?}");
    // All together keep no more than they may.
    ensure!(
        counters.pairs == STUCK && counters.joined == STUCK / 100,
        "{counters:?}"
    );
    // A busy machine makes any of them late, not half.
    times.sort();
    let median = times[times.len() / 2];
    ensure!(median < Duration::from_secs(1), "{times:?}");
    Ok(())
}
