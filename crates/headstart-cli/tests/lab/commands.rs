//! `headstart lab`: two commands across a path.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{PATIENCE, complaints, headstart, json_lines, run, wait};
use crate::trial;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        trial(
            "commands_meet_across_the_path",
            commands_meet_across_the_path,
        ),
        trial("it_ends_as_the_client_does", it_ends_as_the_client_does),
        trial("packets_are_recorded", packets_are_recorded),
        trial(
            "a_file_that_cannot_be_made_is_named",
            a_file_that_cannot_be_made_is_named,
        ),
        trial("nothing_survives_its_end", nothing_survives_its_end),
        trial("nothing_survives_a_signal", nothing_survives_a_signal),
        trial(
            "a_balanced_server_is_there_twice",
            a_balanced_server_is_there_twice,
        ),
        trial("rules_take_values", rules_take_values),
        trial(
            "waiting_is_told_at_a_terminal",
            waiting_is_told_at_a_terminal,
        ),
    ]
}

const HEADSTART: &str = env!("CARGO_BIN_EXE_headstart");

/// `race` against `serve` over a path.
fn race(arguments: &[&str], server: &str) -> Output {
    let serve = ["--", HEADSTART, "serve", server, "---"];
    let client = [HEADSTART, "race", "--json", server];
    run(&[&["lab"], arguments, &serve[..], &client].concat())
}

fn commands_meet_across_the_path() {
    for (rule, winner) in [("transparent", "fastopen"), ("drop-syn-with-data", "plain")] {
        for server in ["{server}:4000", "[{server6}]:4000"] {
            let output = race(&["--cookie", "--rtt", "60", "--rule", rule], server);
            assert!(output.status.success(), "{output:?}");
            let lines = json_lines(&output);
            assert_eq!(lines[0]["winner"], winner, "{rule}: {lines:?}");
            // What the server says is no data of the client's.
            assert!(complaints(&output).contains("admitted"), "{output:?}");
        }
    }
}

fn it_ends_as_the_client_does() {
    let listening = [HEADSTART, "serve", "{server}:4000", "---"];
    let lab = |client: &[&str]| run(&[&["lab", "--"], &listening[..], client].concat());
    assert_eq!(lab(&["sh", "-c", "exit 7"]).status.code(), Some(7));
    assert_eq!(
        lab(&["sh", "-c", "kill -9 $$"]).status.code(),
        Some(128 + 9)
    );
    let told = lab(&["sh", "-c", "echo $HEADSTART_SERVER {client}"]);
    assert_eq!(told.stdout, b"192.0.2.2 192.0.2.1\n");
    let blocked = lab(&["grep", "SigBlk", "/proc/self/status"]);
    assert_eq!(blocked.stdout, b"SigBlk:\t0000000000000000\n");
    for (arguments, status, why) in [
        (&["lab", "--", "true", "---", "true"][..], 1, "has ended"),
        (&["lab", "--", "true"], 2, "two commands"),
        (
            &["lab", "--", "no-such-program", "---", "true"],
            1,
            "no-such-program",
        ),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        assert!(complaints(&output).contains(why), "{output:?}");
    }
    let wrong = run(&["lab", "--rule", "nonsense", "--", "true", "---", "true"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(complaints(&wrong).contains("drop-syn-with-data"));
}

fn packets_are_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("path.pcap");
    let output = race(
        &["--rtt", "1", "--pcap", file.to_str().unwrap()],
        "{server}:4000",
    );
    assert!(output.status.success(), "{output:?}");
    let bytes = fs::read(file).unwrap();
    // A section header block (draft-ietf-opsawg-pcapng, section 4.1).
    assert_eq!(bytes[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    assert!(bytes.len() > 1_000, "{} bytes", bytes.len());
}

fn a_file_that_cannot_be_made_is_named() {
    let output = run(&[
        "lab",
        "--pcap",
        "/nonexistent/x",
        "--",
        "true",
        "---",
        "true",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let why = complaints(&output);
    assert!(
        why.contains("/nonexistent/x") && !why.contains("cannot run"),
        "{why}"
    );
}

/// A server's command that has children and an orphan, which it does not end. All add their numbers to a file.
const SERVER: &str = "echo $$ >> $F; (sleep 1000 & echo $! >> $F); \
                      $H serve {server}:4000 & echo $! >> $F; wait; true";
/// A client's command of the same kind.
const CLIENT: &str = "echo $$ >> $F; sleep 1000 & echo $! >> $F; wait";

/// Starts a lab; the numbers of its processes are in the file.
fn lab(file: &Path, client: &str) -> std::process::Child {
    let mut command = headstart(&["lab", "--", "sh", "-c", SERVER, "---", "sh", "-c", client]);
    command.env("F", file).env("H", HEADSTART);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// The processes of a lab.
fn processes(file: &Path) -> Vec<i32> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let whole = text.lines().filter_map(|line| line.parse().ok());
    whole.collect()
}

/// Those that live.
fn living(file: &Path) -> Vec<i32> {
    let lives = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        !state.is_empty() && !state.starts_with(['Z', 'X'])
    };
    let mut all = processes(file);
    all.retain(lives);
    all
}

fn wait_until(mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "it does not come to pass");
        thread::sleep(Duration::from_millis(5));
    }
}

fn nothing_survives_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("processes");
    let client = "until [ $(wc -l < $F) = 3 ]; do sleep 0.1; done; exit 3";
    let (status, _) = wait(lab(&file, client));
    assert_eq!(status.code(), Some(3));
    assert_eq!((processes(&file).len(), living(&file)), (3, vec![]));
}

fn nothing_survives_a_signal() {
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGKILL,
    ] {
        if is_ignored(signal) {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("processes");
        let lab = lab(&file, CLIENT);
        wait_until(|| processes(&file).len() == 5);
        kill(Pid::from_raw(lab.id().try_into().unwrap()), signal).unwrap();
        let (status, _) = wait(lab);
        if signal == Signal::SIGKILL {
            // There is nobody to wait for: the lab ends itself.
            wait_until(|| living(&file).is_empty());
        } else {
            assert_eq!(status.code(), Some(128 + signal as i32), "{signal}");
        }
        assert_eq!(living(&file), [0; 0], "{signal}");
    }
}

/// Whether whoever runs the tests ignores it (nohup, shells for what is in the background), and so the lab.
fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = u64::from_str_radix(ignored.unwrap().trim(), 16).unwrap();
    ignored >> (signal as i32 - 1) & 1 == 1
}

fn a_balanced_server_is_there_twice() {
    let server = "{server}:4000";
    let serve = ["--", HEADSTART, "serve", server, "---"];
    let probe = [HEADSTART, "probe", server, "--token", "--json"];
    let output = run(&[&["lab", "--rule", "balance"], &serve[..], &probe].concat());
    let document = &json_lines(&output)[0];
    assert_eq!(document["verdict"], "cookies-differ", "{document:#}");
    assert_eq!(output.status.code(), Some(1));
}

fn rules_take_values() {
    let output = race(
        &["--rtt", "1", "--rule", "blackhole-after=9"],
        "{server}:4000",
    );
    assert!(output.status.success(), "{output:?}");
    for wrong in ["blackhole-after=x", "balance=2", "none"] {
        let output = run(&["lab", "--rule", wrong, "--", "true", "---", "true"]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(complaints(&output).contains(wrong), "{output:?}");
    }
}

fn waiting_is_told_at_a_terminal() {
    let terminal = nix::pty::openpty(None, None).unwrap();
    let mut command = headstart(&["lab", "--", "sleep", "1000", "---", "true"]);
    command.env("TERM", "xterm").stdout(Stdio::null());
    let mut lab = command.stderr(terminal.slave).spawn().unwrap();
    // It holds the other end.
    drop(command);
    let mut said = String::new();
    let mut screen = fs::File::from(terminal.master);
    let mut bytes = [0; 1000];
    while !said.contains("waiting for the server") {
        let read = screen.read(&mut bytes).unwrap_or(0);
        assert!(read > 0, "nothing was told: {said}");
        said.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    kill(Pid::from_raw(lab.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    thread::spawn(move || while screen.read(&mut bytes).is_ok_and(|read| read > 0) {});
    assert_eq!(
        lab.wait().unwrap().code(),
        Some(128 + Signal::SIGTERM as i32)
    );
}
