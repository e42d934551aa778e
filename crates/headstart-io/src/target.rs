//! Whom to dial.

use std::io;
use std::net::SocketAddr;

use headstart_core::config::TARGETS_MAX;

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
    fn families_alternate_from_the_preferred_one() {
        let of = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<_>>();
        let found = of(&["[::1]:1", "[::2]:1", "1.1.1.1:1", "[::3]:1"]);
        let wanted = of(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]);
        assert_eq!(interleave(found), wanted);
        assert_eq!(interleave(Vec::new()), Vec::new());
    }
}
