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
pub const REQUEST: [u8; 200] = [b'q'; 200];
pub const REPLY: [u8; 100] = [b'r'; 100];
pub const PORT: u16 = 4000;

/// Fast Open for clients and for every listener, without the socket option.
const SERVER_BITS: u32 = 0x1 | 0x2 | 0x400;

/// What a client sees.
#[derive(Debug)]
pub struct Seen {
    /// When the first byte of the reply came, since before `connect`.
    pub first_byte: Result<Duration, io::Error>,
    /// The address of the client's end.
    pub client: Option<SocketAddr>,
}

impl Seen {
    /// Round trips until the first byte of the reply; an error ends it too.
    pub fn round_trips(&self, rtt: Duration) -> Option<f64> {
        self.first_byte
            .as_ref()
            .ok()
            .map(|time| time.as_secs_f64() / rtt.as_secs_f64())
    }
}

/// Serves requests on a machine until the process ends; tells of each that was read.
pub fn serve(host: &Host, address: IpAddr) -> Receiver<(SocketAddr, Vec<u8>)> {
    let (tell, told) = mpsc::channel();
    host.set_fast_open(SERVER_BITS).unwrap();
    let listener = host
        .run(|| TcpListener::bind((address, PORT)))
        .unwrap()
        .unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            let tell = tell.clone();
            thread::spawn(move || {
                let mut request = vec![0; REQUEST.len()];
                if stream.read_exact(&mut request).is_ok() {
                    let _ = tell.send((peer, request));
                    let _ = stream.write_all(&REPLY);
                    // Leaves closing first, and so TIME_WAIT, to the client.
                    let _ = stream.read(&mut [0]);
                }
            });
        }
    });
    told
}

/// Sends a request and waits for the first byte of the reply.
pub fn exchange(lab: &Lab, family: Family, fast_open: bool, patience: Duration) -> Seen {
    let address = SocketAddr::new(lab.server_addr(family), PORT);
    lab.client()
        .run(|| dial(address, fast_open, patience))
        .unwrap()
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
    let start = Instant::now();
    if let Err(errno) = connect(fd.as_raw_fd(), &SockaddrStorage::from(address)) {
        return Seen {
            first_byte: Err(errno.into()),
            client: None,
        };
    }
    let mut stream = TcpStream::from(fd);
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut ask = || {
        stream.write_all(&REQUEST)?;
        stream.read_exact(&mut [0])?;
        Ok(start.elapsed())
    };
    let first_byte = ask();
    Seen {
        first_byte,
        client: stream.local_addr().ok(),
    }
}
