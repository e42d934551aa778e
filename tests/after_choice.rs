//! After the choice the stream is the runtime's own: no copy, no allocation,
//! no detour.
//!
//! Over loopback plain opens at once, so that R7 stops the race and R5 makes
//! plain the connection: which attempt it is does not matter here.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use headstart::FirstFlight;
use headstart::tokio::{Dialer, RaceStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// Time in which plain opens over loopback.
const OPENING: Duration = Duration::from_millis(20);
/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(10);
const BUFFER: usize = 16 * 1024;

fn dialer() -> io::Result<Dialer> {
    Dialer::builder()?
        .first_flight(FirstFlight::Asserted)
        .insist(true)
        .build()
}

/// A stream whose connection is chosen, and its other end.
async fn chosen(dialer: &Dialer) -> io::Result<(RaceStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut stream = dialer.dial(listener.local_addr()?).await?;
    sleep(OPENING).await;
    stream.write_all(b"first").await?;
    stream.flush().await?;
    let mut peer = listener.accept().await?.0;
    let mut first = [0; 5];
    peer.read_exact(&mut first).await?;
    peer.write_all(&first).await?;
    stream.read_exact(&mut first).await?;
    assert_eq!(&first, b"first");
    assert!(stream.report().winner().is_some(), "{:?}", stream.report());
    Ok((stream, peer))
}

/// A stream's own address and its peer's.
fn addresses(stream: &TcpStream) -> io::Result<[SocketAddr; 2]> {
    Ok([stream.local_addr()?, stream.peer_addr()?])
}

#[tokio::test]
async fn reads_and_writes_allocate_nothing() -> io::Result<()> {
    const ROUNDS: usize = 100;
    let (stream, mut peer) = chosen(&dialer()?).await?;
    let mut stream = Counted {
        stream,
        calls: 0,
        allocations: 0,
    };
    let mut buf = vec![0; BUFFER];
    for _ in 0..ROUNDS {
        stream.write_all(&buf).await?;
        stream.flush().await?;
        peer.read_exact(&mut buf).await?;
        // The reader waits first, so that waiting is counted too.
        let (read, written) = tokio::join!(stream.read_u8(), peer.write_all(&buf));
        read.and(written.map(|()| 0))?;
        stream.read_exact(&mut buf[1..]).await?;
    }
    assert!(stream.calls > 4 * ROUNDS, "{} calls", stream.calls);
    assert_eq!(stream.allocations, 0);
    Ok(())
}

/// Counts what the calls of a stream allocate.
struct Counted {
    stream: RaceStream,
    calls: usize,
    allocations: u64,
}

impl Counted {
    fn count<T>(&mut self, call: impl FnOnce(Pin<&mut RaceStream>) -> T) -> T {
        let mut result = None;
        let info = allocation_counter::measure(|| {
            result = Some(call(Pin::new(&mut self.stream)));
        });
        self.calls += 1;
        self.allocations += info.count_total;
        result.expect("it was called")
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.count(|stream| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.count(|stream| stream.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.count(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.count(|stream| stream.poll_shutdown(cx))
    }
}

#[tokio::test]
async fn into_inner_gives_the_runtimes_stream() -> io::Result<()> {
    let (stream, mut peer) = chosen(&dialer()?).await?;
    let before = addresses(stream.get_ref().expect("the connection is chosen"))?;
    let mut inner: TcpStream = stream.into_inner().expect("nothing is held");
    assert_eq!(addresses(&inner)?, before);
    assert_eq!(before[1], peer.local_addr()?);
    inner.write_all(b"on").await?;
    let mut on = [0; 2];
    peer.read_exact(&mut on).await?;
    assert_eq!(&on, b"on");
    Ok(())
}

#[tokio::test]
async fn into_inner_gives_itself_back_before_the_choice() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let dialer = dialer()?;
    let stream = dialer.dial(listener.local_addr()?).await?;
    // Nobody has waited: that plain is open is not known yet.
    let mut stream = stream.into_inner().expect_err("nothing is chosen");
    assert!(stream.get_ref().is_none());
    stream.write_all(b"still good").await?;
    stream.flush().await?;
    let mut said = [0; 10];
    // Whichever attempt has brought it: the kernel may know a cookie.
    let mut peer = timeout(PATIENCE, listener.accept()).await??.0;
    timeout(PATIENCE, peer.read_exact(&mut said)).await??;
    assert_eq!(&said, b"still good");
    Ok(())
}

#[tokio::test]
async fn a_vectored_write_is_one_call() -> io::Result<()> {
    let (mut stream, mut peer) = chosen(&dialer()?).await?;
    assert!(stream.is_write_vectored());
    let bufs = [&b"one, "[..], b"", b"two, ", b"three"].map(IoSlice::new);
    let all = b"one, two, three";
    let written = poll_fn(|cx| Pin::new(&mut stream).poll_write_vectored(cx, &bufs)).await?;
    assert_eq!(written, all.len());
    let mut read = [0; 15];
    peer.read_exact(&mut read).await?;
    assert_eq!(&read, all);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn halves_work_on_two_tasks() -> io::Result<()> {
    let dialer = dialer()?;
    let (stream, peer) = chosen(&dialer).await?;
    let (reader, writer) = tokio::io::split(stream);
    both_ways(reader, writer, peer).await?;
    let (stream, peer) = chosen(&dialer).await?;
    let (reader, writer) = stream.into_inner().expect("nothing is held").into_split();
    both_ways(reader, writer, peer).await
}

/// Sends some megabytes through an echo, reading and writing in two tasks.
async fn both_ways(
    mut reader: impl AsyncRead + Unpin + Send + 'static,
    mut writer: impl AsyncWrite + Unpin + Send + 'static,
    peer: TcpStream,
) -> io::Result<()> {
    const CHUNKS: usize = 256;
    let chunk = |number: usize| vec![number as u8; BUFFER];
    let echo = tokio::spawn(async move {
        let (mut from, mut to) = peer.into_split();
        tokio::io::copy(&mut from, &mut to).await
    });
    let writing = tokio::spawn(async move {
        for number in 0..CHUNKS {
            writer.write_all(&chunk(number)).await?;
        }
        writer.shutdown().await
    });
    let reading = tokio::spawn(async move {
        let mut buf = vec![0; BUFFER];
        for number in 0..CHUNKS {
            reader.read_exact(&mut buf).await?;
            assert_eq!(buf, chunk(number), "chunk {number}");
        }
        reader.read(&mut buf).await
    });
    let done = timeout(PATIENCE, async { tokio::join!(writing, reading, echo) }).await?;
    done.0??;
    assert_eq!(done.1??, 0);
    assert_eq!(done.2??, (CHUNKS * BUFFER) as u64);
    Ok(())
}

#[tokio::test]
async fn reads_and_writes_need_no_dialer_and_wake_nobody_else() -> io::Result<()> {
    let dialer = dialer()?;
    let (mut stream, mut peer) = chosen(&dialer).await?;
    assert_eq!(dialer.unsettled(), 0);
    drop(dialer);
    sleep(OPENING).await;

    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut cx = Context::from_waker(&waker);
    let mut buf = [0; 16];
    let mut into = ReadBuf::new(&mut buf);
    assert!(
        Pin::new(&mut stream)
            .poll_read(&mut cx, &mut into)
            .is_pending()
    );
    sleep(OPENING).await;
    assert_eq!(wakes.count(), 0, "woken for nothing");
    peer.write_all(b"hello").await?;
    sleep(OPENING).await;
    assert_eq!(wakes.count(), 1, "the reader itself waits on the socket");
    assert!(
        Pin::new(&mut stream)
            .poll_read(&mut cx, &mut into)
            .is_ready()
    );
    assert_eq!(into.filled(), b"hello");

    stream.write_all(b"and back").await?;
    let mut back = [0; 8];
    peer.read_exact(&mut back).await?;
    assert_eq!(&back, b"and back");
    drop(stream);
    assert_eq!(peer.read(&mut back).await?, 0, "closed as a plain one");
    Ok(())
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
