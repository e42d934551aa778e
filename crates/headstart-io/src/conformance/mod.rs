//! The driver of this crate on a simulated network: [`Dialer`] and
//! [`RaceStream`] as they are published, judged by every rule of the race.
//!
//! Nobody polls for them: tasks run when their wakers are called, sockets wake
//! whoever polled them in vain, once. So a wake-up that is lost is a hang, and
//! that a violation.

mod runtime;

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_io::{AsyncRead, AsyncWrite};
use headstart_core::Instant;
use headstart_core::config::TARGETS_MAX;
use headstart_core::race::{FailureKind, Race};
use headstart_sim::conformance::{self, Settings};
use headstart_sim::{Driver, Scenario, Transports, Wakes};

use crate::driver::Cell;
use crate::error::{RaceError, failure_of};
use crate::race::Running;
use crate::{Budget, Dialer, RaceStream};
use runtime::{NET, Simulated};

/// Random scenarios, some seconds of them; more by `HEADSTART_SEEDS` in the
/// environment.
const SEEDS: u64 = if cfg!(debug_assertions) {
    8_000
} else {
    100_000
};

#[test]
fn every_rule_holds_of_dialer_and_race_stream() {
    let seeds = std::env::var("HEADSTART_SEEDS").ok();
    let seeds = seeds.and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS);
    // Every race at its largest has just enough.
    let budget = Budget::new(TARGETS_MAX);
    let report = conformance::check(Settings::seeds(seeds), |dial, net| {
        Dialled::dial(dial.scenario, budget.clone(), net)
    });
    report.assert();
    println!("{report}");
    assert!(report.raced > seeds / 3, "{report}");
    assert_eq!(budget.left(), TARGETS_MAX, "R12 the budget leaks");
}

/// A dialer, its runtime, and the stream that it gave.
struct Dialled {
    runtime: Simulated,
    /// The stream, until it is dropped; or why there is none.
    stream: Result<RaceStream<Simulated>, FailureKind>,
    cell: Arc<Cell<Running<Simulated>>>,
    reader: Arc<Flag>,
    writer: Arc<Flag>,
    /// Whoever waits for the dialer to have settled, and holds it.
    settling: Arc<Flag>,
    _settled: Pin<Box<dyn Future<Output = ()>>>,
}

/// Whether somebody was woken.
#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn poll_once(future: &mut Pin<Box<impl Future<Output = ()>>>, flag: &Arc<Flag>) -> Poll<()> {
    let waker = Waker::from(flag.clone());
    future.as_mut().poll(&mut Context::from_waker(&waker))
}

impl Dialled {
    fn dial(scenario: &Scenario, budget: Budget, net: &mut dyn Transports) -> Self {
        let runtime = Simulated::default();
        let race = &scenario.race;
        let dialer = Dialer::builder_on(runtime.clone())
            .first_flight(scenario.first_flight())
            .peer(race.peer)
            .insist(race.insist)
            .kinds(race.kinds)
            .schedule(race.schedule)
            .losers(race.losers)
            .held_max(race.held_max)
            .budget(budget)
            .build()
            .expect("settings that the core takes");
        let addresses: Vec<_> = (0..race.targets.len()).map(Simulated::address).collect();
        NET.set(net, || {
            // The driver's task sleeps already, and has to be told of a race.
            runtime.run_tasks();
            let polled = pin!(dialer.dial(addresses)).poll(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(stream) = polled else {
                panic!("R1 a dial that waits");
            };
            let cell = dialer.take_latest().expect("a race");
            runtime.run_tasks();
            let gave_up = Arc::<Flag>::default();
            let _ = poll_once(&mut Box::pin(dialer.settled()), &gave_up);
            let kept = Arc::strong_count(&gave_up) - 1;
            assert_eq!(kept, 0, "who waits no longer is remembered");
            let settling = Arc::<Flag>::default();
            let mut settled = Box::pin(async move { dialer.settled().await });
            if poll_once(&mut settled, &settling).is_ready() {
                settling.clone().wake();
            }
            Self {
                stream: stream.map_err(|error| kind_of(&error)),
                runtime,
                cell,
                reader: Arc::default(),
                writer: Arc::default(),
                settling,
                _settled: settled,
            }
        })
    }

    /// Polls the stream, then lets the tasks run.
    fn poll<T>(
        &mut self,
        net: &mut dyn Transports,
        flag: fn(&Self) -> &Arc<Flag>,
        work: impl FnOnce(Pin<&mut RaceStream<Simulated>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<Result<T, FailureKind>> {
        let waker = Waker::from(flag(self).clone());
        let stream = match &mut self.stream {
            Ok(stream) => Pin::new(stream),
            Err(kind) => return Poll::Ready(Err(*kind)),
        };
        let runtime = &self.runtime;
        let polled = NET.set(net, || {
            let polled = work(stream, &mut Context::from_waker(&waker));
            runtime.run_tasks();
            polled
        });
        polled.map_err(|error| kind_of(&error))
    }
}

impl Driver for Dialled {
    fn wake(&mut self, net: &mut dyn Transports) {
        NET.set(net, || {
            self.runtime.wake();
            self.runtime.run_tasks();
        });
    }

    fn deadline(&self) -> Option<Instant> {
        self.runtime.deadline()
    }

    fn wakes(&mut self) -> Wakes {
        Wakes {
            reader: self.reader.0.swap(false, Ordering::Relaxed),
            writer: self.writer.0.swap(false, Ordering::Relaxed),
        }
    }

    fn write(
        &mut self,
        net: &mut dyn Transports,
        bytes: &[u8],
    ) -> Poll<Result<usize, FailureKind>> {
        self.poll(
            net,
            |this| &this.writer,
            |stream, cx| stream.poll_write(cx, bytes),
        )
    }

    fn read(
        &mut self,
        net: &mut dyn Transports,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, FailureKind>> {
        self.poll(
            net,
            |this| &this.reader,
            |stream, cx| stream.poll_read(cx, buffer),
        )
    }

    fn flush(&mut self, net: &mut dyn Transports) -> Poll<Result<(), FailureKind>> {
        self.poll(net, |this| &this.writer, |stream, cx| stream.poll_flush(cx))
    }

    fn shutdown(&mut self, net: &mut dyn Transports) -> Poll<Result<(), FailureKind>> {
        self.poll(net, |this| &this.writer, |stream, cx| stream.poll_close(cx))
    }

    fn abandon(&mut self, net: &mut dyn Transports) {
        NET.set(net, || {
            self.stream = Err(FailureKind::Other);
            self.runtime.run_tasks();
        });
    }

    fn is_settled(&self) -> bool {
        self.settling.0.load(Ordering::Relaxed)
    }

    fn look(&self, look: &mut dyn FnMut(&Race)) {
        self.cell.look(|running| look(&running.race));
    }
}

impl Drop for Dialled {
    /// Task, queue and races hold each other.
    fn drop(&mut self) {
        self.runtime.shut_down();
    }
}

/// The kind of the failure that an error tells of.
fn kind_of(error: &io::Error) -> FailureKind {
    let race = error.get_ref().and_then(|inner| inner.downcast_ref());
    match race.and_then(|race: &RaceError| race.reasons.leading()) {
        Some(failure) => failure.kind,
        None => failure_of(error).kind,
    }
}
