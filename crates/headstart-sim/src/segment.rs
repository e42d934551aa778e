//! Packets: TCP segments, and the one ICMP message that matters.

use std::fmt;

/// Which form of the Fast Open option a SYN carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OptionKind {
    /// Kind 34 (RFC 7413 section 4.1.1).
    Standard,
    /// Kind 254 with magic 0xF989, which Linux tries where kind 34 got no cookie.
    Experimental,
}

/// A Fast Open option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FastOpenOption {
    pub(crate) kind: OptionKind,
    /// The server that gave the cookie; none in a request.
    pub(crate) cookie: Option<usize>,
}

/// Ranges that came ahead of their turn, the latest first; empty ones fill up
/// (RFC 2018: three, as timestamps take room).
pub(crate) type Blocks = [(u32, u32); 3];

/// A packet. Sequence numbers count from 0 at either end: the SYN is 0, the
/// first byte 1. Bytes are not copied: they are looked up at their sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) flow: usize,
    pub(crate) to_server: bool,
    /// The server that it goes to or comes from.
    pub(crate) server: usize,
    /// The server's end of the connection, as far as the sender knows it: what
    /// initial sequence numbers are good for.
    pub(crate) end: Option<usize>,
    pub(crate) syn: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    /// Not TCP at all but ICMP host unreachable.
    pub(crate) unreachable: bool,
    pub(crate) seq: u32,
    pub(crate) ack: Option<u32>,
    pub(crate) len: u32,
    pub(crate) option: Option<FastOpenOption>,
    pub(crate) blocks: Blocks,
    /// Tells this copy from earlier ones of the same numbers.
    pub(crate) copy: u32,
}

impl Segment {
    pub(crate) const fn is_syn(&self) -> bool {
        self.syn && self.ack.is_none()
    }

    pub(crate) const fn is_syn_with_data(&self) -> bool {
        self.is_syn() && self.len > 0
    }

    pub(crate) const fn is_syn_ack(&self) -> bool {
        self.syn && self.ack.is_some()
    }

    /// What chance decides about this packet hangs on this.
    pub(crate) fn key(&self) -> u64 {
        let flags = u64::from(self.to_server)
            | u64::from(self.syn) << 1
            | u64::from(self.rst) << 2
            | u64::from(self.len > 0) << 3;
        let number = match self.len {
            // FIN may ride on data or not: only bytes and pure
            // acknowledgements are told apart.
            0 => self.ack.unwrap_or(0),
            _ => self.seq,
        };
        u64::from(number) << 32 ^ u64::from(self.copy) << 8 ^ flags
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.unreachable {
            return f.write_str("ICMP unreachable");
        }
        let mut sep = "";
        for (set, name) in [(self.syn, "SYN"), (self.fin, "FIN"), (self.rst, "RST")] {
            if set {
                write!(f, "{sep}{name}")?;
                sep = "+";
            }
        }
        if let Some(ack) = self.ack {
            write!(f, "{sep}ACK {ack}")?;
        }
        if self.len > 0 {
            let end = self.seq.wrapping_add(self.len);
            write!(f, " bytes {}..{end}", self.seq)?;
        }
        for (from, to) in self.blocks.iter().filter(|(from, to)| from < to) {
            write!(f, " and {from}..{to}")?;
        }
        match self.option {
            Some(FastOpenOption {
                cookie: Some(_), ..
            }) => f.write_str(" cookie"),
            Some(_) => f.write_str(" wants a cookie"),
            None => Ok(()),
        }
    }
}
