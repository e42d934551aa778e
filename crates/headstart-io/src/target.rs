//! Whom to dial.

use std::io;
use std::net::SocketAddr;

use headstart_core::config::{Peer, TARGETS_MAX};
use headstart_core::peers::Directory;

use crate::runtime::Runtime;

/// A peer to dial: addresses, or a host name and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Addresses, in order of preference; of more than [`TARGETS_MAX`] the
    /// first are dialled.
    Addresses(Vec<SocketAddr>),
    /// A host name, or the text of an address, and a port.
    Host(String, u16),
}

impl Target {
    /// What the peer does with a first message that arrives twice, as far as
    /// it is known; otherwise `default`.
    pub(crate) fn peer(&self, known: &Directory, default: Peer) -> Peer {
        let of = |host: &str, port| {
            let known = known.get(host, port);
            known.map_or(default, |url| url.abilities().peer())
        };
        match self {
            _ if known.is_empty() => default,
            Self::Host(host, port) => of(host, *port),
            Self::Addresses(addresses) => addresses
                .iter()
                .map(|address| of(&address.ip().to_string(), address.port()))
                .min_by_key(|peer| match peer {
                    Peer::Unaware => 0,
                    Peer::FirstCome => 1,
                    Peer::Pairing => 2,
                })
                .unwrap_or(default),
        }
    }

    /// The addresses, families interleaved (RFC 8305 section 4).
    pub(crate) async fn resolve<R: Runtime>(self, runtime: &R) -> io::Result<Vec<SocketAddr>> {
        let found = match self {
            Self::Addresses(addresses) => return Ok(addresses),
            Self::Host(host, port) => runtime.resolve(&host, port).await?,
        };
        Ok(interleave(found))
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self::Addresses(vec![address])
    }
}

impl From<Vec<SocketAddr>> for Target {
    fn from(addresses: Vec<SocketAddr>) -> Self {
        Self::Addresses(addresses)
    }
}

impl From<&[SocketAddr]> for Target {
    fn from(addresses: &[SocketAddr]) -> Self {
        Self::Addresses(addresses.to_vec())
    }
}

impl From<(&str, u16)> for Target {
    fn from((host, port): (&str, u16)) -> Self {
        Self::Host(host.into(), port)
    }
}

/// Alternates between the families, beginning with the first address's.
fn interleave(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = found.first() else {
        return found;
    };
    let lead = first.is_ipv6();
    let (first, second): (Vec<_>, Vec<_>) = found.into_iter().partition(|a| a.is_ipv6() == lead);
    let longest = first.len().max(second.len());
    (0..longest)
        .flat_map(|index| [first.get(index), second.get(index)])
        .flatten()
        .copied()
        .take(TARGETS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_able_of_a_peers_addresses_counts() {
        let mut known = Directory::default();
        for url in [
            "a:1?debounce=2&f=1&pairing=1",
            "192.0.2.1:1?debounce=2&f=1",
            "[2001:db8::1]:1?debounce=2&f=1&pairing=1",
            "192.0.2.9:1",
        ] {
            known.insert(url.parse().unwrap()).unwrap();
        }
        let addresses = |texts: &[&str]| {
            let addresses: Vec<SocketAddr> = texts.iter().map(|t| t.parse().unwrap()).collect();
            Target::from(addresses)
        };
        for (target, default, expected) in [
            (Target::from(("A", 1)), Peer::Unaware, Peer::Pairing),
            (Target::from(("a", 2)), Peer::FirstCome, Peer::FirstCome),
            (addresses(&["192.0.2.1:1"]), Peer::Pairing, Peer::FirstCome),
            (
                addresses(&["[2001:db8::1]:1", "192.0.2.1:1"]),
                Peer::Unaware,
                Peer::FirstCome,
            ),
            (
                addresses(&["[2001:db8::1]:1", "192.0.2.2:1"]),
                Peer::Unaware,
                Peer::Unaware,
            ),
            (
                addresses(&["[::ffff:192.0.2.9]:1", "[2001:db8::1]:1"]),
                Peer::Pairing,
                Peer::Unaware,
            ),
            (addresses(&[]), Peer::Pairing, Peer::Pairing),
        ] {
            assert_eq!(target.peer(&known, default), expected, "{target:?}");
        }
        let nothing = Directory::default();
        let target = addresses(&["192.0.2.1:1"]);
        assert_eq!(target.peer(&nothing, Peer::Pairing), Peer::Pairing);
    }

    #[test]
    fn families_alternate_from_the_preferred_one() {
        let of = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<_>>();
        let found = of(&["[::1]:1", "[::2]:1", "1.1.1.1:1", "[::3]:1"]);
        let wanted = of(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]);
        assert_eq!(interleave(found), wanted);
        assert_eq!(interleave(Vec::new()), Vec::new());
    }
}
