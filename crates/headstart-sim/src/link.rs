//! The path of one attempt.

use std::fmt;
use std::time::Duration;

use crate::segment::Segment;

/// The path of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// From one end to the other.
    pub delay: Duration,
    /// Up to so much more for each packet, which so may overtake others.
    pub jitter: Duration,
    /// How many of 1,000 packets are lost.
    pub loss: u16,
    /// How many of 1,000 packets come twice.
    pub duplicates: u16,
    /// Packets, both ways counted, after which the path is dead.
    pub dies_after: Option<u32>,
    /// What befalls single packets, whatever chance decides. Of several for one
    /// packet, the first counts.
    pub faults: [Option<Fault>; Self::FAULTS_MAX],
}

/// What befalls a packet of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// Packets of its kind are counted; those that are sent again count again.
    pub packet: Packet,
    /// Its number among them; the first is 1.
    pub nth: u32,
    /// What befalls it.
    pub mishap: Mishap,
}

/// Kinds of packets. A reset, and a FIN without data, are of none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Packet {
    /// The client's SYN, whatever it carries.
    Syn,
    /// The server's answer to it.
    SynAck,
    /// An acknowledgement of the client's, without data.
    ClientAck,
    /// The client's data, but for that in a SYN.
    ClientData,
    /// An acknowledgement of the server's, without data.
    ServerAck,
    /// The server's data.
    ServerData,
}

/// What befalls a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mishap {
    /// It is gone.
    Lost,
    /// It comes so much later, and others overtake it.
    Late(Duration),
    /// It comes, and again so much later.
    Twice(Duration),
}

impl Link {
    /// Most faults of a path.
    pub const FAULTS_MAX: usize = 6;

    /// A path without faults.
    #[must_use]
    pub const fn clean(delay: Duration) -> Self {
        Self {
            delay,
            jitter: Duration::ZERO,
            loss: 0,
            duplicates: 0,
            dies_after: None,
            faults: [None; Self::FAULTS_MAX],
        }
    }
}

impl Packet {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Syn,
        Self::SynAck,
        Self::ClientAck,
        Self::ClientData,
        Self::ServerAck,
        Self::ServerData,
    ];

    fn of(segment: &Segment) -> Option<Self> {
        match segment.to_server {
            _ if segment.rst || segment.unreachable => None,
            _ if segment.is_syn() => Some(Self::Syn),
            _ if segment.is_syn_ack() => Some(Self::SynAck),
            true if segment.len > 0 => Some(Self::ClientData),
            false if segment.len > 0 => Some(Self::ServerData),
            _ if segment.fin => None,
            true => Some(Self::ClientAck),
            false => Some(Self::ServerAck),
        }
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syn => "syn",
            Self::SynAck => "syn-ack",
            Self::ClientAck => "client-ack",
            Self::ClientData => "client-data",
            Self::ServerAck => "server-ack",
            Self::ServerData => "server-data",
        })
    }
}

/// How far the faults of a link have come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Travel {
    faults: [Option<Fault>; Link::FAULTS_MAX],
    /// Packets of each kind so far.
    seen: [u32; Packet::ALL.len()],
}

impl Travel {
    pub(crate) fn new(link: &Link) -> Self {
        Self {
            faults: link.faults,
            seen: Default::default(),
        }
    }

    /// Counts a packet: what befalls it.
    pub(crate) fn befalls(&mut self, segment: &Segment) -> Option<Mishap> {
        let packet = Packet::of(segment)?;
        let mut kinds = Packet::ALL.iter().zip(&mut self.seen);
        let (_, seen) = kinds.find(|(kind, _)| **kind == packet)?;
        *seen = seen.saturating_add(1);
        let mut faults = self.faults.iter().flatten();
        let fault = faults.find(|fault| (fault.packet, fault.nth) == (packet, *seen))?;
        Some(fault.mishap)
    }
}
