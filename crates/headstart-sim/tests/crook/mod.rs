//! A gate that does one thing wrong, on purpose.
// Each user has its own part.
#![allow(dead_code, unreachable_pub)]

use std::task::Poll;
use std::time::Duration;

use headstart_core::Instant;
use headstart_core::debounce::Verdict;
use headstart_core::pair::{Config, LOG_LIMIT, Pair};
use headstart_core::race::{AttemptKind, Close, FailureKind};
use headstart_sim::gate::{
    Admission, Claim, Copy, Doorman, Gate, Joined, Members, PairDriver, Place,
};
use headstart_sim::{SocketError, SocketId, Wakes};

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Nothing: the control.
    Nothing,
    /// Every copy but the first is reset.
    FirstCome,
    /// Every copy is acted on.
    Forgetful,
    /// Pairs are opened where there is no room.
    Generous,
    /// The log takes more than it was told.
    Roomy,
    /// It takes bytes as if there were no other pairs.
    Greedy,
    /// A pair is not told that its application is gone.
    Forsaken,
    /// The answer goes to the first member only.
    OneSided,
    /// Every other member goes when one fails.
    Panicky,
    /// The application is never woken.
    Silent,
    /// Bytes are given to the application twice.
    Stuttering,
    /// Any member's end is the end.
    Hasty,
    /// Every other member is given the answer from its second byte on.
    Clipping,
    /// A copy joins a second late.
    Dawdling,
    /// The second wake-up is slept through.
    Drowsy,
    /// The deadline is now.
    Stale,
    /// The deadline is a nanosecond away, for ever.
    Restless,
}

/// The gate.
#[derive(Debug)]
pub struct Crook(pub Wrong);

impl Gate for Crook {
    fn admit(&mut self, claim: &Claim) -> Admission {
        let right = Doorman.admit(claim);
        let first = claim.verdict == Verdict::First;
        match self.0 {
            Wrong::FirstCome if right == Admission::Join => Admission::Reset,
            Wrong::Forgetful if !first => Admission::Alone,
            Wrong::Generous if first && claim.kind == AttemptKind::FastOpen => Admission::Open,
            _ => right,
        }
    }

    fn open(
        &mut self,
        mut config: Config,
        now: Instant,
        first: Copy,
        place: Place,
    ) -> Box<dyn PairDriver> {
        let place = match self.0 {
            Wrong::Greedy => Place::boundless(),
            _ => place,
        };
        if self.0 == Wrong::Roomy {
            config.log_max = LOG_LIMIT;
        }
        Box::new(CrookedPair {
            wrong: self.0,
            first: first.socket,
            driver: Joined::new(Pair::new(config, now), first, place),
            now,
            woken: 0,
            late: None,
            again: Vec::new(),
            members: Vec::new(),
        })
    }
}

struct CrookedPair {
    wrong: Wrong,
    first: SocketId,
    driver: Joined,
    now: Instant,
    woken: u32,
    late: Option<(Instant, AttemptKind, Copy)>,
    again: Vec<u8>,
    members: Vec<SocketId>,
}

impl CrookedPair {
    fn with<T>(
        &mut self,
        net: &mut dyn Members,
        work: impl FnOnce(&mut Joined, &mut dyn Members) -> T,
    ) -> T {
        self.now = net.now();
        let mut tampered = Tampered {
            wrong: self.wrong,
            first: self.first,
            members: self.members.clone(),
            net,
        };
        work(&mut self.driver, &mut tampered)
    }
}

impl PairDriver for CrookedPair {
    fn join(&mut self, net: &mut dyn Members, kind: AttemptKind, copy: Copy) -> Result<(), Copy> {
        self.members.push(copy.socket);
        if self.wrong == Wrong::Dawdling {
            let at = net.now().saturating_add(Duration::from_secs(1));
            self.late = Some((at, kind, copy));
            return Ok(());
        }
        self.with(net, |driver, net| driver.join(net, kind, copy))
    }

    fn wake(&mut self, net: &mut dyn Members) {
        self.woken += 1;
        if self.wrong == Wrong::Drowsy && self.woken == 2 {
            return;
        }
        if let Some((_, kind, copy)) = self.late.take_if(|late| net.now() >= late.0) {
            let _ = self.with(net, |driver, net| driver.join(net, kind, copy));
        }
        self.with(net, |driver, net| driver.wake(net));
    }

    fn deadline(&self) -> Option<Instant> {
        let late = self.late.as_ref().map(|late| late.0);
        match self.wrong {
            Wrong::Stale => Some(self.now),
            Wrong::Restless => Some(self.now.saturating_add(Duration::from_nanos(1))),
            _ => self.driver.deadline().into_iter().chain(late).min(),
        }
    }

    fn wakes(&mut self) -> Wakes {
        let wakes = self.driver.wakes();
        match self.wrong {
            Wrong::Silent => Wakes::default(),
            _ => wakes,
        }
    }

    fn read(
        &mut self,
        net: &mut dyn Members,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, FailureKind>> {
        if !self.again.is_empty() {
            buffer[..self.again.len()].copy_from_slice(&self.again);
            return Poll::Ready(Ok(std::mem::take(&mut self.again).len()));
        }
        let mut all = [self.first].into_iter().chain(self.members.iter().copied());
        if self.wrong == Wrong::Hasty && all.any(|socket| net.peek(socket) == Ok(0)) {
            return Poll::Ready(Ok(0));
        }
        let polled = self.with(net, |driver, net| driver.read(net, buffer));
        if let Poll::Ready(Ok(count)) = polled
            && self.wrong == Wrong::Stuttering
        {
            self.again = buffer[..count].to_vec();
        }
        polled
    }

    fn write(&mut self, net: &mut dyn Members, bytes: &[u8]) -> Poll<Result<usize, FailureKind>> {
        self.with(net, |driver, net| driver.write(net, bytes))
    }

    fn shutdown(&mut self, net: &mut dyn Members) -> Poll<Result<(), FailureKind>> {
        self.with(net, |driver, net| driver.shutdown(net))
    }

    fn take_handed(&mut self) -> Option<Copy> {
        self.driver.take_handed()
    }

    fn abandon(&mut self, net: &mut dyn Members) {
        if self.wrong != Wrong::Forsaken {
            self.with(net, |driver, net| driver.abandon(net));
        }
    }

    fn is_settled(&self) -> bool {
        self.driver.is_settled()
    }

    fn look(&self, look: &mut dyn FnMut(&Pair)) {
        self.driver.look(look);
    }
}

/// The members, through the crook's hands.
struct Tampered<'a> {
    net: &'a mut dyn Members,
    wrong: Wrong,
    first: SocketId,
    members: Vec<SocketId>,
}

impl Members for Tampered<'_> {
    fn now(&self) -> Instant {
        self.net.now()
    }

    fn poll_readable(&mut self, socket: SocketId) -> bool {
        self.net.poll_readable(socket)
    }

    fn poll_writable(&mut self, socket: SocketId) -> bool {
        self.net.poll_writable(socket)
    }

    fn peek(&mut self, socket: SocketId) -> Result<usize, SocketError> {
        self.net.peek(socket)
    }

    fn read(&mut self, socket: SocketId, buffer: &mut [u8]) -> Result<usize, SocketError> {
        self.net.read(socket, buffer)
    }

    fn write(&mut self, socket: SocketId, parts: [&[u8]; 2]) -> Result<usize, SocketError> {
        match self.wrong {
            Wrong::Clipping if socket != self.first => {
                let [head, tail] = parts;
                let written = self.net.write(socket, [&head[1..], tail])?;
                Ok(written + 1)
            }
            Wrong::OneSided if socket != self.first => Ok(parts.concat().len()),
            _ => self.net.write(socket, parts),
        }
    }

    fn shutdown(&mut self, socket: SocketId) -> Result<(), SocketError> {
        self.net.shutdown(socket)
    }

    fn take_error(&mut self, socket: SocketId) -> Result<(), SocketError> {
        self.net.take_error(socket)
    }

    fn acked(&self, socket: SocketId) -> u64 {
        self.net.acked(socket)
    }

    fn close(&mut self, socket: SocketId, close: Close) {
        self.net.close(socket, close);
        if self.wrong == Wrong::Panicky {
            for member in &self.members {
                self.net.close(*member, Close::Abortive);
            }
        }
    }

    fn note_step(&mut self, step: headstart_core::pair::Step) {
        self.net.note_step(step);
    }
}
