//! Any Unix without a file of its own, OpenBSD and NetBSD among them: plain TCP, and no pretence
//! of more.

use std::io;
use std::time::Duration;

use socket2::{SockAddr, Socket};

pub(crate) use super::posix::{PEEK_FLAGS, connect, set_reuse_address, set_reuse_port, socket};
pub(crate) use super::unowned::Operation;
use super::{not_here, unsupported};
use crate::connect::{Mechanism, Progress};
use crate::errors::ConnectError;
use crate::info::TcpInfo;
use crate::status::{Counters, Switches};

/// There is no such queue.
pub(crate) const QUEUE_AFTER_LISTEN: bool = false;

/// There is no such switch.
pub(crate) const SERVER_SWITCH: &str = "not on this platform";

/// There is no Fast Open here.
pub(crate) fn connect_fast_open(
    _socket: &Socket,
    _addr: &SockAddr,
    _mechanism: Option<Mechanism>,
    _flight: &[u8],
) -> Result<(Progress, Operation), ConnectError> {
    Err(not_here())
}

/// There are no marks here.
pub(crate) fn set_mark(_socket: &Socket, _mark: u32) -> io::Result<()> {
    Err(unsupported())
}

/// How long this system tries is not asked here.
pub(crate) fn give_up_after(_socket: &Socket, _patience: Duration) -> io::Result<()> {
    Err(unsupported())
}

/// Nothing to do: the port is chosen when binding.
pub(crate) fn defer_port_choice(_socket: &Socket) {}

/// There is no Fast Open here.
pub(crate) fn set_fast_open_queue(_socket: &Socket, _length: u32) -> io::Result<()> {
    Err(unsupported())
}

/// There is no Fast Open here.
pub(crate) fn fast_open_queue(_socket: &Socket) -> io::Result<u32> {
    Err(unsupported())
}

/// There is no Fast Open here.
pub(crate) fn set_cookie_key(_socket: &Socket, _key: &[u8]) -> io::Result<()> {
    Err(unsupported())
}

/// There is no `TCP_INFO` here that this crate knows to read.
pub(crate) fn tcp_info(_socket: &Socket) -> io::Result<TcpInfo> {
    Err(unsupported())
}

/// There is no Fast Open here.
pub(crate) fn came_by_fast_open(_socket: &Socket) -> io::Result<bool> {
    Err(unsupported())
}

/// There is no Fast Open here.
pub(crate) fn syn_data_acked(_socket: &Socket) -> io::Result<bool> {
    Err(unsupported())
}

/// There is nothing to be switched.
pub(crate) fn switches() -> io::Result<Switches> {
    Err(unsupported())
}

/// There is no such sysctl.
pub(crate) fn tcp_fastopen() -> io::Result<u32> {
    Err(unsupported())
}

/// There is no such setting.
pub(crate) fn blackhole_timeout() -> io::Result<u32> {
    Err(unsupported())
}

/// Not read here.
pub(crate) fn somaxconn() -> io::Result<u32> {
    Err(unsupported())
}

/// There are no such counters.
pub(crate) fn counters() -> io::Result<Counters> {
    Err(unsupported())
}
