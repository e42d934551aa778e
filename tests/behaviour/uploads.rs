//! The copy has an end: what goes beyond the first flight is on one
//! connection, and waits for nobody (R6).

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use headstart::core::race::AttemptKind;
use headstart::tokio::{Admitted, Dialer};
use headstart::{FirstFlight, Framing, Peer};
use headstart_lab::{Family, Lab, Rule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{self, Outcome, Server, ensure, on_client, pattern, token_dialer};
use crate::support::{Bare, Manner, RTT, attempt, fetch_cookie, lock, tests, until, within};

tests![
    r6_a_first_come_peer_gets_every_upload_whole_and_once,
    r6_nothing_beyond_the_first_flight_is_on_two_connections,
    r6_uploads_wait_no_longer_than_plains_handshake,
    r6_an_answer_to_the_flight_goes_with_the_upload,
];

const BIG: usize = 8 << 20;
const RULES: [Rule; 8] = [
    Rule::Transparent,
    Rule::DropSynWithData,
    Rule::DropSynWithOption,
    Rule::StripOption,
    Rule::StripOptionAndData,
    Rule::CutData,
    Rule::ResetSyn,
    Rule::UnreachableSyn,
];

fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// A gate whose handler answers with length and hash of what it read.
fn hasher(lab: &Lab) -> io::Result<Server> {
    let handler = |mut admitted: Admitted| async move {
        let mut all = Vec::new();
        admitted.stream.read_to_end(&mut all).await?;
        admitted.stream.write_u64(all.len() as u64).await?;
        admitted.stream.write_u64(fnv(&all)).await
    };
    Server::start(
        lab,
        lab.server(),
        Family::V4,
        Framing::token(),
        |gate| gate,
        handler,
    )
}

fn r6_a_first_come_peer_gets_every_upload_whole_and_once() -> Outcome {
    let bytes = pattern(BIG / 2, 3);
    let hash = fnv(&bytes);
    for rule in RULES {
        let lab = common::lab(RTT / 5)?;
        fetch_cookie(&lab, Family::V4)?;
        lab.set_rule(rule);
        let server = hasher(&lab)?;
        let report = on_client(&lab, async || {
            let mut stream = token_dialer()?.build()?.dial(server.address).await?;
            stream.first_flight(&bytes[..700])?;
            within("an upload", stream.write_all(&bytes[700..])).await?;
            within("a shutdown", stream.shutdown()).await?;
            let length = within("a length", stream.read_u64()).await?;
            assert_eq!(
                (length, stream.read_u64().await?),
                (bytes.len() as u64, hash)
            );
            Ok(stream.report())
        })
        .map_err(|error| format!("{rule}: {error}"))?;
        ensure!(report.raced(), "{rule}: {report:?}");
        let handled = server.handled();
        ensure!(handled == 1, "{rule}: handled {handled} times: {report:?}");
    }
    Ok(())
}

fn r6_nothing_beyond_the_first_flight_is_on_two_connections() -> Outcome {
    let bytes = pattern(BIG / 16, 5);
    for peer in [Peer::Unaware, Peer::Pairing, Peer::FirstCome] {
        for rule in RULES {
            let lab = common::lab(RTT / 5)?;
            fetch_cookie(&lab, Family::V4)?;
            lab.set_rule(rule);
            let bare = Bare::start(&lab, Family::V4, Manner::Swallow)?;
            let report = on_client(&lab, async || {
                let dialer = Dialer::builder()?
                    .first_flight(FirstFlight::Asserted)
                    .peer(peer)
                    .insist(true)
                    .build()?;
                let mut stream = dialer.dial(bare.address).await?;
                stream.first_flight(&bytes[..700])?;
                within("an upload", stream.write_all(&bytes[700..])).await?;
                within("a shutdown", stream.shutdown()).await?;
                Ok(stream.report())
            })
            .map_err(|error| format!("{peer:?}, {rule}: {error}"))?;
            ensure!(report.raced(), "{peer:?}, {rule}: {report:?}");
            until("the upload", || {
                bare.received().iter().any(|c| c.bytes == bytes)
            })
            .map_err(|error| format!("{peer:?}, {rule}: {error}"))?;
            let beyond = bare
                .received()
                .iter()
                .filter(|c| c.bytes.len() > 700)
                .count();
            ensure!(beyond == 1, "{peer:?}, {rule}: {beyond} connections");
        }
    }
    Ok(())
}

/// Fits in TCP's first window: more would measure slow start.
const SHORT: usize = 10_000;

/// How long after a dial the server has a short upload.
fn delay(lab: &Lab, raced: bool) -> io::Result<Duration> {
    let arrived = Arc::new(Mutex::new(None));
    let seen = arrived.clone();
    let handler = move |mut admitted: Admitted| {
        let seen = seen.clone();
        async move {
            let mut all = vec![0; SHORT];
            admitted.stream.read_exact(&mut all).await?;
            *lock(&seen) = Some(Instant::now());
            Ok(())
        }
    };
    let server = Server::start(
        lab,
        lab.server(),
        Family::V4,
        Framing::token(),
        |gate| gate,
        handler,
    )?;
    let began = on_client(lab, async || {
        let bytes = pattern(SHORT, 0);
        let began = Instant::now();
        if raced {
            let mut stream = token_dialer()?.build()?.dial(server.address).await?;
            stream.first_flight(&bytes[..700])?;
            within("an upload", stream.write_all(&bytes[700..])).await?;
            tokio::time::sleep(6 * RTT).await;
        } else {
            let mut stream = TcpStream::connect(server.address).await?;
            stream.set_nodelay(true)?;
            let header = headstart::core::framing::token::Header {
                id: headstart::core::framing::token::Id([7; 16]),
                flight_len: 700,
                resets_losers: true,
            };
            stream.write_all(&header.encode()).await?;
            within("an upload", stream.write_all(&bytes)).await?;
            tokio::time::sleep(6 * RTT).await;
        }
        Ok(began)
    })?;
    until("its arrival", || lock(&arrived).is_some())?;
    let arrived = lock(&arrived).ok_or(io::ErrorKind::NotFound)?;
    Ok(arrived.saturating_duration_since(began))
}

fn r6_uploads_wait_no_longer_than_plains_handshake() -> Outcome {
    for rule in [Rule::Transparent, Rule::DropSynWithData, Rule::ResetSyn] {
        let lab = common::lab(RTT)?;
        fetch_cookie(&lab, Family::V4)?;
        lab.set_rule(rule);
        let (mut plain, mut raced) = (Duration::MAX, Duration::MAX);
        for _ in 0..6 {
            plain = plain.min(delay(&lab, false)?);
            raced = raced.min(delay(&lab, true)?);
            if raced < plain + RTT / 3 {
                break;
            }
        }
        // Waiting for an answer to the SYN that vanished would be a second.
        ensure!(
            raced < plain + RTT,
            "{rule}: {raced:?}, plain alone {plain:?}"
        );
    }
    Ok(())
}

/// The server answers the flight, then takes an upload on the same connection.
fn r6_an_answer_to_the_flight_goes_with_the_upload() -> Outcome {
    let lab = common::lab(RTT / 5)?;
    fetch_cookie(&lab, Family::V4)?;
    let handler = |mut admitted: Admitted| async move {
        let mut flight = [0; 700];
        admitted.stream.read_exact(&mut flight).await?;
        admitted.stream.write_all(b"go on").await?;
        let mut all = flight.to_vec();
        admitted.stream.read_to_end(&mut all).await?;
        admitted.stream.write_u64(fnv(&all)).await
    };
    let framing = Framing::token();
    let server = Server::start(
        &lab,
        lab.server(),
        Family::V4,
        framing,
        |gate| gate,
        handler,
    )?;
    let bytes = pattern(BIG / 4, 3);
    for rule in RULES {
        lab.set_rule(rule);
        let report = on_client(&lab, async || {
            let mut stream = token_dialer()?.build()?.dial(server.address).await?;
            stream.write_all(&bytes[..700]).await?;
            let mut go_on = [0; 5];
            within("a word", stream.read_exact(&mut go_on)).await?;
            within("an upload", stream.write_all(&bytes[700..])).await?;
            within("a shutdown", stream.shutdown()).await?;
            assert_eq!(within("a hash", stream.read_u64()).await?, fnv(&bytes));
            Ok(stream.report())
        })
        .map_err(|error| format!("{rule}: {error}"))?;
        let copied = report.bytes_copied();
        ensure!(copied <= 724, "{rule}: {copied} bytes copied: {report:?}");
        let fast_open = attempt(&report, AttemptKind::FastOpen)?;
        ensure!(fast_open.started.is_some(), "{rule}: {report:?}");
    }
    Ok(())
}
