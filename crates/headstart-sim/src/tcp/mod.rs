//! TCP as Linux does it, as far as a race can tell: handshakes with and
//! without Fast Open, retransmission, half-close, resets.

mod close;
mod flight;
mod open;
mod recovery;
mod rtt;
mod timer;
mod transfer;

use std::time::Duration;

use headstart_core::race::{FailureKind, SynData};

use self::flight::Flight;
use self::recovery::Recovery;
use self::rtt::RoundTrips;
use crate::segment::Blocks;

/// Bytes in one segment.
pub(crate) const MSS: u32 = 1_460;
/// Bytes of data in one SYN: the options take 40.
pub(crate) const SYN_DATA_MAX: usize = 1_420;
/// Segments sent at first without waiting for an acknowledgement (RFC 6928).
const WINDOW_FIRST: u32 = 10;
const WINDOW_MAX: u32 = 256;
/// Linux adds so much to a round trip at least.
const RTO_MIN: u64 = millis(200);
const RTO_MAX: u64 = millis(120_000);
/// First retransmission of SYN and SYN-ACK (RFC 6298 section 2).
const RTO_FIRST: u64 = millis(1_000);

pub(crate) const fn millis(millis: u64) -> u64 {
    millis.saturating_mul(1_000_000)
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Where a socket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Client: the SYN is out.
    SynSent,
    /// Server: an ordinary handshake, of which the application knows nothing.
    Request,
    /// Server: accepted with the data of the SYN, handshake under way.
    SynReceived,
    Established,
    /// Both ways closed, this end first: 60 s.
    TimeWait,
    Closed,
}

/// Why a connection's timer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// What is under way is lost (RFC 6298).
    Retransmit,
    /// The last segments may be (RFC 8985 section 7).
    Probe,
    /// What has not come yet is not only late (RFC 8985 section 6).
    Reordered,
}

/// What a driver or a handler has been told and wants to be told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Readiness {
    pub(crate) ready: bool,
    pub(crate) wanted: bool,
}

/// One end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    pub(crate) flow: usize,
    pub(crate) client: bool,
    /// The server that it is, or belongs to.
    pub(crate) server: usize,
    /// The other end: a client's once the SYN-ACK has come, a server's always.
    pub(crate) peer: Option<usize>,
    pub(crate) state: State,
    /// Everything that was ever written.
    pub(crate) tx: Vec<u8>,
    pub(crate) send_buffer: u32,
    /// FIN follows what was written.
    pub(crate) fin: bool,
    pub(crate) una: u32,
    pub(crate) nxt: u32,
    pub(crate) flight: Flight,
    pub(crate) rcv_nxt: u32,
    /// Ranges that came ahead of their turn, the latest first.
    pub(crate) early: Vec<(u32, u32)>,
    pub(crate) fin_at: Option<u32>,
    /// Bytes that the application has read.
    pub(crate) read: u32,
    /// The application has closed it.
    pub(crate) orphan: bool,
    /// Its FIN went before the other end's came.
    pub(crate) closed_first: bool,
    pub(crate) error: Option<FailureKind>,
    pub(crate) syn_len: u32,
    pub(crate) syn_data: SynData,
    /// The cookie was given by this server, or is asked for.
    pub(crate) option: Option<crate::segment::FastOpenOption>,
    /// Segments that may be under way.
    pub(crate) window: u32,
    pub(crate) recovery: Option<Recovery>,
    pub(crate) rto: u64,
    pub(crate) rtt: RoundTrips,
    /// When the SYN or the SYN-ACK was last sent by its timer.
    pub(crate) syn_at: u64,
    /// Server: when the SYN was sent that it answers, by the client's timestamp.
    pub(crate) asked_at: u64,
    pub(crate) retries: u32,
    /// Segments sent again, ever.
    pub(crate) again: u32,
    /// Pure acknowledgements of one number.
    pub(crate) acks: u32,
    pub(crate) acks_of: u32,
    /// What `deadline` means once the handshake is over.
    pub(crate) alarm: Alarm,
    pub(crate) deadline: Option<u64>,
    /// When a timer event comes, at the latest; the end of time if none does.
    pub(crate) timer_at: u64,
    pub(crate) time_wait_since: u64,
    pub(crate) readable: Readiness,
    pub(crate) writable: Readiness,
    /// A write was refused or cut short for want of room.
    pub(crate) no_space: bool,
    pub(crate) blocked_once: bool,
    /// The pair that a server's end is a member of.
    pub(crate) pair: Option<usize>,
    pub(crate) was_time_wait: bool,
    /// Its closing was a reset, as there were bytes that nobody will read: that
    /// destroys what is under way.
    pub(crate) cut: bool,
    /// When the other end's FIN was here.
    pub(crate) fin_since: Option<u64>,
}

impl Socket {
    pub(crate) fn new(flow: usize, server: usize, client: bool, state: State, now: u64) -> Self {
        Self {
            flow,
            client,
            server,
            peer: None,
            state,
            tx: Vec::new(),
            send_buffer: u32::MAX,
            fin: false,
            una: 0,
            nxt: 1,
            flight: Flight::default(),
            rcv_nxt: 0,
            early: Vec::new(),
            fin_at: None,
            read: 0,
            orphan: false,
            closed_first: false,
            error: None,
            syn_len: 0,
            syn_data: SynData::None,
            option: None,
            window: WINDOW_FIRST,
            recovery: None,
            rto: RTO_FIRST,
            rtt: RoundTrips::default(),
            syn_at: now,
            asked_at: now,
            retries: 0,
            again: 0,
            acks: 0,
            acks_of: 0,
            alarm: Alarm::Retransmit,
            deadline: None,
            timer_at: u64::MAX,
            time_wait_since: 0,
            readable: Readiness::default(),
            writable: Readiness::default(),
            no_space: false,
            blocked_once: false,
            pair: None,
            was_time_wait: false,
            cut: false,
            fin_since: None,
        }
    }

    /// Bytes written so far.
    pub(crate) fn written(&self) -> u32 {
        u32::try_from(self.tx.len()).unwrap_or(u32::MAX)
    }

    /// The number behind the last byte written.
    pub(crate) fn tx_end(&self) -> u32 {
        self.written().saturating_add(1)
    }

    /// What a segment says of ranges that came ahead of their turn.
    pub(crate) fn blocks(&self) -> Blocks {
        let mut blocks = Blocks::default();
        for (place, range) in blocks.iter_mut().zip(&self.early) {
            *place = *range;
        }
        blocks
    }

    /// Bytes that have come in order.
    pub(crate) fn received(&self) -> u32 {
        let fin = u32::from(self.fin_came());
        self.rcv_nxt.saturating_sub(1).saturating_sub(fin)
    }

    /// Bytes to be read.
    pub(crate) fn unread(&self) -> u32 {
        self.received().saturating_sub(self.read)
    }

    /// The other end has said its last byte, and it is here.
    pub(crate) fn fin_came(&self) -> bool {
        self.fin_at.is_some_and(|at| self.rcv_nxt > at)
    }

    pub(crate) fn fin_acked(&self) -> bool {
        self.fin && self.una > self.tx_end()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Established
    }

    /// Room in the send buffer.
    pub(crate) fn room(&self) -> u32 {
        let queued = self.tx_end().saturating_sub(self.una.max(1));
        self.send_buffer.saturating_sub(queued)
    }
}
