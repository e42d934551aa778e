//! `headstart lab`: two commands across a path.

use std::process::Output;

use libtest_mimic::Trial;

use crate::common::{complaints, json_lines, run};

pub(crate) fn tests() -> Vec<Trial> {
    let test = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    vec![
        test(
            "commands_meet_across_the_path",
            commands_meet_across_the_path,
        ),
        test("it_ends_as_the_client_does", it_ends_as_the_client_does),
        test("packets_are_recorded", packets_are_recorded),
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
    for (arguments, why) in [
        (&["lab", "--", "true", "---", "true"][..], "has ended"),
        (&["lab", "--", "true"], "two commands"),
        (
            &["lab", "--", "no-such-program", "---", "true"],
            "no-such-program",
        ),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
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
    let bytes = std::fs::read(file).unwrap();
    // A section header block (draft-ietf-opsawg-pcapng, section 4.1).
    assert_eq!(bytes[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    assert!(bytes.len() > 1_000, "{} bytes", bytes.len());
}
