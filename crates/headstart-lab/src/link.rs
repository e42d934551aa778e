//! What a connection's own path does to its packets.

use std::{fmt, time::Duration};

use crate::segment::Segment;

/// Longest delay that a link adds to a packet, and after which a copy comes.
pub const LINK_DELAY_MAX: Duration = Duration::from_secs(120);

/// Connections by how they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opening {
    /// By a SYN with neither data nor the option.
    Plain,
    /// By a SYN with data, or with the Fast Open option in either form.
    FastOpen,
}

impl Opening {
    pub(crate) fn of(syn: &Segment) -> Self {
        match syn.payload == 0 && syn.fast_open.is_none() {
            true => Self::Plain,
            false => Self::FastOpen,
        }
    }
}

/// The path of a connection, both ways, behind the middlebox: what the
/// [`Rule`](crate::Rule) drops or answers never gets so far.
///
/// ```
/// use std::time::Duration;
/// use headstart_lab::{Fault, Link, Mishap, Packet};
///
/// // 10 ms longer each way, and the first answer is lost.
/// let link = Link::new()
///     .delay(Duration::from_millis(10))
///     .fault(Fault { packet: Packet::ServerData, nth: 1, mishap: Mishap::Lost });
/// # let _ = link;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Link {
    delay: Duration,
    faults: Vec<Fault>,
}

/// What befalls one packet of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fault {
    /// Packets of its kind are counted, as they come to the middlebox; those
    /// that are sent again count again.
    pub packet: Packet,
    /// Its number among them; the first is 1.
    pub nth: u32,
    /// What befalls it.
    pub mishap: Mishap,
}

/// Kinds of packets. A reset, and a FIN without data, are of none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mishap {
    /// It is gone.
    Lost,
    /// It comes so much later, and others overtake it. More than
    /// [`LINK_DELAY_MAX`] counts as that.
    Late(Duration),
    /// It comes, and again so much later. More than [`LINK_DELAY_MAX`] counts
    /// as that.
    Twice(Duration),
}

impl Link {
    /// A path that does nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds to the lab's delay so much each way. More than [`LINK_DELAY_MAX`]
    /// counts as that. Default: 0.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay.min(LINK_DELAY_MAX);
        self
    }

    /// Adds a fault. Of several for one packet, the first counts.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// What befalls the packet of this kind with this number.
    fn mishap(&self, packet: Packet, nth: u32) -> Option<Mishap> {
        let mut faults = self.faults.iter();
        let fault = faults.find(|fault| (fault.packet, fault.nth) == (packet, nth))?;
        Some(match fault.mishap {
            Mishap::Lost => Mishap::Lost,
            Mishap::Late(more) => Mishap::Late(more.min(LINK_DELAY_MAX)),
            Mishap::Twice(after) => Mishap::Twice(after.min(LINK_DELAY_MAX)),
        })
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

    fn of(from_client: bool, segment: &Segment) -> Option<Self> {
        match from_client {
            _ if segment.rst => None,
            _ if segment.is_syn() => Some(Self::Syn),
            _ if segment.is_syn_ack() => Some(Self::SynAck),
            true if segment.payload > 0 => Some(Self::ClientData),
            false if segment.payload > 0 => Some(Self::ServerData),
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

/// A connection's progress on its link.
#[derive(Debug, Clone, Default)]
pub(crate) struct Travel {
    link: Link,
    /// Packets of each kind so far.
    seen: [u32; Packet::ALL.len()],
}

impl Travel {
    pub(crate) fn new(link: Link) -> Self {
        Self {
            link,
            seen: Default::default(),
        }
    }

    /// By how much every packet is late.
    pub(crate) fn delay(&self) -> Duration {
        self.link.delay
    }

    /// Counts a packet: what befalls it.
    pub(crate) fn befalls(&mut self, from_client: bool, segment: &Segment) -> Option<Mishap> {
        let packet = Packet::of(from_client, segment)?;
        let mut nth = 0;
        for (kind, seen) in Packet::ALL.iter().zip(&mut self.seen) {
            if *kind == packet {
                *seen = seen.saturating_add(1);
                nth = *seen;
            }
        }
        self.link.mishap(packet, nth)
    }
}
