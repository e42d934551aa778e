//! One request and one reply over bare sockets, timed.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use headstart_lab::{Family, Host, Lab};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, setsockopt, socket, sockopt,
};

/// Fits into one SYN.
pub(crate) const REQUEST: [u8; 200] = [b'q'; 200];
const REPLY: [u8; 100] = [b'r'; 100];
pub(crate) const PORT: u16 = 4000;

/// Fast Open for clients and for every listener, without the socket option.
pub(crate) const SERVER_BITS: u32 = 0x1 | 0x2 | 0x400;

/// The requests that a server has read, each with its client's address.
pub(crate) type Served = Receiver<(SocketAddr, Vec<u8>)>;

/// What a client sees.
#[derive(Debug)]
pub(crate) struct Seen {
    /// When the first byte of the reply came, since before `connect`, or why none did.
    pub(crate) first_byte: Result<Duration, io::Error>,
    /// How long that took in any case.
    pub(crate) elapsed: Duration,
    /// The client's end of the connection, if it still has one.
    pub(crate) stream: Option<TcpStream>,
}

/// Serves requests on a machine until the process ends; tells of each that was read.
pub(crate) fn serve(host: &Host, address: IpAddr) -> Served {
    let (tell, told) = mpsc::channel();
    host.set_fast_open(SERVER_BITS).unwrap();
    let listener = host
        .run(|| TcpListener::bind((address, PORT)))
        .unwrap()
        .unwrap();
    thread::spawn(move || {
        while let Ok((stream, peer)) = listener.accept() {
            let tell = tell.clone();
            thread::spawn(move || answer(stream, peer, &tell));
        }
    });
    told
}

/// Answers requests until the client closes, and so leaves TIME_WAIT to it.
fn answer(mut stream: TcpStream, peer: SocketAddr, tell: &mpsc::Sender<(SocketAddr, Vec<u8>)>) {
    let mut request = vec![0; REQUEST.len()];
    while stream.read_exact(&mut request).is_ok() {
        let _ = tell.send((peer, request.clone()));
        let _ = stream.write_all(&REPLY);
    }
}

/// Sends a request and waits for the reply.
pub(crate) fn exchange(lab: &Lab, family: Family, fast_open: bool, patience: Duration) -> Seen {
    let address = SocketAddr::new(lab.server_addr(family), PORT);
    exchange_with(lab, address, fast_open, patience)
}

/// The same with an address of the caller's.
pub(crate) fn exchange_with(
    lab: &Lab,
    address: SocketAddr,
    fast_open: bool,
    patience: Duration,
) -> Seen {
    lab.client()
        .run(|| dial(address, fast_open, patience))
        .unwrap()
}

/// Sends another request on a connection and waits for the reply.
pub(crate) fn ask(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(&REQUEST)?;
    stream.read_exact(&mut [0; REPLY.len()])
}

fn dial(address: SocketAddr, fast_open: bool, patience: Duration) -> Seen {
    let family = if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    if fast_open {
        setsockopt(&fd, sockopt::TcpFastOpenConnect, &true).unwrap();
    }
    let mut stream = TcpStream::from(fd);
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.set_write_timeout(Some(patience)).unwrap(); // holds for `connect` too
    let start = Instant::now();
    let connected = connect(stream.as_raw_fd(), &SockaddrStorage::from(address));
    let first_byte = connected.map_err(io::Error::from).and_then(|()| {
        stream.write_all(&REQUEST)?;
        stream.read_exact(&mut [0])?;
        Ok(start.elapsed())
    });
    let elapsed = start.elapsed();
    let whole = first_byte.is_ok() && stream.read_exact(&mut [0; REPLY.len() - 1]).is_ok();
    Seen {
        first_byte,
        elapsed,
        stream: whole.then_some(stream),
    }
}
