//! What is the matter with an address, or with the way to it.

use std::{collections::HashMap, net::IpAddr};

use crate::link::{Link, Opening};

/// What the way to a server's address is like, beside the [`Rule`](crate::Rule).
///
/// It holds for connections that the client begins, and ends behind the
/// middlebox: what the rule drops or answers never gets so far. A connection
/// keeps the way that its SYN went. For an address that refuses, let nobody
/// listen there: the server's kernel answers with a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Way {
    /// It leads to the server.
    #[default]
    Open,
    /// It leads nowhere: packets to the address vanish.
    Dead,
    /// There is no such host: packets to the address are answered by ICMP host
    /// unreachable (IPv6: address unreachable).
    Unreachable,
    /// It ends, for plain connections, behind their first so many packets, both
    /// ways counted, the SYN being the first. A connection whose SYN carries
    /// data or a Fast Open option is not plain.
    PlainDiesAfter(u32),
}

/// The ways that are not open, and links of their own.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    table: HashMap<IpAddr, Way>,
    links: HashMap<(IpAddr, Opening), Link>,
}

impl Ways {
    pub(crate) fn set(&mut self, address: IpAddr, way: Way) {
        match way {
            Way::Open => self.table.remove(&address),
            way => self.table.insert(address, way),
        };
    }

    pub(crate) fn set_link(&mut self, address: IpAddr, opening: Opening, link: Link) {
        self.links.insert((address, opening), link);
    }

    pub(crate) fn link_to(&self, address: IpAddr, opening: Opening) -> Link {
        let link = self.links.get(&(address, opening));
        link.cloned().unwrap_or_default()
    }

    pub(crate) fn to(&self, address: IpAddr) -> Way {
        self.table.get(&address).copied().unwrap_or_default()
    }
}
