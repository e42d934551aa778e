//! Bytes under way.

use headstart_core::race::FailureKind;

use super::{MSS, State, WINDOW_MAX};
use crate::segment::Segment;
use crate::trace::What;
use crate::world::World;

/// Duplicate acknowledgements that mean a loss (RFC 5681 section 3.2).
const DUPLICATES: u32 = 3;

impl World<'_> {
    /// Sends what may be sent; whether that was anything.
    pub(crate) fn transmit(&mut self, id: usize) -> bool {
        let mut any = false;
        loop {
            let Some(socket) = self.sockets.get_mut(id) else {
                return any;
            };
            if !matches!(socket.state, State::Established | State::SynReceived) {
                return any;
            }
            let from = socket.nxt.max(1);
            let end = socket.tx_end();
            let open_to = socket.una.max(1).saturating_add(socket.window);
            let len = end.min(open_to).saturating_sub(from).min(MSS);
            let fin = socket.fin && from.saturating_add(len) == end && from <= end;
            if len == 0 && !fin {
                break;
            }
            socket.nxt = from.saturating_add(len).saturating_add(u32::from(fin));
            socket.sent = socket.sent.max(socket.nxt);
            any = true;
            let segment = Segment {
                seq: from,
                len,
                fin,
                ..self.blank(id)
            };
            self.note_departure(&segment);
            self.send(segment);
        }
        let now = self.now;
        if let Some(socket) = self.sockets.get_mut(id)
            && any
            && socket.deadline.is_none()
        {
            socket.rearm(now);
            self.queue_timer(id);
        }
        any
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
        let (seq, copy) = (socket.sent, socket.acks);
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
        if ack > socket.sent {
            return;
        }
        if ack > socket.una {
            let news = ack.saturating_sub(socket.una);
            socket.una = ack;
            socket.nxt = socket.nxt.max(ack);
            socket.window = socket.window.saturating_add(news).min(WINDOW_MAX);
            socket.retries = 0;
            socket.duplicate_acks = 0;
            socket.rto = socket.rto_now();
            socket.rearm(now);
            let roomy = socket.room() >= socket.send_buffer / 3;
            let wake = socket.no_space && roomy;
            self.transmit(id);
            self.queue_timer(id);
            if wake {
                self.becomes_writable(id);
            }
        } else if ack == socket.una && segment.len == 0 && !segment.fin && socket.nxt > socket.una {
            socket.duplicate_acks = socket.duplicate_acks.saturating_add(1);
            if socket.duplicate_acks == DUPLICATES {
                self.resend_first(id);
            }
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
        if segment.len > 0 && end > socket.rcv_nxt {
            socket.early.push((segment.seq, end));
            socket.absorb();
        }
        if socket.fin_at == Some(socket.rcv_nxt) {
            socket.fin_since = Some(now);
            socket.rcv_nxt = socket.rcv_nxt.saturating_add(1);
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
    /// Takes what came ahead of its turn, as far as it is its turn now.
    fn absorb(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            let next = self.rcv_nxt;
            let mut reach = next;
            self.early.retain(|(from, to)| {
                if *from <= next {
                    reach = reach.max(*to);
                }
                *from > next
            });
            if reach > next {
                self.rcv_nxt = reach;
                moved = true;
            }
        }
    }
}
