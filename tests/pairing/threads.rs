//! Gates on several threads share what they know: copies that different
//! threads accept are one connection all the same.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use headstart::tokio::{Dialer, Gate};
use headstart::{Framing, GateCounters, ListenOptions, Peer};
use headstart_lab::{Family, Lab, Rule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::common::{self, Outcome, PORT, ensure, on_client, pattern};
use crate::copies;
use crate::harness::{lock, tests};
use crate::story::{bytes_of, expect};

tests![
    copies_at_different_threads_are_one_connection,
    long_answers_cross_threads,
];

const THREADS: usize = 4;
const RTT: Duration = Duration::from_millis(30);
const FLIGHT: usize = 600;

/// How often each flight was admitted.
type Admissions = Arc<Mutex<HashMap<Vec<u8>, usize>>>;

/// Gates on the same port, each with a thread and a runtime of its own.
struct Threads {
    stop: Arc<AtomicBool>,
    gates: Vec<JoinHandle<io::Result<GateCounters>>>,
    admissions: Admissions,
}

impl Threads {
    fn start(lab: &Lab, answer: &'static [u8]) -> io::Result<Self> {
        let address = SocketAddr::new(lab.server_addr(Family::V4), PORT);
        let (stop, admissions) = (Arc::new(AtomicBool::new(false)), Admissions::default());
        let mut gates = Vec::new();
        let mut first: Option<Arc<Gate>> = None;
        for _ in 0..THREADS {
            let (ready, is_ready) = mpsc::channel();
            let (stop, admissions, beside) = (stop.clone(), admissions.clone(), first.clone());
            gates.push(lab.server().spawn(move || {
                common::runtime()?.block_on(async move {
                    let options = ListenOptions::new().reuse_port(true);
                    let builder = Gate::builder(Framing::token())?.listen_options(options);
                    let gate = match beside {
                        Some(first) => builder.beside(&first),
                        None => builder,
                    };
                    let gate = Arc::new(gate.bind(address)?);
                    let _ = ready.send(gate.clone());
                    while !stop.load(Ordering::Relaxed) {
                        if let Ok(admitted) = timeout(RTT, gate.accept()).await {
                            tokio::spawn(serve(admitted?, answer, admissions.clone()));
                        }
                    }
                    Ok(gate.counters())
                })
            })?);
            let gate = is_ready.recv().map_err(io::Error::other)?;
            first.get_or_insert(gate);
        }
        Ok(Self {
            stop,
            gates,
            admissions,
        })
    }

    /// What all gates together did.
    fn stop(self) -> io::Result<Vec<GateCounters>> {
        self.stop.store(true, Ordering::Relaxed);
        let join = |gate: JoinHandle<_>| gate.join().map_err(|_| io::Error::other("a panic"))?;
        self.gates.into_iter().map(join).collect()
    }
}

async fn serve(
    admitted: headstart::tokio::Admitted,
    answer: &[u8],
    admissions: Admissions,
) -> io::Result<()> {
    let mut stream = admitted.stream;
    let mut flight = vec![0; FLIGHT];
    stream.read_exact(&mut flight).await?;
    *lock(&admissions).entry(flight).or_default() += 1;
    stream.write_all(answer).await?;
    stream.shutdown().await?;
    stream.read_to_end(&mut Vec::new()).await.map(drop)
}

/// So many races at once; how many round trips each took to its answer's end.
fn race(lab: &Lab, races: usize, answer: &'static [u8]) -> io::Result<()> {
    let address = SocketAddr::new(lab.server_addr(Family::V4), PORT);
    on_client(lab, async || {
        let dialer: Dialer = common::token_dialer()?.peer(Peer::Pairing).build()?;
        let mut running = JoinSet::new();
        for number in 0..races {
            let dialer = dialer.clone();
            running.spawn(async move {
                sleep(Duration::from_millis(3) * number as u32).await;
                let mut stream = dialer.dial(address).await?;
                let mut flight = pattern(FLIGHT, 0);
                flight[..8].copy_from_slice(&(number as u64).to_be_bytes());
                stream.write_all(&flight).await?;
                match timeout(copies::PATIENCE * 2, expect(&mut stream, answer)).await {
                    Ok(result) => result,
                    Err(_) => Err(io::Error::other(format!(
                        "{number}: no answer: {:?}",
                        stream.report()
                    ))),
                }
            });
        }
        while let Some(done) = running.join_next().await {
            done??;
        }
        Ok(())
    })
}

fn check(threads: Threads, races: usize) -> Outcome {
    let admissions = lock(&threads.admissions).clone();
    ensure!(admissions.len() == races, "{} admitted", admissions.len());
    let twice = admissions.values().filter(|count| **count > 1).count();
    ensure!(twice == 0, "{twice} admitted more than once");
    let counters = threads.stop()?;
    let busy = counters
        .iter()
        .filter(|c| c.first > 0 && c.joined > 0)
        .count();
    ensure!(busy >= 2, "all came to one thread: {counters:?}");
    let joined: u64 = counters.iter().map(|c| c.joined).sum();
    ensure!(joined as usize >= races / 2, "{counters:?}");
    Ok(())
}

fn copies_at_different_threads_are_one_connection() -> Outcome {
    const RACES: usize = 500;
    for rule in [Rule::LoseFirstSynAck, Rule::DropServerDataAfterHandshake] {
        let lab = copies::lab(RTT, rule)?;
        let threads = Threads::start(&lab, b"an answer")?;
        race(&lab, RACES, b"an answer").map_err(|error| format!("{rule}: {error}"))?;
        check(threads, RACES).map_err(|error| format!("{rule}: {error}"))?;
    }
    Ok(())
}

fn long_answers_cross_threads() -> Outcome {
    const RACES: usize = 20;
    let answer = bytes_of(1, 1_000_000);
    let lab = copies::lab(RTT, Rule::DropServerDataAfterHandshake)?;
    let threads = Threads::start(&lab, answer)?;
    race(&lab, RACES, answer)?;
    check(threads, RACES)
}
