//! Looking at, and ending, a connection. Each function takes any socket by reference: the
//! standard library's, a runtime's, or a `socket2` one.

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::time::Duration;

use socket2::SockRef;

use crate::sys;

/// Looks for a reply without taking it and without waiting.
///
/// `Ok(1)`: at least one byte can be read. `Ok(0)`: the peer has ended its stream.
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock): nothing yet (also while a handshake is under way).
/// Any other: the connection has failed. On Linux bytes that arrived before a reset are seen first.
pub fn peek<'a>(socket: impl Into<SockRef<'a>>) -> io::Result<usize> {
    let socket = socket.into();
    let mut byte = [MaybeUninit::uninit()];
    loop {
        match socket.recv_with_flags(&mut byte, sys::PEEK_FLAGS) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Takes the pending error of a socket (`SO_ERROR`), if there is one.
///
/// After a socket became writable for the first time, `Ok(None)` means that it is connected,
/// unless its [`TcpInfo`](crate::TcpInfo) says otherwise: with data in the SYN, Linux calls it
/// writable while the handshake is still under way.
///
/// # Errors
///
/// If the option cannot be read, which for an open socket does not happen.
pub fn take_error<'a>(socket: impl Into<SockRef<'a>>) -> io::Result<Option<io::Error>> {
    socket.into().take_error()
}

/// Sends FIN after the bytes written so far; the peer's bytes can still be read.
///
/// # Errors
///
/// [`NotConnected`](io::ErrorKind::NotConnected) if the connection is not open, or no more.
pub fn shutdown_write<'a>(socket: impl Into<SockRef<'a>>) -> io::Result<()> {
    socket.into().shutdown(Shutdown::Write)
}

/// Closes a connection at once, by RST if it is open (`SO_LINGER` 0): nobody keeps it in
/// TIME_WAIT, and bytes not yet sent or read are lost.
///
/// A connection whose SYN is still unanswered sends nothing; the late answer gets the RST.
///
/// # Errors
///
/// If the option could not be set. The socket is closed all the same, in the ordinary way.
pub fn close_abortively<S>(socket: S) -> io::Result<()>
where
    for<'a> &'a S: Into<SockRef<'a>>,
{
    let result = make_close_abortive(&socket);
    drop(socket);
    result
}

/// Makes the close that is to come abortive, as [`close_abortively`] does.
///
/// # Errors
///
/// If the option could not be set.
pub fn make_close_abortive<'a>(socket: impl Into<SockRef<'a>>) -> io::Result<()> {
    socket.into().set_linger(Some(Duration::ZERO))
}

/// Lets the system give up a connection whose peer has acknowledged nothing for so long, of what
/// there is to acknowledge; also when the socket is closed, and what was written is still to be
/// delivered. By default that takes Linux one to several minutes.
///
/// A handshake that is not complete, though data came in its SYN, is given up with the first
/// SYN-ACK that would leave later than that, or 3 s after the first.
///
/// # Errors
///
/// [`Unsupported`](io::ErrorKind::Unsupported) elsewhere than on Linux
/// (`TCP_USER_TIMEOUT`, `TCP_SYNCNT`), or if an option could not be set.
pub fn give_up_after<'a>(socket: impl Into<SockRef<'a>>, patience: Duration) -> io::Result<()> {
    sys::give_up_after(&socket.into(), patience)
}
