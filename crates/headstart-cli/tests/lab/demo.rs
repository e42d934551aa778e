//! `headstart demo`, as a program reads it.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::Value;

use crate::common::run;
use crate::trial;

/// The demo may take no longer.
const LONGEST: Duration = Duration::from_secs(60);
/// Round trips beyond the ideal.
const TOLERANCE: f64 = 0.1;
/// Runs, in one of which each path must keep to the tolerance: others may be
/// using the machine.
const RUNS: usize = 5;

/// Paths on which Headstart must answer in the round trip of Fast Open.
const AS_FAST_OPEN: [&str; 3] = ["transparent", "duplicate-syn", "blackhole-after"];
/// Paths on which it must do as well as plain TCP.
const AS_PLAIN: [&str; 19] = [
    "first-contact",
    "server-without-fast-open",
    "drop-syn-with-data",
    "drop-syn-with-option",
    "drop-syn-with-experimental-option",
    "drop-syn-with-any-option",
    "strip-option",
    "strip-option-and-data",
    "cut-data",
    "drop-syn-ack",
    "drop-server-data-after-handshake",
    "blackhole-after-handshake",
    "blackhole-after-1",
    "blackhole-after-2",
    "reset-syn",
    "unreachable-syn",
    "lose-first-syn",
    "lose-first-syn-ack",
    "lose-first-server-data",
];
/// Paths on which a debouncer that serves the first copy must lose.
const LOST: [&str; 5] = [
    "drop-syn-ack",
    "drop-server-data-after-handshake",
    "blackhole-after-handshake",
    "blackhole-after-1",
    "blackhole-after-2",
];

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        trial(
            "the_demo_shows_what_headstart_promises",
            the_demo_shows_what_headstart_promises,
        ),
        trial("the_table_tells_of_failures", the_table_tells_of_failures),
    ]
}

fn demo() -> Value {
    let began = Instant::now();
    let output = run(&["demo", "--json"]);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    assert!(began.elapsed() < LONGEST);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn column<'a>(document: &'a Value, path: &str, mode: &str) -> &'a Value {
    let rows = document["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["path"] == path).unwrap();
    let modes = row["modes"].as_array().unwrap();
    modes.iter().find(|column| column["mode"] == mode).unwrap()
}

fn the_demo_shows_what_headstart_promises() {
    let mut late: Option<Vec<(&str, f64)>> = None;
    for _ in 0..RUNS {
        let document = demo();
        check_facts(&document);
        let again = late_answers(&document);
        let both = late.map(|late| {
            let is_late = |path: &str| again.iter().any(|(other, _)| *other == path);
            late.into_iter().filter(|(path, _)| is_late(path)).collect()
        });
        let still = both.unwrap_or(again);
        if still.is_empty() {
            return;
        }
        late = Some(still);
    }
    panic!("too late in each of {RUNS} runs: {late:#?}");
}

/// What holds however busy the machine is.
fn check_facts(document: &Value) {
    assert_eq!(document["rows"].as_array().unwrap().len(), 23);
    for (path, mode) in [
        ("transparent", "headstart"),
        ("transparent", "fastopen"),
        ("duplicate-syn", "headstart"),
        ("duplicate-syn", "fastopen"),
    ] {
        let column = column(document, path, mode);
        assert_eq!(
            (&column["winner"], &column["syn_data"]),
            (&"fastopen".into(), &true.into())
        );
    }
    for row in document["rows"].as_array().unwrap() {
        let balanced = row["path"] == "balance";
        for column in row["modes"].as_array().unwrap() {
            for dial in column["dials"].as_array().unwrap() {
                if dial["error"].is_null() && !balanced {
                    assert_eq!(dial["admissions"], 1, "{}: {dial}", row["path"]);
                }
                assert!(dial["admissions"].as_u64().unwrap() <= 2);
            }
        }
    }
    for path in LOST {
        for mode in ["fastopen", "firstcome"] {
            let column = column(document, path, mode);
            assert_eq!(column["round_trips"], Value::Null, "{path}");
            assert_eq!(column["error"], "no answer in 3 s", "{path}");
        }
    }
    let alone = column(document, "reset-syn", "fastopen");
    assert!(
        alone["error"].as_str().unwrap().contains("refused"),
        "{alone}"
    );
    let alone = column(document, "drop-syn-with-experimental-option", "fastopen");
    assert!(
        alone["round_trips"].as_f64().unwrap() > 10.0,
        "the option was not used: {alone}"
    );
}

/// The paths that were slower than the tolerance allows, and by what.
fn late_answers(document: &Value) -> Vec<(&'static str, f64)> {
    let fast = AS_FAST_OPEN.map(|path| (path, 1.0));
    let plain = AS_PLAIN.map(|path| (path, 2.0));
    let late = fast
        .into_iter()
        .chain(plain)
        .filter_map(|(path, expected)| {
            let column = column(document, path, "headstart");
            let Some(trips) = column["round_trips"].as_f64() else {
                panic!("{path}: {column}");
            };
            assert!(
                trips >= expected - 0.01,
                "{path}: faster than light: {trips}"
            );
            (trips > expected + TOLERANCE).then_some((path, trips))
        });
    late.collect()
}

fn the_table_tells_of_failures() {
    let output = run(&["demo", "--rtt", "20"]);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let text = std::str::from_utf8(&output.stdout).unwrap();
    assert!(!text.contains('\x1b'), "colour where there is no terminal");
    let row = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap();
    assert!(
        row("answers a SYN with data by a reset").contains("refused at 0."),
        "{text}"
    );
    assert!(
        row("drops the answer to a SYN with data").contains("no answer in 2.7 s [1]"),
        "{text}"
    );
    assert!(
        row("[1] a server that only debounces").contains("turned away"),
        "{text}"
    );
}
