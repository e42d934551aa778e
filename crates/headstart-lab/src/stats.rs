//! Counts of what the relay did.

use std::{fmt, time::Duration};

use crate::topology::Direction;

/// What the relay has done since the lab was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// From the client to the servers.
    pub to_server: Counters,
    /// From the servers to the client.
    pub to_client: Counters,
    /// How late the latest packet left, beyond its delay.
    pub late_max: Duration,
    /// The sum of that over all packets delivered, both ways.
    pub late_total: Duration,
    /// Packets that could not be written to the capture file.
    pub unrecorded: u64,
    /// The relay stopped early: the kernel took an interface from it.
    pub broken: bool,
}

/// Counts of packets one way. Every packet received or made by the middlebox
/// ends in one of the others, or is still on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Packets that came in.
    pub received: u64,
    /// Packets that the middlebox made: answers and second copies.
    pub made: u64,
    /// Packets that went out, the rewritten and the made ones too.
    pub delivered: u64,
    /// Bytes of the packets that went out, IP headers included.
    pub delivered_bytes: u64,
    /// Packets that the rule changed.
    pub rewritten: u64,
    /// Packets that the rule, the way or the link dropped, those answered
    /// included.
    pub dropped_by_rule: u64,
    /// Packets that a fault of their [`Link`](crate::Link) befell.
    pub befallen: u64,
    /// Packets dropped because the lab's queue was full.
    pub dropped_by_queue: u64,
    /// Packets dropped by the kernel on their way into or out of the relay.
    pub dropped_by_kernel: u64,
}

impl Stats {
    /// The counts for one direction.
    #[must_use]
    pub fn direction(&self, direction: Direction) -> &Counters {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }

    /// How late packets left on average, beyond their delay.
    #[must_use]
    pub fn late_mean(&self) -> Duration {
        let packets = self
            .to_server
            .delivered
            .saturating_add(self.to_client.delivered);
        let nanos = self
            .late_total
            .as_nanos()
            .checked_div(u128::from(packets))
            .unwrap_or(0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Packets lost against the lab's will, both ways: 0 if the machine keeps up.
    #[must_use]
    pub fn unwanted_drops(&self) -> u64 {
        let one = |counters: &Counters| {
            counters
                .dropped_by_queue
                .saturating_add(counters.dropped_by_kernel)
        };
        one(&self.to_server).saturating_add(one(&self.to_client))
    }

    pub(crate) fn direction_mut(&mut self, direction: Direction) -> &mut Counters {
        match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for direction in [Direction::ToServer, Direction::ToClient] {
            let counters = self.direction(direction);
            writeln!(f, "{direction}: {counters}")?;
        }
        write!(
            f,
            "late by {:?} at most, {:?} on average",
            self.late_max,
            self.late_mean()
        )
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} packets in, {} made, {} out ({} bytes), {} rewritten, dropped by rule {}, queue {}, kernel {}",
            self.received,
            self.made,
            self.delivered,
            self.delivered_bytes,
            self.rewritten,
            self.dropped_by_rule,
            self.dropped_by_queue,
            self.dropped_by_kernel,
        )
    }
}
