//! The dials: by a race, bare, and the floors between.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headstart::core::framing::token::{HEADER_LEN, Header, Id};
use headstart::core::race::{AttemptKind, Report, SynData};
use headstart::tokio::Dialer;
use headstart_socket::{Kind, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::Outcome;

/// Bytes of the flight, a Token's header not included.
const FLIGHT: usize = 512;
/// Dials until a cookie must be there.
const COOKIE_DIALS: usize = 5;

static BYTES: [u8; FLIGHT] = [0x5a; FLIGHT];

/// Dials until data goes in the SYN and is acknowledged there.
pub async fn fetch_cookie(dialer: &Dialer, address: SocketAddr) -> Outcome {
    let mut last = None;
    for _ in 0..COOKIE_DIALS {
        let report = race(dialer, address).await?;
        if report
            .attempts
            .iter()
            .any(|attempt| attempt.syn_data == SynData::Acknowledged)
        {
            return Ok(());
        }
        last = Some(report);
    }
    Err(format!("no data in the SYN: {last:?}").into())
}

/// A race, and its report.
pub async fn race(dialer: &Dialer, address: SocketAddr) -> io::Result<Report> {
    let mut stream = dialer.dial(address).await?;
    stream.write_all(&BYTES).await?;
    answer(stream.read(&mut [0; 1024]).await?)?;
    Ok(stream.report())
}

/// The same bytes over tokio's own stream.
pub async fn bare(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&message()).await?;
    answer(stream.read(&mut [0; 1024]).await?)
}

/// Two bare sockets dialled at once, one of them written to and read, the
/// other reset.
pub async fn two_bare(address: SocketAddr) -> io::Result<()> {
    let (first, second) =
        tokio::try_join!(TcpStream::connect(address), TcpStream::connect(address))?;
    let mut stream = first;
    stream.write_all(&message()).await?;
    answer(stream.read(&mut [0; 1024]).await?)?;
    headstart_socket::close_abortively(second)
}

/// A race in a few lines: plain and Fast Open at once, the flight to plain
/// once it opens, the first to answer is read, the other reset. One that fails
/// is only out.
pub async fn two_sockets(address: SocketAddr) -> io::Result<()> {
    let options = Options::new();
    let message = message();
    let start = |kind| {
        let started = headstart_socket::connect(address, kind, &message, &options)?;
        TcpStream::from_std(started.stream)
    };
    // Plain's SYN goes first.
    let plain = start(Kind::Plain)?;
    let attempts = [start(Kind::FastOpen)?, plain];
    let [fast_open, plain] = &attempts;
    let (mut sent, mut out) = (false, [false; 2]);
    let mut buf = [0; 1024];
    let loser = loop {
        let (attempt, other) = tokio::select! {
            biased;
            ready = fast_open.readable(), if !out[0] => ready.map(|()| (0, plain))?,
            ready = plain.readable(), if sent && !out[1] => ready.map(|()| (1, fast_open))?,
            ready = plain.writable(), if !sent => {
                ready?;
                plain.try_write(&message)?;
                sent = true;
                continue;
            }
            else => return Err(io::ErrorKind::ConnectionReset.into()),
        };
        match attempts[attempt].try_read(&mut buf) {
            Ok(1..) => break other,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The server has taken it for a copy, which it is.
            Ok(_) | Err(_) => out[attempt] = true,
        }
    };
    socket2::SockRef::from(loser).set_linger(Some(Duration::ZERO))
}

fn answer(length: usize) -> io::Result<()> {
    match length {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// The flight under a Token of its own.
fn message() -> [u8; HEADER_LEN + FLIGHT] {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut id = [0x77; 16];
    id[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_ne_bytes());
    let header = Header {
        id: Id(id),
        flight_len: FLIGHT as u16,
        resets_losers: true,
    };
    let mut message = [0x5a; HEADER_LEN + FLIGHT];
    message[..HEADER_LEN].copy_from_slice(&header.encode());
    message
}

/// What the reports of races say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    races: usize,
    raced: usize,
    fast_open_won: usize,
    flight_in_syn: usize,
    copied: usize,
}

impl Tally {
    /// Counts a race.
    pub fn count(&mut self, report: &Report) {
        let fast_open = |kind| kind == AttemptKind::FastOpen;
        let in_syn = |data| data != SynData::None;
        self.races += 1;
        self.raced += usize::from(report.raced());
        self.fast_open_won += usize::from(report.winner().is_some_and(|a| fast_open(a.kind)));
        self.flight_in_syn += usize::from(report.attempts.iter().any(|a| in_syn(a.syn_data)));
        self.copied += usize::from(report.bytes_copied() > 0);
    }

    /// Adds another tally.
    pub fn add(&mut self, other: &Self) {
        self.races += other.races;
        self.raced += other.raced;
        self.fast_open_won += other.fast_open_won;
        self.flight_in_syn += other.flight_in_syn;
        self.copied += other.copied;
    }

    /// Whether in every race both attempts started, with data in the SYN.
    pub fn all_raced(&self) -> bool {
        self.raced == self.races && self.flight_in_syn == self.races
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            races,
            raced,
            fast_open_won,
            flight_in_syn,
            copied,
        } = self;
        write!(
            f,
            "of {races} races: both attempts started in {raced}, data went in the SYN in \
             {flight_in_syn}, Fast Open won {fast_open_won}, the flight was sent twice in {copied}"
        )
    }
}
