//! Interfaces and addresses, set over routing netlink.

use std::{
    fs::File,
    io,
    net::IpAddr,
    os::fd::AsRawFd,
    thread,
    time::{Duration, Instant},
};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, State},
    route::{RouteAttribute, RouteMessage, RouteType},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::net::if_::if_nametoindex;

/// Largest packet on the wire, in bytes, IP header included.
const MTU: u32 = 1500;

/// How long the kernel may take to do what it does a little later, and how often to look.
const READY_WITHIN: Duration = Duration::from_secs(5);
const READY_POLL: Duration = Duration::from_millis(1);

/// A connection to the kernel about the namespace in which it was opened.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

/// One end of a veth pair, as it is to be made.
pub(crate) struct VethEnd<'a> {
    pub(crate) name: &'a str,
    pub(crate) mac: Option<[u8; 6]>,
    pub(crate) namespace: Option<&'a File>,
}

impl Netlink {
    /// Opens a connection about the calling thread's namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Makes a pair of joined interfaces, both down.
    pub(crate) fn add_veth(&mut self, near: &VethEnd<'_>, far: &VethEnd<'_>) -> io::Result<()> {
        let mut message = link_message(near);
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(link_message(far)))),
        ]));
        self.request(
            RouteNetlinkMessage::NewLink(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    /// Brings an interface up. Without neighbour discovery, if `direct`: every
    /// packet goes straight to the other end, and IPv6 addresses need no check.
    pub(crate) fn set_up(&mut self, name: &str, direct: bool) -> io::Result<()> {
        let mut flags = LinkFlags::Up;
        if direct {
            flags |= LinkFlags::Noarp;
        }
        let mut message = LinkMessage::default();
        message.header.index = if_nametoindex(name)?;
        message.header.flags = flags;
        message.header.change_mask = flags;
        self.request(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Gives an interface an address, usable at once.
    pub(crate) fn add_address(
        &mut self,
        name: &str,
        address: IpAddr,
        prefix: u8,
    ) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = match address {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        message.header.prefix_len = prefix;
        message.header.flags = AddressHeaderFlags::Permanent | AddressHeaderFlags::Nodad;
        message.header.index = if_nametoindex(name)?;
        message.attributes = vec![
            AddressAttribute::Address(address),
            AddressAttribute::Local(address),
        ];
        self.request(
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
    }

    /// Waits until an interface that is up, and whose other end is, carries
    /// packets: the kernel sees to it a little later, and drops them until then.
    /// The flag "running" does not tell: it is set while the state is unknown, too.
    pub(crate) fn wait_for_carrier(&mut self, name: &str) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = if_nametoindex(name)?;
        self.wait(
            &RouteNetlinkMessage::GetLink(message),
            |answer| match answer {
                RouteNetlinkMessage::NewLink(link) => link
                    .attributes
                    .contains(&LinkAttribute::OperState(State::Up)),
                _ => false,
            },
        )
    }

    /// Waits until packets to an address that was added are taken in: for IPv6
    /// the kernel sees to it a little later.
    pub(crate) fn wait_for_address(&mut self, address: IpAddr) -> io::Result<()> {
        let mut message = RouteMessage::default();
        (
            message.header.address_family,
            message.header.destination_prefix_length,
        ) = match address {
            IpAddr::V4(_) => (AddressFamily::Inet, 32),
            IpAddr::V6(_) => (AddressFamily::Inet6, 128),
        };
        message.attributes = vec![RouteAttribute::Destination(address.into())];
        self.wait(
            &RouteNetlinkMessage::GetRoute(message),
            |answer| match answer {
                RouteNetlinkMessage::NewRoute(route) => route.header.kind == RouteType::Local,
                _ => false,
            },
        )
    }

    /// Asks until the answer is good.
    fn wait(
        &mut self,
        request: &RouteNetlinkMessage,
        is_good: impl Fn(&RouteNetlinkMessage) -> bool,
    ) -> io::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let answer = self.ask(request.clone(), 0);
            match answer {
                Ok(Some(answer)) if is_good(&answer) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Ok(_) if Instant::now() >= deadline => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) | Err(_) => thread::sleep(READY_POLL),
            }
        }
    }

    /// Sends one request that has no other answer than yes or no.
    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.ask(message, flags).map(drop)
    }

    /// Sends one request, and waits for the kernel's answer, if it has one, and its yes or no.
    fn ask(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Option<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answer = None;
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            let reply = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if reply.header.sequence_number != self.sequence {
                continue;
            }
            match reply.payload {
                NetlinkPayload::Error(verdict) if verdict.code.is_some() => {
                    return Err(verdict.to_io());
                }
                NetlinkPayload::Error(_) => return Ok(answer),
                NetlinkPayload::InnerMessage(message) => answer = Some(message),
                _ => {}
            }
        }
    }
}

/// What both ends of a pair have in common with any interface to be made.
fn link_message(end: &VethEnd<'_>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(end.name.to_owned()),
        LinkAttribute::Mtu(MTU),
        // One segment per packet: the kernel cuts bigger ones before they leave.
        LinkAttribute::GsoMaxSegs(1),
    ];
    if let Some(mac) = end.mac {
        message
            .attributes
            .push(LinkAttribute::Address(mac.to_vec()));
    }
    if let Some(namespace) = end.namespace {
        message
            .attributes
            .push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
    }
    message
}
