//! What is done with a stream.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::peer::{Direction, Peer};

/// The largest buffer.
pub const BUFFER_MAX: usize = 64 * 1024;
/// Pieces of a vectored write.
const PIECES: usize = 4;

/// What is done with a stream, with buffers of so many bytes.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    Read(usize),
    Write(usize),
    WriteVectored(usize),
}

pub const WORKS: [Work; 5] = [
    Work::Read(BUFFER_MAX),
    Work::Read(BUFFER_MAX / 4),
    Work::Write(BUFFER_MAX),
    Work::Write(BUFFER_MAX / 4),
    Work::WriteVectored(BUFFER_MAX),
];

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(buffer) => write!(f, "read {} KiB", buffer / 1024),
            Self::Write(buffer) => write!(f, "write {} KiB", buffer / 1024),
            Self::WriteVectored(buffer) => {
                write!(f, "write {PIECES} x {} KiB", buffer / PIECES / 1024)
            }
        }
    }
}

impl Work {
    pub fn direction(self) -> Direction {
        match self {
            Self::Read(_) => Direction::ToClient,
            Self::Write(_) | Self::WriteVectored(_) => Direction::ToServer,
        }
    }

    /// Moves so many bytes, and says what time the client took. `peer` is what
    /// this thread is to do at the other end, if it is that, too.
    pub async fn run(
        self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        mut peer: Option<&mut Peer>,
        bytes: usize,
        scratch: &mut [u8],
    ) -> io::Result<Duration> {
        let (mut left, mut time) = (bytes, Duration::ZERO);
        // What the peer has given and the client has not read.
        let mut given = 0;
        while left > 0 {
            let mut most = self.buffer().min(left);
            if let (Self::Read(_), Some(peer)) = (self, &mut peer) {
                if given == 0 {
                    given = peer.give(&scratch[..most])?;
                }
                most = given;
            }
            let began = Instant::now();
            let moved = self.step(stream, &mut scratch[..most]).await?;
            time += began.elapsed();
            if moved == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let (Self::Write(_) | Self::WriteVectored(_), Some(peer)) = (self, &mut peer) {
                peer.take(moved, scratch)?;
            }
            given = given.saturating_sub(moved);
            left -= moved;
        }
        Ok(time)
    }

    fn buffer(self) -> usize {
        match self {
            Self::Read(buffer) | Self::Write(buffer) | Self::WriteVectored(buffer) => buffer,
        }
    }

    /// One call.
    async fn step(
        self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        match self {
            Self::Read(_) => stream.read(buffer).await,
            Self::Write(_) => stream.write(buffer).await,
            Self::WriteVectored(_) => {
                let mut pieces = buffer.chunks(buffer.len().div_ceil(PIECES));
                let bufs: [IoSlice<'_>; PIECES] =
                    std::array::from_fn(|_| IoSlice::new(pieces.next().unwrap_or_default()));
                poll_fn(|cx| Pin::new(&mut *stream).poll_write_vectored(cx, &bufs)).await
            }
        }
    }
}
