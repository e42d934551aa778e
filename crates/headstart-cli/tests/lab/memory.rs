//! `race --memory` and `peers`: what is remembered between runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use headstart_lab::{Lab, Rule};
use libtest_mimic::Trial;
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{Server, complaints, headstart, json_lines, run};
use crate::fast_open::{SERVER, fetch_cookie, lab_and_server, on_client};
use crate::trial;

pub(crate) fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 5] = [
        (
            "a_failure_is_remembered_between_runs",
            a_failure_is_remembered_between_runs,
        ),
        (
            "a_stalled_connection_is_remembered",
            a_stalled_connection_is_remembered,
        ),
        (
            "a_damaged_memory_is_begun_anew",
            a_damaged_memory_is_begun_anew,
        ),
        (
            "what_is_forgotten_stays_so_beside_a_forward",
            what_is_forgotten_stays_so_beside_a_forward,
        ),
        (
            "peers_are_listed_added_and_forgotten",
            peers_are_listed_added_and_forgotten,
        ),
    ];
    let trial = |(name, test)| trial(name, test);
    tests.into_iter().map(trial).collect()
}

fn file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("memory");
    (folder, name)
}

fn race(lab: &Lab, file: &Path, more: &[&str]) -> Output {
    let file = file.to_str().unwrap();
    on_client(
        lab,
        &[&["race", SERVER, "--memory", file, "--json"], more].concat(),
    )
}

fn peers(file: &Path, more: &[&str]) -> Output {
    let output = run(&[&["peers", file.to_str().unwrap()], more].concat());
    assert!(output.status.success(), "{output:?}");
    output
}

fn fast_open(dial: &Value) -> &Value {
    let attempts = dial["attempts"].as_array().unwrap();
    attempts.iter().find(|a| a["kind"] == "fastopen").unwrap()
}

fn assert_not_started(dial: &Value, trouble: &str) {
    let attempt = fast_open(dial);
    assert_eq!(attempt["outcome"], "not_started", "{dial}");
    let reason = attempt["reason"].as_str().unwrap();
    assert!(reason.contains(trouble), "{dial}");
    assert_eq!(dial["winner"], "plain", "{dial}");
}

fn a_failure_is_remembered_between_runs() {
    let (lab, _server) = lab_and_server();
    let (_folder, file) = file();
    fetch_cookie(&lab);
    lab.set_rule(Rule::DropSynWithData);
    // A busy machine may notice too late for a verdict: within a few dials.
    let output = race(&lab, &file, &["-n", "5"]);
    assert!(
        output.status.success() && complaints(&output).is_empty(),
        "{output:?}"
    );
    let dials = json_lines(&output);
    assert_ne!(
        fast_open(&dials[0])["outcome"],
        "not_started",
        "{}",
        dials[0]
    );
    assert_not_started(&dials[4], "its SYN is not answered");

    let again = json_lines(&race(&lab, &file, &[]));
    assert_not_started(&again[0], "its SYN is not answered");

    let listed = json_lines(&peers(&file, &["--json"]));
    let path = &listed[0];
    assert_eq!(path["peer"], SERVER);
    assert_eq!(
        (&path["fast_open"], &path["trouble"]),
        (&false.into(), &"dropped".into())
    );
    assert!(path["retry_ms"].as_u64() > path["noted_ms"].as_u64());
    let summary = &listed[1]["summary"];
    assert_eq!(
        (&summary["paths"], &summary["suspended"]),
        (&1.into(), &1.into())
    );
    let words = String::from_utf8(peers(&file, &[]).stdout).unwrap();
    assert!(
        words.contains("suspended for") && words.contains("paths: 1, "),
        "{words}"
    );

    let told = on_client(&lab, &["race", SERVER, "--memory", file.to_str().unwrap()]);
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("Fast Open not tried: its SYN"), "{told}");

    // Without the file each race is as the first.
    let output = on_client(&lab, &["race", SERVER, "--json"]);
    assert_ne!(fast_open(&json_lines(&output)[0])["outcome"], "not_started");

    lab.set_rule(Rule::Transparent);
    peers(&file, &["--forget", SERVER]);
    let output = race(&lab, &file, &["-n", "5"]);
    for dial in &json_lines(&output)[..5] {
        assert_ne!(fast_open(dial)["outcome"], "not_started", "{dial}");
    }
    let healthy = &json_lines(&peers(&file, &["--json"]))[0];
    assert_eq!(healthy["fast_open"], true, "{healthy}");
    assert!(healthy["trust"].as_u64().unwrap() > 0, "{healthy}");
}

fn a_stalled_connection_is_remembered() {
    let (lab, _server) = lab_and_server();
    let (_folder, file) = file();
    fetch_cookie(&lab);
    lab.set_rule(Rule::BlackholeAfter(4));
    let patience = ["--exchanges", "2", "--timeout", "1"];
    let output = race(&lab, &file, &patience);
    assert_eq!(output.status.code(), Some(1));
    let dial = &json_lines(&output)[0];
    assert_eq!(dial["winner"], "fastopen", "{dial}");
    assert!(
        dial["error"]
            .as_str()
            .unwrap()
            .contains("no further answer"),
        "{dial}"
    );
    let output = race(&lab, &file, &patience);
    assert!(output.status.success(), "{output:?}");
    assert_not_started(&json_lines(&output)[0], "its connection stalled");
    let listed = &json_lines(&peers(&file, &["--json"]))[0];
    assert_eq!(listed["trouble"], "stalled", "{listed}");
}

fn a_damaged_memory_is_begun_anew() {
    let (lab, _server) = lab_and_server();
    let (_folder, file) = file();
    let output = race(&lab, &file, &[]);
    assert!(
        output.status.success() && complaints(&output).is_empty(),
        "{output:?}"
    );
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, whole.replace("\"end\"", "\"and\"")).unwrap();
    let output = race(&lab, &file, &[]);
    assert!(output.status.success(), "{output:?}");
    assert!(
        complaints(&output).contains("damaged in line"),
        "{output:?}"
    );
    assert!(complaints(&peers(&file, &[])).is_empty(), "written anew");

    fs::write(&file, "something else\n").unwrap();
    let output = race(&lab, &file, &[]);
    assert!(output.status.success(), "{output:?}");
    assert!(complaints(&output).contains("left as it is"), "{output:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "something else\n");
    let output = run(&["peers", file.to_str().unwrap(), "--add", "h:1?f=1"]);
    assert_eq!(output.status.code(), Some(1));
}

fn what_is_forgotten_stays_so_beside_a_forward() {
    let (lab, _server) = lab_and_server();
    let (_folder, file) = file();
    fetch_cookie(&lab);
    lab.set_rule(Rule::DropSynWithData);
    race(&lab, &file, &["-n", "5"]);
    let name = file.to_str().unwrap();
    for forget in [false, true] {
        let arguments = [
            &["forward", "--listen", "127.0.0.1:0", "--to", SERVER],
            &["--memory", name, "--json"][..],
        ]
        .concat();
        let spawn = || Server::spawn(headstart(&arguments));
        let forward = lab.client().run(spawn).unwrap();
        if forget {
            peers(&file, &["--forget", SERVER]);
        }
        kill(forward.pid(), Signal::SIGTERM).unwrap();
        forward.expect("summary");
        let listed = json_lines(&peers(&file, &["--json"]));
        let paths = &listed.last().unwrap()["summary"]["paths"];
        assert_eq!(paths, i32::from(!forget), "{listed:?}");
    }
}

fn peers_are_listed_added_and_forgotten() {
    let (_folder, file) = file();
    let added = peers(
        &file,
        &[
            "--add",
            "id@Node.Example:7777?debounce=2&f=1",
            "--add",
            "[2001:db8::1]:1?debounce=2&f=1&pairing=1",
            "--add",
            "192.0.2.9:1",
            "--json",
        ],
    );
    let lines = json_lines(&added);
    let kinds: Vec<_> = lines[..3]
        .iter()
        .map(|line| line["kind"].as_str())
        .collect();
    assert_eq!(
        kinds,
        [Some("first-come"), Some("pairing"), Some("unaware")]
    );
    assert_eq!(lines[0]["url"], "id@node.example:7777?debounce=2&f=1");
    assert_eq!(lines[3]["summary"]["peers"], 3);
    let left = json_lines(&peers(&file, &["--forget", "[2001:db8::1]:1", "--json"]));
    assert_eq!(left[2]["summary"]["peers"], 2);
    let words = String::from_utf8(peers(&file, &[]).stdout).unwrap();
    assert!(
        words.contains("takes the first copy") && words.contains("not raced"),
        "{words}"
    );
    // Names are the same in all letters; of whom nothing is known is no success.
    let name = file.to_str().unwrap();
    for (status, known) in [(0, true), (1, false)] {
        let output = run(&["peers", name, "--forget", "NODE.example:7777", "--json"]);
        assert_eq!(output.status.code(), Some(status), "{output:?}");
        assert_eq!(complaints(&output).is_empty(), known, "{output:?}");
        assert_eq!(json_lines(&output)[1]["summary"]["peers"], 1);
    }

    // A peer that is said not to debounce is not raced.
    let (lab, _server) = lab_and_server();
    fetch_cookie(&lab);
    peers(&file, &["--add", SERVER]);
    let dial = &json_lines(&race(&lab, &file, &[]))[0];
    assert_not_started(dial, "not known to debounce");

    let output = headstart(&["peers", "x", "--add", "nonsense"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(complaints(&output).contains("port"), "{output:?}");
}
