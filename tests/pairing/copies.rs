//! Copies of first messages on bare sockets, and an application that notes
//! what it hears.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use headstart::core::framing::token::{Header, Id};
use headstart::tokio::{Admitted, Gate, GateBuilder};
use headstart::{Framing, GateCounters, NoiseHeader};
use headstart_lab::{Family, Lab, Rule};
use headstart_socket::{self as socket, Kind, Options, Progress};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::common::{self, Server, pattern};
use crate::harness::{fetch_cookie, lock};

/// Longer than anything takes here that ends at all.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// The framings of messages, as clients send them that do not say that they
/// reset their losers.
#[derive(Clone, Copy, Debug)]
pub enum Wire {
    Token,
    Tls,
    Noise,
}

impl Wire {
    pub const ALL: [Self; 3] = [Self::Token, Self::Tls, Self::Noise];

    pub fn framing(self) -> Framing {
        match self {
            Self::Token => Framing::token(),
            Self::Tls => Framing::tls_client_hello(),
            Self::Noise => Framing::noise(NoiseHeader::Len16),
        }
    }

    /// A first message that no other number has.
    pub fn message(self, number: u64) -> Vec<u8> {
        let mut body = pattern(300, 7);
        body[20..28].copy_from_slice(&number.to_be_bytes());
        match self {
            Self::Token => token(number, false, &body),
            // A ClientHello of 296 bytes in one record.
            Self::Tls => {
                body[..4].copy_from_slice(&[1, 0, 1, 40]);
                [&[22, 3, 1, 1, 44][..], &body].concat()
            }
            Self::Noise => [&[1, 44][..], &body].concat(),
        }
    }
}

/// A Token of this number, and its flight.
pub fn token(number: u64, resets_losers: bool, flight: &[u8]) -> Vec<u8> {
    let mut id = [0xa5; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let header = Header {
        id: Id(id),
        flight_len: flight.len() as u16,
        resets_losers,
    };
    [&header.encode(), flight].concat()
}

/// Sends a copy by an ordinary handshake.
pub async fn plain(address: SocketAddr, message: &[u8]) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(message).await?;
    Ok(stream)
}

/// Sends a copy in a SYN.
pub fn fast_open(address: SocketAddr, message: &[u8]) -> io::Result<TcpStream> {
    let attempt = socket::connect(address, Kind::FastOpen, message, &Options::new())?;
    match attempt.progress {
        Progress::DataInSyn { sent } if sent == message.len() => {
            TcpStream::from_std(attempt.stream)
        }
        other => Err(io::Error::other(format!("not in the SYN: {other:?}"))),
    }
}

/// Reads exactly these bytes.
pub async fn hear(stream: &mut TcpStream, wanted: &[u8]) -> io::Result<()> {
    let mut heard = vec![0; wanted.len()];
    match timeout(PATIENCE, stream.read_exact(&mut heard)).await {
        Ok(result) => result?,
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    };
    match heard == wanted {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "other bytes")),
    }
}

/// How a connection ends that brings nothing more.
pub async fn end_of(stream: &mut TcpStream) -> io::Result<()> {
    match timeout(PATIENCE, stream.read(&mut [0; 1])).await {
        Ok(Ok(0)) => Ok(()),
        Ok(Ok(_)) => Err(io::Error::other("more bytes")),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Whether the server resets it.
pub async fn is_reset(stream: &mut TcpStream) -> bool {
    matches!(end_of(stream).await, Err(error) if error.kind() == io::ErrorKind::ConnectionReset)
}

/// What one admitted connection heard beyond its first message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    pub bytes: Vec<u8>,
    /// How it ended, if it did.
    pub end: Option<Result<(), io::ErrorKind>>,
}

/// What the application has heard, connection by connection.
pub type Ear = Arc<Mutex<Vec<Heard>>>;

/// What the application does.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// The answer to the first message.
    pub answer: &'static [u8],
    /// Whether it waits for the client's end of file first.
    pub after_end: bool,
    /// Whether it drops the stream with its answer.
    pub drops: bool,
}

/// The application: answers, then listens to the end, and says how many bytes
/// it heard.
pub async fn apply(mut admitted: Admitted, wire: Wire, manner: Manner, ear: Ear) -> io::Result<()> {
    let number = lock(&ear).len();
    lock(&ear).push(Heard::default());
    let header = match wire {
        Wire::Token => 24,
        Wire::Tls | Wire::Noise => 0,
    };
    let mut message = vec![0; admitted.message - header];
    admitted.stream.read_exact(&mut message).await?;
    if !manner.after_end {
        admitted.stream.write_all(manner.answer).await?;
    }
    if manner.drops {
        return Ok(());
    }
    let mut buf = vec![0; 64 * 1024];
    let end = loop {
        let heard = match admitted.stream.read(&mut buf).await {
            Ok(0) => break Ok(()),
            Ok(got) => got,
            Err(error) => break Err(error.kind()),
        };
        lock(&ear)[number].bytes.extend_from_slice(&buf[..heard]);
        if let Err(error) = admitted.stream.write_all(b".").await {
            break Err(error.kind());
        }
    };
    lock(&ear)[number].end = Some(end);
    if manner.after_end {
        admitted.stream.write_all(manner.answer).await?;
    }
    admitted.stream.shutdown().await
}

/// A lab whose client has the server's cookie.
pub fn lab(rtt: Duration, rule: Rule) -> io::Result<Lab> {
    let lab = common::lab(rtt)?;
    fetch_cookie(&lab, Family::V4)?;
    lab.set_rule(rule);
    Ok(lab)
}

/// The application behind a gate.
pub fn server(
    lab: &Lab,
    wire: Wire,
    manner: Manner,
    settings: impl FnOnce(GateBuilder) -> GateBuilder + Send + 'static,
) -> io::Result<(Server, Ear)> {
    let ear = Ear::default();
    let ours = ear.clone();
    let server = Server::start(
        lab,
        lab.server(),
        Family::V4,
        wire.framing(),
        settings,
        move |admitted| apply(admitted, wire, manner, ours.clone()),
    )?;
    Ok((server, ear))
}

/// A gate on a loopback where every client may put data in its SYN.
pub fn on_loopback<T: Send>(
    framing: Framing,
    settings: impl FnOnce(GateBuilder) -> GateBuilder + Send,
    test: impl AsyncFnOnce(Gate) -> io::Result<T> + Send,
) -> io::Result<T> {
    let lab = common::lab(Duration::ZERO)?;
    // Both sides, and without a cookie.
    lab.client().set_fast_open(0x207)?;
    common::on_client(&lab, async || {
        let gate = settings(Gate::builder(framing)?).bind(([127, 0, 0, 1], 0).into())?;
        test(gate).await
    })
}

/// The next admitted connection, its message read.
pub async fn admit(gate: &Gate) -> io::Result<Admitted> {
    let mut admitted = match timeout(PATIENCE, gate.accept()).await {
        Ok(admitted) => admitted?,
        Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody came")),
    };
    let mut first = [0; 1];
    admitted.stream.read_exact(&mut first).await?;
    Ok(admitted)
}

/// Waits for counters.
pub async fn counts(gate: &Gate, so: impl Fn(&GateCounters) -> bool) -> io::Result<GateCounters> {
    let began = Instant::now();
    loop {
        let counters = gate.counters();
        if so(&counters) {
            return Ok(counters);
        }
        if began.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("never so: {counters:?}")));
        }
        sleep(Duration::from_millis(2)).await;
    }
}
