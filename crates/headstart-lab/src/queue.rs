//! Packets on their way: a bounded queue by time.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    time::Instant,
};

use crate::topology::Port;

/// A packet that is to leave at a certain time.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) at: Instant,
    pub(crate) exit: Port,
    pub(crate) packet: Vec<u8>,
    /// Keeps packets of equal time in order.
    number: u64,
}

/// Packets by the time at which they are to leave.
#[derive(Debug)]
pub(crate) struct DelayQueue {
    heap: BinaryHeap<Reverse<Due>>,
    limit: usize,
    next_number: u64,
}

impl DelayQueue {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            heap: BinaryHeap::new(),
            limit,
            next_number: 0,
        }
    }

    /// Takes a packet in; false if the queue is full.
    pub(crate) fn push(&mut self, at: Instant, exit: Port, packet: Vec<u8>) -> bool {
        if self.heap.len() >= self.limit {
            return false;
        }
        self.heap.push(Reverse(Due {
            at,
            exit,
            packet,
            number: self.next_number,
        }));
        self.next_number = self.next_number.wrapping_add(1);
        true
    }

    /// When the next packet is due.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(due)| due.at)
    }

    /// Takes out the next packet, if it is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Due> {
        self.next_at().filter(|at| *at <= now)?;
        self.heap.pop().map(|Reverse(due)| due)
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn packets_leave_by_time_then_in_order() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut queue = DelayQueue::new(4);
        for (millis, byte) in [(2, 1), (1, 2), (2, 3), (1, 4)] {
            assert!(queue.push(at(millis), Port::Client, vec![byte]));
        }
        assert!(!queue.push(at(0), Port::Client, vec![5]), "full");
        assert_eq!(queue.next_at(), Some(at(1)));
        assert!(queue.pop_due(at(0)).is_none());
        let order: Vec<_> = std::iter::from_fn(|| queue.pop_due(at(9)))
            .map(|due| due.packet[0])
            .collect();
        assert_eq!(order, [2, 4, 1, 3]);
    }
}
