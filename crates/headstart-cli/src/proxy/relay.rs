//! Bytes from one connection to another and back, until both have ended.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use headstart_socket::TcpInfo;
use headstart_tokio::{GateStream, RaceStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// Bytes read at a time.
const CHUNK_SIZE: usize = 64 * 1024;
/// How many retransmissions in a row, each after twice the time, are a stall.
const STALLED: u8 = 3;
/// How often connections look after themselves.
const LOOK: Duration = Duration::from_secs(1);
/// How long a side may go on whose bytes the other refuses: a client, so that it
/// hears why, and to the server, so that it gets what the client said before it
/// went.
const LINGER: Duration = Duration::from_secs(1);

thread_local! {
    /// Connections hold no buffer of their own: only what the other side did
    /// not take at once is kept.
    static CHUNK: RefCell<Vec<u8>> = RefCell::new(vec![0; CHUNK_SIZE]);
}

/// A connection that can be relayed.
pub(super) trait End: AsyncRead + AsyncWrite + Unpin {
    /// Makes its close a reset, so that what was cut off does not look whole.
    fn spoil(&self);

    /// Looks after itself; called once a second.
    fn look(&self) {}

    /// Whether there was ever anybody at the other end.
    fn was_reached(&self) -> bool {
        true
    }
}

impl End for TcpStream {
    fn spoil(&self) {
        // A socket whose linger cannot be set is closed all the same.
        let _ = headstart_socket::make_close_abortive(self);
    }
}

impl End for GateStream {
    fn spoil(&self) {
        if let Some(stream) = self.get_ref() {
            stream.spoil();
        }
    }
}

impl End for RaceStream {
    fn spoil(&self) {
        if let Some(stream) = self.get_ref() {
            stream.spoil();
        }
    }

    /// Tells the path memory if the peer acknowledges nothing any more.
    fn look(&self) {
        let info = self.get_ref().map(TcpInfo::of);
        if let Some(Ok(info)) = info
            && info.timeouts >= STALLED
            && self.report_stall()
        {
            tracing::warn!("stalled after Fast Open: its path is remembered");
        }
    }

    fn was_reached(&self) -> bool {
        let report = self.report();
        report
            .attempts
            .iter()
            .any(|attempt| attempt.opened.is_some())
    }
}

/// What was relayed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Relayed {
    /// Bytes from the first to the second.
    pub(super) up: u64,
    /// Bytes from the second to the first.
    pub(super) down: u64,
}

/// Relays between a client and a server until both have ended, each half by
/// itself. If one breaks, so does the other; but who refuses bytes may still
/// have something to say. Every second, and at the end, `tell` is told what was
/// relayed so far.
pub(super) async fn relay<A: End, B: End>(
    a: &mut A,
    b: &mut B,
    stop: impl Future<Output = ()>,
    mut tell: impl FnMut(Relayed),
) -> io::Result<()> {
    let (mut up, mut down) = (Half::default(), Half::default());
    let mut stop = pin!(stop);
    let (mut lingering, mut lingers) = (pin!(sleep(LINGER)), false);
    let mut look = pin!(sleep(LOOK));
    let result = poll_fn(|cx| {
        if stop.as_mut().poll(cx).is_ready() {
            let stopped = io::Error::new(io::ErrorKind::Interrupted, "stopped");
            return Poll::Ready(Err(stopped));
        }
        while look.as_mut().poll(cx).is_ready() {
            b.look();
            tell(Relayed::of(&up, &down));
            look.as_mut().reset(Instant::now() + LOOK);
        }
        let heard = up.poll(cx, a, b, down.refused);
        let told = down.poll(cx, b, a, false)?.is_ready();
        let heard = match heard {
            // Who resets a connection of which it has all has lost nothing: wrk
            // and others end so.
            Poll::Ready(Err(_)) if told && !down.refused => {
                a.spoil();
                b.spoil();
                true
            }
            heard => heard?.is_ready(),
        };
        let result = match (heard, told) {
            (true, true) => return Poll::Ready(Ok(())),
            // The client has said all and takes nothing: nobody is there.
            (true, false) if down.refused => return Poll::Ready(Err(gone())),
            (false, _) if down.refused => Err(gone()),
            (false, true) if up.refused => Ok(()),
            _ => return Poll::Pending,
        };
        if !lingers {
            lingers = true;
            lingering.as_mut().reset(Instant::now() + LINGER);
        }
        ready!(lingering.as_mut().poll(cx));
        Poll::Ready(result)
    })
    .await;
    tell(Relayed::of(&up, &down));
    if result.is_err() {
        a.spoil();
        b.spoil();
    }
    result
}

impl Relayed {
    fn of(up: &Half, down: &Half) -> Self {
        Self {
            up: up.bytes,
            down: down.bytes,
        }
    }
}

/// One way.
#[derive(Default)]
struct Half {
    /// What was read but not taken, and how much of it was since.
    kept: Vec<u8>,
    taken: usize,
    bytes: u64,
    dirty: bool,
    /// It was refused, now or before its end.
    refused: bool,
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    Open,
    Ending,
    Ended,
    /// Nobody takes it any more: what comes is thrown away, since a close with
    /// bytes unread would reset the other way too.
    Refused,
}

/// Why copying stopped.
enum Broken {
    Read(io::Error),
    Write,
}

impl Half {
    /// Ready when it has come to its end; an error breaks both ways. Of one who
    /// `is_gone`, by refusing the other way, an end may be that of a reset: it is
    /// not passed on as if all had been said.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl End,
        to: &mut impl End,
        is_gone: bool,
    ) -> Poll<io::Result<()>> {
        loop {
            self.state = match self.state {
                State::Open => match ready!(self.poll_copy(cx, from, to)) {
                    Ok(()) if is_gone => return Poll::Ready(Err(gone())),
                    Ok(()) => State::Ending,
                    Err(Broken::Read(error)) => return Poll::Ready(Err(error)),
                    Err(Broken::Write) => {
                        self.refused = true;
                        State::Refused
                    }
                },
                State::Ending => {
                    // Whoever has gone has nothing left to be told.
                    let _ = ready!(Pin::new(&mut *to).poll_shutdown(cx));
                    State::Ended
                }
                State::Refused => match ready!(poll_read(from, cx, |_| ()))? {
                    0 => State::Ended,
                    _ => State::Refused,
                },
                State::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Ready at the end of `from`, with all of it written.
    fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut impl End,
        to: &mut impl End,
    ) -> Poll<Result<(), Broken>> {
        loop {
            while let Some(rest) = self.kept.get(self.taken..).filter(|rest| !rest.is_empty()) {
                match ready!(Pin::new(&mut *to).poll_write(cx, rest)) {
                    Ok(0) | Err(_) => return Poll::Ready(Err(Broken::Write)),
                    Ok(wrote) => self.taken += wrote,
                }
            }
            (self.kept, self.taken) = (Vec::new(), 0);
            let mut wrote = Ok(0);
            // The waker that a write leaves is set anew above.
            let mut waiter = Context::from_waker(cx.waker());
            let polled = poll_read(from, cx, |read| {
                if read.is_empty() {
                    return;
                }
                self.dirty = true;
                wrote = match Pin::new(&mut *to).poll_write(&mut waiter, read) {
                    Poll::Ready(wrote) => wrote,
                    Poll::Pending => Ok(0),
                };
                let wrote = *wrote.as_ref().unwrap_or(&0);
                self.kept
                    .extend_from_slice(read.get(wrote..).unwrap_or_default());
            });
            match polled {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(_)) if wrote.is_err() => return Poll::Ready(Err(Broken::Write)),
                Poll::Ready(Ok(read)) => {
                    self.bytes += u64::try_from(read).unwrap_or(u64::MAX);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::Read(error))),
                Poll::Pending => {
                    // Nothing more for now: out with what is there.
                    if self.dirty && ready!(Pin::new(&mut *to).poll_flush(cx)).is_err() {
                        return Poll::Ready(Err(Broken::Write));
                    }
                    self.dirty = false;
                    return Poll::Pending;
                }
            }
        }
    }
}

/// The client takes nothing any more, though there was more for it.
fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the client has gone")
}

/// Reads into the thread's chunk, and gives `take` what came; how much it was.
fn poll_read(
    from: &mut impl End,
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]),
) -> Poll<io::Result<usize>> {
    CHUNK.with_borrow_mut(|chunk| {
        let mut chunk = ReadBuf::new(chunk);
        ready!(Pin::new(from).poll_read(cx, &mut chunk))?;
        take(chunk.filled());
        Poll::Ready(Ok(chunk.filled().len()))
    })
}
