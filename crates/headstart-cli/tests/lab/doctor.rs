//! `headstart doctor` on hosts that are set up right, and wrong in one way each.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use headstart_lab::{Host, Lab, Rule};
use headstart_socket::{
    CookieKey, Kind, ListenOptions, Options, Progress, QueueLen, close_abortively, connect, listen,
};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::common::{Server, headstart};
use crate::trial;

const PORT: u16 = 4000;
const SERVER: &str = "192.0.2.2:4000";
const RTT: Duration = Duration::from_millis(20);
/// How long the kernel may take for what the tests provoke.
const PATIENCE: Duration = Duration::from_secs(10);

/// The ways to set a host up wrong.
const WRONG: [(&str, fn()); 24] = [
    ("client_switch_is_off", client_switch_is_off),
    ("server_switch_is_off", server_switch_is_off),
    ("clients_asked_in_vain", clients_asked_in_vain),
    ("data_is_sent_without_cookie", data_is_sent_without_cookie),
    ("data_is_taken_without_cookie", data_is_taken_without_cookie),
    ("all_listeners_do_fast_open", all_listeners_do_fast_open),
    ("remedies_agree", remedies_agree),
    ("syn_cookies_always", syn_cookies_always),
    (
        "what_was_wrong_leaves_no_trace",
        what_was_wrong_leaves_no_trace,
    ),
    ("black_hole_pause", black_hole_pause),
    ("syns_with_data_are_lost", syns_with_data_are_lost),
    ("cookies_are_refused", cookies_are_refused),
    ("listener_is_missing", listener_is_missing),
    ("listener_without_option", listener_without_option),
    (
        "listeners_with_different_keys",
        listeners_with_different_keys,
    ),
    ("queue_is_short_and_full", queue_is_short_and_full),
    ("backlog_is_short_and_full", backlog_is_short_and_full),
    ("somaxconn_is_low", somaxconn_is_low),
    ("few_ephemeral_ports", few_ephemeral_ports),
    ("ephemeral_ports_used_up", ephemeral_ports_used_up),
    ("time_wait_is_not_reused", time_wait_is_not_reused),
    ("few_descriptors", few_descriptors),
    ("nobody_reads_on", nobody_reads_on),
    ("loopback_is_down", loopback_is_down),
];

pub(crate) fn tests() -> Vec<Trial> {
    let right: [(&str, fn()); 3] = [
        ("has_nothing_to_say_of_a_right_host", right_host),
        ("has_nothing_to_say_of_a_right_server", right_server),
        ("changes_nothing", changes_nothing),
    ];
    let all = right.into_iter().chain(WRONG);
    let trial = |(name, test): (&str, fn())| trial(format!("doctor_{name}"), test);
    all.map(trial).collect()
}

fn right_host() {
    let lab = lab();
    let report = Report::of(lab.server(), &[]);
    report.is_clean();
    assert_eq!(report.get("loopback")["status"], "ok");
    assert_eq!(report.code, Some(0));
}

fn right_server() {
    let lab = lab();
    let server = lab
        .server()
        .run(|| Server::spawn(headstart(&["serve", SERVER, "--json"])));
    let _server = server.unwrap();
    dial_for_cookie(&lab);
    let report = Report::of(lab.server(), &["--port", "4000"]);
    report.is_clean();
    let option = report.get("listener-option");
    assert!(
        option["found"].as_str().unwrap().contains("queue 4096"),
        "{option}"
    );
    let backlog = report.get("backlog");
    assert!(
        backlog["found"]
            .as_str()
            .unwrap()
            .contains("headstart, pid"),
        "{backlog}"
    );
    // The client has its cookie, and no finding.
    lab.client().set_fast_open(0x3).unwrap();
    let report = Report::of(lab.client(), &[]);
    report.is_clean();
    let cookies = report.get("cookies")["found"].as_str().unwrap();
    assert!(
        cookies.starts_with("cookies of servers in the cache: 1 "),
        "{cookies}"
    );
}

/// Settings are as they were, no connection is left, and people get words.
fn changes_nothing() {
    let lab = lab();
    let settings = || {
        let names = fs::read_dir("/proc/sys/net/ipv4").unwrap();
        let mut settings: Vec<_> = names
            .flatten()
            // The key comes to be when the first listener needs one.
            .filter(|entry| entry.file_name() != "tcp_fastopen_key")
            .filter_map(|entry| Some((entry.path(), fs::read_to_string(entry.path()).ok()?)))
            .collect();
        settings.sort();
        settings
    };
    let before = lab.server().run(settings).unwrap();
    assert!(before.len() > 100);
    let output = lab
        .server()
        .run(|| headstart(&["doctor"]).output().unwrap())
        .unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("All is well") && !text.contains('\x1b'),
        "{text}"
    );
    assert_eq!(lab.server().run(settings).unwrap(), before);
    let sockets = || fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    let sockets = lab.server().run(sockets).unwrap();
    assert_eq!(sockets.lines().count(), 1, "{sockets}");
}

fn client_switch_is_off() {
    let lab = lab();
    lab.server().set_fast_open(0x2).unwrap();
    let remedy = "sysctl -w net.ipv4.tcp_fastopen=3";
    Report::of(lab.server(), &[]).only("problem", "client-switch", remedy, &["loopback"]);
}

fn server_switch_is_off() {
    let lab = lab();
    lab.server().set_fast_open(0x1).unwrap();
    let remedy = "sysctl -w net.ipv4.tcp_fastopen=3";
    Report::of(lab.server(), &[]).only("warning", "server-switch", remedy, &["loopback"]);
    let _listener = listener(lab.server(), ListenOptions::new());
    let report = Report::of(lab.server(), &["--port", "4000"]);
    report.only("problem", "server-switch", remedy, &["loopback"]);
    report.only(
        "problem",
        "server-switch",
        "docker run --sysctl net.ipv4.tcp_fastopen=3",
        &["loopback"],
    );
}

fn clients_asked_in_vain() {
    let lab = lab();
    lab.server().set_fast_open(0x1).unwrap();
    let _listener = listener(lab.server(), ListenOptions::new());
    dial_for_cookie(&lab);
    let report = Report::of(lab.server(), &[]);
    report.has("warning", "accepted", "sysctl -w net.ipv4.tcp_fastopen=3");
    let accepted = report.get("accepted");
    assert!(
        accepted["why"].as_str().unwrap().contains("0x2"),
        "{accepted}"
    );
}

/// Data without a cookie is not accepted, so the exchange is not tried.
fn data_is_sent_without_cookie() {
    bits(0x7, "warning", "client-without-cookie", &["loopback"]);
}

/// Such a server gives no cookies, as the exchange shows.
fn data_is_taken_without_cookie() {
    let report = bits(0x203, "problem", "server-without-cookie", &["loopback"]);
    report.has("problem", "loopback", "sysctl -w net.ipv4.tcp_fastopen=3");
}

fn all_listeners_do_fast_open() {
    bits(0x403, "warning", "all-listeners", &[]);
}

fn bits(bits: u32, status: &str, name: &str, follow: &[&str]) -> Report {
    let lab = lab();
    lab.server().set_fast_open(bits).unwrap();
    let remedy = "sysctl -w net.ipv4.tcp_fastopen=3";
    let report = Report::of(lab.server(), &[]);
    report.only(status, name, remedy, follow);
    report
}

/// Typed one after the other, they mend all that is wrong.
fn remedies_agree() {
    for bits in [0x0, 0x607] {
        let lab = lab();
        let host = lab.server();
        host.set_fast_open(bits).unwrap();
        for command in Report::of(host, &[]).commands() {
            if command.contains("net.ipv4.tcp_fastopen=") {
                let type_it = || Command::new("sh").args(["-c", &command]).output().unwrap();
                let typed = host.run(type_it).unwrap();
                assert!(typed.status.success(), "{typed:?}");
            }
        }
        Report::of(host, &[]).is_clean();
    }
}

fn syn_cookies_always() {
    let lab = lab();
    syn_cookies(lab.server(), "2");
    let remedy = "sysctl -w net.ipv4.tcp_syncookies=1";
    let report = Report::of(lab.server(), &[]);
    report.only("problem", "syn-cookies", remedy, &["loopback"]);
    let loopback = report.get("loopback");
    assert_eq!(loopback["status"], "unknown", "{loopback}");
    let found = loopback["found"].as_str().unwrap();
    assert!(found.contains("SYN cookie"), "{found}");
}

fn syn_cookies(host: &Host, value: &str) {
    host.set_sysctl("net.ipv4.tcp_syncookies", value).unwrap();
}

/// The doctor's own exchange is nothing to warn of later.
fn what_was_wrong_leaves_no_trace() {
    let lab = lab();
    let host = lab.server();
    // With a cookie, data is sent.
    Report::of(host, &[]).is_clean();
    for (spoil, mend) in [
        (&|| host.set_fast_open(0x7).unwrap(), &|| {
            host.set_fast_open(0x3).unwrap()
        }),
        (&|| syn_cookies(host, "2"), &|| syn_cookies(host, "1")),
    ] as [(&dyn Fn(), &dyn Fn()); 2]
    {
        spoil();
        assert_eq!(Report::of(host, &[]).get("loopback")["status"], "unknown");
        mend();
        Report::of(host, &[]).is_clean();
    }
    let counters = || headstart_socket::status::Counters::read().unwrap();
    assert_eq!(host.run(counters).unwrap().active_fail, Some(0));
}

/// The kernel pauses when SYNs with data have timed out; the remedy ends the pause.
fn black_hole_pause() {
    const TIMEOUT: &str = "net.ipv4.tcp_fastopen_blackhole_timeout_sec";
    let lab = lab();
    let _listener = listener(lab.server(), ListenOptions::new());
    dial_for_cookie(&lab);
    lab.client().set_fast_open(0x3).unwrap();
    lab.client().set_sysctl(TIMEOUT, "3600").unwrap();
    Report::of(lab.client(), &[]).is_clean();
    lab.set_rule(Rule::DropSynAck);
    let (progress, _stream) = dial(&lab);
    assert!(matches!(progress, Progress::DataInSyn { .. }));
    let paused = || {
        let counters = headstart_socket::status::Counters::read().unwrap();
        counters.blackhole == Some(1)
    };
    wait_until(|| lab.client().run(paused).unwrap());
    let report = Report::of(lab.client(), &[]);
    let black_hole = report.get("black-hole");
    assert_eq!(black_hole["status"], "warning", "{black_hole}");
    let remedy = "sysctl -w net.ipv4.tcp_fastopen_blackhole_timeout_sec=0";
    report.has("problem", "loopback", remedy);
    assert_eq!(report.code, Some(1));
    lab.client().set_sysctl(TIMEOUT, "0").unwrap();
    let report = Report::of(lab.client(), &[]);
    assert_eq!(report.get("loopback")["status"], "ok");
}

fn syns_with_data_are_lost() {
    let lab = lab();
    let _listener = listener(lab.server(), ListenOptions::new());
    dial_for_cookie(&lab);
    lab.client().set_fast_open(0x3).unwrap();
    lab.set_rule(Rule::DropSynWithData);
    let (_, stream) = dial(&lab);
    wait_until(|| stream.peer_addr().is_ok());
    drop(stream);
    let report = Report::of(lab.client(), &[]);
    let cookies = report.get("cookies");
    assert!(
        cookies["found"]
            .as_str()
            .unwrap()
            .contains("192.0.2.2 (once"),
        "{cookies}"
    );
    // One may be chance.
    report.only("warning", "cookies", "headstart probe", &[]);
}

fn cookies_are_refused() {
    let lab = lab();
    let _listener = listener(lab.server(), ListenOptions::new());
    dial_for_cookie(&lab);
    for number in 0..5 {
        let key = format!("{number:08x}-00000000-00000000-00000001");
        lab.server()
            .set_sysctl("net.ipv4.tcp_fastopen_key", &key)
            .unwrap();
        let (progress, stream) = dial(&lab);
        assert!(matches!(progress, Progress::DataInSyn { .. }));
        wait_until(|| stream.peer_addr().is_ok());
    }
    let remedy = "net.ipv4.tcp_fastopen_key=NEW,OLD";
    let report = Report::of(lab.server(), &[]);
    report.only("warning", "refused-cookies", remedy, &["accepted"]);
    let report = Report::of(lab.client(), &[]);
    report.has("warning", "dialled", "headstart probe");
}

fn listener_is_missing() {
    let lab = lab();
    let remedy = "nsenter --net --target PID headstart doctor --port 4000";
    Report::of(lab.server(), &["--port", "4000"]).only("problem", "listener", remedy, &[]);
}

fn listener_without_option() {
    let lab = lab();
    let bind = || TcpListener::bind(SERVER).unwrap();
    let _listener = lab.server().run(bind).unwrap();
    let report = Report::of(lab.server(), &["--port", "4000"]);
    report.only("problem", "listener-option", "TCP_FASTOPEN", &[]);
    Report::of(lab.server(), &[]).is_clean();
}

fn listeners_with_different_keys() {
    let lab = lab();
    let with = |key| {
        let options = ListenOptions::new().reuse_port(true).cookie_key(key);
        listener(lab.server(), options)
    };
    let key = |byte| Some(CookieKey::new([byte; 16]));
    let (one, same) = (with(key(1)), with(key(1)));
    Report::of(lab.server(), &["--port", "4000"]).is_clean();
    drop(same);
    for other in [key(2), None] {
        let _other = with(other);
        let report = Report::of(lab.server(), &["--port", "4000"]);
        report.only("problem", "listener-keys", "TCP_FASTOPEN_KEY", &[]);
    }
    drop(one);
}

fn queue_is_short_and_full() {
    let lab = Lab::builder().rtt(RTT * 10).build().unwrap();
    let listening = listener(
        lab.server(),
        ListenOptions::new().fast_open(QueueLen::Len(1)),
    );
    let report = Report::of(lab.server(), &["--port", "4000"]);
    report.only("warning", "listener-option", "TCP_FASTOPEN", &[]);
    dial_for_cookie(&lab);
    let dials: Vec<_> = (0..4).map(|_| dial(&lab)).collect();
    for (progress, stream) in &dials {
        assert!(matches!(progress, Progress::DataInSyn { .. }));
        wait_until(|| stream.peer_addr().is_ok());
    }
    Report::of(lab.server(), &[]).only("warning", "queue-overflow", "TCP_FASTOPEN", &[]);
    drop(listening);
}

fn backlog_is_short_and_full() {
    let lab = lab();
    let options = ListenOptions::new().backlog(1);
    let bind = || listen(SERVER.parse().unwrap(), &options).unwrap().listener;
    let _never_accepts = lab.server().run(bind).unwrap();
    let report = Report::of(lab.server(), &["--port", "4000"]);
    report.only("warning", "backlog", "Backlog=4096", &[]);
    let address: SocketAddr = SERVER.parse().unwrap();
    let dial = || {
        connect(address, Kind::Plain, b"", &Options::new())
            .unwrap()
            .stream
    };
    let _dials: Vec<_> = (0..4).map(|_| lab.client().run(dial).unwrap()).collect();
    let overflown = || {
        let counters = headstart_socket::status::Counters::read().unwrap();
        counters.listen_overflows > Some(0)
    };
    wait_until(|| lab.server().run(overflown).unwrap());
    for (limit, command) in [("200", Some("4096")), ("4096", None), ("65535", None)] {
        lab.server()
            .set_sysctl("net.core.somaxconn", limit)
            .unwrap();
        let report = Report::of(lab.server(), &["--port", "4000"]);
        report.has("problem", "backlog", "listen(listener, 4096)");
        report.has("warning", "listen-overflow", "listen(listener, ");
        assert_eq!(report.code, Some(1));
        let commands = report.commands();
        let sets = commands.iter().filter(|c| c.contains("somaxconn"));
        let expected = command.map(|value| format!("sysctl -w net.core.somaxconn={value}"));
        // Both findings say so.
        let expected: Vec<_> = expected.iter().chain(&expected).collect();
        assert_eq!(sets.collect::<Vec<_>>(), expected, "{limit}");
    }
}

fn somaxconn_is_low() {
    let lab = lab();
    lab.server().set_sysctl("net.core.somaxconn", "64").unwrap();
    let remedy = "sysctl -w net.core.somaxconn=4096";
    Report::of(lab.server(), &[]).only("warning", "somaxconn", remedy, &[]);
}

fn few_ephemeral_ports() {
    let lab = lab();
    ports(lab.server(), "40000 40999");
    let remedy = "sysctl -w 'net.ipv4.ip_local_port_range=10240 65535'";
    Report::of(lab.server(), &[]).only("warning", "ephemeral-ports", remedy, &[]);
}

fn ephemeral_ports_used_up() {
    let lab = lab();
    let _listener = listener(lab.server(), ListenOptions::new());
    ports(lab.client(), "40000 40009");
    lab.client().set_fast_open(0x3).unwrap();
    let dial = || TcpStream::connect(SERVER).unwrap();
    let dials: Vec<_> = (0..9).map(|_| lab.client().run(dial).unwrap()).collect();
    let report = Report::of(lab.client(), &[]);
    report.only("problem", "ephemeral-ports", "ip_local_port_range=", &[]);
    let found = report.get("ephemeral-ports")["found"].as_str().unwrap();
    assert!(found.contains("9 in use to 192.0.2.2:4000"), "{found}");
    let remedy = "sysctl -w 'net.ipv4.ip_local_port_range=10240 65535'";
    report.has("problem", "ephemeral-ports", remedy);
    // Closed by the client, they take their ports in TIME_WAIT, too.
    drop(dials);
    thread::sleep(RTT * 4);
    let report = Report::of(lab.client(), &[]);
    report.has("problem", "ephemeral-ports", "ip_local_port_range=");
}

fn time_wait_is_not_reused() {
    let lab = lab();
    lab.server()
        .set_sysctl("net.ipv4.tcp_tw_reuse", "0")
        .unwrap();
    let remedy = "sysctl -w net.ipv4.tcp_tw_reuse=1";
    Report::of(lab.server(), &[]).only("warning", "time-wait-reuse", remedy, &[]);
}

fn few_descriptors() {
    let lab = lab();
    let command = |arguments: &[&str]| {
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                "ulimit -n 100 && exec \"$0\" \"$@\"",
                env!("CARGO_BIN_EXE_headstart"),
            ])
            .args(arguments)
            .stdin(Stdio::null());
        command
    };
    let doctor = || command(&["doctor", "--json"]).output().unwrap();
    let report = Report::new(&lab.server().run(doctor).unwrap());
    report.only("warning", "descriptors", "LimitNOFILE=65536", &[]);
    let serve = || Server::spawn(command(&["serve", SERVER, "--json"]));
    let _server = lab.server().run(serve).unwrap();
    let report = Report::of(lab.server(), &["--port", "4000"]);
    report.only("warning", "listener-descriptors", "prlimit --pid", &[]);
}

/// The status is that of what was found.
fn nobody_reads_on() {
    let lab = lab();
    lab.server().set_fast_open(0x2).unwrap();
    for json in [&["--json"][..], &[]] {
        let arguments = [&["doctor"], json].concat();
        let doctor = || {
            let mut command = headstart(&arguments);
            let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
            drop(child.stdout.take());
            child.wait().unwrap()
        };
        assert_eq!(lab.server().run(doctor).unwrap().code(), Some(1));
    }
}

/// What takes long is told at a terminal.
fn loopback_is_down() {
    let lab = lab();
    let down = || {
        Command::new("ip")
            .args(["link", "set", "lo", "down"])
            .status()
    };
    assert!(lab.server().run(down).unwrap().unwrap().success());
    let terminal = nix::pty::openpty(None, None).unwrap();
    let doctor = || {
        let mut command = headstart(&["doctor"]);
        command.env("TERM", "xterm").stdout(Stdio::null());
        command.stderr(terminal.slave).spawn().unwrap()
    };
    let mut doctor = lab.server().run(doctor).unwrap();
    let mut screen = fs::File::from(terminal.master);
    let (mut said, mut bytes) = (String::new(), [0; 1000]);
    // Reading fails once the other end is closed.
    while let Ok(read @ 1..) = screen.read(&mut bytes) {
        said.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    assert!(said.contains("dialling itself"), "{said}");
    assert_eq!(doctor.wait().unwrap().code(), Some(1));
}

/// What the doctor said.
#[derive(Debug)]
struct Report {
    findings: Vec<Value>,
    code: Option<i32>,
}

impl Report {
    fn of(host: &Host, arguments: &[&str]) -> Self {
        let arguments = [&["doctor", "--json"], arguments].concat();
        Self::new(
            &host
                .run(|| headstart(&arguments).output().unwrap())
                .unwrap(),
        )
    }

    fn new(output: &Output) -> Self {
        assert!(output.stderr.is_empty(), "{output:?}");
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = document["findings"].as_array().unwrap().clone();
        let count = |status: &str| findings.iter().filter(|f| f["status"] == status).count();
        assert_eq!(document["problems"], count("problem"));
        assert_eq!(document["warnings"], count("warning"));
        for remedy in findings.iter().flat_map(remedies_of) {
            let place = remedy["place"].as_str().unwrap();
            let command = remedy["command"].as_str().unwrap();
            let is_command = ["now", "boot", "docker"].contains(&place);
            assert!(!is_command || is_well_formed(command), "{command}");
        }
        let code = output.status.code();
        assert_eq!(code, Some(i32::from(count("problem") > 0)));
        Self { findings, code }
    }

    /// The one finding of this name.
    fn get(&self, name: &str) -> &Value {
        let mut found = self
            .findings
            .iter()
            .filter(|finding| finding["name"] == name);
        let finding = found
            .next()
            .unwrap_or_else(|| panic!("no {name}: {self:#?}"));
        assert!(found.next().is_none(), "{name} twice: {self:#?}");
        finding
    }

    /// What is to be typed where the doctor ran.
    fn commands(&self) -> Vec<String> {
        let remedies = self.findings.iter().flat_map(remedies_of);
        let now = remedies.filter(|remedy| remedy["place"] == "now");
        now.map(|remedy| remedy["command"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Everything is as it should be, and could be seen.
    fn is_clean(&self) {
        let odd: Vec<_> = self
            .findings
            .iter()
            .filter(|f| f["status"] != "ok")
            .collect();
        assert!(odd.is_empty(), "{odd:#?}");
    }

    /// There is this finding, with this remedy.
    fn has(&self, status: &str, name: &str, remedy: &str) {
        let finding = self.get(name);
        assert_eq!(finding["status"], status, "{finding:#}");
        assert!(!finding["why"].as_str().unwrap().is_empty(), "{finding:#}");
        let mends = |one: &Value| one["command"].as_str().unwrap().contains(remedy);
        assert!(remedies_of(finding).iter().any(mends), "{finding:#}");
    }

    /// There is this finding, and no other but those that follow from it.
    fn only(&self, status: &str, name: &str, remedy: &str, follow: &[&str]) {
        self.has(status, name, remedy);
        let is_other = |finding: &&Value| {
            let other = finding["name"].as_str().unwrap();
            finding["status"] != "ok" && other != name && !follow.contains(&other)
        };
        let others: Vec<_> = self.findings.iter().filter(is_other).collect();
        assert!(others.is_empty(), "{others:#?}");
    }
}

/// Whether a shell takes it, as far as can be told without running it.
fn is_well_formed(command: &str) -> bool {
    let parse = Command::new("sh").args(["-n", "-c", command]).status();
    parse.unwrap().success()
}

fn remedies_of(finding: &Value) -> &[Value] {
    finding["remedies"].as_array().unwrap()
}

fn lab() -> Lab {
    Lab::builder().rtt(RTT).build().unwrap()
}

/// A listener that accepts, and holds what it accepted until its client has closed.
fn listener(host: &Host, options: ListenOptions) -> TcpListener {
    let bind = || listen(SERVER.parse().unwrap(), &options).unwrap().listener;
    let listener = host.run(bind).unwrap();
    listener.set_nonblocking(false).unwrap();
    let accepting = listener.try_clone().unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = accepting.accept() {
            thread::spawn(move || stream.read_to_end(&mut Vec::new()));
        }
    });
    listener
}

/// Dials the server from the client, with Fast Open.
fn dial(lab: &Lab) -> (Progress, TcpStream) {
    let address = SocketAddr::new("192.0.2.2".parse().unwrap(), PORT);
    let dial = || connect(address, Kind::FastOpen, b"hello", &Options::new()).unwrap();
    let attempt = lab.client().run(dial).unwrap();
    (attempt.progress, attempt.stream)
}

fn dial_for_cookie(lab: &Lab) {
    let (progress, stream) = dial(lab);
    assert_eq!(progress, Progress::CookieRequest);
    wait_until(|| stream.peer_addr().is_ok());
    close_abortively(stream).unwrap();
}

fn ports(host: &Host, range: &str) {
    host.set_sysctl("net.ipv4.ip_local_port_range", range)
        .unwrap();
}

fn wait_until(mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "it does not come to pass");
        thread::sleep(Duration::from_millis(5));
    }
}
