//! Descriptors: none leaks, and running out of them is survived (R12). Each
//! test has a process of its own.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use headstart::core::race::{AttemptKind, Exit, FailureKind, NotStarted, Outcome as Out};
use headstart::tokio::{Dialer, Gate};
use headstart::{FirstFlight, Framing, RaceError};
use headstart_lab::{Family, Rule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::common::{self, Outcome, Server, ensure, exchange, on_client, pattern, token_dialer};
use crate::descriptors::{back_to, descriptors, leave, unlimited};
use crate::support::{Bare, Manner, PATIENCE, RTT, attempt, fetch_cookie, tests, until, within};

tests![
    r12_without_a_descriptor_to_spare_plain_runs_alone,
    r12_without_any_descriptor_the_error_is_typed,
    a_gate_survives_running_out_of_descriptors,
    silent_thousands_do_not_keep_others_out,
    a_runtime_that_goes_tells_who_waits,
    a_dropped_dialer_finishes_its_races,
];

fn r12_without_a_descriptor_to_spare_plain_runs_alone() -> Outcome {
    let lab = common::lab(RTT)?;
    fetch_cookie(&lab, Family::V4)?;
    let bare = Bare::start(&lab, Family::V4, Manner::Swallow)?;
    let report = on_client(&lab, async || {
        let asserted = Dialer::builder()?
            .first_flight(FirstFlight::Asserted)
            .insist(true);
        let dialer = asserted.build()?;
        leave(1)?;
        let mut stream = dialer.dial(bare.address).await?;
        stream.write_all(&pattern(600, 0)).await?;
        stream.flush().await?;
        let report = stream.report();
        unlimited()?;
        Ok(report)
    })?;
    let fast_open = attempt(&report, AttemptKind::FastOpen)?.outcome;
    ensure!(
        matches!(fast_open, Out::Out(Exit::NotStarted(NotStarted::Failed(f)))
            if f.kind == FailureKind::NoResources && f.os == Some(24)),
        "{report:?}"
    );
    until("the flight", || {
        bare.received().iter().any(|c| c.bytes == pattern(600, 0))
    })?;
    Ok(())
}

fn r12_without_any_descriptor_the_error_is_typed() -> Outcome {
    let lab = common::lab(RTT)?;
    let address = SocketAddr::new(lab.server_addr(Family::V4), common::PORT);
    let error = on_client(&lab, async || {
        let dialer = token_dialer()?.build()?;
        leave(0)?;
        let error = dialer.dial(address).await.err();
        unlimited()?;
        Ok(error)
    })?;
    let error = error.ok_or("a dial without a descriptor")?;
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<RaceError>());
    let leading = inner
        .and_then(|inner| inner.reasons.leading())
        .ok_or("no reason")?;
    ensure!(
        leading.kind == FailureKind::NoResources && leading.os == Some(24),
        "{error}"
    );
    let text = error.to_string();
    ensure!(
        text.starts_with("plain: not started: no resources (os error 24)"),
        "{text}"
    );
    Ok(())
}

fn a_gate_survives_running_out_of_descriptors() -> Outcome {
    const CLIENTS: usize = 20;
    let lab = common::lab(Duration::ZERO)?;
    on_client(&lab, async || {
        let gate = Gate::builder(Framing::token())?.bind(([127, 0, 0, 1], 0).into())?;
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let stream = std::net::TcpStream::connect(gate.local_addr())?;
            io::Write::write_all(&mut &stream, &token(number as u8))?;
            clients.push(stream);
        }
        leave(3)?;
        sleep(Duration::from_millis(400)).await;
        let starved = gate.counters();
        assert_eq!(starved.accepted, 3, "{starved:?}");
        assert!(starved.accept_errors > 0, "{starved:?}");
        // 10, 20, 40, ... ms apart.
        assert!(starved.accept_errors < 10, "{starved:?}");
        unlimited()?;
        for _ in 0..CLIENTS {
            within("an accept", gate.accept()).await?;
        }
        assert_eq!(gate.counters().first, CLIENTS as u64);
        Ok(())
    })?;
    Ok(())
}

/// A Token of its own, without a flight.
fn token(number: u8) -> [u8; 24] {
    let id = headstart::core::framing::token::Id([number; 16]);
    headstart::core::framing::token::Header {
        id,
        flight_len: 0,
        resets_losers: true,
    }
    .encode()
}

fn silent_thousands_do_not_keep_others_out() -> Outcome {
    const SILENT: u64 = 3000;
    const WAITING: u64 = 500;
    unlimited()?;
    let lab = common::lab(Duration::ZERO)?;
    on_client(&lab, async || {
        let gate = Gate::builder(Framing::token())?
            .waiting_max(WAITING as usize)
            .bind(([127, 0, 0, 1], 0).into())?;
        let mut silent = Vec::new();
        let mut slowest = Duration::ZERO;
        for number in 0..SILENT {
            silent.push(TcpStream::connect(gate.local_addr()).await?);
            if number % 100 == 0 {
                let began = Instant::now();
                let mut served = TcpStream::connect(gate.local_addr()).await?;
                served.write_all(&token((number / 100) as u8)).await?;
                within("an accept", gate.accept())
                    .await?
                    .stream
                    .write_all(b"served")
                    .await?;
                within("service", served.read_exact(&mut [0; 6])).await?;
                slowest = slowest.max(began.elapsed());
            }
        }
        let counters = gate.counters();
        assert!(counters.evicted >= SILENT - WAITING - 64, "{counters:?}");
        assert_eq!(counters.first, SILENT / 100);
        assert!(slowest < Duration::from_millis(500), "{slowest:?}");
        Ok(())
    })?;
    Ok(())
}

fn a_runtime_that_goes_tells_who_waits() -> Outcome {
    let lab = common::lab(RTT)?;
    fetch_cookie(&lab, Family::V4)?;
    lab.set_rule(Rule::DropSynWithData);
    let bare = Bare::start(&lab, Family::V4, Manner::Swallow)?;
    let before = descriptors()?;
    lab.client().run(|| -> Outcome {
        let runtime = common::runtime()?;
        let (dialer, mut stream) = runtime.block_on(async {
            let dialer = Dialer::builder()?
                .first_flight(FirstFlight::Asserted)
                .insist(true)
                .build()?;
            // One is left to itself, one is in a task, one goes on outside.
            let mut left = dialer.dial(bare.address).await?;
            left.write_all(b"left").await?;
            drop(left);
            let mut inside = dialer.dial(bare.address).await?;
            tokio::spawn(async move { inside.read(&mut [0; 1]).await });
            let mut stream = dialer.dial(bare.address).await?;
            stream.write_all(b"outside").await?;
            tokio::task::yield_now().await;
            io::Result::Ok((dialer, stream))
        })?;
        let other = common::runtime()?;
        let reading = std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                other.block_on(async {
                    tokio::time::timeout(PATIENCE, stream.read(&mut [0; 1])).await
                })
            });
            std::thread::sleep(RTT / 2);
            drop(runtime);
            reading.join()
        });
        let Ok(Ok(Err(error))) = reading else {
            return Err(format!("no error: {reading:?}").into());
        };
        ensure!(error.kind() == io::ErrorKind::NotConnected, "{error:?}");
        let error = other.block_on(async { stream.write(b"more").await }).err();
        let error = error.ok_or("a write to nobody")?;
        ensure!(error.to_string().contains("runtime"), "{error}");
        ensure!(dialer.unsettled() == 0, "{} unsettled", dialer.unsettled());
        let late = other.block_on(dialer.dial(bare.address));
        ensure!(late.is_err(), "dialled without a runtime");
        drop(stream);
        Ok(())
    })??;
    drop(bare);
    // The server's went as well.
    ensure!(
        descriptors()? <= before,
        "{before} descriptors before, {} now",
        descriptors()?
    );
    Ok(())
}

fn a_dropped_dialer_finishes_its_races() -> Outcome {
    let lab = common::lab(RTT)?;
    fetch_cookie(&lab, Family::V4)?;
    let server = Server::echo(&lab, lab.server(), Family::V4, Framing::token())?;
    let before = descriptors()?;
    on_client(&lab, async || {
        let dialer = token_dialer()?.build()?;
        let mut stream = dialer.dial(server.address).await?;
        drop(dialer);
        within("an exchange", exchange(&mut stream, &pattern(600, 0))).await?;
        assert!(stream.report().raced());
        Ok(())
    })?;
    back_to(before)
}
