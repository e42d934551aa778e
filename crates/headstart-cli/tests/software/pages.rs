//! Pages fetched and sent by curl and openssl: what comes is what was sent,
//! and in how many round trips.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use headstart_lab::{Rule, steadily};
use libtest_mimic::{Failed, Trial};
use nix::sys::signal::{Signal, kill};

use crate::common::{Server, headstart};
use crate::site::{FORWARD_TLS, FORWARD_TOKEN, NGINX_TLS, SIZES, Site, page};

const RTT: Duration = Duration::from_millis(100);
/// The machine's noise, in round trips.
const NOISE: f64 = 0.4;
/// Fetches of which the fastest counts: noise only adds.
const TRIES: usize = 20;
/// A ClientHello with one small key share fits into a SYN.
const SMALL_HELLO: [&str; 2] = ["--curves", "X25519"];

pub(crate) fn tests() -> Vec<Trial> {
    let mut trials = vec![
        trial("pages_come_whole_by_tls", || come_whole("tls")),
        trial("pages_come_whole_under_a_token", || come_whole("token")),
        trial("openssl_talks_through_both", openssl_talks_through_both),
        trial(
            "half_closed_connections_are_answered",
            half_closed_connections_are_answered,
        ),
        trial(
            "the_server_is_told_of_the_client",
            the_server_is_told_of_the_client,
        ),
    ];
    for rule in Rule::ALL {
        // Servers that know nothing of each other have no page in common, and
        // chance has its own benchmark.
        if !matches!(rule, Rule::Balance | Rule::RandomLoss { .. }) {
            trials.push(Trial::test(format!("round_trips::{rule}"), move || {
                steadily(|| round_trips(rule)).map_err(Failed::from)
            }));
        }
    }
    trials
}

fn trial(name: &str, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}

/// The site through both, and its address on the client.
fn through(site: &Site, framing: &str) -> (Server, Server, String) {
    let (gate, forward) = (site.gate(framing), site.forward(framing));
    let base = match framing {
        "tls" => format!("https://127.0.0.1:{FORWARD_TLS}"),
        _ => format!("http://127.0.0.1:{FORWARD_TOKEN}"),
    };
    (gate, forward, base)
}

fn come_whole(framing: &str) {
    let site = Site::start(RTT / 20);
    let (_gate, _forward, base) = through(&site, framing);
    let rules = [
        Rule::Transparent,
        Rule::DropSynWithData,
        Rule::DropServerDataAfterHandshake,
        Rule::LoseFirstSynAck,
    ];
    for rule in rules {
        site.under(rule);
        for size in SIZES {
            let fetched = site.curl(&[&format!("{base}/{size}")]);
            assert!(fetched.status.success(), "{rule}: {size}: {fetched:?}");
            assert!(fetched.stdout == page(size), "{rule}: {size} bytes differ");
            let sent = site.folder.join("www").join(size.to_string());
            let put = site.curl(&[
                "--upload-file",
                sent.to_str().unwrap(),
                &format!("{base}/up/{rule}-{size}"),
            ]);
            assert!(put.status.success(), "{rule}: {size}: {put:?}");
            let stored = site.folder.join(format!("www/up/{rule}-{size}"));
            assert!(
                fs::read(stored).unwrap() == page(size),
                "{rule}: {size} bytes up differ"
            );
        }
        // One connection, several requests.
        let url = format!("{base}/[1-1]");
        let kept = site.curl(&[
            "--write-out",
            "%{num_connects} ",
            &url,
            &url,
            &url,
            "--output",
            "/dev/null",
            "--output",
            "/dev/null",
            "--output",
            "/dev/null",
        ]);
        assert_eq!(
            String::from_utf8_lossy(&kept.stdout),
            "1 0 0 ",
            "{rule}: {kept:?}"
        );
    }
}

fn openssl_talks_through_both() {
    let site = Site::start(RTT / 20);
    let (_gate, _forward, _) = through(&site, "tls");
    let connect = format!("127.0.0.1:{FORWARD_TLS}");
    let talk = || {
        let mut openssl = Command::new("openssl")
            .args(["s_client", "-quiet", "-ign_eof", "-connect", &connect])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = openssl.stdin.take().unwrap();
        write!(
            stdin,
            "GET /65536 HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let output = openssl.wait_with_output().unwrap();
        drop(stdin);
        output
    };
    for rule in [Rule::Transparent, Rule::DropSynAck] {
        site.under(rule);
        let output = site.lab.client().run(talk).unwrap();
        assert!(
            output.stdout.starts_with(b"HTTP/1.1 200"),
            "{rule}: {output:?}"
        );
        assert!(
            output.stdout.ends_with(&page(65_536)),
            "{rule}: the page differs"
        );
    }
}

/// A gate before a server of the test's, and a forward to it at port 4001 of
/// the client's own.
fn between(site: &Site, to: &str, arguments: &[&str]) -> (Server, Server) {
    let listen = format!("{}:4000", site.address());
    let gate = ["gate", "--json", "--listen", &listen, "--to", to];
    let gate = headstart(&[&gate, arguments].concat());
    let gate = site.lab.server().run(|| Server::spawn(gate)).unwrap();
    let forward = [
        "forward",
        "--json",
        "--listen",
        "127.0.0.1:4001",
        "--to",
        &listen,
    ];
    let forward = headstart(&forward);
    let forward = site.lab.client().run(|| Server::spawn(forward)).unwrap();
    (gate, forward)
}

/// A server that answers only when the client has ended, and a client that
/// ends and then reads: 32 MiB both ways.
fn half_closed_connections_are_answered() {
    const BIG: usize = 32 << 20;
    let site = Site::start(RTT / 20);
    let listening = site
        .lab
        .server()
        .run(|| TcpListener::bind("127.0.0.1:0").unwrap());
    let listener = listening.unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let server = site.lab.server().spawn(move || {
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            all.reverse();
            stream.write_all(&all).unwrap();
        }
    });
    let _between = between(&site, &to, &[]);
    for rule in [Rule::Transparent, Rule::DropSynWithData, Rule::DropSynAck] {
        site.under(rule);
        let answer = site.lab.client().run(|| {
            let mut stream = TcpStream::connect("127.0.0.1:4001").unwrap();
            stream.write_all(&page(BIG)).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            answer.reverse();
            answer
        });
        assert!(answer.unwrap() == page(BIG), "{rule}: another answer");
    }
    server.unwrap().join().unwrap();
}

fn the_server_is_told_of_the_client() {
    let site = Site::start(RTT / 20);
    let listening = site
        .lab
        .server()
        .run(|| TcpListener::bind("127.0.0.1:0").unwrap());
    let listener = listening.unwrap();
    let to = listener.local_addr().unwrap().to_string();
    let _between = between(&site, &to, &["--proxy-protocol", "v1", "--threads", "2"]);
    let client = site.lab.client().spawn(|| {
        let mut stream = TcpStream::connect("127.0.0.1:4001").unwrap();
        stream.write_all(b"hello").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    let (mut stream, _) = listener.accept().unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    drop(stream);
    client.unwrap().join().unwrap();
    let (header, rest) = all.split_once("\r\n").unwrap();
    let words: Vec<_> = header.split(' ').collect();
    let (client, server) = ("192.0.2.1", site.address());
    assert_eq!(words[..4], ["PROXY", "TCP4", client, server.as_str()]);
    assert_eq!((words[5], rest), ("4000", "hello"));
}

/// A page by TLS takes one round trip less than straight with the cookie
/// cached, and never more.
fn round_trips(rule: Rule) -> Result<(), String> {
    let site = Site::start(RTT);
    let (_gate, mut forward, base) = through(&site, "tls");
    let straight = format!("https://{}:{NGINX_TLS}/1", site.address());
    let through = format!("{base}/1");
    // The first fetches a cookie.
    fetch(&site, &through)?;
    site.under(rule);
    // Handshake, TLS and request take one each.
    let most = match rule {
        // The last is for servers whose cookies came by the older option.
        Rule::Transparent | Rule::DuplicateSyn { .. } | Rule::DropSynWithExperimentalOption => 2.0,
        // Dies after the choice, wherever Fast Open is chosen.
        Rule::BlackholeAfter(_) => {
            let page = ["--max-time", "6", "--output", "/dev/null", &through];
            let is_lost = |_| !site.curl(&page).status.success();
            if !(0..TRIES).any(is_lost) {
                return Err("pages over a dead path".into());
            }
            // It remembers over a restart.
            kill(forward.pid(), Signal::SIGTERM).map_err(|error| error.to_string())?;
            forward.expect("summary");
            drop(std::mem::replace(&mut forward, site.forward("tls")));
            3.0
        }
        _ => 3.0,
    };
    let (mut best, mut plain) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..TRIES {
        plain = plain.min(fetch(&site, &straight)?);
        best = best.min(fetch(&site, &through)?);
        if best < most + NOISE && plain < 3.0 + NOISE {
            break;
        }
    }
    let right = best > most - 0.05 && best < most + NOISE && plain > 2.95;
    match right {
        true => Ok(()),
        false => Err(format!(
            "{best:.2} round trips instead of {most}; straight {plain:.2}"
        )),
    }
}

/// How many round trips a page takes.
fn fetch(site: &Site, url: &str) -> Result<f64, String> {
    let arguments = ["--write-out", "%{time_total}", "--output", "/dev/null", url];
    let fetched = site.curl(&[&SMALL_HELLO[..], &arguments].concat());
    let text = String::from_utf8_lossy(&fetched.stdout).into_owned();
    match text.parse::<f64>() {
        Ok(seconds) if fetched.status.success() => Ok(seconds / RTT.as_secs_f64()),
        _ => Err(format!("{url}: {fetched:?}")),
    }
}
