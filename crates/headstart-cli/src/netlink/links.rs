//! Network interfaces, over routing netlink.

use std::io;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;

use super::ask;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) name: String,
    /// The largest packet, in bytes.
    pub(crate) mtu: u32,
    pub(crate) up: bool,
    pub(crate) loopback: bool,
}

/// The interfaces of this namespace.
pub(crate) fn links() -> io::Result<Vec<Link>> {
    let question = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let mut found = Vec::new();
    ask(NETLINK_ROUTE, question, true, |answer| {
        if let RouteNetlinkMessage::NewLink(link) = answer {
            found.extend(read(&link));
        }
    })?;
    Ok(found)
}

fn read(link: &LinkMessage) -> Option<Link> {
    let mut attributes = link.attributes.iter();
    let name = attributes.clone().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })?;
    let mtu = attributes.find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    })?;
    Some(Link {
        name,
        mtu,
        up: link.header.flags.contains(LinkFlags::Up),
        loopback: link.header.flags.contains(LinkFlags::Loopback),
    })
}
