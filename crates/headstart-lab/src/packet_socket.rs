//! Raw packets in and out of one interface.

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    sys::socket::{
        AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType,
        bind, recvmsg, sendmsg, setsockopt, socket, sockopt,
    },
};

/// Ethernet header: two addresses and a type.
pub(crate) const ETHERNET: usize = 14;

/// Receive buffer asked for, in bytes; the kernel gives less to ordinary users.
const RECEIVE_BUFFER: usize = 16 << 20;

/// A packet socket, bound to one interface of the calling thread's namespace.
#[derive(Debug)]
pub(crate) struct PacketSocket {
    fd: OwnedFd,
    control: Vec<u8>,
}

/// One frame as it was read.
pub(crate) struct Received {
    /// Bytes of the packet behind the Ethernet header.
    pub(crate) len: usize,
    /// Packets that this socket has lost so far because its buffer was full.
    pub(crate) lost: Option<u32>,
}

impl PacketSocket {
    /// Opens a socket on the interface `name`, which must be there.
    pub(crate) fn open(name: &str) -> io::Result<Self> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(
            AddressFamily::Packet,
            SockType::Raw,
            flags,
            SockProtocol::EthAll,
        )?;
        // The protocol given above stays, since that of a listed address is 0.
        bind(fd.as_raw_fd(), &link_addr(name)?)?;
        if setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
        }
        setsockopt(&fd, sockopt::RxqOvfl, &1)?;
        Ok(Self {
            fd,
            control: nix::cmsg_space!(u32),
        })
    }

    /// Reads one frame, if one is there.
    pub(crate) fn receive(
        &mut self,
        ethernet: &mut [u8; ETHERNET],
        packet: &mut [u8],
    ) -> io::Result<Option<Received>> {
        let mut parts = [IoSliceMut::new(ethernet), IoSliceMut::new(packet)];
        let message = match recvmsg::<()>(
            self.fd.as_raw_fd(),
            &mut parts,
            Some(&mut self.control),
            MsgFlags::MSG_DONTWAIT,
        ) {
            Ok(message) => message,
            // ENETDOWN is left over from when the interface was not yet up.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let lost = message.cmsgs().ok().and_then(|mut all| {
            all.find_map(|one| match one {
                ControlMessageOwned::RxqOvfl(lost) => Some(lost),
                _ => None,
            })
        });
        Ok(Some(Received {
            len: message.bytes.saturating_sub(ETHERNET),
            lost,
        }))
    }

    /// Sends one frame.
    pub(crate) fn send(&self, ethernet: &[u8; ETHERNET], packet: &[u8]) -> io::Result<()> {
        let parts = [IoSlice::new(ethernet), IoSlice::new(packet)];
        sendmsg::<()>(
            self.fd.as_raw_fd(),
            &parts,
            &[],
            MsgFlags::MSG_DONTWAIT,
            None,
        )?;
        Ok(())
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The packet address of an interface of the calling thread's namespace.
fn link_addr(name: &str) -> io::Result<LinkAddr> {
    getifaddrs()?
        .filter(|interface| interface.interface_name == name)
        .find_map(|interface| interface.address?.as_link_addr().copied())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no interface {name}")))
}
