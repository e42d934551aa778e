//! `headstart gate` and `headstart forward` on the loopback interface: what
//! they do with ends, breaks, limits and signals.
#![cfg(unix)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use common::{PATIENCE, Server, headstart};

/// Length of a first message for `--framing length`, and of its length.
const HELLO: usize = 4 + 5;
/// Long enough for something to happen that should not.
const WHILE: Duration = Duration::from_millis(200);

/// A gate before a server of the test's.
fn gate(arguments: &[&str]) -> (Server, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let first = [
        "gate",
        "--json",
        "--framing",
        "length",
        "--listen",
        "127.0.0.1:0",
        "--to",
        &to,
    ];
    let gate = Server::spawn(headstart(&[&first, arguments].concat()));
    (gate, listener)
}

/// A client that has said hello as nobody else does.
fn client(address: &str) -> TcpStream {
    static CLIENTS: AtomicUsize = AtomicUsize::new(0);
    saying(address, CLIENTS.fetch_add(1, Ordering::Relaxed))
}

fn saying(address: &str, number: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "\0\0\0\x05{number:05}").unwrap();
    stream
}

/// The next connection of the server behind, its hello read.
fn serve(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut hello = [0; HELLO];
    stream.read_exact(&mut hello).unwrap();
    assert_eq!(hello[..4], [0, 0, 0, 5]);
    stream
}

/// Sends back all that comes, reversed, once the client has ended.
fn reverser(listener: TcpListener) -> JoinHandle<()> {
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all.reverse();
        stream.write_all(&all).unwrap();
    })
}

fn summary(server: Server, signal: Signal) -> Value {
    kill(server.pid(), signal).unwrap();
    server.expect("summary")
}

#[test]
fn big_uploads_and_answers_pass_half_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let server = reverser(listener);
    let listen = ["--json", "--listen", "127.0.0.1:0", "--to"];
    let gate = Server::spawn(headstart(&[&["gate"], &listen[..], &[&to]].concat()));
    let forward = headstart(&[&["forward"], &listen[..], &[&gate.address]].concat());
    let forward = Server::spawn(forward);
    let sent: Vec<u8> = (0..8 << 20).map(|at: u32| (at ^ (at >> 8)) as u8).collect();
    let mut stream = TcpStream::connect(&forward.address).unwrap();
    stream.write_all(&sent).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer.reverse();
    assert!(answer == sent, "{} bytes", answer.len());
    server.join().unwrap();
    for server in [forward, gate] {
        let summary = summary(server, Signal::SIGTERM);
        assert_eq!(summary["connections"], 1);
        assert_eq!(summary["bytes_up"], 8 << 20);
        assert_eq!(summary["bytes_down"], 8 << 20);
        assert_eq!(summary["broken"], 0, "{summary}");
    }
}

#[test]
fn a_server_that_is_not_there_costs_one_connection() {
    let (gate, listener) = gate(&[]);
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = client(&gate.address).read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let listener = TcpListener::bind(address).unwrap();
    let mut second = client(&gate.address);
    serve(&listener).write_all(b"x").unwrap();
    second.read_exact(&mut [0]).unwrap();
    drop(second);
    let summary = summary(gate, Signal::SIGINT);
    assert_eq!(
        (&summary["dial_errors"], &summary["connections"]),
        (&1.into(), &1.into())
    );
}

#[test]
fn a_race_that_reaches_nobody_is_a_dial_that_failed() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let forward = Server::spawn(headstart(&[
        "forward",
        "--json",
        "--listen",
        "127.0.0.1:0",
        "--to",
        &to,
    ]));
    let mut stream = TcpStream::connect(&forward.address).unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let summary = summary(forward, Signal::SIGTERM);
    assert_eq!(
        (&summary["dial_errors"], &summary["broken"]),
        (&1.into(), &0.into()),
        "{summary}"
    );
}

#[test]
fn who_resets_when_all_is_said_breaks_nothing() {
    let (gate, listener) = gate(&[]);
    let mut stream = client(&gate.address);
    let mut behind = serve(&listener);
    behind.write_all(b"all").unwrap();
    behind.shutdown(Shutdown::Write).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    reset(stream);
    // Its server hears that it did not say goodbye.
    let error = behind.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let summary = summary(gate, Signal::SIGTERM);
    assert_eq!(summary["broken"], 0, "{summary}");
}

#[test]
fn what_breaks_on_one_side_breaks_on_the_other() {
    let (gate, listener) = gate(&[]);
    // A client that goes in the middle of an upload has not sent it whole.
    let stream = client(&gate.address);
    let mut behind = serve(&listener);
    reset(stream);
    assert_eq!(
        behind.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    // A server that goes in the middle of an answer has not answered.
    let mut stream = client(&gate.address);
    let mut behind = serve(&listener);
    behind.write_all(b"half").unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    reset(behind);
    assert_eq!(
        stream.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    let summary = summary(gate, Signal::SIGTERM);
    assert_eq!(summary["broken"], 2, "{summary}");
}

/// Closes by RST.
fn reset(stream: TcpStream) {
    nix::sys::socket::setsockopt(
        &stream,
        nix::sys::socket::sockopt::Linger,
        &nix::libc::linger {
            l_onoff: 1,
            l_linger: 0,
        },
    )
    .unwrap();
}

#[test]
fn an_answer_to_a_refused_upload_is_heard() {
    let (gate, listener) = gate(&[]);
    let mut stream = client(&gate.address);
    let behind = thread::spawn(move || {
        let mut behind = serve(&listener);
        behind.write_all(b"too large").unwrap();
        // It wants no more, and says so by going.
        drop(behind);
    });
    let mut writer = stream.try_clone().unwrap();
    let upload = thread::spawn(move || {
        let chunk = vec![0; 64 * 1024];
        (0..1000).all(|_| writer.write_all(&chunk).is_ok())
    });
    let mut answer = [0; 9];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"too large");
    behind.join().unwrap();
    drop(stream);
    let _ = upload.join().unwrap();
}

#[test]
fn a_server_hears_that_its_client_has_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let listen = ["--json", "--listen", "127.0.0.1:0", "--to"];
    let gate = Server::spawn(headstart(&[&["gate"], &listen[..], &[&to]].concat()));
    let forward = headstart(&[&["forward"], &listen[..], &[&gate.address]].concat());
    let forward = Server::spawn(forward);
    let mut stream = TcpStream::connect(&forward.address).unwrap();
    stream.write_all(b"stream").unwrap();
    let (mut behind, _) = listener.accept().unwrap();
    behind.write_all(b"event").unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
    // With nothing unread: by FIN, as one that may yet be spoken to.
    drop(stream);
    let events = (0..250)
        .take_while(|_| {
            sleep(Duration::from_millis(20));
            behind.write_all(b"event").is_ok()
        })
        .count();
    assert!(events < 250, "the server was never told");
    for server in [forward, gate] {
        let summary = summary(server, Signal::SIGTERM);
        assert_eq!(summary["broken"], 1, "{summary}");
    }
}

#[test]
fn an_upload_that_was_cut_off_does_not_end_well() {
    let (gate, listener) = gate(&[]);
    let mut stream = client(&gate.address);
    let mut behind = serve(&listener);
    stream.set_write_timeout(Some(WHILE)).unwrap();
    while stream.write(&[0; 64 * 1024]).is_ok() {}
    reset(stream);
    sleep(WHILE);
    // Its reset is found by this, not by reading on.
    behind.write_all(b"answer").unwrap();
    sleep(WHILE);
    let error = behind.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let summary = summary(gate, Signal::SIGTERM);
    assert_eq!(summary["broken"], 1, "{summary}");
}

#[test]
fn open_connections_end_before_it_does() {
    let (gate, listener) = gate(&[]);
    let mut stream = client(&gate.address);
    let mut behind = serve(&listener);
    kill(gate.pid(), Signal::SIGTERM).unwrap();
    until_refused(&gate);
    behind.write_all(b"answer").unwrap();
    stream.read_exact(&mut [0; 6]).unwrap();
    drop((stream, behind));
    assert_eq!(gate.expect("summary")["broken"], 0);
}

/// Waits until nobody listens there any more.
fn until_refused(server: &Server) {
    let address: SocketAddr = server.address.parse().unwrap();
    let refused = (0..100).any(|_| {
        sleep(Duration::from_millis(20));
        TcpStream::connect(address).is_err()
    });
    assert!(refused, "it still listens");
}

#[test]
fn who_waits_for_room_when_it_ends_is_answered() {
    let (gate, listener) = gate(&["--connections", "2"]);
    let mut streams: Vec<_> = (0..12).map(|_| client(&gate.address)).collect();
    let first = [serve(&listener), serve(&listener)];
    sleep(WHILE);
    kill(gate.pid(), Signal::SIGTERM).unwrap();
    until_refused(&gate);
    let serving = thread::spawn(move || {
        for mut behind in first {
            behind.write_all(b"x").unwrap();
        }
        for _ in 2..12 {
            serve(&listener).write_all(b"x").unwrap();
        }
    });
    answered_one_by_one(&mut streams);
    serving.join().unwrap();
    let summary = gate.expect("summary");
    assert_eq!(
        (&summary["connections"], &summary["broken"]),
        (&12.into(), &0.into()),
        "{summary}"
    );
}

#[test]
fn who_waits_for_room_in_vain_is_reset_and_counted() {
    let (gate, listener) = gate(&["--connections", "2", "--drain", "0.5"]);
    let streams: Vec<_> = (0..12).map(|_| client(&gate.address)).collect();
    let _first = [serve(&listener), serve(&listener)];
    sleep(WHILE);
    kill(gate.pid(), Signal::SIGTERM).unwrap();
    for mut stream in streams {
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    let summary = gate.expect("summary");
    assert_eq!(
        (&summary["connections"], &summary["broken"]),
        (&12.into(), &12.into()),
        "{summary}"
    );
}

#[test]
fn a_second_signal_cuts_connections_off() {
    let (gate, listener) = gate(&[]);
    let mut stream = client(&gate.address);
    let mut behind = serve(&listener);
    kill(gate.pid(), Signal::SIGTERM).unwrap();
    sleep(WHILE);
    kill(gate.pid(), Signal::SIGTERM).unwrap();
    for stream in [&mut stream, &mut behind] {
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    assert_eq!(gate.expect("summary")["broken"], 1);
}

#[test]
fn no_more_connections_than_allowed() {
    let (gate, listener) = gate(&["--connections", "1"]);
    let first = client(&gate.address);
    let behind = serve(&listener);
    let _second = client(&gate.address);
    listener.set_nonblocking(true).unwrap();
    sleep(WHILE);
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    drop((first, behind));
    listener.set_nonblocking(false).unwrap();
    serve(&listener);
}

#[test]
fn threads_with_less_room_than_there_are_of_them_answer_everybody() {
    let (gate, listener) = gate(&["--threads", "4", "--connections", "2"]);
    for _ in 0..16 {
        let mut stream = client(&gate.address);
        serve(&listener).write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
    }
    // Who waits for room gets it, whichever thread it waits at.
    let mut streams: Vec<_> = (0..16).map(|_| client(&gate.address)).collect();
    let [mut one, mut other] = [serve(&listener), serve(&listener)];
    listener.set_nonblocking(true).unwrap();
    sleep(WHILE);
    assert!(listener.accept().is_err(), "more than are allowed");
    listener.set_nonblocking(false).unwrap();
    for behind in [&mut one, &mut other] {
        behind.write_all(b"x").unwrap();
    }
    drop((one, other));
    let serving = thread::spawn(move || {
        for _ in 2..16 {
            serve(&listener).write_all(b"x").unwrap();
        }
    });
    answered_one_by_one(&mut streams);
    serving.join().unwrap();
}

/// Waits for a byte of each answer, in whichever order they come; who has it
/// goes.
fn answered_one_by_one(streams: &mut Vec<TcpStream>) {
    let began = Instant::now();
    while !streams.is_empty() {
        assert!(began.elapsed() < PATIENCE, "{} hang", streams.len());
        streams.retain_mut(|stream| {
            stream
                .set_read_timeout(Some(Duration::from_millis(5)))
                .unwrap();
            match stream.read(&mut [0]) {
                Ok(read) => {
                    assert_eq!(read, 1, "an end without an answer");
                    false
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    true
                }
            }
        });
    }
}

#[test]
fn several_threads_share_a_port_and_what_they_know() {
    let (gate, listener) = gate(&["--threads", "4", "--no-pairing"]);
    // All say the same hello: one is the first, and the others are copies.
    let mut streams: Vec<_> = (0..12).map(|_| saying(&gate.address, 7)).collect();
    let mut behind = serve(&listener);
    behind.write_all(b"x").unwrap();
    let mut answered = 0;
    for stream in &mut streams {
        match stream.read(&mut [0]) {
            Ok(1) => answered += 1,
            other => assert_eq!(other.unwrap_err().kind(), ErrorKind::ConnectionReset),
        }
    }
    assert_eq!(answered, 1);
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "a copy was let through");
}

#[test]
fn a_port_is_not_shared_with_another_gate() {
    for threads in ["1", "2"] {
        let (gate, listener) = gate(&["--threads", threads]);
        let to = listener.local_addr().unwrap().to_string();
        for other in ["1", "2"] {
            let mut second = beside(&gate.address, &to, other);
            let second = second.stdout(Stdio::null()).stderr(Stdio::piped());
            let (status, complaint) = common::wait(second.spawn().unwrap());
            assert_eq!(status.code(), Some(1), "{complaint}");
            assert!(complaint.contains("in use"), "{complaint}");
        }
        // The first is none the worse.
        let mut stream = client(&gate.address);
        serve(&listener).write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
    }
}

#[test]
fn a_port_is_taken_over_from_a_gate_that_drains() {
    for threads in ["1", "2"] {
        let (old, listener) = gate(&["--threads", threads]);
        let to = listener.local_addr().unwrap().to_string();
        let mut early = client(&old.address);
        let mut behind = serve(&listener);
        kill(old.pid(), Signal::SIGTERM).unwrap();
        until_refused(&old);
        let new = Server::spawn(beside(&old.address, &to, threads));
        for _ in 0..8 {
            let mut stream = client(&new.address);
            serve(&listener).write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).unwrap();
        }
        behind.write_all(b"x").unwrap();
        early.read_exact(&mut [0]).unwrap();
        drop((early, behind));
        assert_eq!(old.expect("summary")["broken"], 0);
    }
}

/// A gate at this very address, on so many threads.
fn beside(address: &str, to: &str, threads: &str) -> Command {
    let places = ["--listen", address, "--to", to, "--threads", threads];
    headstart(&[&["gate", "--json", "--framing", "length"], &places[..]].concat())
}

#[test]
fn metrics_are_served_to_prometheus() {
    let metrics = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (gate, listener) = gate(&["--metrics", &metrics.to_string()]);
    // What has not happened yet is 0, not unknown.
    until_scraped(
        metrics,
        &[
            "headstart_connections_total 0",
            "headstart_connections_broken_total 0",
            "headstart_dial_errors_total 0",
            "headstart_gate_malformed_total 0",
        ],
    );
    let mut stream = client(&gate.address);
    let mut behind = serve(&listener);
    behind.write_all(b"answer").unwrap();
    // Also of a connection that goes on.
    until_scraped(
        metrics,
        &[
            "headstart_connections_open 1",
            "headstart_relayed_bytes_total{direction=\"down\"} 6",
        ],
    );
    drop(behind);
    stream.read_to_end(&mut Vec::new()).unwrap();
    drop(stream);
    until_scraped(
        metrics,
        &[
            "headstart_connections_total 1",
            "headstart_connections_open 0",
            "headstart_relayed_bytes_total{direction=\"down\"} 6",
            "headstart_relayed_bytes_total{direction=\"up\"} 9",
            "headstart_gate_first_total 1",
        ],
    );
}

/// Waits until all these lines are served.
fn until_scraped(metrics: SocketAddr, lines: &[&str]) {
    let mut text = String::new();
    for _ in 0..500 {
        let mut scrape = TcpStream::connect(metrics).unwrap();
        write!(
            scrape,
            "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        text.clear();
        scrape.read_to_string(&mut text).unwrap();
        let served = |line: &&str| text.lines().any(|served| served == *line);
        if lines.iter().all(served) {
            return;
        }
        sleep(Duration::from_millis(20));
    }
    panic!("never {lines:?}: {text}");
}

#[test]
fn wrong_settings_are_told_in_a_line() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = busy.local_addr().unwrap().to_string();
    for (arguments, status) in [
        (vec!["gate", "--listen", &busy, "--to", "127.0.0.1:1"], 1),
        (vec!["forward", "--listen", &busy, "--to", "127.0.0.1:1"], 1),
        (vec!["gate", "--listen", "127.0.0.1:0"], 2),
        (
            vec!["gate", "--listen", "127.0.0.1:0", "--to", "nowhere"],
            2,
        ),
        (
            vec![
                "forward",
                "--listen",
                "127.0.0.1:0",
                "--to",
                "a:1",
                "--drain",
                "0",
            ],
            2,
        ),
        (
            vec![
                "forward",
                "--listen",
                "127.0.0.1:0",
                "--to",
                "a:1",
                "--memory",
                "/no/such/folder/memory",
            ],
            1,
        ),
        (vec!["gate", "--listen", "localhost:443", "--to", "a:1"], 2),
    ] {
        let output = common::run(&arguments);
        assert_eq!(
            output.status.code(),
            Some(status),
            "{arguments:?}: {output:?}"
        );
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
}
