//! What a stream costs once the connection is chosen: a `RaceStream` beside
//! tokio's own `TcpStream`, over loopback, where nothing but the two is slow.
//! There plain opens at once and there is no race (R7): this is about the
//! stream after it.
//!
//! Each is measured twice: *in step*, where one thread is both ends in turn and
//! only the client's calls are timed, and *in flow*, against a thread that
//! gives or takes as fast as it can. The second is the real thing, but on a
//! busy machine it measures the scheduler: the bar is held against the first.

#![allow(unreachable_pub, reason = "a benchmark is all there is")]

#[path = "../common/mod.rs"]
mod common;
mod peer;
mod work;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use common::{Args, Bar, Outcome, Report, Series, interleave, system_calls};
use headstart::FirstFlight;
use headstart::core::race::{AttemptKind, Outcome as Out};
use headstart::tokio::{Dialer, RaceStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use peer::{Mode, Peer, READY, Server};
use work::{BUFFER_MAX, WORKS, Work};

/// What a race stream's throughput must be of a bare one's.
const BAR: f64 = 0.97;
/// What is moved over one stream before it is the other's turn.
const TURN: usize = 1 << 20;
/// Time in which plain opens over loopback.
const OPENING: Duration = Duration::from_millis(5);

fn main() -> Outcome {
    let args = Args::parse();
    let (pairs, turns) = args.pick((31, 15), (3, 1));
    let mut bench = Bench::new()?;
    let mut report = Report::new(
        args,
        format!("stream: {pairs} pairs of connections over loopback, {turns} MiB each in turns"),
    );
    let in_step = (Mode::InStep, "in step", Some(Bar::AtLeast(BAR)));
    for (mode, name, bar) in [in_step, (Mode::InFlow, "in flow", None)] {
        for work in WORKS {
            let [mut race, mut bare] = [Series::default(), Series::default()];
            for _ in 0..pairs {
                let [ours, limit] = bench
                    .pair(mode, work)?
                    .throughput(turns, work, &mut bench)?;
                race.push(ours);
                bare.push(limit);
            }
            report.compare(
                format!("{name}: {work}"),
                "MiB/s",
                &race,
                ("bare", &bare),
                bar,
            );
        }
    }
    for work in WORKS {
        bench.count(&mut report, work)?;
    }
    report.note("waits (epoll_wait) depend on which end is faster at the moment");
    report.note(format!("no race, for this reason: {}", bench.why));
    report.print();
    Ok(())
}

struct Bench {
    runtime: Runtime,
    dialer: Dialer,
    server: Server,
    scratch: Vec<u8>,
    /// Why Fast Open did not start.
    why: String,
}

/// A connection of each kind.
struct Pair {
    race: Connection<RaceStream>,
    bare: Connection<TcpStream>,
}

struct Connection<S> {
    stream: S,
    /// The other end, where this thread is that, too.
    peer: Option<Peer>,
}

impl Bench {
    fn new() -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let dialer = runtime.block_on(async {
            Dialer::builder()?
                .first_flight(FirstFlight::Asserted)
                .insist(true)
                .build()
        })?;
        let scratch = vec![0x5a; BUFFER_MAX];
        Ok(Self {
            runtime,
            dialer,
            server: Server::start()?,
            scratch,
            why: String::new(),
        })
    }

    /// New connections.
    fn pair(&mut self, mode: Mode, work: Work) -> Outcome<Pair> {
        let address = self.server.address(mode, work.direction());
        let (race, why) = self.runtime.block_on(dial(&self.dialer, address))?;
        self.why = why;
        let race = Connection {
            stream: race,
            peer: self.server.peer(mode)?,
        };
        let bare = self.runtime.block_on(connect(address))?;
        let bare = Connection {
            stream: bare,
            peer: self.server.peer(mode)?,
        };
        Ok(Pair { race, bare })
    }

    /// Allocations and system calls of a turn.
    fn count(&mut self, report: &mut Report, work: Work) -> Outcome {
        let mut pair = self.pair(Mode::InStep, work)?;
        pair.throughput(1, work, self)?;
        let mut results = [Ok(Duration::ZERO), Ok(Duration::ZERO)];
        let race = allocation_counter::measure(|| results[0] = pair.race.turn(work, self));
        let bare = allocation_counter::measure(|| results[1] = pair.bare.turn(work, self));
        results.into_iter().collect::<io::Result<Vec<_>>>()?;
        let [race, bare] = [race, bare].map(|info| info.count_total as f64);
        let what = format!("allocations a MiB: {work} (bare: {bare})");
        report.fact(what, "", race, Some(Bar::AtMost(bare)));

        let mut pair = self.pair(Mode::InFlow, work)?;
        let race = system_calls(|| pair.race.turn(work, self));
        let bare = system_calls(|| pair.bare.turn(work, self));
        report.note(match race.and_then(|race| Ok((race, bare?))) {
            Ok(((race, moved), (bare, moved_too))) => {
                moved.and(moved_too)?;
                format!("system calls a MiB: {work}: {race}; bare: {bare}")
            }
            Err(why) => format!("system calls a MiB: {work}: skipped: {why}"),
        });
        Ok(())
    }
}

impl Pair {
    /// Of each stream, MiB in a second, by the median of its turns.
    fn throughput(&mut self, turns: usize, work: Work, bench: &mut Bench) -> Outcome<[f64; 2]> {
        let bench = RefCell::new(bench);
        let per_second = |time: Duration| [1.0 / time.as_secs_f64()];
        let series = interleave(
            turns,
            &mut [
                &mut || Ok(per_second(self.race.turn(work, &mut bench.borrow_mut())?)),
                &mut || Ok(per_second(self.bare.turn(work, &mut bench.borrow_mut())?)),
            ],
        )?;
        Ok([0, 1].map(|of| series[of][0].median()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Moves one turn's bytes; the time that the client took.
    fn turn(&mut self, work: Work, bench: &mut Bench) -> io::Result<Duration> {
        let moving = work.run(
            &mut self.stream,
            self.peer.as_mut(),
            TURN,
            &mut bench.scratch,
        );
        bench.runtime.block_on(moving)
    }
}

/// A race stream after the choice, and the rule that stopped the race.
async fn dial(dialer: &Dialer, server: SocketAddr) -> Outcome<(RaceStream, String)> {
    let mut stream = dialer.dial(server).await?;
    // The reactor gets to know that plain is open.
    tokio::time::sleep(OPENING).await;
    greet(&mut stream).await?;
    let report = stream.report();
    if stream.get_ref().is_none() {
        return Err(format!("not chosen: {report:?}").into());
    }
    let fast_open = report
        .attempts
        .iter()
        .find(|attempt| attempt.kind == AttemptKind::FastOpen);
    match fast_open.map(|attempt| attempt.outcome) {
        Some(Out::Out(exit)) if !report.raced() => Ok((stream, format!("Fast Open {exit}"))),
        _ => Err(format!("a race over loopback: {report:?}").into()),
    }
}

/// tokio's own stream, with the options that ours has.
async fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    greet(&mut stream).await?;
    Ok(stream)
}

/// A byte there and a byte back: that chooses the connection.
async fn greet(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    stream.write_all(&[READY]).await?;
    match stream.read_u8().await? {
        READY => Ok(()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
