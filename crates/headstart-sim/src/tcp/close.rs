//! Ends: FIN, RST, failure.

use headstart_core::race::FailureKind;

use super::State;
use crate::segment::Segment;
use crate::trace::What;
use crate::world::World;

impl World<'_> {
    /// FIN goes behind what was written.
    pub(crate) fn finish(&mut self, id: usize) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if socket.fin || !matches!(socket.state, State::Established | State::SynReceived) {
            return;
        }
        socket.fin = true;
        socket.closed_first = !socket.fin_came();
        self.transmit(id);
    }

    /// Closes as a program does that just drops its socket.
    pub(crate) fn close(&mut self, id: usize) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        socket.readable.wanted = false;
        socket.writable.wanted = false;
        if socket.unread() > 0 && socket.state != State::Closed {
            // What was not read is lost, and the peer is told.
            socket.cut = true;
            self.cut = true;
            return self.abort(id);
        }
        socket.orphan = true;
        match socket.state {
            State::SynSent => {
                socket.state = State::Closed;
                socket.deadline = None;
            }
            State::Established | State::SynReceived => self.finish(id),
            State::Request | State::TimeWait | State::Closed => {}
        }
    }

    /// Closes by RST (SO_LINGER 0).
    pub(crate) fn abort(&mut self, id: usize) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        socket.orphan = true;
        socket.readable.wanted = false;
        socket.writable.wanted = false;
        let was = socket.state;
        socket.state = State::Closed;
        socket.deadline = None;
        let seq = socket.nxt;
        match was {
            State::Established | State::SynReceived => {
                let segment = Segment {
                    rst: true,
                    seq,
                    ..self.blank(id)
                };
                self.send(segment);
            }
            State::SynSent | State::Request | State::TimeWait | State::Closed => {}
        }
    }

    /// The kernel gives the connection up, for this reason.
    pub(crate) fn fails(&mut self, id: usize, kind: FailureKind) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        socket.state = State::Closed;
        socket.deadline = None;
        socket.error = Some(kind);
        let flow = socket.flow;
        if let Some(flow) = self.flows.get_mut(flow) {
            flow.timed_out |= kind == FailureKind::TimedOut;
        }
        self.trace(What::Failed(id, kind));
        self.becomes_readable(id);
        self.becomes_writable(id);
    }

    /// A segment comes for a connection that is not there.
    pub(crate) fn refuse(&mut self, segment: Segment) {
        if segment.rst || segment.unreachable {
            return;
        }
        let answer = Segment {
            to_server: !segment.to_server,
            syn: false,
            fin: false,
            rst: true,
            seq: segment.ack.unwrap_or(0),
            ack: None,
            len: 0,
            option: None,
            blocks: Default::default(),
            copy: segment.copy.wrapping_add(0x100),
            ..segment
        };
        self.send(answer);
    }
}
