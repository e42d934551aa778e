//! What the relay reads out of a packet.

use std::{fmt, net::SocketAddr, ops::Range};

use etherparse::{IpNumber, NetSlice, SlicedPacket, TcpSlice, TransportSlice};

/// TCP option kinds and lengths (RFC 9293, RFC 7413 section 4.1, RFC 6994).
mod option {
    pub(super) const END: u8 = 0;
    pub(super) const NOP: u8 = 1;
    pub(super) const FAST_OPEN: u8 = 34;
    pub(super) const EXPERIMENTAL: u8 = 254;
    /// The experiment number that Fast Open had before it had a kind.
    pub(super) const FAST_OPEN_EXPERIMENT: [u8; 2] = [0xf9, 0x89];
}

/// Smallest TCP header, without options, in bytes.
const TCP_HEADER: usize = 20;

/// A TCP segment on the wire, as the relay saw it come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Segment {
    /// Where it comes from.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// Its sequence number.
    pub sequence: u32,
    /// Its acknowledgement number, if the ACK flag is set.
    pub acknowledgment: Option<u32>,
    /// The SYN flag.
    pub syn: bool,
    /// The FIN flag.
    pub fin: bool,
    /// The RST flag.
    pub rst: bool,
    /// Its data, in bytes.
    pub payload: usize,
    /// Its Fast Open option, if it has one.
    pub fast_open: Option<FastOpenOption>,
}

/// A Fast Open option in a TCP header (RFC 7413 section 4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FastOpenOption {
    /// In which form.
    pub kind: OptionKind,
    /// Length of the cookie in bytes; 0 asks for one.
    pub cookie: usize,
}

/// The form of a Fast Open option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionKind {
    /// Kind 34, the assigned one.
    Standard,
    /// Kind 254 with magic 0xF989, the older one (RFC 6994). Linux tries it
    /// with servers that answered the other without a cookie.
    Experimental,
}

impl Segment {
    /// Whether it is the first of a connection: SYN without ACK.
    #[must_use]
    pub fn is_syn(&self) -> bool {
        self.syn && self.acknowledgment.is_none()
    }

    /// Whether it is a server's answer to a SYN.
    #[must_use]
    pub fn is_syn_ack(&self) -> bool {
        self.syn && self.acknowledgment.is_some()
    }

    /// Whether it is a SYN that carries data, with a cookie or without.
    #[must_use]
    pub fn is_syn_with_data(&self) -> bool {
        self.is_syn() && self.payload > 0
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {}", self.source, self.destination)?;
        let flags = [
            (self.syn, "SYN"),
            (self.acknowledgment.is_some(), "ACK"),
            (self.fin, "FIN"),
            (self.rst, "RST"),
        ];
        for (_, name) in flags.iter().filter(|(set, _)| *set) {
            write!(f, " {name}")?;
        }
        write!(f, " seq {}", self.sequence)?;
        if let Some(number) = self.acknowledgment {
            write!(f, " ack {number}")?;
        }
        if self.payload > 0 {
            write!(f, " data {}", self.payload)?;
        }
        let Some(option) = self.fast_open else {
            return Ok(());
        };
        let form = match option.kind {
            OptionKind::Standard => "cookie",
            OptionKind::Experimental => "experimental cookie",
        };
        match option.cookie {
            0 => write!(f, " {form} request"),
            bytes => write!(f, " {form} {bytes}"),
        }
    }
}

/// An IP packet taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Parsed {
    /// The IP header is version 6.
    pub(crate) ipv6: bool,
    /// What the IP packet carries.
    pub(crate) protocol: IpNumber,
    /// Where that is in the packet; empty for a fragment, which is not looked into.
    pub(crate) transport: Range<usize>,
    /// The TCP segment, if it is one.
    pub(crate) segment: Option<Segment>,
    /// Length of the TCP header with options, in bytes, or 0.
    pub(crate) tcp_header: usize,
}

impl Parsed {
    /// Takes an IP packet apart; nothing comes of one that is broken.
    pub(crate) fn new(packet: &[u8]) -> Option<Self> {
        let sliced = SlicedPacket::from_ip(packet).ok()?;
        let (ipv6, header, payload) = match sliced.net.as_ref()? {
            NetSlice::Ipv4(ip) => {
                let extension = ip.extensions().auth.map_or(0, |auth| auth.slice().len());
                (
                    false,
                    ip.header().slice().len().checked_add(extension)?,
                    ip.payload(),
                )
            }
            NetSlice::Ipv6(ip) => (
                true,
                ip.header()
                    .slice()
                    .len()
                    .checked_add(ip.extensions().slice().len())?,
                ip.payload(),
            ),
            NetSlice::Arp(_) => return None,
        };
        let length = if payload.fragmented {
            0
        } else {
            payload.payload.len()
        };
        let (segment, tcp_header) = match (&sliced.transport, sliced.net.as_ref()) {
            (Some(TransportSlice::Tcp(tcp)), Some(net)) => {
                (Some(read_segment(net, tcp)?), tcp.header_slice().len())
            }
            _ => (None, 0),
        };
        Some(Self {
            ipv6,
            protocol: payload.ip_number,
            transport: header..header.checked_add(length)?,
            segment,
            tcp_header,
        })
    }

    /// Where the TCP options are in the packet; empty if there are none.
    pub(crate) fn options(&self) -> Range<usize> {
        let start = self.transport.start;
        start.saturating_add(TCP_HEADER)..start.saturating_add(self.tcp_header.max(TCP_HEADER))
    }
}

/// Reads the fields of a segment.
fn read_segment(net: &NetSlice<'_>, tcp: &TcpSlice<'_>) -> Option<Segment> {
    let (source, destination) = match net {
        NetSlice::Ipv4(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        NetSlice::Ipv6(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        NetSlice::Arp(_) => return None,
    };
    Some(Segment {
        source: SocketAddr::new(source, tcp.source_port()),
        destination: SocketAddr::new(destination, tcp.destination_port()),
        sequence: tcp.sequence_number(),
        acknowledgment: tcp.ack().then(|| tcp.acknowledgment_number()),
        syn: tcp.syn(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        payload: tcp.payload().len(),
        fast_open: fast_open_options(tcp.options())
            .next()
            .map(|(option, _)| option),
    })
}

/// The Fast Open options among a TCP header's options, each with its place.
/// Reading ends at the first malformed option, as in the kernel.
pub(crate) fn fast_open_options(
    options: &[u8],
) -> impl Iterator<Item = (FastOpenOption, Range<usize>)> + '_ {
    let mut at = 0_usize;
    std::iter::from_fn(move || {
        loop {
            let rest = options.get(at..)?;
            let (kind, length) = match *rest {
                [option::NOP, ..] => (option::NOP, 1),
                [] | [option::END, ..] | [_] => return None,
                [kind, length, ..] => (kind, usize::from(length)),
            };
            let start = at;
            at = at.checked_add(length)?;
            if kind == option::NOP {
                continue;
            }
            let body = options.get(start.checked_add(2)?..at)?;
            if let Some(option) = read_fast_open(kind, body) {
                return Some((option, start..at));
            }
        }
    })
}

/// Reads one option, if it is one of Fast Open.
fn read_fast_open(kind: u8, body: &[u8]) -> Option<FastOpenOption> {
    match kind {
        option::FAST_OPEN => Some(FastOpenOption {
            kind: OptionKind::Standard,
            cookie: body.len(),
        }),
        option::EXPERIMENTAL => {
            let cookie = body.strip_prefix(&option::FAST_OPEN_EXPERIMENT)?;
            Some(FastOpenOption {
                kind: OptionKind::Experimental,
                cookie: cookie.len(),
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_open_options_are_found_among_others() {
        type Case = (&'static [u8], &'static [(OptionKind, usize)]);
        let cases: [Case; 7] = [
            (&[], &[]),
            (&[2, 4, 5, 180, 1, 1, 34, 2], &[(OptionKind::Standard, 0)]),
            (&[34, 6, 1, 2, 3, 4, 1, 1], &[(OptionKind::Standard, 4)]),
            (
                &[254, 6, 0xf9, 0x89, 7, 7],
                &[(OptionKind::Experimental, 2)],
            ),
            (&[254, 6, 0xe2, 0xd4, 7, 7], &[]), // another experiment
            (&[0, 34, 2], &[]),                 // behind the end
            (
                &[34, 2, 254, 4, 0xf9, 0x89],
                &[(OptionKind::Standard, 0), (OptionKind::Experimental, 0)],
            ),
        ];
        for (bytes, expected) in cases {
            let found: Vec<_> = fast_open_options(bytes)
                .map(|(o, _)| (o.kind, o.cookie))
                .collect();
            assert_eq!(found, expected, "{bytes:?}");
        }
    }

    #[test]
    fn malformed_options_end_the_reading() {
        for bytes in [
            &[34_u8][..],
            &[34, 0, 34, 2],
            &[34, 1],
            &[2, 255, 34, 2],
            &[34, 9, 1],
            &[254, 3, 0xf9],
        ] {
            assert_eq!(fast_open_options(bytes).count(), 0, "{bytes:?}");
        }
    }
}
