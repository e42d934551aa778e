//! Who is where: hosts, interfaces and addresses.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// An IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both versions.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// The way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// From the client to a server.
    ToServer,
    /// From a server to the client.
    ToClient,
}

impl Direction {
    /// The other way.
    #[must_use]
    pub fn back(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToServer => "to server",
            Self::ToClient => "to client",
        })
    }
}

/// One of the relay's three interfaces, named after the host behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Port {
    Client,
    Server,
    SecondServer,
}

impl Port {
    pub(crate) const ALL: [Self; 3] = [Self::Client, Self::Server, Self::SecondServer];

    /// The host's name, and the name of the relay's interface towards it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::SecondServer => "second-server",
        }
    }

    /// The way of a packet that comes in here.
    pub(crate) fn direction(self) -> Direction {
        match self {
            Self::Client => Direction::ToServer,
            Self::Server | Self::SecondServer => Direction::ToClient,
        }
    }

    /// Ethernet address of the host behind this port (locally administered).
    pub(crate) fn host_mac(self) -> [u8; 6] {
        [2, 0, 0, 0, 0, if self == Self::Client { 1 } else { 2 }]
    }

    /// The address of the host behind this port; both servers have the same.
    pub(crate) fn host_addr(self, family: Family) -> IpAddr {
        address(family, if self == Self::Client { 1 } else { 2 })
    }

    /// All its addresses: a server has another one.
    pub(crate) fn host_addrs(self, family: Family) -> impl Iterator<Item = IpAddr> {
        let other = (self != Self::Client).then(|| other_addr(family));
        [self.host_addr(family)].into_iter().chain(other)
    }

    /// `net.ipv4.tcp_fastopen` that the host behind this port starts with.
    pub(crate) fn fast_open_bits(self) -> u32 {
        if self == Self::Client { 0x1 } else { 0x3 }
    }
}

/// The other address of both servers.
pub(crate) fn other_addr(family: Family) -> IpAddr {
    address(family, 3)
}

/// An address of the lab's network (RFC 5737, RFC 3849), by its last number.
fn address(family: Family, last: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(192, 0, 2, last).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()).into(),
    }
}

/// Length of the network part of the hosts' addresses, in bits.
pub(crate) fn prefix_len(family: Family) -> u8 {
    match family {
        Family::V4 => 24,
        Family::V6 => 64,
    }
}
