//! tokio's own clock, paused and not, and runtimes that go.

use std::io;
use std::time::Duration;

use headstart_tokio::core::framing::token::{Header, Id};
use headstart_tokio::{Dialer, Framing, Gate, Peer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

fn dialer() -> io::Result<Dialer> {
    Dialer::builder()?.token().peer(Peer::FirstCome).build()
}

fn gate() -> io::Result<Gate> {
    let patience = Duration::from_secs(10);
    Gate::builder(Framing::token())?
        .message_timeout(patience)
        .bind(([127, 0, 0, 1], 0).into())
}

#[tokio::test(start_paused = true)]
async fn an_exchange_works_on_a_paused_clock() -> io::Result<()> {
    let gate = gate()?;
    let mut stream = dialer()?.dial(gate.local_addr()).await?;
    stream.write_all(b"hello").await?;
    stream.flush().await?;
    let mut admitted = gate.accept().await?;
    let mut word = [0; 5];
    admitted.stream.read_exact(&mut word).await?;
    admitted.stream.write_all(&word).await?;
    stream.read_exact(&mut word).await?;
    assert_eq!(&word, b"hello");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_gates_patience_is_the_clocks() -> io::Result<()> {
    let gate = gate()?;
    let began = Instant::now();
    let _silent = TcpStream::connect(gate.local_addr()).await?;
    while gate.counters().timeouts == 0 {
        sleep(Duration::from_millis(100)).await;
        assert!(
            began.elapsed() < Duration::from_secs(12),
            "{:?}",
            gate.counters()
        );
    }
    assert!(began.elapsed() >= Duration::from_secs(10));
    Ok(())
}

/// Much time passes between their builds, on the paused clock alone.
#[tokio::test(start_paused = true)]
async fn d1_gates_beside_each_other_agree_on_the_time_of_a_paused_clock() -> io::Result<()> {
    let older = gate()?;
    tokio::time::advance(Duration::from_secs(3600)).await;
    let younger = Gate::builder(Framing::token())?
        .beside(&older)
        .bind(([127, 0, 0, 1], 0).into())?;
    let message = Header {
        id: Id([7; 16]),
        flight_len: 0,
        resets_losers: true,
    };
    let mut first = TcpStream::connect(younger.local_addr()).await?;
    first.write_all(&message.encode()).await?;
    younger.accept().await?;
    let mut copy = TcpStream::connect(older.local_addr()).await?;
    copy.write_all(&message.encode()).await?;
    let mut word = [0; 1];
    tokio::select! {
        admitted = older.accept() => panic!("admitted again: {admitted:?}"),
        end = copy.read(&mut word) => assert!(end.is_err(), "{end:?}"),
    }
    assert_eq!(older.counters().duplicates, 1);
    Ok(())
}

#[tokio::test]
async fn settled_waits_for_what_was_dropped() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let dialer = Dialer::builder()?.build()?;
    dialer.settled().await;
    let mut stream = dialer.dial(listener.local_addr()?).await?;
    assert_eq!(dialer.unsettled(), 1);
    stream.write_all(b"hello").await?;
    drop(stream);
    dialer.settled().await;
    let (mut accepted, _) = listener.accept().await?;
    let mut all = Vec::new();
    accepted.read_to_end(&mut all).await?;
    assert_eq!(all, b"hello");
    Ok(())
}

#[test]
fn a_dialer_needs_a_runtime() {
    assert!(Dialer::builder().is_err());
    assert!(Gate::builder(Framing::token()).is_err());
}

#[test]
fn a_dial_may_be_polled_outside_its_runtime() -> io::Result<()> {
    let home = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let (dialer, gate) = home.block_on(async { io::Result::Ok((dialer()?, gate()?)) })?;
    let port = gate.local_addr().port();
    // A runtime without I/O or time of its own.
    let bare = tokio::runtime::Builder::new_current_thread().build()?;
    bare.block_on(async {
        let mut stream = dialer.dial(("127.0.0.1", port)).await?;
        stream.write_all(b"hello").await?;
        stream.flush().await?;
        let mut admitted = gate.accept().await?;
        admitted.stream.write_all(b"world").await?;
        let mut word = [0; 5];
        stream.read_exact(&mut word).await?;
        assert_eq!(&word, b"world");
        let _ = dialer.dial(("localhost", port)).await;
        Ok(())
    })
}

#[test]
fn a_gates_task_that_is_gone_is_told() -> io::Result<()> {
    let home = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let gate = home.block_on(async { gate() })?;
    drop(home);
    let bare = tokio::runtime::Builder::new_current_thread().build()?;
    let error = bare
        .block_on(gate.accept())
        .expect_err("an accept without a task");
    assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    Ok(())
}
