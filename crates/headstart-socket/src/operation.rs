//! What of an attempt is under way beside its socket.

use std::io;

use socket2::SockRef;

use crate::sys;

/// What a stream needs beside its socket: the operation that opens it, where that is not the
/// socket's own (`ConnectEx`, on Windows), and on which side of the connection it is.
///
/// Keep it beside a dialled stream; accepted streams have the default. Dropping it never waits. On
/// Windows the kernel may still read the flight then, so what the operation owns lives on until it
/// has ended; closing the socket ends it.
///
/// **When to ask.** Each time the stream becomes ready, until [`finish`](Self::finish) says anything
/// else than [`WouldBlock`](io::ErrorKind::WouldBlock): that is the answer to "is it connected".
#[derive(Debug, Default)]
pub struct Operation {
    dialled: bool,
    system: sys::Operation,
}

impl Operation {
    /// Of an ordinary handshake, which needs none.
    pub(crate) fn plain() -> Self {
        Self {
            dialled: true,
            ..Self::default()
        }
    }

    pub(crate) fn dialled(system: sys::Operation) -> Self {
        Self {
            dialled: true,
            system,
        }
    }

    /// Ends the operation if it is over. On Windows the stream is fully connected only then: before,
    /// its peer address is unknown and it cannot be shut down. Elsewhere nothing, and `Ok`.
    ///
    /// Says the same again however often it is called.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) while the operation is under way. Any other: the
    /// attempt has failed, and on Windows nothing else says so.
    #[inline]
    pub fn finish<'a>(&self, stream: impl Into<SockRef<'a>>) -> io::Result<()> {
        self.system.finish(&stream.into())
    }

    /// On a dialled stream, whether the peer acknowledged data in the SYN; on an accepted one, whether
    /// data came in the SYN.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported) where the system does not say; otherwise the
    /// system's.
    pub fn syn_data_acked<'a>(&self, stream: impl Into<SockRef<'a>>) -> io::Result<bool> {
        match self.dialled {
            true => sys::syn_data_acked(&stream.into()),
            false => sys::came_by_fast_open(&stream.into()),
        }
    }
}
