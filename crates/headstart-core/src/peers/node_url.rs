//! Node URLs: who a peer is, where, and what it can do, in a line of text.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv6Addr;
use core::str::FromStr;

use super::{Abilities, canonical_host};

/// Longest node URL, in bytes, as it is read and as it would be written.
pub const NODE_URL_MAX: usize = 1_024;

/// Longest host name, in bytes (RFC 1035 section 2.3.4, without the last dot).
pub const HOST_MAX: usize = 253;

/// The scheme, which may be left out.
const SCHEME: &str = "storj://";

/// A peer as Storj writes it: `id@host:port?debounce=2&f=1`.
///
/// The scheme `storj://` and the id may be missing, and are written only if the
/// id is there, never the scheme. `debounce` is a decimal number, `f` the feature
/// bits in hexadecimal (`storj/common`, `storj/nodeurl.go`). That a peer pairs
/// has a word of its own, `pairing=1`, which Storj skips; it stands for
/// `debounce=2&f=1` too, unless these say otherwise. Other parameters, such
/// as `noise_pub`, are kept as they are. Parameters are written in the order of
/// their names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeUrl {
    id: Option<String>,
    host: String,
    port: u16,
    abilities: Abilities,
    /// By name; names of ours are not among them.
    others: Vec<(String, String)>,
}

impl NodeUrl {
    /// A peer without an id.
    ///
    /// # Errors
    /// [`NodeUrlError::Host`] or [`NodeUrlError::Port`].
    pub fn new(host: &str, port: u16, abilities: Abilities) -> Result<Self, NodeUrlError> {
        if port == 0 {
            return Err(NodeUrlError::Port);
        }
        let is_host = is_name(host) || host.parse::<Ipv6Addr>().is_ok();
        if !is_host {
            return Err(NodeUrlError::Host);
        }
        Ok(Self {
            id: None,
            host: canonical_host(host),
            port,
            abilities,
            others: Vec::new(),
        })
    }

    /// The id, if there is one.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The host: a name in lower case, or an address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it can do.
    pub fn abilities(&self) -> Abilities {
        self.abilities
    }
}

impl FromStr for NodeUrl {
    type Err = NodeUrlError;

    fn from_str(text: &str) -> Result<Self, NodeUrlError> {
        if text.len() > NODE_URL_MAX {
            return Err(NodeUrlError::TooLong);
        }
        let (place, query) = text.split_once('?').unwrap_or((text, ""));
        let place = match place.contains("://") {
            false => place,
            true => place.strip_prefix(SCHEME).ok_or(NodeUrlError::Scheme)?,
        };
        let (id, address) = match place.split_once('@') {
            Some((id, address)) => (Some(id), address),
            None => (None, place),
        };
        if id.is_some_and(|id| !is_id(id)) {
            return Err(NodeUrlError::Id);
        }
        let address = address.strip_suffix('/').unwrap_or(address);
        let (host, port) = split_address(address)?;
        let mut url = Self::new(host, port, Abilities::default())?;
        url.id = id.map(ToString::to_string);
        url.read_query(query)?;
        // The shortest form of an address is at times longer by a digit.
        if url.to_string().len() > NODE_URL_MAX {
            return Err(NodeUrlError::TooLong);
        }
        Ok(url)
    }
}

impl NodeUrl {
    fn read_query(&mut self, query: &str) -> Result<(), NodeUrlError> {
        let mut seen: Vec<&str> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let is_plain = pair.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
            // Storj takes what comes before for a scheme.
            if name.is_empty() || !is_plain || pair.contains("://") {
                return Err(NodeUrlError::Query);
            }
            if seen.contains(&name) {
                return Err(NodeUrlError::Repeated);
            }
            seen.push(name);
            match name {
                "debounce" => {
                    let number = is_number(value, 10).then(|| value.parse().ok()).flatten();
                    self.abilities.debounce = number.ok_or(NodeUrlError::Debounce)?;
                }
                "f" => {
                    let bits = is_number(value, 16)
                        .then(|| u64::from_str_radix(value, 16).ok())
                        .flatten();
                    self.abilities.features = bits.ok_or(NodeUrlError::Features)?;
                }
                "pairing" => {
                    self.abilities.pairing = match value {
                        "1" => true,
                        "0" => false,
                        _ => return Err(NodeUrlError::Pairing),
                    };
                }
                _ => self.others.push((name.to_string(), value.to_string())),
            }
        }
        // Who pairs tells copies apart, and wants them by Fast Open.
        if self.abilities.pairing {
            if !seen.contains(&"debounce") {
                self.abilities.debounce = Abilities::PAIRING.debounce;
            }
            if !seen.contains(&"f") {
                self.abilities.features = Abilities::PAIRING.features;
            }
        }
        self.others.sort();
        Ok(())
    }

    /// Parameters of ours that say something.
    fn own_parameters(&self) -> Vec<(String, String)> {
        let Abilities {
            debounce,
            features,
            pairing,
        } = self.abilities;
        [
            (debounce > 0 || pairing).then(|| ("debounce", debounce.to_string())),
            (features > 0 || pairing).then(|| ("f", alloc::format!("{features:x}"))),
            pairing.then(|| ("pairing", "1".to_string())),
        ]
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.to_string(), value))
        .collect()
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = &self.id {
            write!(f, "{id}@")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port)?,
            false => write!(f, "{}:{}", self.host, self.port)?,
        }
        let mut parameters = self.own_parameters();
        parameters.extend(self.others.iter().cloned());
        parameters.sort();
        for (position, (name, value)) in parameters.iter().enumerate() {
            let separator = if position == 0 { '?' } else { '&' };
            write!(f, "{separator}{name}")?;
            if !value.is_empty() {
                write!(f, "={value}")?;
            }
        }
        Ok(())
    }
}

/// A host without brackets, and a port.
fn split_address(address: &str) -> Result<(&str, u16), NodeUrlError> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(NodeUrlError::Host)?;
            if host.parse::<Ipv6Addr>().is_err() {
                return Err(NodeUrlError::Host);
            }
            (host, port.strip_prefix(':').ok_or(NodeUrlError::Port)?)
        }
        None => address.split_once(':').ok_or(NodeUrlError::Port)?,
    };
    if host.is_empty() {
        return Err(NodeUrlError::Host);
    }
    let port = is_number(port, 10).then(|| port.parse().ok()).flatten();
    Ok((host, port.ok_or(NodeUrlError::Port)?))
}

/// Digits and nothing else: Rust's parsers take a sign as well.
fn is_number(text: &str, radix: u32) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_digit(radix))
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn is_name(text: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    (1..=HOST_MAX).contains(&text.len()) && text.bytes().all(is_part)
}

/// What is wrong with a node URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodeUrlError {
    /// It is longer than [`NODE_URL_MAX`], or would be as it is written.
    TooLong,
    /// Its scheme is not `storj`.
    Scheme,
    /// Its id is empty, or not of letters and digits.
    Id,
    /// Its host is missing, or is neither a name nor an address.
    Host,
    /// Its port is missing, or not a number from 1 to 65,535.
    Port,
    /// A parameter has no name, or characters to be percent-encoded: those that
    /// are none of a URL's, and `://`.
    Query,
    /// A parameter comes twice.
    Repeated,
    /// `debounce` is not a number from 0 to 4,294,967,295.
    Debounce,
    /// `f` is not a hexadecimal number of at most 64 bits.
    Features,
    /// `pairing` is neither 0 nor 1.
    Pairing,
}

impl fmt::Display for NodeUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "node URL longer than {NODE_URL_MAX} bytes"),
            Self::Scheme => f.write_str("node URL with a scheme other than storj"),
            Self::Id => f.write_str("node URL with an id that is not letters and digits"),
            Self::Host => f.write_str("node URL without a host name or address"),
            Self::Port => f.write_str("node URL without a port from 1 to 65535"),
            Self::Query => f.write_str("node URL with a malformed parameter"),
            Self::Repeated => f.write_str("node URL with a parameter that comes twice"),
            Self::Debounce => f.write_str("node URL whose debounce is no number"),
            Self::Features => f.write_str("node URL whose f is no hexadecimal number"),
            Self::Pairing => f.write_str("node URL whose pairing is neither 0 nor 1"),
        }
    }
}

impl core::error::Error for NodeUrlError {}
