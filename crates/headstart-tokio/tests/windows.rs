//! Whole races on Windows, or under wine: plain TCP, and `ConnectEx` with the flight, by tokio's
//! readiness.
//!
//! wine refuses the option of Fast Open. With `RUSTFLAGS='--cfg headstart_connect_ex_alone'` it is
//! not asked for, so that the operation itself takes part in races there; an environment variable of
//! the same name says that this is meant.
#![cfg(windows)]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use headstart_tokio::core::race::{
    AttemptKind, AttemptReport, Exit, FailureKind, NotStarted, Outcome, SynData,
};
use headstart_tokio::{Dialer, Framing, Gate, Kinds, Peer, Report};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Waits no longer than this for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether dialling with Fast Open is refused here.
fn refused() -> bool {
    let meant = std::env::var_os("HEADSTART_CONNECT_EX_ALONE").is_some();
    assert_eq!(cfg!(headstart_connect_ex_alone), meant, "built otherwise");
    std::env::var_os("HEADSTART_WINE").is_some() && !cfg!(headstart_connect_ex_alone)
}

fn dialer(kinds: Kinds) -> Dialer {
    let builder = Dialer::builder().unwrap().token().peer(Peer::FirstCome);
    builder.kinds(kinds).build().unwrap()
}

/// A gate that admits one, reads "hello" and the end of the stream, and answers "world".
fn gate() -> SocketAddr {
    let gate = Gate::builder(Framing::token()).unwrap();
    let gate = gate.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = gate.local_addr();
    tokio::spawn(async move {
        let mut admitted = gate.accept().await.unwrap();
        let mut hello = [0; 5];
        admitted.stream.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"hello");
        admitted.stream.write_all(b"world").await.unwrap();
        let mut rest = Vec::new();
        admitted.stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, b"more");
        admitted.stream.write_all(b"bye").await.unwrap();
        // It closes its listener last, so that no copy is refused.
        admitted.stream.shutdown().await.unwrap();
        let _ = gate.accept().await;
    });
    addr
}

/// One exchange over a race.
async fn exchange(kinds: Kinds) -> io::Result<Report> {
    let addr = gate();
    let mut stream = dialer(kinds).dial(addr).await?;
    stream.write_all(b"hello").await?;
    let mut world = [0; 5];
    timeout(PATIENCE, stream.read_exact(&mut world)).await??;
    assert_eq!(&world, b"world");
    stream.write_all(b"more").await?;
    // What only a stream that knows its connection can do.
    assert_eq!(stream.get_ref().unwrap().peer_addr()?, addr);
    stream.shutdown().await?;
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await??;
    assert_eq!(rest, b"bye");
    Ok(stream.report())
}

fn fast_open(report: &Report) -> &AttemptReport {
    let mut attempts = report.attempts.iter();
    attempts.find(|a| a.kind == AttemptKind::FastOpen).unwrap()
}

#[tokio::test]
async fn a_race_runs_both_ways_or_plain_and_says_which() {
    let report = exchange(Kinds::Both).await.unwrap();
    println!("{report:#?}");
    let attempt = fast_open(&report);
    if refused() {
        assert!(!report.raced());
        assert_eq!(report.winner().unwrap().kind, AttemptKind::Plain);
        let Outcome::Out(Exit::NotStarted(NotStarted::Failed(failure))) = attempt.outcome else {
            panic!("{attempt:?}")
        };
        assert_eq!(failure.kind, FailureKind::Unsupported);
    } else {
        assert!(report.raced());
        // The token and the flight, handed over with the dial.
        assert!(attempt.bytes > 5);
        assert_eq!(attempt.syn_data, SynData::Sent, "the system does not say");
    }
}

#[tokio::test]
async fn an_attempt_with_data_alone_opens_answers_and_ends() {
    if refused() {
        return;
    }
    for _ in 0..20 {
        let report = exchange(Kinds::FastOpenOnly).await.unwrap();
        let winner = report.winner().unwrap();
        assert_eq!(winner.kind, AttemptKind::FastOpen);
        assert!(winner.opened.is_some());
    }
}

#[tokio::test]
async fn a_refused_attempt_with_data_is_told_by_readiness() {
    if refused() {
        return;
    }
    let closed = {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        taken.local_addr().unwrap()
    };
    let mut stream = dialer(Kinds::FastOpenOnly).dial(closed).await.unwrap();
    let answer = async {
        stream.write_all(b"hello").await?;
        stream.flush().await?;
        stream.read_u8().await
    };
    let error = timeout(PATIENCE, answer).await.unwrap().unwrap_err();
    println!("{error}");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

/// Losers are dropped while their operation may be under way.
#[tokio::test]
async fn many_races_end() {
    for _ in 0..30 {
        exchange(Kinds::Both).await.unwrap();
    }
}
