//! Handshakes (RFC 9293 section 3.5, RFC 7413).

use headstart_core::race::{FailureKind, SynData};

use super::{Alarm, RTO_FIRST, Socket, State, nanos};
use crate::scenario::Reach;
use crate::segment::{FastOpenOption, Segment};
use crate::trace::What;
use crate::world::World;

/// How long TIME_WAIT keeps SYNs of the same ports away.
const TIME_WAIT: u64 = super::millis(60_000);

impl World<'_> {
    /// Sends a SYN: the first as the socket says, later ones bare.
    pub(crate) fn send_syn(&mut self, id: usize) {
        let Some(socket) = self.sockets.get(id) else {
            return;
        };
        let first = socket.again == 0;
        let segment = Segment {
            syn: true,
            seq: 0,
            ack: None,
            len: if first { socket.syn_len } else { 0 },
            option: socket.option.filter(|_| first),
            ..self.blank(id)
        };
        self.send(segment);
    }

    /// A segment without content from this socket.
    pub(crate) fn blank(&self, id: usize) -> Segment {
        let socket = self.sockets.get(id);
        let of = |field: fn(&Socket) -> u32| socket.map_or(0, field);
        let client = socket.is_some_and(|socket| socket.client);
        Segment {
            flow: socket.map_or(0, |socket| socket.flow),
            to_server: client,
            server: socket.map_or(0, |socket| socket.server),
            end: if client {
                socket.and_then(|socket| socket.peer)
            } else {
                Some(id)
            },
            syn: false,
            fin: false,
            rst: false,
            unreachable: false,
            seq: of(|socket| socket.nxt),
            ack: Some(of(|socket| socket.rcv_nxt)),
            len: 0,
            option: None,
            blocks: socket.map_or_else(Default::default, Socket::blocks),
            copy: of(|socket| socket.again),
        }
    }

    /// A SYN comes to a server.
    pub(crate) fn syn_arrives(&mut self, syn: Segment) {
        let Some(flow) = self.flows.get(syn.flow) else {
            return;
        };
        let reach = flow.reach;
        if reach == Reach::Refusing {
            return self.send(crate::middlebox::refusal(&syn, false));
        }
        if let Some(id) = flow.ends.get(syn.server).copied().flatten()
            && let Some(end) = self.sockets.get(id)
        {
            match end.state {
                State::Request | State::SynReceived => return self.send_syn_ack(id, None),
                State::SynSent | State::Established => return self.acknowledge(id),
                State::TimeWait if self.now < end.time_wait_since.saturating_add(TIME_WAIT) => {
                    return self.acknowledge(id);
                }
                State::TimeWait | State::Closed => {}
            }
        }
        self.new_end(syn);
    }

    fn new_end(&mut self, syn: Segment) {
        let enabled = self.scenario.server.fast_open;
        let option = syn.option.filter(|_| enabled);
        let valid = option.is_some_and(|option| option.cookie == Some(syn.server));
        let state = match valid {
            true => State::SynReceived,
            false => State::Request,
        };
        let now = self.now;
        let id = self.sockets.len();
        let mut end = Socket::new(syn.flow, syn.server, false, state, now);
        end.rcv_nxt = 1;
        end.send_buffer = self.scenario.server.send_buffer;
        end.peer = self.flows.get(syn.flow).map(|flow| flow.client);
        let client = end.peer.and_then(|peer| self.sockets.get(peer));
        end.asked_at = client.map_or(now, |client| client.syn_at);
        if valid {
            end.rcv_nxt = 1u32.saturating_add(syn.len);
            end.syn_len = syn.len;
            end.syn_data = match syn.len {
                0 => SynData::None,
                _ => SynData::Acknowledged,
            };
        }
        self.sockets.push(end);
        if let Some(flow) = self.flows.get_mut(syn.flow)
            && let Some(place) = flow.ends.get_mut(syn.server)
        {
            *place = Some(id);
        }
        // A cookie is given to whoever asks, or shows one that is not valid.
        let give = option.filter(|_| !valid).map(|option| FastOpenOption {
            cookie: Some(syn.server),
            ..option
        });
        self.send_syn_ack(id, give);
        self.set_timer(id, RTO_FIRST);
        if valid {
            self.accept(id);
        }
    }

    pub(crate) fn send_syn_ack(&mut self, id: usize, option: Option<FastOpenOption>) {
        if let Some(end) = self.sockets.get_mut(id) {
            end.acks = end.acks.saturating_add(1);
        }
        let copy = self.sockets.get(id).map_or(0, |end| end.acks);
        let segment = Segment {
            syn: true,
            seq: 0,
            option,
            copy,
            ..self.blank(id)
        };
        self.send(segment);
    }

    /// A segment comes to a client that has sent a SYN.
    pub(crate) fn opens(&mut self, id: usize, segment: Segment) {
        let now = self.now;
        if segment.unreachable {
            return self.fails(id, FailureKind::Unreachable);
        }
        if segment.rst {
            // Without an acknowledgement it answers nothing that was sent.
            if segment.ack.is_some() {
                self.fails(id, FailureKind::Refused);
            }
            return;
        }
        if !segment.is_syn_ack() {
            // Data that has overtaken the SYN-ACK is dropped, as by Linux.
            if let Some(flow) = self.flows.get_mut(segment.flow) {
                flow.lost_back = flow.lost_back.saturating_add(1);
                flow.too_early = true;
            }
            return self.trace(What::TooEarly(segment));
        }
        let acked = segment.ack.unwrap_or(0);
        let end = segment.end.and_then(|end| self.sockets.get(end));
        let asked_at = end.map_or(now, |end| end.asked_at);
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        socket.state = State::Established;
        socket.peer = segment.end;
        socket.rcv_nxt = 1;
        socket.una = acked;
        socket.rtt.sample(now.saturating_sub(asked_at));
        socket.rto = socket.rtt.timeout();
        let accepted = socket.syn_len > 0 && acked > socket.syn_len;
        if socket.syn_len > 0 {
            socket.syn_data = match accepted {
                true => SynData::Acknowledged,
                false => SynData::Ignored,
            };
        }
        if !accepted {
            // What the SYN carried in vain goes again at once.
            socket.nxt = 1;
        }
        socket.retries = 0;
        socket.deadline = None;
        if let Some(given) = segment.option.and_then(|option| option.cookie)
            && let Some(option) = socket.option
            && let Some(flow) = self.flows.get(segment.flow)
            && let Some(place) = self.cookies.get_mut(flow.target)
        {
            *place = Some(FastOpenOption {
                cookie: Some(given),
                ..option
            });
        }
        if let Some(flow) = self.flows.get_mut(segment.flow) {
            flow.opened_at = Some(now);
        }
        self.trace(What::Opened(id));
        if !self.transmit(id) {
            self.acknowledge(id);
        }
        self.becomes_writable(id);
    }

    /// The last packet of a server's handshake.
    pub(crate) fn completes(&mut self, id: usize, segment: Segment) {
        let now = self.now;
        let Some(end) = self.sockets.get_mut(id) else {
            return;
        };
        let was = end.state;
        end.state = State::Established;
        end.una = end.una.max(1);
        end.rtt.sample(now.saturating_sub(end.syn_at));
        end.rto = end.rtt.timeout();
        end.retries = 0;
        end.deadline = None;
        if !end.flight.is_empty() {
            end.wait_until(now.saturating_add(end.rto), Alarm::Retransmit);
        }
        if let Some(flow) = self.flows.get_mut(segment.flow) {
            flow.end_opened_at.get_or_insert(now);
        }
        if was == State::Request {
            self.accept(id);
        }
        self.queue_timer(id);
    }

    /// A jump of the client's clock lets the run loop look again.
    pub(crate) fn queue_jump(&mut self) {
        if let Some(jump) = self.scenario.noise.jump {
            self.push(nanos(jump.at), crate::world::Event::Look);
        }
    }
}
