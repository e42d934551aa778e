//! What the kernel tells over netlink about the namespace of the calling thread. Reads only.

mod cookies;
mod links;
mod sockets;

pub(crate) use cookies::remembered;
pub(crate) use links::{Link, links};
pub(crate) use sockets::{Listener, connections, listeners};

use std::fmt::Debug;
use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr};

/// Every message begins at a multiple of so many bytes (`NLMSG_ALIGNTO`).
const ALIGNMENT: usize = 4;

/// Asks one question on a socket of its own, with `NLM_F_DUMP` or without, and shows each answer to `each`.
fn ask<M>(protocol: isize, question: M, dump: bool, mut each: impl FnMut(M)) -> io::Result<()>
where
    M: NetlinkSerializable + NetlinkDeserializable + Debug,
{
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | if dump { NLM_F_DUMP } else { 0 };
    let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(question));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<M>::deserialize(rest).map_err(malformed)?;
            let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(answer) => each(answer),
                _ => {}
            }
            let next = length.max(1).next_multiple_of(ALIGNMENT);
            rest = rest.get(next..).unwrap_or_default();
        }
        if !dump {
            return Ok(());
        }
    }
}

fn malformed(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
