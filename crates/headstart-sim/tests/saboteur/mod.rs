//! A driver that does one thing wrong, on purpose.
#![allow(unreachable_pub)]

use std::task::Poll;
use std::time::Duration;

use headstart_core::race::{AttemptKind, Close, Event, FailureKind, Progress, Race, Step, SynData};
use headstart_core::{Instant, RaceConfig};
use headstart_sim::{Driver, Headstart, SocketError, SocketId, StartError, Transports, Wakes};

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
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
    /// An end is taken for a reply.
    HearReplies,
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
    /// Whatever ended a race is told as a reset.
    CallAllReset,
    /// The survivor's failure is told without the others'.
    ForgetTheOthers,
    /// What became of data in a SYN is not asked.
    ForgetSyn,
    /// A flush is done at once.
    FlushAtOnce,
    /// Losers are reset, whatever the setting.
    AlwaysReset,
    /// A socket that could not be had is a failure of the network's.
    BlameTheNetwork,
    /// Who reads is not woken for the first time.
    SwallowWake,
}

impl Wrong {
    /// Each, and the rule that it breaks.
    #[allow(dead_code, reason = "the test of the conformance entry has use for it")]
    pub const ALL: [(Self, Option<&str>); 26] = [
        (Self::Nothing, None),
        (Self::WriteToAll, Some("R6")),
        (Self::Garble, Some("R2")),
        (Self::Garble, Some("D1")),
        (Self::FattenSyn, Some("R13")),
        (Self::FinishEarly, Some("R11")),
        (Self::CloseGently, Some("R8")),
        (Self::CloseGently, Some("R10")),
        (Self::ReadFromAny, Some("R3")),
        (Self::HearReplies, Some("R3")),
        (Self::LieAboutSyn, Some("report")),
        (Self::Deaf, Some("R15")),
        (Self::GiveUpReading, Some("R4")),
        (Self::Oversleep, Some("R9")),
        (Self::SleepOn, Some("R16")),
        (Self::StaleDeadline, Some("poll")),
        (Self::Restless, Some("end")),
        (Self::StartLate, Some("R7")),
        (Self::StartEarly, Some("R1")),
        (Self::CallAllReset, Some("R4")),
        (Self::ForgetTheOthers, Some("R5")),
        (Self::ForgetSyn, Some("report")),
        (Self::FlushAtOnce, Some("R16")),
        (Self::AlwaysReset, Some("R10")),
        (Self::BlameTheNetwork, Some("R12")),
        (Self::SwallowWake, Some("R16")),
    ];
}

/// A driver that does one thing wrong.
pub struct Saboteur {
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
    swallowed: bool,
    /// What a socket said when it was read last.
    failed: Option<FailureKind>,
}

impl Saboteur {
    /// Dials, and does that wrong.
    pub fn dial(wrong: Wrong, config: RaceConfig, net: &mut dyn Transports) -> Self {
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
        let mut wakes = self.driver.wakes();
        let first = wakes.reader && !self.meddling.swallowed;
        if self.wrong == Wrong::SwallowWake && first {
            self.meddling.swallowed = true;
            wakes.reader = false;
        }
        wakes
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
            Poll::Ready(Err(_)) if self.wrong == Wrong::CallAllReset => {
                Poll::Ready(Err(FailureKind::Reset))
            }
            Poll::Ready(Err(kind)) if self.wrong == Wrong::ForgetTheOthers => {
                Poll::Ready(Err(self.meddling.failed.unwrap_or(kind)))
            }
            polled => polled,
        }
    }

    fn flush(&mut self, net: &mut dyn Transports) -> Poll<Result<(), FailureKind>> {
        let flushed = self.with(net, |driver, net| driver.flush(net));
        match self.wrong {
            Wrong::FlushAtOnce => Poll::Ready(Ok(())),
            _ => flushed,
        }
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

    fn look(&self, look: &mut dyn FnMut(&Race)) {
        self.driver.look(look);
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
        let started = self.net.start(kind, target, &flight);
        let (socket, mut progress) = started.map_err(|error| StartError {
            not_had: error.not_had && self.wrong != Wrong::BlameTheNetwork,
            ..error
        })?;
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
        if self.wrong == Wrong::HearReplies && peeked == Ok(0) {
            return Ok(1);
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
        let read = self.net.read(socket, buffer);
        if let Err(SocketError::Failed(failure)) = read {
            self.meddling.failed = Some(failure.kind);
        }
        read
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
        match (self.wrong, self.net.syn_data(socket)) {
            (Wrong::ForgetSyn, SynData::Acknowledged | SynData::Ignored) => SynData::Sent,
            (_, truth) => truth,
        }
    }

    fn close(&mut self, socket: SocketId, close: Close) {
        let close = match self.wrong {
            Wrong::CloseGently => Close::Graceful,
            Wrong::AlwaysReset => Close::Abortive,
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
