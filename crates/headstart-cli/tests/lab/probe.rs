//! `headstart probe` over every middlebox: its verdict names what the path does.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use headstart_lab::{Family, Host, Lab, Rule, Way, steadily};
use headstart_socket::status::Counters;
use headstart_socket::{Kind, ListenOptions, Options, close_abortively, connect, listen};
use libtest_mimic::{Failed, Trial};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};
use serde_json::Value;

use crate::common::{PATIENCE, Server, headstart};

const RTT: Duration = Duration::from_millis(50);
const PORT: u16 = 4000;
/// Paths judged at a time.
const AT_A_TIME: usize = 6;

type Test = fn() -> Result<(), Failed>;

/// What the server speaks, and so the probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    /// A gate that expects Tokens, with these arguments of `headstart serve`.
    Token(&'static [&'static str]),
    /// A TLS server that knows nothing of races.
    Tls,
    /// A server that answers a line, and closes when its client does.
    Line,
}

/// What the client has in its cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cache {
    Empty,
    Cookie,
    /// A cookie of the experimental option.
    Experimental,
}

/// The verdict on a path, for a client without cookie.
fn expected(rule: Rule) -> &'static str {
    match rule {
        // The kernel asks by kind 34; the copy, and what balances plain connections, is not seen.
        Rule::Transparent
        | Rule::DropSynWithExperimentalOption
        | Rule::DuplicateSyn { .. }
        | Rule::RandomLoss { .. } => "works",
        Rule::DropSynWithData | Rule::LoseFirstSyn => "syn-data-dropped",
        Rule::DropSynWithOption | Rule::DropSynWithAnyOption => "syn-option-dropped",
        Rule::StripOption | Rule::StripOptionAndData => "no-cookie",
        Rule::CutData => "syn-data-cut",
        Rule::DropSynAck => "syn-ack-dropped",
        Rule::DropServerDataAfterHandshake => "server-data-dropped",
        Rule::BlackholeAfterHandshake => "blackholed",
        Rule::BlackholeAfter(0 | 1) => "syn-ack-dropped",
        Rule::BlackholeAfter(2) => "blackholed",
        Rule::BlackholeAfter(_) => "dies-later",
        Rule::ResetSyn => "syn-data-refused",
        Rule::UnreachableSyn => "syn-data-unreachable",
        Rule::LoseFirstSynAck => "syn-ack-late",
        Rule::LoseFirstServerData => "server-data-late",
        Rule::Balance => "cookies-differ",
        rule => panic!("a rule without verdict: {rule}"),
    }
}

pub(crate) fn tests() -> Vec<Trial> {
    let tests: [(&str, Test); 15] = [
        ("names_every_middlebox_to_a_gate", || {
            judge_all(every_rule(Speech::Token(&[])))
        }),
        ("names_every_middlebox_to_a_tls_server", || {
            judge_all(every_rule(Speech::Tls))
        }),
        ("names_every_middlebox_to_any_server", || {
            judge_all(every_rule(Speech::Line))
        }),
        ("counts_the_packets_that_pass", packets),
        ("makes_do_with_an_old_cookie", old_cookies),
        ("sees_what_the_server_does_with_copies", || steadily(copies)),
        ("sees_a_server_without_fast_open", || {
            steadily(server_without_fast_open)
        }),
        ("sees_that_nothing_listens", || steadily(nothing_listens)),
        ("sees_that_every_other_dial_is_refused", || {
            steadily(every_other_is_refused)
        }),
        ("sees_that_no_way_leads_there", || steadily(no_way)),
        ("sees_that_there_is_no_route", || steadily(no_route)),
        ("sees_that_the_server_is_stuck", || {
            steadily(server_is_stuck)
        }),
        ("sees_that_the_client_is_off", || steadily(client_is_off)),
        ("sees_that_the_client_is_paused", || {
            steadily(client_is_paused)
        }),
        ("tells_people", || steadily(words)),
    ];
    let trial = |(name, test): (&str, Test)| Trial::test(format!("probe_{name}"), test);
    tests.into_iter().map(trial).collect()
}

/// A path, and the verdict on it.
#[derive(Clone, Copy, Debug)]
struct Case {
    family: Family,
    speech: Speech,
    cache: Cache,
    rule: Rule,
    verdict: &'static str,
}

impl Case {
    fn new(speech: Speech, rule: Rule) -> Self {
        Self {
            family: Family::V4,
            speech,
            cache: Cache::Empty,
            rule,
            verdict: expected(rule),
        }
    }
}

fn every_rule(speech: Speech) -> Vec<Case> {
    let cases = Rule::ALL.map(|rule| Case::new(speech, rule));
    let v6 = cases.iter().filter(|case| {
        let rules = [
            Rule::Transparent,
            Rule::DropSynWithData,
            Rule::UnreachableSyn,
        ];
        speech == Speech::Tls && rules.contains(&case.rule)
    });
    let v6 = v6.map(|case| Case {
        family: Family::V6,
        ..*case
    });
    v6.chain(cases.iter().copied()).collect()
}

fn packets() -> Result<(), Failed> {
    let cases = [1, 2, 3].map(|count| Case::new(Speech::Token(&[]), Rule::BlackholeAfter(count)));
    judge_all(cases.to_vec())
}

fn old_cookies() -> Result<(), Failed> {
    let cases = [
        (Rule::Transparent, Cache::Cookie, "works"),
        (Rule::StripOption, Cache::Cookie, "syn-data-ignored"),
        (Rule::StripOptionAndData, Cache::Cookie, "syn-data-ignored"),
        (Rule::CutData, Cache::Cookie, "syn-data-ignored"),
        (Rule::DropSynWithData, Cache::Cookie, "syn-data-dropped"),
        (Rule::DropSynWithOption, Cache::Cookie, "syn-option-dropped"),
        (
            Rule::DropSynWithAnyOption,
            Cache::Experimental,
            "syn-option-dropped",
        ),
        (
            Rule::DropSynWithExperimentalOption,
            Cache::Experimental,
            "syn-option-dropped",
        ),
        (Rule::DropSynWithOption, Cache::Experimental, "works"),
    ];
    let case = |(rule, cache, verdict)| Case {
        cache,
        verdict,
        ..Case::new(Speech::Tls, rule)
    };
    judge_all(cases.map(case).to_vec())
}

/// Judges some paths at a time: almost all of the time is waiting.
fn judge_all(mut cases: Vec<Case>) -> Result<(), Failed> {
    // Taken from the end: what takes longest begins first.
    cases.sort_by_key(|case| {
        ["blackholed", "syn-ack-dropped", "dies-later"].contains(&case.verdict)
    });
    let (cases, failures) = (Mutex::new(cases), Mutex::new(Vec::new()));
    let next = || cases.lock().unwrap().pop();
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(case) = next() {
                    if let Err(error) = steadily(|| judge(case)) {
                        let why = error.message().unwrap_or_default();
                        failures.lock().unwrap().push(format!("{case:?}: {why}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    match failures.is_empty() {
        true => Ok(()),
        false => Err(failures.join("\n").into()),
    }
}

/// The probe's verdict on a path.
fn judge(case: Case) -> Result<(), Failed> {
    let Case {
        speech,
        rule,
        verdict,
        ..
    } = case;
    let site = Site::build(case.family, speech, case.cache);
    site.lab.set_rule(rule);
    let document = site.probe()?;
    check(document["verdict"] == verdict, verdict, &document)?;
    if document["plain_first_byte_us"].is_null() {
        return Err(format!("plain TCP does not mind: {document:#}").into());
    }
    // Plain packets pass everywhere, so what the server does with copies shows on every path.
    let copies = match speech {
        Speech::Token(_) => &["debounces", "pairs"][..],
        Speech::Tls => &["serves-both"],
        Speech::Line => &["not-tried"],
    };
    let seen = document["copies"].as_str().unwrap_or_default();
    let one_server = rule != Rule::Balance;
    check(
        !one_server || copies.contains(&seen),
        &copies.join(" or "),
        &document,
    )
}

fn copies() -> Result<(), Failed> {
    for (speech, rule, expected) in [
        (Speech::Token(&[]), Rule::Transparent, "pairs"),
        (Speech::Token(&[]), Rule::BlackholeAfterHandshake, "pairs"),
        (Speech::Token(&[]), Rule::StripOption, "debounces"),
        (
            Speech::Token(&["--no-pairing"]),
            Rule::Transparent,
            "debounces",
        ),
        (
            Speech::Token(&["--no-pairing"]),
            Rule::BlackholeAfterHandshake,
            "debounces",
        ),
        (
            Speech::Token(&["--no-debounce"]),
            Rule::Transparent,
            "serves-both",
        ),
        (Speech::Tls, Rule::Transparent, "serves-both"),
    ] {
        let site = Site::build(Family::V4, speech, Cache::Empty);
        site.lab.set_rule(rule);
        let document = site.probe()?;
        check(document["copies"] == expected, expected, &document)?;
    }
    Ok(())
}

fn server_without_fast_open() -> Result<(), Failed> {
    let site = Site::build(Family::V4, Speech::Tls, Cache::Empty);
    site.lab.server().set_fast_open(0x1)?;
    let document = site.probe()?;
    check(document["verdict"] == "no-cookie", "no-cookie", &document)?;
    check(document["cookie"] == "none", "no cookie", &document)
}

fn nothing_listens() -> Result<(), Failed> {
    let lab = Lab::builder().rtt(RTT).build()?;
    let site = Site {
        lab,
        family: Family::V4,
        speech: Speech::Tls,
        _servers: Vec::new(),
    };
    let document = site.probe()?;
    check(
        document["verdict"] == "server-refused",
        "server-refused",
        &document,
    )
}

/// Behind a balancer, one of two servers is down.
fn every_other_is_refused() -> Result<(), Failed> {
    for speech in [Speech::Token(&[]), Speech::Line] {
        let lab = Lab::builder().rtt(RTT).rule(Rule::Balance).build()?;
        let address = SocketAddr::new(lab.server_addr(Family::V4), PORT);
        let site = Site {
            _servers: serve(lab.server(), address, speech).into_iter().collect(),
            lab,
            family: Family::V4,
            speech,
        };
        let document = site.probe()?;
        check(document["verdict"] == "mixed", "mixed", &document)?;
    }
    Ok(())
}

fn no_way() -> Result<(), Failed> {
    for (way, verdict) in [
        (Way::Dead, "server-silent"),
        (Way::Unreachable, "server-unreachable"),
    ] {
        let site = Site::build(Family::V4, Speech::Tls, Cache::Empty);
        site.lab.set_way(site.lab.server_addr(Family::V4), way);
        let document = site.probe()?;
        check(document["verdict"] == verdict, verdict, &document)?;
    }
    Ok(())
}

/// The kernel says so before a packet is sent.
fn no_route() -> Result<(), Failed> {
    let lab = Lab::builder().rtt(RTT).build()?;
    for mode in [&["--tls", "test.invalid"][..], &[]] {
        let arguments = [&["probe", "198.51.100.1:80", "--json"], mode].concat();
        let output = lab.client().run(|| headstart(&arguments).output())??;
        if output.stdout.is_empty() {
            return Err(format!("{output:?}").into());
        }
        let document: Value = serde_json::from_slice(&output.stdout)?;
        let verdict = "server-unreachable";
        check(document["verdict"] == verdict, verdict, &document)?;
        let error = document["dials"][0]["error"].as_str().unwrap_or_default();
        check(error.contains("unreachable"), "its reason", &document)?;
        check(output.status.code() == Some(1), "the status", &document)?;
    }
    Ok(())
}

/// It accepts nothing: its backlog is full after a few dials, and it is no fault of the path's.
fn server_is_stuck() -> Result<(), Failed> {
    for backlog in [1, 2] {
        let lab = Lab::builder().rtt(RTT).build()?;
        let address = SocketAddr::new(lab.server_addr(Family::V4), PORT);
        let options = ListenOptions::new().backlog(backlog);
        let _listening = lab.server().run(|| listen(address, &options))??;
        let address = address.to_string();
        let arguments = ["probe", &address, "--json", "--timeout", "1.5"];
        let output = lab.client().run(|| headstart(&arguments).output())??;
        let document: Value = serde_json::from_slice(&output.stdout)?;
        let verdict = "server-silent";
        check(document["verdict"] == verdict, verdict, &document)?;
    }
    Ok(())
}

/// The kernel pauses when SYNs with data have timed out.
fn client_is_paused() -> Result<(), Failed> {
    let site = Site::build(Family::V4, Speech::Tls, Cache::Cookie);
    let client = site.lab.client();
    client.set_sysctl("net.ipv4.tcp_fastopen_blackhole_timeout_sec", "3600")?;
    site.lab.set_rule(Rule::DropSynAck);
    let address = SocketAddr::new(site.lab.server_addr(Family::V4), PORT);
    let dial = || {
        connect(address, Kind::FastOpen, b"x", &Options::new())
            .unwrap()
            .stream
    };
    let _silent = client.run(dial)?;
    let paused = || Counters::read().is_ok_and(|counters| counters.blackhole == Some(1));
    let began = Instant::now();
    while !client.run(paused)? {
        if began.elapsed() > PATIENCE {
            return Err("the kernel does not pause".into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    site.lab.set_rule(Rule::Transparent);
    let document = site.probe()?;
    check(
        document["verdict"] == "client-paused",
        "client-paused",
        &document,
    )
}

fn client_is_off() -> Result<(), Failed> {
    let site = Site::build(Family::V4, Speech::Tls, Cache::Empty);
    site.lab.client().set_fast_open(0x2)?;
    let document = site.probe()?;
    check(document["verdict"] == "client-off", "client-off", &document)
}

fn words() -> Result<(), Failed> {
    let site = Site::build(Family::V4, Speech::Tls, Cache::Empty);
    let arguments = ["probe", "192.0.2.2:4000", "--tls", "test.invalid"];
    let run = || headstart(&arguments).output();
    let output = site.lab.client().run(run)??;
    let text = String::from_utf8(output.stdout)?;
    for part in [
        "192.0.2.2:4000: works\n",
        "round trip",
        "first byte of the answer after 5",
        "4 of 4 dials worked",
        "given by the server now",
        "fits into one SYN",
        "answered both copies",
    ] {
        if !text.contains(part) {
            return Err(format!("{part:?} is not in {text}").into());
        }
    }
    let quiet = output.status.success() && output.stderr.is_empty() && !text.contains('\x1b');
    quiet.then_some(()).ok_or_else(|| text.into())
}

/// A lab with its servers.
struct Site {
    lab: Lab,
    family: Family,
    speech: Speech,
    _servers: Vec<Server>,
}

impl Site {
    fn build(family: Family, speech: Speech, cache: Cache) -> Self {
        let lab = Lab::builder().rtt(RTT).build().unwrap();
        let address = SocketAddr::new(lab.server_addr(family), PORT);
        let mut servers = Vec::new();
        for host in [lab.server(), lab.second_server()] {
            servers.extend(serve(host, address, speech));
        }
        if cache == Cache::Experimental {
            // The kernel asks in the experimental way once a server gave no cookie.
            lab.server().set_fast_open(0x1).unwrap();
            dial(&lab, address);
            lab.server().set_fast_open(0x3).unwrap();
        }
        if cache != Cache::Empty {
            dial(&lab, address);
        }
        Self {
            lab,
            family,
            speech,
            _servers: servers,
        }
    }

    fn probe(&self) -> Result<Value, Failed> {
        let address = SocketAddr::new(self.lab.server_addr(self.family), PORT).to_string();
        let mut arguments = vec!["probe", &address, "--json"];
        arguments.extend(match self.speech {
            Speech::Token(_) => &["--token"][..],
            Speech::Tls => &["--tls", "test.invalid"],
            Speech::Line => &[],
        });
        let output = self.lab.client().run(|| headstart(&arguments).output())??;
        if !output.stderr.is_empty() {
            return Err(format!("{output:?}").into());
        }
        let document: Value = serde_json::from_slice(&output.stdout)?;
        let status = i32::from(document["verdict"] != "works");
        check(
            output.status.code() == Some(status),
            "the exit status",
            &document,
        )?;
        Ok(document)
    }
}

fn check(holds: bool, expected: &str, document: &Value) -> Result<(), Failed> {
    match holds {
        true => Ok(()),
        false => Err(format!("not {expected}: {document:#}").into()),
    }
}

/// Dials with Fast Open, waits until it is open, and resets.
fn dial(lab: &Lab, address: SocketAddr) {
    let dial = || {
        connect(address, Kind::FastOpen, b"x", &Options::new())
            .unwrap()
            .stream
    };
    let stream = lab.client().run(dial).unwrap();
    while stream.peer_addr().is_err() {
        thread::sleep(Duration::from_millis(1));
    }
    close_abortively(stream).unwrap();
}

fn serve(host: &Host, address: SocketAddr, speech: Speech) -> Option<Server> {
    let answer: Arc<dyn Fn(TcpStream) + Send + Sync> = match speech {
        Speech::Token(extra) => {
            let address = address.to_string();
            let arguments = [&["serve", &address, "--json"], extra].concat();
            let serve = || Server::spawn(headstart(&arguments));
            return Some(host.run(serve).unwrap());
        }
        Speech::Tls => {
            let config = config();
            Arc::new(move |stream| answer_tls(stream, &config))
        }
        Speech::Line => Arc::new(answer_line),
    };
    let bind = || listen(address, &ListenOptions::new()).unwrap().listener;
    let listener: TcpListener = host.run(bind).unwrap();
    listener.set_nonblocking(false).unwrap();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || answer(stream));
        }
    });
    None
}

fn config() -> Arc<ServerConfig> {
    let own = rcgen::generate_simple_self_signed(vec!["test.invalid".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key);
    Arc::new(config.unwrap())
}

/// Shakes hands, and reads until the client closes.
fn answer_tls(mut stream: TcpStream, config: &Arc<ServerConfig>) {
    let mut tls = ServerConnection::new(Arc::clone(config)).unwrap();
    while tls.complete_io(&mut stream).is_ok_and(|(read, _)| read > 0) {}
}

/// Answers whatever comes by a line, and closes when the client does.
fn answer_line(mut stream: TcpStream) {
    let mut buffer = [0; 512];
    if stream.read(&mut buffer).is_ok_and(|read| read > 0) {
        let _ = stream.write_all(b"220 a server\r\n");
    }
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
}
