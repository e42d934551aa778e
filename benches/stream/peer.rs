//! The other end of the streams.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::common::Outcome;

/// What either end says first.
pub const READY: u8 = b'!';
/// Bytes that the server gives or takes at once.
const BUFFER: usize = 256 * 1024;

/// Who is the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The client's own thread, in turn.
    InStep,
    /// A thread of its own.
    InFlow,
}

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToClient,
    ToServer,
}

/// Servers of each kind.
pub struct Server {
    in_step: SocketAddr,
    peers: Receiver<TcpStream>,
    source: SocketAddr,
    sink: SocketAddr,
}

impl Server {
    pub fn start() -> io::Result<Self> {
        let (sender, peers) = channel();
        Ok(Self {
            in_step: listen(move |stream| hand_over(stream, &sender))?,
            peers,
            source: listen(|stream| in_background(stream, give_all))?,
            sink: listen(|stream| in_background(stream, take_all))?,
        })
    }

    pub fn address(&self, mode: Mode, direction: Direction) -> SocketAddr {
        match (mode, direction) {
            (Mode::InStep, _) => self.in_step,
            (Mode::InFlow, Direction::ToClient) => self.source,
            (Mode::InFlow, Direction::ToServer) => self.sink,
        }
    }

    /// The other end of the connection that was just made.
    pub fn peer(&self, mode: Mode) -> Outcome<Option<Peer>> {
        match mode {
            Mode::InStep => Ok(Some(Peer(self.peers.recv()?))),
            Mode::InFlow => Ok(None),
        }
    }
}

/// The other end, nonblocking.
pub struct Peer(TcpStream);

impl Peer {
    /// Sends as much as fits; how much that was.
    pub fn give(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                result => return result,
            }
        }
    }

    /// Receives exactly so many bytes.
    pub fn take(&mut self, bytes: usize, scratch: &mut [u8]) -> io::Result<()> {
        let mut left = bytes;
        while left > 0 {
            let most = scratch.len().min(left);
            match self.0.read(&mut scratch[..most]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(got) => left -= got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Greets whoever comes, then does this with them. It ends with the process.
fn listen(handle: impl Fn(TcpStream) -> io::Result<()> + Send + 'static) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || -> io::Result<()> {
        loop {
            let (mut stream, _) = listener.accept()?;
            let mut first = [0];
            stream.read_exact(&mut first)?;
            stream.write_all(&[READY])?;
            handle(stream)?;
        }
    });
    Ok(address)
}

fn hand_over(stream: TcpStream, to: &Sender<TcpStream>) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    // All that it gives is there at once, the last, small segment too.
    stream.set_nodelay(true)?;
    to.send(stream).map_err(io::Error::other)
}

fn in_background(stream: TcpStream, work: fn(TcpStream) -> io::Result<()>) -> io::Result<()> {
    // The work ends by an error when the client has closed.
    std::thread::Builder::new()
        .spawn(move || work(stream))
        .map(drop)
}

fn give_all(mut stream: TcpStream) -> io::Result<()> {
    let bytes = vec![0x5a; BUFFER];
    loop {
        stream.write_all(&bytes)?;
    }
}

fn take_all(mut stream: TcpStream) -> io::Result<()> {
    let mut bytes = vec![0; BUFFER];
    while stream.read(&mut bytes)? > 0 {}
    Ok(())
}
