//! The middlebox's memory of connections: bounded, oldest out first.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
};

use crate::{
    link::{Opening, Travel},
    rule::Rule,
    segment::Segment,
    topology::{Direction, Port},
    way::Way,
};

/// How many connections the middlebox remembers.
pub(crate) const FLOWS_MAX: usize = 65_536;

/// A connection's two ends, whichever way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FlowKey {
    client: SocketAddr,
    server: SocketAddr,
}

impl FlowKey {
    pub(crate) fn new(direction: Direction, segment: &Segment) -> Self {
        match direction {
            Direction::ToServer => Self {
                client: segment.source,
                server: segment.destination,
            },
            Direction::ToClient => Self {
                client: segment.destination,
                server: segment.source,
            },
        }
    }
}

/// What the middlebox knows of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Flow {
    /// The rule under which its SYN came.
    pub(crate) rule: Rule,
    /// What the way to its server was like then.
    pub(crate) way: Way,
    /// How far it is on its link.
    pub(crate) travel: Travel,
    /// The way its SYN went.
    pub(crate) opened: Direction,
    /// Sequence number of its SYN.
    pub(crate) sequence: u32,
    /// Its SYN carried data.
    pub(crate) fast_open: bool,
    /// What its SYN carried.
    pub(crate) opening: Opening,
    /// Packets seen, both ways, the SYN included.
    pub(crate) packets: u32,
    /// The rule has done what it does only once.
    pub(crate) spent: bool,
    /// The server to which it goes.
    pub(crate) server: Port,
}

/// Connections by their ends.
#[derive(Debug)]
pub(crate) struct Flows {
    table: HashMap<FlowKey, Flow>,
    /// Every key of the table once, the oldest first.
    order: VecDeque<FlowKey>,
    capacity: usize,
}

impl Flows {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            table: HashMap::new(),
            order: VecDeque::new(),
            capacity,
        }
    }

    pub(crate) fn get_mut(&mut self, key: &FlowKey) -> Option<&mut Flow> {
        self.table.get_mut(key)
    }

    /// Remembers a connection, in place of an older one between the same ends.
    pub(crate) fn insert(&mut self, key: FlowKey, flow: Flow) {
        if self.table.insert(key, flow).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.table.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_connection_is_forgotten_first() {
        let server = SocketAddr::from(([192, 0, 2, 2], 80));
        let key = |port| FlowKey {
            client: SocketAddr::from(([192, 0, 2, 1], port)),
            server,
        };
        let flow = Flow {
            rule: Rule::Transparent,
            way: Way::Open,
            travel: Travel::default(),
            opened: Direction::ToServer,
            sequence: 0,
            fast_open: false,
            opening: Opening::Plain,
            packets: 0,
            spent: false,
            server: Port::Server,
        };
        let mut flows = Flows::new(2);
        for port in [1, 2, 1, 3] {
            flows.insert(key(port), flow.clone());
        }
        let known = [1, 2, 3].map(|port| flows.get_mut(&key(port)).is_some());
        assert_eq!(known, [false, true, true]);
        assert_eq!((flows.table.len(), flows.order.len()), (2, 2));
    }
}
