//! Systems whose calls copy the flight: nothing of an attempt is left for its owner to keep.

use std::io;

use socket2::Socket;

/// Nothing.
#[derive(Debug, Default)]
pub(crate) struct Operation;

impl Operation {
    /// There is nothing to finish.
    #[inline]
    #[allow(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    pub(crate) fn finish(&self, _socket: &Socket) -> io::Result<()> {
        Ok(())
    }
}
