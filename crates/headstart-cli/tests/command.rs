//! The command as a user meets it, on the loopback interface.
#![cfg(unix)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use common::{PATIENCE, Server, complaints, headstart, json_lines, run, wait};
use headstart_tokio::core::framing::token::{Header, Id};
use nix::sys::signal::{Signal, kill};
use serde_json::Value;

/// A first message under a Token.
fn message(id: u8, flight: &[u8]) -> Vec<u8> {
    let flight_len = flight.len().try_into().unwrap();
    let header = Header {
        id: Id([id; 16]),
        flight_len,
        resets_losers: false,
    };
    [&header.encode(), flight].concat()
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A port of the loopback interface on which nobody listens.
fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn keys(value: &Value, line: &[u8]) -> Vec<String> {
    // serde_json sorts maps; the order is the text's.
    let text = std::str::from_utf8(line).unwrap();
    let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
    keys.sort_by_key(|key| text.find(&format!("\"{key}\":")).unwrap());
    keys
}

#[test]
fn wrong_usage_is_status_2_and_says_why() {
    for arguments in [
        &[][..],
        &["nonsense"],
        &["race"],
        &["race", "localhost"],
        &["race", "localhost:0"],
        &["race", "localhost:http"],
        &["race", "::1:80"],
        &["race", "localhost:80", "-n", "0"],
        &["race", "localhost:80", "--size", "0"],
        &["race", "localhost:80", "--size", "16361"],
        &["race", "localhost:80", "--exchanges", "0"],
        &["race", "localhost:80", "--mode", "quick"],
        &["race", "localhost:80", "--timeout", "0"],
        &["serve"],
        &["serve", "localhost"],
        &["serve", "127.0.0.1:0", "--framing", "http"],
        &["serve", "127.0.0.1:0", "--message-max", "16385"],
        &["serve", "127.0.0.1:0", "--message-max", "0"],
        &["serve", "127.0.0.1:0", "--message-max", "23"],
        &[
            "serve",
            "127.0.0.1:0",
            "--framing",
            "tls",
            "--message-max",
            "49",
        ],
        &[
            "gate",
            "--listen",
            "127.0.0.1:0",
            "--to",
            "127.0.0.1:9",
            "--message-max",
            "10",
        ],
        &["demo", "--rtt", "0"],
        &["manual", "nosuch"],
        &["manual", "--into", "/tmp", "race"],
        #[cfg(target_os = "linux")]
        &["probe", "localhost:80", "--tls", "bad name!"],
        // Two commands are needed.
        #[cfg(target_os = "linux")]
        &["lab", "--", "true"],
        #[cfg(target_os = "linux")]
        &["lab", "--", "true", "---"],
        #[cfg(target_os = "linux")]
        &["lab", "--", "---", "true"],
        &["lab", "true", "---", "true"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["demo", "--help"],
        &["race", "--help"],
        &["serve", "--help"],
    ] {
        let output = run(arguments);
        assert!(output.status.success(), "{arguments:?}");
        assert!(output.stderr.is_empty() && !output.stdout.is_empty());
    }
    let help = run(&["serve", "--help"]);
    let help = std::str::from_utf8(&help.stdout).unwrap();
    assert!(
        help.contains("big-endian") && help.contains("assert"),
        "{help}"
    );
}

/// The help of one command, on one line.
fn help(command: &str) -> String {
    let output = run(&[command, "--help"]);
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn framings_are_explained_as_each_command_has_them() {
    let (serve, gate, forward) = (help("serve"), help("gate"), help("forward"));
    assert!(serve.contains("use --no-debounce"), "{serve}");
    for (help, copies) in [
        (&gate, "the second is turned away"),
        (&forward, "the other end turns the second away"),
    ] {
        assert!(!help.contains("--no-debounce"), "{help}");
        assert!(
            help.contains("no two clients") && help.contains(copies),
            "{help}"
        );
    }
    assert!(gate.contains("header, which is removed"), "{gate}");
    assert!(forward.contains("header, which is added here"), "{forward}");
}

#[test]
#[cfg(target_os = "linux")]
fn what_is_wrong_with_a_rule_is_told() {
    for (rule, why) in [
        ("nonsense", "no such rule: \"nonsense\""),
        ("duplicate-syn=abc", "no such value: \"duplicate-syn=abc\""),
        ("random-loss=1001", "no such value: \"random-loss=1001\""),
        ("strip-option=3", "strip-option takes no value"),
    ] {
        let output = run(&["lab", "--rule", rule, "--", "true", "---", "true"]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(complaints(&output).contains(why), "{output:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn rules_are_listed_with_those_that_take_a_value() {
    let help = help("lab");
    for part in [
        "drop-syn-with-data: drops a SYN that carries data",
        "takes a value, and without is blackhole-after=4",
        "takes a value, and without is duplicate-syn=500ms",
        "takes a value, and without is random-loss=10",
    ] {
        // Help strings begin with a capital letter or not, as clap likes.
        assert!(
            help.to_lowercase().contains(&part.to_lowercase()),
            "{part}: {help}"
        );
    }
    assert_eq!(help.matches("takes a value").count(), 3);
}

#[test]
#[cfg(target_os = "linux")]
fn a_first_message_that_nobody_answers_is_not_understood() {
    // It resets what is no ClientHello.
    let server = Server::start(&["--framing", "tls"]);
    for (message, copies) in [(&["--token"][..], "unknown"), (&[], "not-tried")] {
        let output = run(&[&["probe", &server.address, "--json"], message].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let document = &json_lines(&output)[0];
        assert_eq!(document["verdict"], "not-understood", "{document:#}");
        assert_eq!(document["plain_first_byte_us"], Value::Null);
        assert_eq!(document["copies"], copies);
    }
    let words = run(&["probe", &server.address, "--token"]);
    let words = String::from_utf8(words.stdout).unwrap();
    assert!(
        words.contains(": not-understood\n") && words.contains("--tls NAME"),
        "{words}"
    );
}

#[test]
fn every_mode_is_served_and_told_line_by_line() {
    let server = Server::start(&[]);
    let modes = ["plain", "fastopen", "headstart"];
    for mode in modes {
        let output = run(&[
            "race",
            &server.address,
            "--mode",
            mode,
            "-n",
            "3",
            "--exchanges",
            "2",
            "--json",
        ]);
        assert!(output.status.success(), "{output:?}");
        let lines = json_lines(&output);
        let (summary, dials) = lines.split_last().unwrap();
        assert_eq!(dials.len(), 3);
        for (n, dial) in dials.iter().enumerate() {
            assert_eq!(
                (&dial["n"], &dial["ok"], &dial["mode"]),
                (&n.into(), &true.into(), &mode.into())
            );
            assert_eq!(dial["error"], Value::Null);
            assert!(dial["first_byte_us"].as_u64() <= dial["total_us"].as_u64());
            let attempts = dial["attempts"].as_array().unwrap();
            assert_eq!(attempts.len(), if mode == "headstart" { 2 } else { 1 });
            let won: Vec<_> = attempts.iter().filter(|a| a["outcome"] == "won").collect();
            assert_eq!(won.len(), 1);
            assert_eq!(won[0]["kind"], dial["winner"]);
            assert!(won[0]["started_us"].is_u64() && won[0]["first_byte_us"].is_u64());
            assert!(won[0]["reason"].is_null());
        }
        let line = output.stdout.split(|byte| *byte == b'\n').next().unwrap();
        let order = "n ok mode winner first_byte_us total_us syn_data bytes_copied error attempts";
        assert_eq!(keys(&dials[0], line).join(" "), order);
        let summary = &summary["summary"];
        assert_eq!((&summary["dials"], &summary["ok"]), (&3.into(), &3.into()));
        assert_eq!(summary["failed"], 0);
        assert!(summary["p50_us"].as_u64() <= summary["p99_us"].as_u64());
    }
    for _ in 0..9 {
        let admitted = server.expect("admitted");
        assert_eq!(admitted["bytes"], 512 + 24);
        assert!(admitted["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
        assert!(admitted["via"] == "plain" || admitted["via"] == "fastopen");
    }
    let (_, summary, status) = server.end(Signal::SIGTERM);
    assert!(status.success());
    assert_eq!(
        (&summary["first"], &summary["malformed"]),
        (&9.into(), &0.into())
    );
    assert_eq!(summary["duplicates"], 0);
}

#[test]
fn sigint_ends_it_too() {
    let (rest, summary, status) = Server::start(&[]).end(Signal::SIGINT);
    assert!(status.success() && rest.is_empty());
    assert_eq!(summary["accepted"], 0);
}

#[test]
fn people_get_words() {
    let server = Server::start(&[]);
    let output = run(&["race", &server.address, "-n", "2"]);
    let text = std::str::from_utf8(&output.stdout).unwrap();
    assert!(output.status.success());
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.contains("2 dialled, 2 ok"), "{text}");
    assert!(
        !text.contains('\x1b'),
        "colour where there is no terminal: {text}"
    );
}

#[test]
fn largest_flights_go_through() {
    let server = Server::start(&[]);
    for mode in ["plain", "fastopen", "headstart"] {
        let output = run(&[
            "race",
            &server.address,
            "--mode",
            mode,
            "--size",
            "16360",
            "--exchanges",
            "5",
            "--json",
        ]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(server.expect("admitted")["bytes"], 16384);
    }
}

#[test]
fn bytes_that_are_no_tls_are_malformed_and_harm_nobody() {
    let server = Server::start(&["--framing", "tls"]);
    let mut stranger = connect(&server);
    stranger.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let malformed = server.expect("malformed");
    assert!(malformed["reason"].as_str().unwrap().contains("TLS"));
    assert_eq!(
        malformed["peer"],
        stranger.local_addr().unwrap().to_string()
    );
    assert!(
        !matches!(stranger.read(&mut [0; 9]), Ok(1..)),
        "strangers get no echo"
    );

    let hello = client_hello();
    let mut client = connect(&server);
    client.write_all(&hello).unwrap();
    let mut back = vec![0; hello.len()];
    client.read_exact(&mut back).unwrap();
    assert_eq!(back, hello);
    assert_eq!(server.expect("admitted")["bytes"], hello.len());
    let (_, summary, _) = server.end(Signal::SIGTERM);
    assert_eq!(
        (&summary["malformed"], &summary["first"]),
        (&1.into(), &1.into())
    );
}

/// The shortest ClientHello that RFC 8446 section 4.1.2 allows for.
fn client_hello() -> Vec<u8> {
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &[0, 2, 0x13, 1],
        &[1, 0],
        &[0, 0],
    ]
    .concat();
    let length = u8::try_from(body.len()).unwrap();
    [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat()
}

#[test]
fn length_framing_is_four_bytes_big_endian() {
    let server = Server::start(&["--framing", "length"]);
    let mut client = connect(&server);
    client.write_all(b"\0\0\0\x02hi there").unwrap();
    let mut back = [0; 12];
    client.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"\0\0\0\x02hi there");
    assert_eq!(server.expect("admitted")["bytes"], 6);
}

#[test]
fn a_silent_client_is_timed_out_while_others_are_served() {
    let server = Server::start(&["--message-timeout", "0.3"]);
    let mut silent = connect(&server);
    silent.write_all(&message(1, b"half")[..26]).unwrap();
    assert!(run(&["race", &server.address]).status.success());
    let timeout = server.expect("timeout");
    assert_eq!(timeout["peer"], silent.local_addr().unwrap().to_string());
    assert_eq!(timeout["bytes"], 26);
    assert!(!matches!(silent.read(&mut [0]), Ok(1..)));
    let (_, summary, _) = server.end(Signal::SIGTERM);
    assert_eq!(
        (&summary["timeouts"], &summary["first"]),
        (&1.into(), &1.into())
    );
}

#[test]
fn a_client_that_goes_early_is_told_as_closed() {
    let server = Server::start(&[]);
    drop(connect(&server));
    assert_eq!(server.expect("closed")["bytes"], 0);
}

#[test]
fn a_copy_is_reset_unless_debouncing_is_off() {
    for (arguments, second) in [(&[][..], "duplicate"), (&["--no-debounce"], "admitted")] {
        let server = Server::start(arguments);
        let message = message(2, b"once");
        let mut first = connect(&server);
        first.write_all(&message).unwrap();
        server.expect("admitted");
        let mut copy = connect(&server);
        copy.write_all(&message).unwrap();
        let event = server.expect(second);
        assert_eq!(event["peer"], copy.local_addr().unwrap().to_string());
        let mut back = [0; 4];
        match copy.read_exact(&mut back) {
            Ok(()) => assert_eq!((second, &back), ("admitted", b"once")),
            Err(error) => assert_eq!(
                (second, error.kind()),
                ("duplicate", ErrorKind::ConnectionReset)
            ),
        }
        first.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"once");
    }
}

#[test]
fn the_echo_keeps_half_closes() {
    let server = Server::start(&[]);
    let mut client = connect(&server);
    client.write_all(&message(3, b"flight, ")).unwrap();
    client.write_all(b"and more").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut back = String::new();
    client.read_to_string(&mut back).unwrap();
    assert_eq!(back, "flight, and more");
}

#[test]
fn what_is_open_goes_on_for_a_while_after_a_signal_and_not_after_another() {
    let open = |number| {
        let server = Server::start(&[]);
        let mut client = connect(&server);
        client.write_all(&message(number, b"flight")).unwrap();
        server.expect("admitted");
        client.read_exact(&mut [0; 6]).unwrap();
        (server, client)
    };
    // Used to its end.
    let (server, mut client) = open(6);
    kill(server.pid(), Signal::SIGTERM).unwrap();
    thread::sleep(Duration::from_millis(200));
    client.write_all(b", and more").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut back = String::new();
    client.read_to_string(&mut back).unwrap();
    assert_eq!(back, ", and more");
    assert_eq!(server.next()["summary"]["finished"], 1);
    // Idle: for so long, or until the next signal.
    for again in [false, true] {
        let (server, _idle) = open(7);
        let began = Instant::now();
        kill(server.pid(), Signal::SIGINT).unwrap();
        if again {
            thread::sleep(Duration::from_millis(100));
            kill(server.pid(), Signal::SIGTERM).unwrap();
        }
        assert_eq!(server.next()["summary"]["finished"], 0);
        let took = began.elapsed();
        assert_eq!(took < Duration::from_millis(1500), again, "{took:?}");
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
}

#[test]
fn a_client_that_reads_nothing_harms_nobody() {
    let server = Server::start(&[]);
    let mut stuck = connect(&server);
    stuck.write_all(&message(4, b"")).unwrap();
    stuck
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let much = vec![0; 1 << 20];
    // Until neither buffer takes more: the echo holds no more than its own.
    while stuck.write_all(&much).is_ok() {}
    let output = run(&["race", &server.address, "-n", "20", "--json"]);
    assert!(output.status.success());
}

#[test]
fn many_connections_at_once() {
    let server = Server::start(&[]);
    let mut clients: Vec<_> = (0..900).map(|_| connect(&server)).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        let flight = index.to_be_bytes();
        let mut bytes = message(5, &flight);
        bytes[8..16].copy_from_slice(&flight);
        client.write_all(&bytes).unwrap();
    }
    for (index, client) in clients.iter_mut().enumerate() {
        let mut back = [0; 8];
        client.read_exact(&mut back).unwrap();
        assert_eq!(usize::from_be_bytes(back), index);
    }
    drop(clients);
    let (_, summary, _) = server.end(Signal::SIGTERM);
    assert_eq!(summary["first"], 900);
}

#[test]
fn a_first_message_over_the_limit_is_refused() {
    let server = Server::start(&["--message-max", "100"]);
    assert!(
        run(&["race", &server.address, "--size", "76"])
            .status
            .success()
    );
    let output = run(&["race", &server.address, "--size", "77", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let malformed = server.expect("malformed");
    assert!(
        malformed["reason"]
            .as_str()
            .unwrap()
            .contains("limit of 100 bytes")
    );
    let lines = json_lines(&output);
    assert_eq!(
        (&lines[0]["ok"], &lines[0]["winner"]),
        (&false.into(), &Value::Null)
    );
    assert!(
        lines[0]["attempts"]
            .as_array()
            .unwrap()
            .iter()
            .all(|a| a["outcome"] != "won")
    );
}

#[test]
fn a_refused_port_is_told_and_is_status_1() {
    let port = closed_port();
    for mode in ["plain", "fastopen", "headstart"] {
        let output = run(&["race", &port, "--mode", mode, "-n", "2", "--json"]);
        assert_eq!(output.status.code(), Some(1));
        let lines = json_lines(&output);
        for dial in &lines[..2] {
            assert_eq!(
                (&dial["ok"], &dial["first_byte_us"]),
                (&false.into(), &Value::Null)
            );
            let error = dial["error"].as_str().unwrap();
            assert!(
                error.contains("refused") && !error.contains('\n'),
                "{error}"
            );
            let attempts = dial["attempts"].as_array().unwrap();
            assert!(
                attempts
                    .iter()
                    .any(|attempt| attempt["outcome"] == "failed")
            );
        }
        let summary = &lines[2]["summary"];
        assert_eq!(
            (&summary["failed"], &summary["p50_us"]),
            (&2.into(), &Value::Null)
        );
    }
}

#[test]
fn an_unknown_host_is_told_and_is_status_1() {
    let output = run(&["race", "no-such-host.invalid:80", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let lines = json_lines(&output);
    let error = lines[0]["error"].as_str().unwrap();
    assert!(
        error.contains("no-such-host.invalid") && !error.contains('\n'),
        "{error}"
    );
    assert_eq!(lines[1]["summary"]["failed"], 1);
}

#[test]
fn what_is_no_echo_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.write_all(b"220 mail.example ready\r\n");
            let _ = stream.read(&mut [0; 1000]);
        }
    });
    let output = run(&["race", &address, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let error = json_lines(&output)[0]["error"].as_str().unwrap().to_owned();
    assert!(error.contains("not what was sent"), "{error}");
}

#[test]
fn silence_is_told_for_each_attempt() {
    // Accepts nothing and says nothing: connections open, and that is all.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for mode in ["plain", "fastopen", "headstart"] {
        let output = run(&[
            "race",
            &address,
            "--mode",
            mode,
            "--timeout",
            "0.3",
            "--json",
        ]);
        assert_eq!(output.status.code(), Some(1));
        let dial = &json_lines(&output)[0];
        assert_eq!(dial["error"], "no answer in 0.3 s");
        assert_eq!(
            (&dial["winner"], &dial["total_us"]),
            (&Value::Null, &Value::Null)
        );
        let attempts = dial["attempts"].as_array().unwrap();
        assert!(
            attempts
                .iter()
                .any(|attempt| attempt["reason"] == dial["error"]),
            "{dial}"
        );
        assert!(
            attempts.iter().all(|attempt| attempt["outcome"] != "won"),
            "{dial}"
        );
    }
}

#[test]
fn an_address_in_use_is_one_line_and_status_1() {
    let server = Server::start(&[]);
    let output = run(&["serve", &server.address]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let text = complaints(&output);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.contains(&server.address) && text.contains("in use"),
        "{text}"
    );
}

#[test]
fn a_reader_that_has_had_enough_is_no_panic() {
    let server = Server::start(&[]);
    for json in [&["--json"][..], &[]] {
        let arguments = [&["race", &server.address, "-n", "100000"], json].concat();
        let mut command = headstart(&arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let (status, complaint) = wait(child);
        assert!(
            status.success() && complaint.is_empty(),
            "{status}: {complaint}"
        );
    }
}

/// A command whose standard output nobody reads, at work on this port, if any.
fn unread(arguments: &[&str], port: &str) -> std::process::Child {
    let mut command = headstart(arguments);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let began = Instant::now();
    while !port.is_empty() && TcpStream::connect(port).is_err() && began.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(5));
    }
    child
}

#[test]
fn what_serves_goes_on_serving_when_nobody_reads() {
    for command in ["serve", "gate", "forward"] {
        let port = closed_port();
        let arguments = match command {
            "serve" => vec!["serve", &port, "--json", "--no-fastopen"],
            command => vec![command, "--listen", &port, "--to", "127.0.0.1:9"],
        };
        let mut child = unread(&arguments, &port);
        // Each connection is an event, too.
        for _ in 0..3 {
            drop(TcpStream::connect(&port));
            thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(child.try_wait().unwrap(), None, "{command}");
        assert!(TcpStream::connect(&port).is_ok(), "{command}");
        let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        let (status, complaint) = wait(child);
        assert!(status.success(), "{command}: {status}: {complaint}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_status_of_a_probe_is_its_verdict_even_unread() {
    let port = closed_port();
    for json in [&["--json"][..], &[]] {
        let child = unread(&[&["probe", &port], json].concat(), "");
        let (status, complaint) = wait(child);
        assert_eq!(status.code(), Some(1), "{complaint}");
    }
}

/// A memory that another user owns.
#[test]
fn a_memory_that_may_not_be_read_is_a_warning_and_no_end() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("headstart");
    std::fs::copy(env!("CARGO_BIN_EXE_headstart"), &program).unwrap();
    let file = folder.path().join("memory");
    std::fs::write(&file, "").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o0)).unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let mut command = std::process::Command::new(program);
    command.args(["forward", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:9"]);
    command.arg("--memory").arg(&file);
    if std::fs::metadata(&file).unwrap().uid() == 0 {
        // Root may read everything.
        command.uid(65_534);
    }
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 12];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"listening on");
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    let (status, complaint) = wait(child);
    assert!(status.success(), "{status}: {complaint}");
    assert!(complaint.contains("nothing is kept"), "{complaint}");
}

#[test]
fn fast_open_off_is_a_warning_with_its_remedy() {
    let output = headstart(&["serve", "127.0.0.1:0", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(300));
    kill(
        nix::unistd::Pid::from_raw(output.id() as i32),
        Signal::SIGTERM,
    )
    .unwrap();
    let output = output.wait_with_output().unwrap();
    let lines = json_lines(&output);
    let on = lines[0]["fast_open"].as_bool().unwrap();
    assert_eq!(complaints(&output).contains("net.ipv4.tcp_fastopen"), !on);
}

#[test]
fn manuals_and_completions_are_printed() {
    let whole = run(&["manual"]);
    assert!(whole.status.success() && whole.stdout.windows(3).any(|w| w == b".TH"));
    for command in ["demo", "race", "serve", "gate", "forward", "lab", "peers"] {
        let page = run(&["manual", command]);
        let text = String::from_utf8(page.stdout).unwrap();
        assert!(text.contains(&format!(".TH headstart-{command}")), "{text}");
    }
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let completions = run(&["manual", "--completions", shell]);
        let text = String::from_utf8(completions.stdout).unwrap();
        assert!(text.contains("proxy-protocol"), "{shell}: {text}");
    }
}

#[test]
fn every_page_that_is_referred_to_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("share/man1");
    let output = run(&["manual", "--into", pages.to_str().unwrap()]);
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
    let whole = std::fs::read_to_string(pages.join("headstart.1")).unwrap();
    assert_eq!(whole.as_bytes(), run(&["manual"]).stdout);
    let mut count = 0;
    for line in whole.lines().filter(|line| line.ends_with("(1)")) {
        // As in `headstart\-demo(1)`.
        let name = line.replace('\\', "").replace("(1)", ".1");
        let text = std::fs::read_to_string(pages.join(&name)).unwrap_or_default();
        assert!(text.contains(".TH headstart"), "{name}: {text}");
        count += 1;
    }
    assert_eq!(count, 10, "{whole}");
    let taken = folder.path().join("taken");
    std::fs::write(&taken, "").unwrap();
    let output = run(&["manual", "--into", taken.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaints(&output).contains("taken"), "{output:?}");
}

#[test]
fn values_are_completed() {
    for (shell, before, commands) in [
        ("bash", "--completions --help ", "demo doctor probe race"),
        ("zsh", "'::command", ":(demo doctor probe race"),
    ] {
        let completions = run(&["manual", "--completions", shell]);
        let text = String::from_utf8(completions.stdout).unwrap();
        let offered = text.lines().find(|line| line.contains(before));
        assert!(
            offered.is_some_and(|line| line.contains(commands)),
            "{shell}: {offered:?}"
        );
        #[cfg(target_os = "linux")]
        assert!(text.contains("lose-first-syn-ack"), "{shell}");
    }
}
