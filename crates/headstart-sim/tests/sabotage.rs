//! Every rule can fail: drivers that break one on purpose are found out, and
//! by its name.

use std::task::Poll;
use std::time::Duration;

use headstart_core::config::{Peer, Schedule};
use headstart_core::race::{AttemptKind, Close, Event, FailureKind, Progress, Race, Step, SynData};
use headstart_core::{Instant, RaceConfig};
use headstart_sim::{
    Act, Driver, Headstart, Rule, Run, Scenario, SocketError, SocketId, StartError, Transports,
    Trigger, Wakes, run_with,
};

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// Nothing: the control.
    Nothing,
    /// What is written to one socket is written to all.
    WriteToAll,
    /// The second socket is sent other bytes.
    Garble,
    /// A SYN carries more than the flight.
    FattenSyn,
    /// FIN goes right behind the flight.
    FinishEarly,
    /// Losers are closed by FIN.
    CloseGently,
    /// Bytes are read from whichever connection has any.
    ReadFromAny,
    /// A cookie request is called data in the SYN.
    LieAboutSyn,
    /// Replies are not seen.
    Deaf,
    /// Reads fail while the race goes on.
    GiveUpReading,
    /// The first wake-up is slept through.
    Oversleep,
    /// All are, until the application has lost patience.
    SleepOn,
    /// The deadline is now.
    StaleDeadline,
    /// The deadline is a nanosecond away, for ever.
    Restless,
    /// Another Fast Open attempt starts when all is open.
    StartLate,
    /// The second attempt does not wait for its turn.
    StartEarly,
}

/// A driver that does one thing wrong.
struct Saboteur {
    driver: Headstart,
    wrong: Wrong,
    meddling: Meddling,
    now: Instant,
    /// When the application has lost all but a moment of its patience.
    patience: Instant,
}

/// The patience of the application of [`Scenario::plainest`].
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Debug, Default)]
struct Meddling {
    sockets: Vec<SocketId>,
    wakes: u32,
    started: bool,
}

impl Saboteur {
    fn dial(wrong: Wrong, config: RaceConfig, net: &mut dyn Transports) -> Self {
        let mut meddling = Meddling::default();
        let now = net.now();
        if wrong == Wrong::StartEarly {
            let _ = net.start(AttemptKind::FastOpen, 0, &[]);
        }
        let mut tampered = Tampered {
            net,
            wrong,
            meddling: &mut meddling,
        };
        let driver = Headstart::dial(config, &mut tampered);
        Self {
            driver,
            wrong,
            meddling,
            now,
            patience: now.saturating_add(PATIENCE - Duration::from_secs(100)),
        }
    }

    fn with<T>(
        &mut self,
        net: &mut dyn Transports,
        work: impl FnOnce(&mut Headstart, &mut dyn Transports) -> T,
    ) -> T {
        self.now = net.now();
        let mut tampered = Tampered {
            net,
            wrong: self.wrong,
            meddling: &mut self.meddling,
        };
        work(&mut self.driver, &mut tampered)
    }
}

impl Driver for Saboteur {
    fn wake(&mut self, net: &mut dyn Transports) {
        self.meddling.wakes += 1;
        let asleep = match self.wrong {
            Wrong::Oversleep => self.meddling.wakes == 1,
            Wrong::SleepOn => net.now() < self.patience,
            _ => false,
        };
        if asleep {
            return;
        }
        if self.wrong == Wrong::StartLate && !self.meddling.started && self.meddling.wakes > 1 {
            self.meddling.started = true;
            let _ = net.start(AttemptKind::FastOpen, 0, &[]);
        }
        self.with(net, |driver, net| driver.wake(net));
    }

    fn deadline(&self) -> Option<Instant> {
        match self.wrong {
            Wrong::StaleDeadline => Some(self.now),
            Wrong::Restless => Some(self.now.saturating_add(Duration::from_nanos(1))),
            _ => self.driver.deadline(),
        }
    }

    fn wakes(&mut self) -> Wakes {
        self.driver.wakes()
    }

    fn write(
        &mut self,
        net: &mut dyn Transports,
        bytes: &[u8],
    ) -> Poll<Result<usize, FailureKind>> {
        self.with(net, |driver, net| driver.write(net, bytes))
    }

    fn read(
        &mut self,
        net: &mut dyn Transports,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, FailureKind>> {
        match self.with(net, |driver, net| driver.read(net, buffer)) {
            Poll::Pending if self.wrong == Wrong::GiveUpReading => {
                Poll::Ready(Err(FailureKind::Other))
            }
            polled => polled,
        }
    }

    fn flush(&mut self, net: &mut dyn Transports) -> Poll<Result<(), FailureKind>> {
        self.with(net, |driver, net| driver.flush(net))
    }

    fn shutdown(&mut self, net: &mut dyn Transports) -> Poll<Result<(), FailureKind>> {
        self.with(net, |driver, net| driver.shutdown(net))
    }

    fn abandon(&mut self, net: &mut dyn Transports) {
        self.with(net, |driver, net| driver.abandon(net));
    }

    fn is_settled(&self) -> bool {
        self.driver.is_settled()
    }

    fn race(&self) -> &Race {
        self.driver.race()
    }
}

/// The network, through the saboteur's hands.
struct Tampered<'a> {
    net: &'a mut dyn Transports,
    wrong: Wrong,
    meddling: &'a mut Meddling,
}

impl Transports for Tampered<'_> {
    fn now(&self) -> Instant {
        self.net.now()
    }

    fn start(
        &mut self,
        kind: AttemptKind,
        target: usize,
        flight: &[u8],
    ) -> Result<(SocketId, Progress), StartError> {
        let mut flight = flight.to_vec();
        if self.wrong == Wrong::FattenSyn && kind == AttemptKind::FastOpen {
            flight.extend_from_slice(b"more");
        }
        let (socket, mut progress) = self.net.start(kind, target, &flight)?;
        if self.wrong == Wrong::LieAboutSyn && progress == Progress::CookieRequest {
            progress = Progress::DataInSyn(flight.len());
        }
        self.meddling.sockets.push(socket);
        Ok((socket, progress))
    }

    fn poll_readable(&mut self, socket: SocketId) -> bool {
        self.net.poll_readable(socket)
    }

    fn poll_writable(&mut self, socket: SocketId) -> bool {
        self.net.poll_writable(socket)
    }

    fn peek(&mut self, socket: SocketId) -> Result<usize, SocketError> {
        let peeked = self.net.peek(socket);
        if self.wrong == Wrong::Deaf && matches!(peeked, Ok(1..)) {
            let mut sink = [0; 1 << 16];
            let _ = self.net.read(socket, &mut sink);
            return self.net.peek(socket);
        }
        peeked
    }

    fn read(&mut self, socket: SocketId, buffer: &mut [u8]) -> Result<usize, SocketError> {
        if self.wrong == Wrong::ReadFromAny {
            for other in self.meddling.sockets.clone() {
                if other != socket && matches!(self.net.peek(other), Ok(1..)) {
                    return self.net.read(other, buffer);
                }
            }
        }
        self.net.read(socket, buffer)
    }

    fn write(&mut self, socket: SocketId, parts: [&[u8]; 2]) -> Result<usize, SocketError> {
        let mut bytes = parts.concat();
        if self.wrong == Wrong::Garble
            && let Some(last) = bytes.last_mut()
        {
            *last ^= 1;
        }
        let written = self.net.write(socket, [&bytes, &[]])?;
        if self.wrong == Wrong::WriteToAll {
            for other in self.meddling.sockets.clone() {
                if other != socket {
                    let _ = self.net.write(other, [&bytes, &[]]);
                }
            }
        }
        if self.wrong == Wrong::FinishEarly {
            let _ = self.net.shutdown(socket);
        }
        Ok(written)
    }

    fn shutdown(&mut self, socket: SocketId) -> Result<(), SocketError> {
        self.net.shutdown(socket)
    }

    fn take_error(&mut self, socket: SocketId) -> Result<(), SocketError> {
        self.net.take_error(socket)
    }

    fn syn_data(&self, socket: SocketId) -> SynData {
        self.net.syn_data(socket)
    }

    fn close(&mut self, socket: SocketId, close: Close) {
        let close = match self.wrong {
            Wrong::CloseGently => Close::Graceful,
            _ => close,
        };
        // Closed sockets are gone; the saboteur keeps them open for itself.
        if self.wrong != Wrong::ReadFromAny && self.wrong != Wrong::WriteToAll {
            self.net.close(socket, close);
        }
    }

    fn note_step(&mut self, step: Step) {
        self.net.note_step(step);
    }

    fn note_event(&mut self, socket: Option<SocketId>, event: Event) {
        self.net.note_event(socket, event);
    }
}

fn sabotaged(scenario: &Scenario, wrong: Wrong) -> Run {
    run_with(scenario, false, |config, net| {
        Saboteur::dial(wrong, config, net)
    })
}

#[track_caller]
fn expect(scenario: &Scenario, wrong: Wrong, rule: &str) {
    let honest = sabotaged(scenario, Wrong::Nothing);
    assert_eq!(honest.violations, [], "the control");
    let found = sabotaged(scenario, wrong).violations;
    let named = found.iter().any(|violation| violation.rule == rule);
    assert!(named, "{wrong:?} breaks {rule}, but found was {found:?}");
}

fn plainest() -> Scenario {
    Scenario::plainest(Rule::Transparent, Duration::from_millis(50))
}

/// Plain wins, since the middlebox eats SYNs with data.
fn plain_wins() -> Scenario {
    Scenario::plainest(Rule::DropSynWithData, Duration::from_millis(50))
}

/// A server that acts on both copies, and a client that insists.
fn both_answer() -> Scenario {
    let mut scenario = plainest();
    scenario.race.peer = Peer::Unaware;
    scenario.race.insist = true;
    scenario.server.debounce = None;
    scenario
}

/// More than the flight is written, and answered.
fn upload() -> Scenario {
    let mut scenario = both_answer();
    scenario.client.script = vec![
        Act::Write(600),
        Act::Flush,
        Act::Write(5_000),
        Act::Read,
        Act::Shutdown,
        Act::AwaitEnd,
    ];
    scenario.server.trigger = Trigger::Eof;
    scenario
}

#[test]
fn r2_other_bytes_on_one_connection() {
    expect(&plain_wins(), Wrong::Garble, "R2");
}

#[test]
fn r3_bytes_of_another_connection() {
    let mut scenario = both_answer();
    scenario.client.script = vec![
        Act::Write(600),
        Act::Flush,
        Act::Pause(Duration::from_secs(1)),
        Act::Read,
        Act::Shutdown,
        Act::AwaitEnd,
    ];
    expect(&scenario, Wrong::ReadFromAny, "R3");
}

#[test]
fn r4_an_error_while_the_race_goes_on() {
    expect(&plainest(), Wrong::GiveUpReading, "R4");
}

#[test]
fn r6_bytes_beyond_the_flight_on_two_connections() {
    let mut scenario = upload();
    scenario.race.targets[0].plain.delay = Duration::from_millis(26);
    expect(&scenario, Wrong::WriteToAll, "R6");
}

#[test]
fn r7_a_needless_copy() {
    expect(&plain_wins(), Wrong::StartLate, "R7");
}

#[test]
fn r1_something_before_plain() {
    expect(&plainest(), Wrong::StartEarly, "R1");
}

#[test]
fn r9_the_flight_leaves_late() {
    expect(&plain_wins(), Wrong::Oversleep, "R9");
}

#[test]
fn r10_losers_closed_by_fin() {
    expect(&plain_wins(), Wrong::CloseGently, "R10");
}

#[test]
fn r11_fin_before_the_last_byte() {
    let mut scenario = upload();
    scenario.race.peer = Peer::FirstCome;
    scenario.race.targets[0].fast_open.delay = Duration::from_millis(40);
    expect(&scenario, Wrong::FinishEarly, "R11");
}

#[test]
fn r13_a_syn_with_more_than_the_flight() {
    expect(&plainest(), Wrong::FattenSyn, "R13");
}

#[test]
fn r14_a_second_attempt_before_its_time() {
    let mut scenario = plain_wins();
    scenario.race.schedule = Schedule::Hedged {
        first: AttemptKind::Plain,
        delay: Duration::from_millis(300),
    };
    expect(&scenario, Wrong::StartLate, "R14");
}

#[test]
fn r15_a_race_that_hears_no_reply() {
    expect(&plain_wins(), Wrong::Deaf, "R15");
}

#[test]
fn r16_a_wake_up_slept_through() {
    expect(&plain_wins(), Wrong::SleepOn, "R16");
}

#[test]
fn d1_a_copy_that_looks_like_another_message() {
    let mut scenario = plainest();
    scenario.race.targets[0].fast_open.delay = Duration::from_millis(60);
    expect(&scenario, Wrong::Garble, "D1");
}

#[test]
fn a_report_that_lies() {
    let mut scenario = plainest();
    scenario.race.cookie = None;
    expect(&scenario, Wrong::LieAboutSyn, "report");
}

#[test]
fn deadlines_lie_in_the_future() {
    expect(&plainest(), Wrong::StaleDeadline, "poll");
}

#[test]
fn every_run_ends() {
    expect(&plainest(), Wrong::Restless, "end");
}
