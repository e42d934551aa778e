//! Bytes under way.

use headstart_core::race::FailureKind;

use super::flight::Losses;
use super::recovery::Recovery;
use super::{Alarm, MSS, State, WINDOW_MAX};
use crate::segment::Segment;
use crate::trace::What;
use crate::world::World;

impl World<'_> {
    /// Sends what may be sent, the lost first; whether that was anything.
    pub(crate) fn transmit(&mut self, id: usize) -> bool {
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(id) else {
            return false;
        };
        let room = socket.window.saturating_sub(socket.flight.under_way());
        let any = (0..room)
            .take_while(|_| self.send_lost(id) || self.send_new(id))
            .count()
            > 0;
        if let Some(socket) = self.sockets.get_mut(id)
            && any
            && socket.state == State::Established
        {
            socket.sent_more(now);
            self.queue_timer(id);
        }
        any
    }

    /// Sends the first of the lost again, if there is one.
    fn send_lost(&mut self, id: usize) -> bool {
        let now = self.now;
        let lost = self
            .sockets
            .get_mut(id)
            .and_then(|socket| socket.flight.resend_lost(now));
        if let Some(range) = lost {
            self.send_again(id, range);
        }
        lost.is_some()
    }

    /// Sends the next new segment, if there is one.
    pub(super) fn send_new(&mut self, id: usize) -> bool {
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(id) else {
            return false;
        };
        if !matches!(socket.state, State::Established | State::SynReceived) {
            return false;
        }
        let from = socket.nxt.max(1);
        let end = socket.tx_end();
        let len = end.saturating_sub(from).min(MSS);
        let fin = socket.fin && from.saturating_add(len) == end && from <= end;
        if len == 0 && !fin {
            return false;
        }
        socket.nxt = from.saturating_add(len).saturating_add(u32::from(fin));
        let to = socket.nxt;
        socket.flight.push(from, to, now);
        socket.note_sent();
        let segment = Segment {
            seq: from,
            len,
            fin,
            ..self.blank(id)
        };
        self.note_departure(&segment);
        self.send(segment);
        true
    }

    /// Sends what went before once more.
    pub(super) fn send_again(&mut self, id: usize, (from, to): (u32, u32)) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        socket.again = socket.again.saturating_add(1);
        socket.note_sent();
        let fin = socket.fin && to > socket.tx_end();
        let segment = Segment {
            seq: from,
            len: to.saturating_sub(from).saturating_sub(u32::from(fin)),
            fin,
            ..self.blank(id)
        };
        self.send(segment);
    }

    pub(crate) fn acknowledge(&mut self, id: usize) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if socket.acks_of != socket.rcv_nxt {
            socket.acks_of = socket.rcv_nxt;
            socket.acks = 0;
        }
        socket.acks = socket.acks.saturating_add(1);
        let (seq, copy) = (socket.nxt, socket.acks);
        let segment = Segment {
            seq,
            copy,
            ..self.blank(id)
        };
        self.send(segment);
    }

    /// A segment comes to a connection whose handshake is over, or is over with it.
    pub(crate) fn segment_arrives(&mut self, id: usize, segment: Segment) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if segment.unreachable {
            return; // A soft error of an established connection.
        }
        if segment.rst {
            // RFC 5961 section 3.2: exactly the next number resets.
            return match segment.seq == socket.rcv_nxt {
                true => self.reset_arrives(id),
                false if segment.seq > socket.rcv_nxt => self.acknowledge(id),
                false => {}
            };
        }
        if segment.syn {
            return self.acknowledge(id);
        }
        self.ack_arrives(id, &segment);
        self.data_arrives(id, &segment);
        self.shed(id);
    }

    fn reset_arrives(&mut self, id: usize) {
        match self.sockets.get(id).map(|socket| socket.state) {
            Some(State::Request | State::TimeWait) => {
                if let Some(socket) = self.sockets.get_mut(id) {
                    socket.state = State::Closed;
                    socket.deadline = None;
                }
            }
            Some(State::Closed) | None => {}
            Some(State::SynSent | State::SynReceived | State::Established) => {
                self.fails(id, FailureKind::Reset);
            }
        }
    }

    fn ack_arrives(&mut self, id: usize, segment: &Segment) {
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        let ack = segment.ack.unwrap_or(0);
        if ack > socket.nxt {
            return;
        }
        if let Some(at) = socket.flight.sampled(ack) {
            socket.rtt.sample(now.saturating_sub(at));
        }
        let rtt = socket.rtt.least();
        let news = socket.flight.acknowledge(ack, &segment.blocks, now, rtt);
        let moved = ack > socket.una;
        if !moved && news == 0 {
            return;
        }
        let losses = socket.flight.detect_losses(now, rtt);
        socket.adapt(news, moved, &losses);
        if moved {
            socket.una = ack;
            socket.retries = 0;
            socket.rto = socket.rtt.timeout();
            socket.rearm(now);
        }
        if let Some(at) = losses.again {
            socket.wait_until(at, Alarm::Reordered);
        }
        let roomy = socket.room() >= socket.send_buffer / 3;
        let wake = moved && socket.no_space && roomy;
        self.transmit(id);
        self.queue_timer(id);
        if wake {
            self.becomes_writable(id);
        }
    }

    fn data_arrives(&mut self, id: usize, segment: &Segment) {
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if segment.len == 0 && !segment.fin {
            return;
        }
        let end = segment.seq.saturating_add(segment.len);
        if segment.fin {
            socket.fin_at.get_or_insert(end);
        }
        if socket.orphan && segment.len > 0 && end > socket.rcv_nxt {
            // Nobody will read it (RFC 2525 section 2.17).
            socket.cut = true;
            self.cut = true;
            return self.abort(id);
        }
        let before = socket.rcv_nxt;
        socket.absorb(segment.seq, end.saturating_add(u32::from(segment.fin)));
        if socket.fin_came() {
            socket.fin_since.get_or_insert(now);
        }
        let news = socket.rcv_nxt > before;
        let client = socket.client;
        self.acknowledge(id);
        if news {
            if client {
                self.note_arrival(segment.flow, before);
            }
            self.becomes_readable(id);
        }
    }

    /// Goes over to TIME_WAIT or nothing once both ways are closed.
    pub(crate) fn shed(&mut self, id: usize) {
        let now = self.now;
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if socket.state == State::Established && socket.fin_acked() && socket.fin_came() {
            // Who closes first waits.
            let first = socket.closed_first;
            socket.state = match first {
                true => State::TimeWait,
                false => State::Closed,
            };
            socket.was_time_wait = first;
            socket.time_wait_since = now;
            socket.deadline = None;
            self.trace(What::Ended(id));
        }
    }
}

impl super::Socket {
    /// Sets the window when so many segments have been delivered, by an
    /// acknowledgement that moves on or not, and these are found lost.
    pub(super) fn adapt(&mut self, delivered: u32, moved: bool, losses: &Losses) {
        let under_way = self.flight.under_way();
        if !self.flight.is_repairing() {
            if let Some(over) = self.recovery.take() {
                self.window = over.target();
            }
        } else if losses.are_first {
            self.recovery = Some(Recovery::new(self.window));
        }
        match &mut self.recovery {
            Some(recovery) => {
                let allowed = recovery.allows(under_way, delivered, moved && losses.count == 0);
                self.window = under_way.saturating_add(allowed);
            }
            None if moved => {
                self.window = self.window.saturating_add(delivered).min(WINDOW_MAX);
            }
            None => {}
        }
    }

    fn note_sent(&mut self) {
        if let Some(recovery) = &mut self.recovery {
            recovery.sent();
        }
    }

    /// Takes a range: in its turn with what waited for it, or ahead of it.
    fn absorb(&mut self, from: u32, to: u32) {
        if to <= self.rcv_nxt {
            return;
        }
        let (mut from, mut to) = (from, to);
        self.early.retain(|(first, end)| {
            let touches = *first <= to && from <= *end;
            if touches {
                (from, to) = (from.min(*first), to.max(*end));
            }
            !touches
        });
        match from <= self.rcv_nxt {
            true => self.rcv_nxt = to,
            false => self.early.insert(0, (from, to)),
        }
    }
}
