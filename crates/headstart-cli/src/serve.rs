//! `headstart serve`.

mod events;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headstart_tokio::{Admitted, Gate, GateCounters, ListenOptions};
use serde::Serialize;
use tokio::sync::watch;

use crate::cli::ServeArgs;
use crate::echo;
use crate::exit::{Done, Stop};
use crate::output::complain;
use crate::signals::Signals;
use events::{Event, Events, Listening};

/// How long pairs, and connections that are open, may go on after a signal.
const CLOSING: Duration = Duration::from_secs(2);
/// How long the last lines may take to be read.
const LAST_LINE: Duration = Duration::from_secs(2);

/// Runs the command.
pub(crate) fn run(args: &ServeArgs) -> Result<Done, Stop> {
    crate::limits::raise_descriptors();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Stop::because("starting", error))?;
    let done = runtime.block_on(serve(args));
    runtime.shutdown_background();
    done
}

async fn serve(args: &ServeArgs) -> Result<Done, Stop> {
    let mut signals =
        Signals::new().map_err(|error| Stop::because("waiting for signals", error))?;
    let events = Arc::new(Events::start(args.json).map_err(|e| Stop::because("starting", e))?);
    let gate = open(args, &events)?;
    let fast_open = gate.fast_open();
    if !fast_open.is_on() && !args.admission.no_fast_open {
        complain("warning", &format!("Fast Open is {fast_open}. {REMEDY}"));
    }
    events.tell(Event::listening(&Listening {
        address: gate.local_addr(),
        fast_open: fast_open.is_on(),
        note: fast_open.to_string(),
        framing: args.framing.name(),
        debounce: !args.no_debounce,
        pairing: gate.pairs(),
    }));
    let echoed = Arc::new(Echoed::default());
    let echo_it = |admitted| {
        let open = echoed.open.subscribe();
        let echoing = echo_one(admitted, echoed.clone());
        tokio::spawn(async move {
            echoing.await;
            drop(open);
        });
    };
    let reason = loop {
        tokio::select! {
            admitted = gate.accept() => match admitted {
                Ok(admitted) => echo_it(admitted),
                Err(error) => break Some(error),
            },
            () = signals.next() => {
                close(&gate, &echoed, &mut signals, echo_it).await;
                break None;
            }
            () = events.closed() => break None,
        }
    };
    let summary = Summary::new(gate.counters(), &echoed);
    let last = tokio::task::spawn_blocking(move || events.end(summary));
    match tokio::time::timeout(LAST_LINE, last).await {
        Ok(Ok(written)) => written?,
        Ok(Err(_)) | Err(_) => complain("warning", "nobody reads the summary"),
    }
    match reason {
        None => Ok(Done::Well),
        Some(error) => Err(Stop::because(
            format_args!("accepting at {}", args.address),
            error,
        )),
    }
}

/// Accepts no more, and lets what is open come to its end: for a while, or until
/// the next signal.
async fn close(gate: &Gate, echoed: &Echoed, signals: &mut Signals, echo_it: impl Fn(Admitted)) {
    let closed = async {
        // Who was let in before is served: that ends when the gate has.
        let serving = async {
            while let Ok(admitted) = gate.accept().await {
                echo_it(admitted);
            }
        };
        tokio::join!(gate.close(), serving);
        echoed.open.closed().await;
    };
    tokio::select! {
        () = closed => {}
        () = tokio::time::sleep(CLOSING) => {}
        () = signals.next() => {}
    }
}

/// What helps where Fast Open is off.
pub(crate) const REMEDY: &str = "Clients get plain TCP. Turn it on with `sysctl -w net.ipv4.tcp_fastopen=3` \
                      in this network namespace, or silence this with --no-fastopen";

fn open(args: &ServeArgs, events: &Arc<Events>) -> Result<Gate, Stop> {
    let watch = events.clone();
    let options = ListenOptions::new().fast_open(args.admission.queue());
    Gate::builder(args.framing.framing())
        .and_then(|builder| {
            let builder = args.admission.apply(builder);
            builder
                .listen_options(options)
                .debounce(!args.no_debounce)
                .watcher(move |event| {
                    if let Some(event) = Event::of(&event) {
                        watch.tell(event);
                    }
                })
                .bind(args.address)
        })
        .map_err(|error| Stop::listening(args.address, &error))
}

async fn echo_one(admitted: Admitted, echoed: Arc<Echoed>) {
    let mut stream = admitted.stream;
    match echo::echo(&mut stream).await {
        Ok(bytes) => {
            echoed.finished.fetch_add(1, Ordering::Relaxed);
            echoed.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        Err(_) => {
            echoed.broken.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What became of admitted connections.
#[derive(Debug, Default)]
struct Echoed {
    /// Each that is open is subscribed.
    open: watch::Sender<()>,
    finished: AtomicU64,
    broken: AtomicU64,
    bytes: AtomicU64,
}

/// Everything, when it is over.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Summary {
    /// Connections accepted.
    accepted: u64,
    /// First messages admitted.
    first: u64,
    duplicates: u64,
    /// First messages that were forgotten before their time, to make room.
    forced_out: u64,
    /// Messages by Fast Open that were kept open for copies, and those that
    /// were not for want of room.
    pairs: u64,
    unpaired: u64,
    /// Copies that were joined with the first.
    joined: u64,
    /// What became of pairs.
    won_by_plain: u64,
    won_by_fast_open: u64,
    expired: u64,
    cut_short: u64,
    /// Bytes of answers that were written to joined copies.
    bytes_copied: u64,
    malformed: u64,
    timeouts: u64,
    /// Connections that ended before their first message was whole.
    closed: u64,
    evicted: u64,
    accept_errors: u64,
    /// Admitted connections that came to their end.
    finished: u64,
    /// Admitted connections that failed before.
    broken: u64,
    /// Bytes sent back on connections that came to their end.
    echoed_bytes: u64,
    /// Events that were not written because the reader was too slow.
    unwritten_events: u64,
}

impl Summary {
    fn new(gate: GateCounters, echoed: &Echoed) -> Self {
        Self {
            accepted: gate.accepted,
            first: gate.first,
            duplicates: gate.duplicates,
            forced_out: gate.forced_out,
            pairs: gate.pairs,
            unpaired: gate.unpaired,
            joined: gate.joined,
            won_by_plain: gate.won_by_plain,
            won_by_fast_open: gate.won_by_fast_open,
            expired: gate.expired,
            cut_short: gate.cut_short,
            bytes_copied: gate.bytes_copied,
            malformed: gate.malformed,
            timeouts: gate.timeouts,
            closed: gate.closed,
            evicted: gate.evicted,
            accept_errors: gate.accept_errors,
            finished: echoed.finished.load(Ordering::Relaxed),
            broken: echoed.broken.load(Ordering::Relaxed),
            echoed_bytes: echoed.bytes.load(Ordering::Relaxed),
            unwritten_events: 0,
        }
    }
}
