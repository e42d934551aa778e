//! Sends back every byte.

use std::io;

use headstart_tokio::GateStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes read at a time, and all that is held for one connection.
pub(crate) const BUFFER: usize = 8 * 1024;

/// Sends back what comes until the client has finished, then finishes too;
/// the number of bytes.
pub(crate) async fn echo(stream: &mut GateStream) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut total: u64 = 0;
    loop {
        let got = stream.read(&mut buffer).await?;
        if got == 0 {
            stream.shutdown().await?;
            return Ok(total);
        }
        stream.write_all(buffer.get(..got).unwrap_or(&[])).await?;
        total = total.saturating_add(u64::try_from(got).unwrap_or(u64::MAX));
    }
}
