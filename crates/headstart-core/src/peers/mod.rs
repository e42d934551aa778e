//! Peer directory: which peers can be raced.
//!
//! Both copies of a raced first message reach the peer, so it must be known to
//! tell them apart. What is known of a peer is its [`Abilities`]; they travel
//! in its [`NodeUrl`], as Storj's do, and are looked up in a [`Directory`].
//!
//! ```
//! use headstart_core::config::Peer;
//! use headstart_core::peers::{Directory, NodeUrl};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let url: NodeUrl = "12vha9oT@node.example:7777?debounce=2&f=1".parse()?;
//! let mut directory = Directory::default();
//! directory.insert(url)?;
//! let known = directory.get("node.example", 7777).map(|url| url.abilities().peer());
//! assert_eq!(known, Some(Peer::FirstCome));
//! # Ok(())
//! # }
//! ```

mod node_url;

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use core::fmt;
use core::net::IpAddr;

pub use node_url::{HOST_MAX, NODE_URL_MAX, NodeUrl, NodeUrlError};

use crate::config::Peer;

/// Default of [`Directory::with_capacity`]: 4,096 peers, of at most about 2 KB each.
pub const PEERS_DEFAULT: usize = 4_096;

/// What a peer is known to be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Abilities {
    /// How many copies of a first message it tells apart: Storj's
    /// `debounce_limit`. It takes 2 to be raced.
    pub debounce: u32,
    /// Storj's feature bits. Those that are not known here are kept.
    pub features: u64,
    /// Whether it joins the copies instead of turning the second away.
    pub pairing: bool,
}

impl Abilities {
    /// Bit of [`features`](Self::features): it accepts Fast Open (Storj's
    /// `TCP_FASTOPEN_ENABLED`).
    pub const FAST_OPEN: u64 = 1;

    /// A peer that debounces and accepts Fast Open: `debounce=2&f=1`.
    pub const FIRST_COME: Self = Self {
        debounce: 2,
        features: Self::FAST_OPEN,
        pairing: false,
    };

    /// A peer behind a gate of ours, which pairs. Who does not know pairing
    /// takes it for one that debounces, as it does.
    pub const PAIRING: Self = Self {
        pairing: true,
        ..Self::FIRST_COME
    };

    /// Whether it accepts Fast Open.
    pub const fn accepts_fast_open(&self) -> bool {
        self.features & Self::FAST_OPEN != 0
    }

    /// How a race is to treat it. One that does not accept Fast Open, or tells
    /// fewer than two copies apart, is not raced.
    pub const fn peer(&self) -> Peer {
        match (self.accepts_fast_open(), self.debounce, self.pairing) {
            (false, ..) | (true, 0 | 1, _) => Peer::Unaware,
            (true, 2.., true) => Peer::Pairing,
            (true, 2.., false) => Peer::FirstCome,
        }
    }
}

/// Peers that are known, by host and port. Bounded: what is known of a peer is
/// never given up for another.
#[derive(Clone, Debug)]
pub struct Directory {
    capacity: usize,
    peers: BTreeMap<(String, u16), NodeUrl>,
}

impl Default for Directory {
    fn default() -> Self {
        Self::with_capacity(PEERS_DEFAULT)
    }
}

impl Directory {
    /// A directory with room for so many peers.
    pub const fn with_capacity(capacity: usize) -> Self {
        Self {
            capacity,
            peers: BTreeMap::new(),
        }
    }

    /// Takes a peer in, in place of what was known of the same host and port.
    ///
    /// # Errors
    /// [`DirectoryFull`] if there is no room for another.
    pub fn insert(&mut self, url: NodeUrl) -> Result<(), DirectoryFull> {
        let key = (url.host().to_string(), url.port());
        if self.peers.len() >= self.capacity && !self.peers.contains_key(&key) {
            return Err(DirectoryFull);
        }
        self.peers.insert(key, url);
        Ok(())
    }

    /// What is known of a host, a name or the text of an address, and a port.
    pub fn get(&self, host: &str, port: u16) -> Option<&NodeUrl> {
        self.peers.get(&(canonical_host(host), port))
    }

    /// Forgets a peer; what was known of it.
    pub fn remove(&mut self, host: &str, port: u16) -> Option<NodeUrl> {
        self.peers.remove(&(canonical_host(host), port))
    }

    /// All peers, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &NodeUrl> {
        self.peers.values()
    }

    /// Peers that are known.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }
}

/// The one way to write a host: an address in its shortest form without
/// brackets, a name in lower case.
fn canonical_host(host: &str) -> String {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().to_string(),
        Err(_) => host.to_ascii_lowercase(),
    }
}

/// A [`Directory`] has no room for another peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DirectoryFull;

impl fmt::Display for DirectoryFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer directory is full")
    }
}

impl core::error::Error for DirectoryFull {}
