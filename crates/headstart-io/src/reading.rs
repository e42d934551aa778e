//! Reading a connection to its end, which may be another than its last read
//! says.

use std::io;
use std::task::{Context, Poll, ready};

use crate::runtime::Stream;

/// A failure of a connection that nobody was told, since there were bytes to
/// be read first. The system tells its error once, and only the end of reading
/// after that: but what was cut off must not just end.
#[derive(Debug, Default)]
pub(crate) struct Untold(Option<io::Error>);

impl Untold {
    /// Keeps the first failure. A broken pipe is none to a reader: the peer's
    /// end of file came before it.
    pub(crate) fn keep(&mut self, error: io::Error) {
        if error.kind() != io::ErrorKind::BrokenPipe {
            self.0.get_or_insert(error);
        }
    }

    pub(crate) fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    pub(crate) fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// What a read has come to, as it is to be told: the end of reading is the
    /// failure, which the system may yet tell by itself.
    pub(crate) fn tell(&mut self, result: io::Result<usize>) -> io::Result<usize> {
        match result {
            Ok(0) => self.0.take().map_or(Ok(0), Err),
            Ok(read) => Ok(read),
            Err(error) => {
                self.0 = None;
                Err(error)
            }
        }
    }
}

/// Waits and reads.
pub(crate) fn poll_read<S: Stream>(
    stream: &S,
    cx: &mut Context<'_>,
    buf: &mut [u8],
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_readable(cx))?;
        match stream.try_read(buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Poll::Ready(result),
        }
    }
}
