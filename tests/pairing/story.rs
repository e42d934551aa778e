//! What clients and the application say to each other: one request, which
//! names the story and itself.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use headstart::tokio::{Admitted, RaceStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use crate::common::pattern;
use crate::harness::lock;

/// Length of a request.
pub const REQUEST_LEN: usize = 600;
/// Longer than a log, a send buffer and a receive buffer together.
pub const LONG: usize = 8 * 1024 * 1024;
/// One packet.
const SHORT: usize = 1000;
/// More than the pair's log, less than a send buffer.
const MIDDLING: usize = 100_000;
/// How long a slow application thinks: until every copy has come.
const THOUGHT: Duration = Duration::from_millis(120);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Story {
    /// A short answer at once: before the second copy can have come.
    Early,
    /// A short answer when every copy has come.
    Late,
    /// A short answer, and the stream is dropped in the same breath.
    Dropped,
    /// The client shuts down behind its request, the application answers when
    /// it has seen that.
    HalfClosed,
    /// A long answer.
    LongAnswer,
    /// A long request, its bulk beyond the first flight.
    Upload,
}

impl Story {
    pub const ALL: [Self; 6] = [
        Self::Early,
        Self::Late,
        Self::Dropped,
        Self::HalfClosed,
        Self::LongAnswer,
        Self::Upload,
    ];

    pub fn is_long(self) -> bool {
        matches!(self, Self::LongAnswer | Self::Upload)
    }

    /// Whether it takes few packets each way.
    pub fn is_short(self) -> bool {
        !self.is_long() && self != Self::HalfClosed
    }

    /// When the answer may come at the earliest, counted from the request.
    pub fn thought(self) -> Duration {
        match self {
            Self::Late => THOUGHT,
            _ => Duration::ZERO,
        }
    }

    fn answer_len(self) -> usize {
        match self {
            Self::LongAnswer => LONG,
            Self::HalfClosed => MIDDLING,
            _ => SHORT,
        }
    }

    fn code(self) -> u8 {
        Self::ALL
            .iter()
            .position(|story| *story == self)
            .unwrap_or(0) as u8
    }

    pub fn request(self, number: u64) -> Vec<u8> {
        let mut request = pattern(REQUEST_LEN, number as u8);
        request[0] = self.code();
        request[1..9].copy_from_slice(&number.to_be_bytes());
        request
    }

    /// What the client is told.
    pub fn answer(self, number: u64) -> &'static [u8] {
        bytes_of(!number, self.answer_len())
    }

    /// What the client sends behind its request.
    fn upload(number: u64) -> &'static [u8] {
        bytes_of(number, LONG)
    }
}

/// Bytes that are not another number's.
pub fn bytes_of(number: u64, length: usize) -> &'static [u8] {
    static ALL: OnceLock<Vec<u8>> = OnceLock::new();
    let from = number as usize % 251;
    &ALL.get_or_init(|| pattern(LONG + 251, 0))[from..from + length]
}

/// How often each request was admitted.
pub type Ledger = Arc<Mutex<HashMap<u64, usize>>>;

/// The application.
pub async fn serve(admitted: Admitted, ledger: Ledger) -> io::Result<()> {
    let mut stream = admitted.stream;
    let mut request = [0; REQUEST_LEN];
    stream.read_exact(&mut request).await?;
    let story = Story::ALL[usize::from(request[0])];
    let number = request[1..9].iter().fold(0, |n, b| n << 8 | u64::from(*b));
    *lock(&ledger).entry(number).or_default() += 1;
    if request[..] != story.request(number) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    sleep(story.thought()).await;
    match story {
        Story::HalfClosed => expect(&mut stream, &[]).await?,
        Story::Upload => {
            let mut upload = vec![0; LONG];
            stream.read_exact(&mut upload).await?;
            if upload[..] != *Story::upload(number) {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Story::Early | Story::Late | Story::Dropped | Story::LongAnswer => {}
    }
    stream.write_all(story.answer(number)).await?;
    if story != Story::Dropped {
        stream.shutdown().await?;
        // The client goes first.
        expect(&mut stream, &[]).await?;
    }
    Ok(())
}

/// The client's part; notes when the first byte of the answer came.
pub async fn play(
    stream: &mut RaceStream,
    story: Story,
    number: u64,
    came: &mut Option<Instant>,
) -> io::Result<()> {
    stream.first_flight(&story.request(number))?;
    match story {
        Story::HalfClosed => stream.shutdown().await?,
        Story::Upload => stream.write_all(Story::upload(number)).await?,
        _ => {}
    }
    let answer = story.answer(number);
    let mut first = [0; 1];
    stream.read_exact(&mut first).await?;
    *came = Some(Instant::now());
    if first[0] != answer[0] {
        return Err(io::ErrorKind::InvalidData.into());
    }
    expect(stream, &answer[1..]).await
}

/// Reads to the end, and compares.
pub async fn expect(stream: &mut (impl AsyncRead + Unpin), wanted: &[u8]) -> io::Result<()> {
    let mut rest = wanted;
    let mut buf = vec![0; 64 * 1024];
    loop {
        let got = match stream.read(&mut buf).await {
            Ok(got) => got,
            Err(error) => {
                let text = format!("{error}, {} of {} bytes to come", rest.len(), wanted.len());
                return Err(io::Error::new(error.kind(), text));
            }
        };
        match (got, rest.strip_prefix(&buf[..got])) {
            (0, _) if rest.is_empty() => return Ok(()),
            (0, _) => {
                let text = format!("an end, {} of {} bytes to come", rest.len(), wanted.len());
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            (_, Some(more)) => rest = more,
            (_, None) => return Err(io::Error::new(io::ErrorKind::InvalidData, "other bytes")),
        }
    }
}
