//! What a gate's load costs newcomers: the time from a connection's first
//! packet to the first byte of its answer, at a gate that holds 10,000 silent
//! clients and 1,000 pairs whose way back is dead, beside the same at an idle
//! gate of the same process, alternately.
//!
//! And what the load takes: anonymous memory of the server's process.

#![allow(unreachable_pub, reason = "a benchmark is all there is")]

#[cfg(target_os = "linux")]
mod common;
#[cfg(target_os = "linux")]
#[path = "race/dials.rs"]
#[allow(dead_code, reason = "the other benchmark has more to dial")]
mod dials;
#[cfg(target_os = "linux")]
#[allow(unused_imports, unused_macros, reason = "tests have more to say")]
#[path = "../tests/common/mod.rs"]
mod lab;

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("skipped: the lab is made of Linux namespaces");
}

#[cfg(target_os = "linux")]
fn main() -> common::Outcome {
    if let Some(clients) = bench::asked_for_silence() {
        return bench::be_silent(clients);
    }
    let args = common::Args::parse();
    let load = bench::Load::of(args);
    // Before the lab takes the process to where it may not.
    let room = load.raise_descriptors();
    if !lab::lab_or_skip() {
        return Ok(());
    }
    match room {
        Ok(()) => bench::run(args, load),
        Err(why) => {
            println!("skipped: {why}");
            Ok(())
        }
    }
}

#[cfg(target_os = "linux")]
mod bench {
    use std::io::{BufRead, BufReader};
    use std::net::{SocketAddr, TcpStream as StdStream};
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use headstart::core::framing::token::{Header, Id};
    use headstart::tokio::Gate;
    use headstart::{Framing, GateCounters, Kinds, Peer};
    use headstart_lab::{Family, Lab, Rule};
    use headstart_socket::{Kind, Options};
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use tokio::sync::oneshot;

    use crate::common::{Args, Bar, Outcome, Report, Series};
    use crate::{dials, lab};

    const RTT: Duration = Duration::from_millis(1);
    /// Descriptors beside those of the load.
    const SPARE: u64 = 1_000;
    /// How long pairs are kept open: longer than this takes.
    const WINDOW: Duration = Duration::from_secs(120);
    /// Says that the process is to be silent clients.
    const SILENT: &str = "--silent-clients";
    const IDLE: u16 = 7413;
    const LOADED: u16 = 7414;

    /// What the loaded gate holds, and how often both are dialled.
    #[derive(Clone, Copy)]
    pub struct Load {
        silent: usize,
        stuck: usize,
        probes: usize,
    }

    impl Load {
        pub fn of(args: Args) -> Self {
            let [silent, stuck, probes] = args.pick([10_000, 1_000, 4_000], [200, 50, 100]);
            Self {
                silent,
                stuck,
                probes,
            }
        }

        /// Silent clients are in a process of their own, the others here.
        pub fn raise_descriptors(self) -> Result<(), String> {
            let needed = (self.silent + 2 * self.stuck) as u64 + SPARE;
            let (soft, hard) =
                getrlimit(Resource::RLIMIT_NOFILE).map_err(|error| error.to_string())?;
            if soft >= needed {
                return Ok(());
            }
            setrlimit(Resource::RLIMIT_NOFILE, needed, hard.max(needed))
                .map_err(|error| format!("{needed} descriptors: {error}"))
        }
    }

    pub fn run(args: Args, load: Load) -> Outcome {
        let Load {
            silent,
            stuck,
            probes,
        } = load;
        let lab = lab::lab(RTT)?;
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let server = lab.server().spawn(move || gates(ready, stopped))?;
        is_ready.recv()?;
        let before = allocated();
        let silent_clients = lab.server().run(|| Silence::of(silent))??;
        let stuck_clients = lab.client().run(|| stick(&lab, stuck))??;
        std::thread::sleep(Duration::from_secs(1));
        let bytes = allocated() - before;
        let [idle, loaded] = lab.server().run(|| probe(probes))??;
        drop((silent_clients, stuck_clients));
        drop(stop);
        let counters = server.join().map_err(|_| "the server panicked")??;
        let mut report = Report::new(
            args,
            format!(
                "gate: {probes} admissions each, beside {silent} silent clients and {stuck} stuck pairs"
            ),
        );
        for (what, share) in [("median", 0.5), ("99th percentile", 0.99)] {
            let one = |series: &Series| Series::from_iter([series.quantile(share)]);
            let bar = (share > 0.9).then_some(Bar::AtMost(2.0));
            let idle = one(&idle);
            report.compare(what, "us", &one(&loaded), ("idle gate", &idle), bar);
        }
        let waiting = (silent + stuck) as f64;
        report.fact("memory for the load", "MB", bytes / 1e6, None);
        report.fact("of that, each", "bytes", bytes / waiting, None);
        report.note(format!(
            "the loaded gate: {} accepted, {} pairs open, {} expired, {} evicted, {} timed out",
            counters.accepted,
            counters.pairs,
            counters.expired,
            counters.evicted,
            counters.timeouts
        ));
        report.print();
        if counters.pairs < stuck as u64 {
            return Err(format!("only {} pairs were open", counters.pairs).into());
        }
        Ok(())
    }

    /// Two gates, in front of an echo, on one thread; the loaded one's counters.
    fn gates(
        ready: std::sync::mpsc::Sender<()>,
        stopped: oneshot::Receiver<()>,
    ) -> Outcome<GateCounters> {
        lab::runtime()?.block_on(async move {
            let open = |port| -> std::io::Result<Gate> {
                Gate::builder(Framing::token())?
                    .pair_window(WINDOW)
                    .message_timeout(WINDOW)
                    .bind(SocketAddr::from(([0, 0, 0, 0], port)))
            };
            let (idle, loaded) = (open(IDLE)?, open(LOADED)?);
            ready.send(())?;
            let serve = async |gate: &Gate| -> std::io::Result<()> {
                loop {
                    tokio::spawn(lab::server::echo(gate.accept().await?));
                }
            };
            tokio::select! {
                result = serve(&idle) => result?,
                result = serve(&loaded) => result?,
                _ = stopped => {}
            }
            Ok(loaded.counters())
        })
    }

    /// Clients that connect and say nothing, in a process that ends when this
    /// is dropped.
    struct Silence(Child);

    impl Silence {
        fn of(clients: usize) -> Outcome<Self> {
            let mut child = Command::new(std::env::current_exe()?)
                .args([SILENT, &clients.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let mut ready = String::new();
            let output = child.stdout.take().ok_or("no output")?;
            BufReader::new(output).read_line(&mut ready)?;
            match ready.trim() {
                "ready" => Ok(Self(child)),
                other => Err(format!("silent clients: {other}").into()),
            }
        }
    }

    impl Drop for Silence {
        fn drop(&mut self) {
            drop(self.0.stdin.take());
            let _ = self.0.wait();
        }
    }

    /// How many silent clients this process is to be, if it is that process.
    pub fn asked_for_silence() -> Option<usize> {
        let mut args = std::env::args().skip(1);
        (args.next()? == SILENT).then(|| args.next()?.parse().ok())?
    }

    /// Connects so many times, and says nothing until its input ends.
    pub fn be_silent(clients: usize) -> Outcome {
        let load = Load {
            silent: clients,
            stuck: 0,
            probes: 0,
        };
        load.raise_descriptors()?;
        let connect = |_| StdStream::connect(("127.0.0.1", LOADED));
        let streams = (0..clients).map(connect).collect::<Result<Vec<_>, _>>()?;
        println!("ready");
        std::io::stdin().read_line(&mut String::new())?;
        drop(streams);
        Ok(())
    }

    /// Clients whose message comes by Fast Open and whose way back is dead.
    fn stick(lab: &Lab, clients: usize) -> Outcome<Vec<StdStream>> {
        let address = SocketAddr::new(lab.server_addr(Family::V4), LOADED);
        lab::runtime()?.block_on(async {
            let dialer = lab::token_dialer()?
                .peer(Peer::Pairing)
                .kinds(Kinds::FastOpenOnly)
                .build()?;
            dials::fetch_cookie(&dialer, address).await
        })?;
        lab.set_rule(Rule::DropServerDataAfterHandshake);
        let options = Options::new();
        (0..clients)
            .map(|number| {
                let message = message(number as u64);
                let started =
                    headstart_socket::connect(address, Kind::FastOpen, &message, &options);
                Ok(started?.stream)
            })
            .collect()
    }

    fn message(number: u64) -> Vec<u8> {
        let mut id = [0x33; 16];
        id[..8].copy_from_slice(&number.to_ne_bytes());
        let header = Header {
            id: Id(id),
            flight_len: 512,
            resets_losers: true,
        };
        [&header.encode()[..], &[0x5a; 512]].concat()
    }

    /// Dials both gates alternately; microseconds to the answer.
    fn probe(probes: usize) -> Outcome<[Series; 2]> {
        lab::runtime()?.block_on(async {
            let mut series = [Series::default(), Series::default()];
            for number in 0..2 * probes {
                let which = (number / 2 + number) % 2;
                let port = [IDLE, LOADED][which];
                let began = Instant::now();
                dials::bare(SocketAddr::from(([127, 0, 0, 1], port))).await?;
                series[which].push(began.elapsed().as_secs_f64() * 1e6);
            }
            Ok(series)
        })
    }

    /// Anonymous memory of this process, in bytes.
    fn allocated() -> f64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("RssAnon:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
        kilobytes.and_then(|text| text.parse().ok()).unwrap_or(0.0) * 1024.0
    }
}
