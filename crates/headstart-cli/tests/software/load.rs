//! Load by wrk: through a gate, and to nginx alone.

use std::process::Command;

use std::time::Duration;

use libtest_mimic::Trial;

use crate::site::{GATE_TLS, NGINX_TLS, Site};

pub(crate) fn tests() -> Vec<Trial> {
    vec![Trial::test("every_request_of_a_load_is_answered", || {
        every_request_of_a_load_is_answered();
        Ok(())
    })]
}

/// What wrk counted.
#[derive(Debug)]
struct Load {
    requests: f64,
    text: String,
}

fn wrk(site: &Site, port: u16, close: bool) -> Load {
    let url = format!("https://{}:{port}/1", site.address());
    let mut command = Command::new("wrk");
    command.args(["--threads", "2", "--connections", "64", "--duration", "3s"]);
    if close {
        command.args(["--header", "Connection: close"]);
    }
    // On the server itself: the path is no part of this.
    let output = site
        .lab
        .server()
        .run(|| command.arg(&url).output().unwrap())
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"));
    Load {
        requests: line.unwrap().trim().parse().unwrap(),
        text,
    }
}

fn every_request_of_a_load_is_answered() {
    let site = Site::start(Duration::from_millis(1));
    let _gate = site.gate("tls");
    for close in [false, true] {
        let (alone, through) = (wrk(&site, NGINX_TLS, close), wrk(&site, GATE_TLS, close));
        for load in [&alone, &through] {
            let wrong = load.text.contains("Non-2xx") || load.text.contains("Socket errors");
            assert!(load.requests > 0.0 && !wrong, "{}", load.text);
        }
        println!(
            "wrk, {}: {:.0} requests a second to nginx alone, {:.0} through the gate: {:.2}",
            if close {
                "a connection each"
            } else {
                "64 connections kept"
            },
            alone.requests,
            through.requests,
            through.requests / alone.requests
        );
    }
}
