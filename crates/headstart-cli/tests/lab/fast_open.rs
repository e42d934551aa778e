//! `serve` and `race` on two hosts.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Output, Stdio};
use std::thread;
use std::time::Duration;

use headstart_lab::{Lab, Rule};
use headstart_socket::{Kind, Options, connect};
use headstart_tokio::core::framing::token::{Header, Id};
use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use crate::common::{PATIENCE, Server, headstart, json_lines};
use crate::trial;

const RTT: Duration = Duration::from_millis(50);
pub(crate) const SERVER: &str = "192.0.2.2:4000";
/// Round trips beyond the ideal that a busy machine may need.
const TOLERANCE: f64 = 0.2;
/// Dials, so that one that was held up does not matter.
const DIALS: usize = 5;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        trial(
            "a_race_is_won_by_data_in_the_syn",
            a_race_is_won_by_data_in_the_syn,
        ),
        trial(
            "copies_are_joined_unless_that_is_off",
            copies_are_joined_unless_that_is_off,
        ),
        trial(
            "a_pair_is_finished_after_a_signal",
            a_pair_is_finished_after_a_signal,
        ),
        trial(
            "a_closed_port_with_a_cached_cookie_is_refused",
            a_closed_port_with_a_cached_cookie_is_refused,
        ),
        trial(
            "a_server_without_fast_open_says_so",
            a_server_without_fast_open_says_so,
        ),
        trial(
            "waiting_takes_no_processor_time",
            waiting_takes_no_processor_time,
        ),
    ]
}

pub(crate) fn lab_and_server() -> (Lab, Server) {
    let lab = Lab::builder().rtt(RTT).build().unwrap();
    let serve = || Server::spawn(headstart(&["serve", SERVER, "--json"]));
    let server = lab.server().run(serve).unwrap();
    (lab, server)
}

/// Runs the command on the client's host.
pub(crate) fn on_client(lab: &Lab, arguments: &[&str]) -> Output {
    lab.client()
        .run(|| headstart(arguments).output().unwrap())
        .unwrap()
}

pub(crate) fn fetch_cookie(lab: &Lab) {
    let output = on_client(lab, &["race", SERVER, "--mode", "fastopen"]);
    assert!(output.status.success(), "{output:?}");
}

fn round_trips(micros: &Value) -> f64 {
    micros.as_u64().unwrap() as f64 / RTT.as_micros() as f64
}

fn assert_near(micros: &Value, expected: f64, what: &Value) {
    let trips = round_trips(micros);
    assert!(
        trips >= expected - 0.01,
        "{trips} round trips instead of {expected}: {what}"
    );
    assert!(
        trips <= expected + TOLERANCE,
        "{trips} round trips instead of {expected}: {what}"
    );
}

fn a_race_is_won_by_data_in_the_syn() {
    let (lab, server) = lab_and_server();
    assert_eq!(server.listening["fast_open"], true);
    fetch_cookie(&lab);
    let dials = DIALS.to_string();
    for (mode, expected, winner) in [
        ("headstart", 1.0, "fastopen"),
        ("fastopen", 1.0, "fastopen"),
        ("plain", 2.0, "plain"),
    ] {
        let arguments = ["race", SERVER, "--mode", mode, "-n", &dials, "--json"];
        let output = on_client(&lab, &arguments);
        assert!(output.status.success(), "{output:?}");
        let lines = json_lines(&output);
        for dial in &lines[..DIALS] {
            assert_eq!(dial["winner"], winner, "{dial}");
            assert_eq!(dial["syn_data"], winner == "fastopen", "{dial}");
            assert!(
                round_trips(&dial["first_byte_us"]) >= expected - 0.01,
                "{dial}"
            );
            for attempt in dial["attempts"].as_array().unwrap() {
                assert!(attempt["started_us"].as_u64().unwrap() < 10_000, "{dial}");
            }
        }
        assert_near(&lines[DIALS]["summary"]["p50_us"], expected, &lines[DIALS]);
    }
    // Late copies have arrived, and were turned away.
    thread::sleep(RTT * 4);
    let (events, summary, status) = server.end(Signal::SIGTERM);
    assert!(status.success());
    assert_eq!(
        summary["first"],
        3 * DIALS + 1,
        "one admission for each dial: {summary}"
    );
    let admitted: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "admitted")
        .collect();
    let by_fast_open = admitted
        .iter()
        .filter(|event| event["via"] == "fastopen")
        .count();
    assert_eq!(by_fast_open, 2 * DIALS);
}

/// Where the first answer to a SYN with data is lost, only a server that pairs
/// answers on the other connection.
fn copies_are_joined_unless_that_is_off() {
    for (extra, event, slow) in [
        (&[][..], "paired", false),
        (&["--no-pairing"], "duplicate", true),
    ] {
        let lab = Lab::builder().rtt(RTT).build().unwrap();
        let arguments = [&["serve", SERVER, "--json"], extra].concat();
        let serve = || Server::spawn(headstart(&arguments));
        let server = lab.server().run(serve).unwrap();
        assert_eq!(server.listening["pairing"], !slow);
        fetch_cookie(&lab);
        lab.set_rule(Rule::LoseFirstSynAck);
        let output = on_client(&lab, &["race", SERVER, "--json"]);
        assert!(output.status.success(), "{output:?}");
        let dial = &json_lines(&output)[0];
        assert_eq!(round_trips(&dial["first_byte_us"]) > 5.0, slow, "{dial}");
        let (events, summary, _) = server.end(Signal::SIGTERM);
        assert!(events.iter().any(|e| e["event"] == event), "{events:?}");
        // The cookie's dial, and this one.
        assert_eq!(summary["first"], 2, "{summary}");
        assert_eq!(summary["joined"], u64::from(!slow), "{summary}");
    }
}

/// The server is told to end while a pair is open, and the client goes on.
fn a_pair_is_finished_after_a_signal() {
    let (lab, server) = lab_and_server();
    fetch_cookie(&lab);
    let address = SERVER.parse().unwrap();
    let header = Header {
        id: Id([7; 16]),
        flight_len: 5,
        resets_losers: true,
    };
    let message = [&header.encode()[..], b"hello"].concat();
    let id = server.pid();
    let end = || {
        let copy = connect(address, Kind::FastOpen, &message, &Options::new()).unwrap();
        let mut copy = copy.stream;
        copy.set_nonblocking(false).unwrap();
        copy.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut back = [0; 5];
        copy.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"hello");
        kill(id, Signal::SIGTERM).unwrap();
        thread::sleep(RTT * 4);
        assert!(
            TcpStream::connect(SERVER).is_err(),
            "it listens after the signal"
        );
        copy.write_all(b", and more").unwrap();
        copy.shutdown(Shutdown::Write).unwrap();
        let mut back = String::new();
        copy.read_to_string(&mut back).unwrap();
        assert_eq!(back, ", and more");
    };
    lab.client().run(end).unwrap();
    let ended = server.expect("pair_ended");
    assert_eq!(ended["via"], "fastopen", "{ended}");
    let summary = &server.next()["summary"];
    // The cookie's dial, and this one.
    assert_eq!(summary["finished"], 2, "{summary}");
    assert_eq!(summary["won_by_fast_open"], 1, "{summary}");
}

fn a_closed_port_with_a_cached_cookie_is_refused() {
    let (lab, _server) = lab_and_server();
    fetch_cookie(&lab);
    // Cookies belong to addresses, so the one for port 4000 is used here too.
    for mode in ["headstart", "fastopen", "plain"] {
        let output = on_client(&lab, &["race", "192.0.2.2:4001", "--mode", mode, "--json"]);
        assert_eq!(output.status.code(), Some(1));
        let dial = &json_lines(&output)[0];
        let error = dial["error"].as_str().unwrap();
        assert!(error.contains("refused") && !error.contains('\n'), "{dial}");
        let attempts = dial["attempts"].as_array().unwrap();
        assert!(
            attempts
                .iter()
                .all(|attempt| attempt["outcome"] == "failed"),
            "{dial}"
        );
        assert_eq!(attempts.len(), if mode == "headstart" { 2 } else { 1 });
    }
}

fn a_server_without_fast_open_says_so() {
    let lab = Lab::builder().build().unwrap();
    lab.server().set_fast_open(0x1).unwrap();
    let serve = || Server::spawn(headstart(&["serve", SERVER, "--json"]));
    let server = lab.server().run(serve).unwrap();
    assert_eq!(server.listening["fast_open"], false);
    let state = server.listening["fast_open_state"].as_str().unwrap();
    assert!(state.contains("0x2"), "{state}");
}

fn waiting_takes_no_processor_time() {
    let (lab, _server) = lab_and_server();
    fetch_cookie(&lab);
    lab.set_rule(Rule::DropSynAck);
    let fast_open = (lab, ["--mode", "fastopen"]);
    let far = Duration::from_secs(10);
    let in_handshake = |mode| (Lab::builder().rtt(far).build().unwrap(), ["--mode", mode]);
    for (lab, mode) in [fast_open, in_handshake("plain"), in_handshake("headstart")] {
        let arguments = [&["race", SERVER, "--timeout", "1.5"][..], &mode].concat();
        let start = || headstart(&arguments).stdout(Stdio::null()).spawn().unwrap();
        let mut race = lab.client().run(start).unwrap();
        thread::sleep(Duration::from_secs(1));
        let ticks = processor_ticks(race.id());
        assert!(ticks < 20, "{mode:?}: {ticks} hundredths of a second");
        assert_eq!(race.wait().unwrap().code(), Some(1));
    }
}

/// Processor time of a process, `utime` and `stime` of proc(5), in hundredths
/// of a second.
fn processor_ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let times = stat.split(' ').skip(13).take(2);
    times.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}
