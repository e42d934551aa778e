//! Timers of retransmission (RFC 6298, RFC 8985), with Linux's numbers.

use headstart_core::race::FailureKind;

use super::flight::TICKS;
use super::{Alarm, RTO_FIRST, RTO_MAX, RTO_MIN, Socket, State};
use crate::trace::What;
use crate::world::{Event, World};

/// Times between a client's SYNs, and before it gives up: four of the same
/// length, then doubling (`tcp_syn_linear_timeouts` 4, `tcp_syn_retries` 6).
const SYN_WAITS: [u64; 11] = [1, 1, 1, 1, 1, 2, 4, 8, 16, 32, 64];
/// SYN-ACKs sent again (`tcp_synack_retries`).
const SYN_ACK_RETRIES: u32 = 5;
/// Retransmissions of data, of a socket that somebody holds
/// (`tcp_retries2`), and of one that nobody does (`tcp_orphan_retries`).
const DATA_RETRIES: u32 = 15;
const ORPHAN_RETRIES: u32 = 8;

impl Socket {
    /// Starts the timer anew if something is under way, stops it otherwise.
    pub(super) fn rearm(&mut self, now: u64) {
        let timeout = now.saturating_add(self.rto);
        match self.flight.is_empty() {
            true => self.deadline = None,
            false if self.flight.may_probe() => {
                self.wait_until(self.probe_at(now).min(timeout), Alarm::Probe);
            }
            false => self.wait_until(timeout, Alarm::Retransmit),
        }
    }

    /// The same when something was sent.
    pub(super) fn sent_more(&mut self, now: u64) {
        let oldest = self.flight.oldest_at().unwrap_or(now);
        let timeout = oldest.saturating_add(self.rto).max(now);
        if self.flight.may_probe() {
            self.wait_until(self.probe_at(now).min(timeout), Alarm::Probe);
        } else if self.deadline.is_none() {
            self.rearm(now);
        }
    }

    /// When a probe is sent: an acknowledgement of one segment may be delayed
    /// (RFC 8985 section 7.2).
    fn probe_at(&self, now: u64) -> u64 {
        let Some(rtt) = self.rtt.smoothed() else {
            return now.saturating_add(RTO_FIRST);
        };
        let more = match self.flight.is_single() {
            true => RTO_MIN,
            false => TICKS,
        };
        now.saturating_add(rtt.saturating_mul(2))
            .saturating_add(more)
    }

    pub(super) fn wait_until(&mut self, at: u64, alarm: Alarm) {
        self.deadline = Some(at);
        self.alarm = alarm;
    }
}

impl World<'_> {
    pub(crate) fn set_timer(&mut self, id: usize, wait: u64) {
        let at = self.now.saturating_add(wait);
        if let Some(socket) = self.sockets.get_mut(id) {
            socket.deadline = Some(at);
        }
        self.queue_timer(id);
    }

    /// Sees to it that a timer event comes at or before the deadline.
    pub(crate) fn queue_timer(&mut self, id: usize) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if let Some(at) = socket.deadline
            && at < socket.timer_at
        {
            socket.timer_at = at;
            self.push(at, Event::Timer(id));
        }
    }

    pub(crate) fn timer(&mut self, id: usize) {
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if socket.timer_at <= now {
            socket.timer_at = u64::MAX;
        }
        match socket.deadline {
            None => return,
            Some(at) if at > now => return self.queue_timer(id),
            Some(_) => socket.deadline = None,
        }
        let alarm = socket.alarm;
        if socket.state != State::Established || alarm == Alarm::Retransmit {
            socket.retries = socket.retries.saturating_add(1);
        }
        match socket.state {
            State::SynSent => self.syn_again(id),
            State::Request | State::SynReceived => self.syn_ack_again(id),
            State::Established => match alarm {
                Alarm::Retransmit => self.data_again(id),
                Alarm::Probe => self.probe(id),
                Alarm::Reordered => self.reordered(id),
            },
            State::TimeWait | State::Closed => {}
        }
    }

    fn syn_again(&mut self, id: usize) {
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        socket.again = socket.again.saturating_add(1);
        socket.syn_at = now;
        let place = usize::try_from(socket.retries).unwrap_or(usize::MAX);
        match SYN_WAITS.get(place) {
            Some(seconds) => {
                let wait = super::millis(seconds.saturating_mul(1_000));
                self.trace(What::Timer(id));
                self.send_syn(id);
                self.set_timer(id, wait);
            }
            None => self.fails(id, FailureKind::TimedOut),
        }
    }

    fn syn_ack_again(&mut self, id: usize) {
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if socket.retries > SYN_ACK_RETRIES {
            return match socket.state {
                State::Request => socket.state = State::Closed,
                _ => self.fails(id, FailureKind::TimedOut),
            };
        }
        socket.again = socket.again.saturating_add(1);
        socket.syn_at = now;
        let doubled = 1u64.checked_shl(socket.retries).unwrap_or(u64::MAX);
        let wait = RTO_FIRST.saturating_mul(doubled).min(RTO_MAX);
        self.trace(What::Timer(id));
        self.send_syn_ack(id, None);
        self.set_timer(id, wait);
    }

    fn data_again(&mut self, id: usize) {
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        let most = match socket.orphan {
            true => ORPHAN_RETRIES,
            false => DATA_RETRIES,
        };
        if socket.retries > most {
            return self.fails(id, FailureKind::TimedOut);
        }
        socket.rto = socket.rto.saturating_mul(2).min(RTO_MAX);
        socket.flight.time_out(now);
        socket.recovery = None;
        socket.window = socket.flight.under_way().saturating_add(1);
        socket.wait_until(now.saturating_add(socket.rto), Alarm::Retransmit);
        self.trace(What::Timer(id));
        self.transmit(id);
        self.queue_timer(id);
    }

    /// Sends something new, or the last segment again, so that its
    /// acknowledgement tells what is lost.
    fn probe(&mut self, id: usize) {
        let now = self.now;
        self.trace(What::Timer(id));
        let is_new = self.send_new(id);
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        let last = socket.flight.probe(now);
        socket.wait_until(now.saturating_add(socket.rto), Alarm::Retransmit);
        if let Some(range) = last
            && !is_new
        {
            self.send_again(id, range);
        }
        self.queue_timer(id);
    }

    /// What has not come by now is lost.
    fn reordered(&mut self, id: usize) {
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        let losses = socket.flight.detect_losses(now, socket.rtt.least());
        if losses.count > 0 {
            socket.adapt(1, false, &losses);
        }
        match losses.again {
            Some(at) => socket.wait_until(at, Alarm::Reordered),
            None => socket.wait_until(now.saturating_add(socket.rto), Alarm::Retransmit),
        }
        self.trace(What::Timer(id));
        self.transmit(id);
        self.queue_timer(id);
    }
}
