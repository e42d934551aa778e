//! Raw packets in and out of one interface.

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    sys::socket::{
        AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType,
        bind, recvmsg, sendmsg, setsockopt, socket, sockopt,
    },
    sys::time::TimeSpec,
};

/// Ethernet header: two addresses and a type.
pub(crate) const ETHERNET: usize = 14;

/// A packet that seems to have waited longer than this tells of a clock that was set.
const AGE_MAX: Duration = Duration::from_secs(1);

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
    /// How long ago it came in.
    pub(crate) age: Duration,
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
        setsockopt(&fd, sockopt::ReceiveTimestampns, &true)?;
        Ok(Self {
            fd,
            control: nix::cmsg_space!(u32, TimeSpec),
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
        let mut received = Received {
            len: message.bytes.saturating_sub(ETHERNET),
            age: Duration::ZERO,
            lost: None,
        };
        for one in message.cmsgs().ok().into_iter().flatten() {
            match one {
                ControlMessageOwned::RxqOvfl(lost) => received.lost = Some(lost),
                ControlMessageOwned::ScmTimestampns(time) => {
                    received.age = age(Duration::from(time))
                }
                _ => {}
            }
        }
        Ok(Some(received))
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

/// How long ago something was on the wall clock, which may have been set since.
fn age(stamp: Duration) -> Duration {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    now.checked_sub(stamp)
        .filter(|age| *age < AGE_MAX)
        .unwrap_or_default()
}

/// The packet address of an interface of the calling thread's namespace.
fn link_addr(name: &str) -> io::Result<LinkAddr> {
    getifaddrs()?
        .filter(|interface| interface.interface_name == name)
        .find_map(|interface| interface.address?.as_link_addr().copied())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no interface {name}")))
}
