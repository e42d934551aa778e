//! TCP sockets of all processes, over `sock_diag`.

use std::io;
use std::net::SocketAddr;

use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags,
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::ask;

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    /// Connections that wait to be accepted.
    pub(crate) waiting: u32,
    /// How many may wait.
    pub(crate) backlog: u32,
    /// By which `/proc/PID/fd` names it.
    pub(crate) inode: u64,
}

/// A connection, or what is left of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    /// Whether data in its SYN was acknowledged; `false` in TIME_WAIT.
    pub(crate) syn_data: bool,
}

/// Every listening TCP socket of this namespace.
pub(crate) fn listeners() -> io::Result<Vec<Listener>> {
    let mut found = Vec::new();
    each_socket(StateFlags::LISTEN, ExtensionFlags::empty(), |socket| {
        found.push(Listener {
            address: local(socket),
            waiting: socket.header.recv_queue,
            backlog: socket.header.send_queue,
            inode: socket.header.inode.into(),
        });
    })?;
    Ok(found)
}

/// Shows every other TCP socket of this namespace that has a peer: connections and TIME_WAIT.
pub(crate) fn connections(mut each: impl FnMut(Connection)) -> io::Result<()> {
    let states = StateFlags::all() - StateFlags::LISTEN - StateFlags::CLOSE;
    each_socket(states, ExtensionFlags::INFO, |socket| {
        let id = &socket.header.socket_id;
        each(Connection {
            local: local(socket),
            peer: SocketAddr::new(id.destination_address, id.destination_port),
            syn_data: has_syn_data(socket),
        });
    })
}

fn each_socket(
    states: StateFlags,
    extensions: ExtensionFlags,
    mut each: impl FnMut(&InetResponse),
) -> io::Result<()> {
    for (family, socket_id) in [
        (AF_INET, SocketId::new_v4()),
        (AF_INET6, SocketId::new_v6()),
    ] {
        let question = SockDiagMessage::InetRequest(InetRequest {
            family,
            protocol: IPPROTO_TCP,
            extensions: extensions.clone(),
            states: states.clone(),
            socket_id,
        });
        ask(NETLINK_SOCK_DIAG, question, true, |answer| {
            if let SockDiagMessage::InetResponse(socket) = answer {
                each(&socket);
            }
        })?;
    }
    Ok(())
}

fn local(socket: &InetResponse) -> SocketAddr {
    let id = &socket.header.socket_id;
    SocketAddr::new(id.source_address, id.source_port)
}

fn has_syn_data(socket: &InetResponse) -> bool {
    let info = socket.nlas.iter().find_map(|attribute| match attribute {
        Nla::TcpInfo(bytes) => headstart_socket::TcpInfo::decode(bytes),
        _ => None,
    });
    info.is_some_and(|info| info.syn_data_acked)
}
