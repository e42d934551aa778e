//! Retransmission timers (RFC 6298), with Linux's numbers.

use headstart_core::race::FailureKind;

use super::{MSS, RTO_FIRST, RTO_MAX, RTO_MIN, Socket, State};
use crate::segment::Segment;
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
    pub(super) fn rto_now(&self) -> u64 {
        self.rtt
            .map_or(RTO_FIRST, |rtt| rtt.saturating_add(RTO_MIN).min(RTO_MAX))
    }

    /// Starts the timer if something is under way, stops it otherwise.
    pub(super) fn rearm(&mut self, now: u64) {
        let under_way = self.nxt > self.una;
        self.deadline = under_way.then(|| now.saturating_add(self.rto));
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
        socket.retries = socket.retries.saturating_add(1);
        match socket.state {
            State::SynSent => self.syn_again(id),
            State::Request | State::SynReceived => self.syn_ack_again(id),
            State::Established => self.data_again(id),
            State::TimeWait | State::Closed => {}
        }
    }

    fn syn_again(&mut self, id: usize) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        socket.again = socket.again.saturating_add(1);
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
        socket.window = MSS;
        socket.nxt = socket.una;
        socket.again = socket.again.saturating_add(1);
        socket.duplicate_acks = 0;
        socket.deadline = Some(now.saturating_add(socket.rto));
        self.trace(What::Timer(id));
        self.transmit(id);
        self.queue_timer(id);
    }

    /// Sends the first missing segment again, at once.
    pub(super) fn resend_first(&mut self, id: usize) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        socket.again = socket.again.saturating_add(1);
        let end = socket.tx_end();
        let from = socket.una.max(1);
        let len = end.saturating_sub(from).min(MSS);
        let fin = socket.fin && from.saturating_add(len) == end;
        let segment = Segment {
            seq: from,
            len,
            fin,
            ..self.blank(id)
        };
        self.send(segment);
    }
}
