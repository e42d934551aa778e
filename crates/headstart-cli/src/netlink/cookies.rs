//! What the kernel remembers of peers: `tcp_metrics`, over generic netlink.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_core::{
    DecodeError, Emitable, NLA_F_NESTED, NlasIterator, Parseable, ParseableParametrized,
};
use netlink_packet_core::{DefaultNla, Nla, parse_ip, parse_u16, parse_u64};
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use netlink_sys::protocols::NETLINK_GENERIC;

use super::ask;

/// The family's name, version and question, and its attributes (`linux/tcp_metrics.h`).
const FAMILY: &str = "tcp_metrics";
const VERSION: u8 = 1;
const COMMAND_GET: u8 = 1;
const ADDR_IPV4: u16 = 1;
const ADDR_IPV6: u16 = 2;
const FOPEN_SYN_DROPS: u16 = 8;
const FOPEN_SYN_DROP_TS: u16 = 9;
const FOPEN_COOKIE: u16 = 10;
const SADDR_IPV4: u16 = 11;
const SADDR_IPV6: u16 = 12;

/// What the kernel remembers of one peer, as far as it concerns Fast Open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// The peer.
    pub(crate) peer: Option<IpAddr>,
    /// The local address that dialled it.
    pub(crate) local: Option<IpAddr>,
    /// The cookie it gave. Never printed: it identifies this client.
    pub(crate) cookie: Option<Vec<u8>>,
    /// How many SYNs with data were lost in a row.
    pub(crate) syn_drops: u16,
    /// How long ago the last of them was.
    pub(crate) last_drop: Option<Duration>,
}

/// Everything that the kernel remembers of peers in this namespace.
pub(crate) fn remembered() -> io::Result<Vec<Remembered>> {
    let family = family()?;
    let mut question = GenlMessage::from_payload(Metrics::default());
    question.set_resolved_family_id(family);
    question.finalize();
    let mut found = Vec::new();
    ask(NETLINK_GENERIC, question, true, |answer| {
        found.push(answer.payload.remembered);
    })?;
    Ok(found)
}

/// The number that the kernel gave the family when it began.
fn family() -> io::Result<u16> {
    let mut question = GenlMessage::from_payload(GenlCtrl {
        cmd: GenlCtrlCmd::GetFamily,
        nlas: vec![GenlCtrlAttrs::FamilyName(FAMILY.to_owned())],
    });
    question.finalize();
    let mut number = None;
    ask(NETLINK_GENERIC, question, false, |answer| {
        let mut attributes = answer.payload.nlas.iter();
        number = number.or(attributes.find_map(|attribute| match attribute {
            GenlCtrlAttrs::FamilyId(number) => Some(*number),
            _ => None,
        }));
    })?;
    number.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// A message of the family: without attributes a question for all.
#[derive(Clone, Debug, Default)]
struct Metrics {
    remembered: Remembered,
}

impl GenlFamily for Metrics {
    fn family_name() -> &'static str {
        FAMILY
    }

    fn command(&self) -> u8 {
        COMMAND_GET
    }

    fn version(&self) -> u8 {
        VERSION
    }
}

/// Only questions are written, and they have no attributes.
impl Emitable for Metrics {
    fn buffer_len(&self) -> usize {
        0
    }

    fn emit(&self, _buffer: &mut [u8]) {}
}

impl ParseableParametrized<[u8], GenlHeader> for Metrics {
    fn parse_with_param(bytes: &[u8], _header: GenlHeader) -> Result<Self, DecodeError> {
        let mut remembered = Remembered::default();
        for attribute in NlasIterator::new(bytes) {
            let attribute = DefaultNla::parse(&attribute?)?;
            let mut value = vec![0; attribute.value_len()];
            attribute.emit_value(&mut value);
            match attribute.kind() & !NLA_F_NESTED {
                ADDR_IPV4 | ADDR_IPV6 => remembered.peer = Some(parse_ip(&value)?),
                SADDR_IPV4 | SADDR_IPV6 => remembered.local = Some(parse_ip(&value)?),
                FOPEN_SYN_DROPS => remembered.syn_drops = parse_u16(&value)?,
                FOPEN_SYN_DROP_TS => {
                    remembered.last_drop = Some(Duration::from_millis(parse_u64(&value)?));
                }
                FOPEN_COOKIE => remembered.cookie = Some(value),
                _ => {}
            }
        }
        Ok(Self { remembered })
    }
}
