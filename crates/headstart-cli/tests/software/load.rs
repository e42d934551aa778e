//! Load by wrk: to nginx alone, through haproxy, which copies TCP as the gate
//! does, and through the gate.

use std::fs;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::site::{GATE_TLS, NGINX_TLS, Process, Site, spawn};

const HAPROXY_TLS: u16 = 9443;
const WAYS: [(&str, u16); 3] = [
    ("nginx alone", NGINX_TLS),
    ("haproxy", HAPROXY_TLS),
    ("the gate", GATE_TLS),
];
/// How often each way is tried, in turns. What is built for debugging is not
/// worth more.
const ROUNDS: usize = if cfg!(debug_assertions) { 1 } else { 5 };

pub(crate) fn tests() -> Vec<Trial> {
    vec![Trial::test("every_request_of_a_load_is_answered", || {
        every_request_of_a_load_is_answered();
        Ok(())
    })]
}

/// What wrk asks for.
struct Load {
    name: &'static str,
    /// The page's size.
    size: usize,
    connections: u16,
    /// A connection for each request.
    closes: bool,
}

const LOADS: [Load; 3] = [
    Load {
        name: "1 byte a page, 64 connections kept",
        size: 1,
        connections: 64,
        closes: false,
    },
    Load {
        name: "1 byte a page, a connection each",
        size: 1,
        connections: 64,
        closes: true,
    },
    Load {
        name: "32 MiB a page, 4 connections kept",
        size: 32 << 20,
        connections: 4,
        closes: false,
    },
];

impl Load {
    /// Pages a second that are had at this port, every one of them right.
    fn run(&self, site: &Site, port: u16) -> f64 {
        let url = format!("https://{}:{port}/{}", site.address(), self.size);
        let mut command = Command::new("wrk");
        command.args(["--threads", "2", "--duration", "2s", "--timeout", "20s"]);
        command.args(["--connections", &self.connections.to_string()]);
        if self.closes {
            command.args(["--header", "Connection: close"]);
        }
        // On the server itself: the path is no part of this.
        let run = || command.arg(&url).output().unwrap();
        let output = site.lab.server().run(run).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let rate = text
            .lines()
            .find_map(|line| line.strip_prefix("Requests/sec:"))
            .map_or(0.0, |rate| rate.trim().parse().unwrap());
        let wrong = text.contains("Non-2xx") || text.contains("Socket errors");
        assert!(rate > 0.0 && !wrong, "{url}: {text}");
        rate
    }
}

fn every_request_of_a_load_is_answered() {
    let site = Site::start(Duration::from_millis(1));
    let _gate = site.gate("tls");
    let _haproxy = haproxy(&site);
    for load in &LOADS {
        let mut rates = [const { Vec::new() }; WAYS.len()];
        for _ in 0..ROUNDS {
            for ((_, port), rates) in WAYS.iter().zip(&mut rates) {
                rates.push(load.run(&site, *port));
            }
        }
        let rates = rates.map(median);
        let alone = rates[0];
        let told = WAYS.iter().zip(rates).map(|((name, _), rate)| {
            let ratio = rate / alone;
            format!("{name} {rate:.0} ({ratio:.2})")
        });
        let told: Vec<_> = told.collect();
        println!("{}: pages a second: {}", load.name, told.join(", "));
    }
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// haproxy before nginx as the gate is: one thread, TCP, splice(2) where it
/// thinks that it helps.
fn haproxy(site: &Site) -> Process {
    let configuration = site.folder.join("haproxy.cfg");
    let address = site.address();
    let text = format!(
        "global
    nbthread 1
defaults
    mode tcp
    option splice-auto
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen site
    bind {address}:{HAPROXY_TLS}
    server nginx 127.0.0.1:{NGINX_TLS}
"
    );
    fs::write(&configuration, text).unwrap();
    let mut command = Command::new("haproxy");
    command.arg("-f").arg(configuration);
    let process = spawn(site.lab.server(), command);
    site.until_answering(site.lab.server(), &address, HAPROXY_TLS);
    process
}
