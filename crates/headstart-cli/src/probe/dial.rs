//! One dial, and everything that can be seen of it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use headstart_socket::socket2::{Domain, Protocol, Socket, Type};
use headstart_socket::{
    FastOpenFailure, Kind, NoFastOpen, Options, Progress, State, TcpInfo, close_abortively, connect,
};
use nix::sys::socket::{setsockopt, sockopt};

use super::speech::Speech;

/// How often to look. Times are that exact.
const POLL: Duration = Duration::from_millis(1);
const READ_SIZE: usize = 16 * 1024;

/// What the kernel did with the first message when the dial began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// A plain handshake.
    Plain,
    /// A handshake that asks for a cookie.
    CookieRequest,
    /// The kernel had a cookie, and put so many bytes into the SYN.
    Data(usize),
    /// A plain handshake: the kernel has paused Fast Open.
    Paused,
    /// The cookie, and no data.
    OptionOnly,
}

/// How the other end reacted to the first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// By bytes.
    Answered,
    /// By closing the connection.
    Closed,
    /// By resetting it.
    Reset,
    /// Not in time.
    None,
}

/// What was seen of a dial. Times are since before its first system call.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) sent: Sent,
    /// When the handshake had ended, for this side.
    pub(super) opened: Option<Duration>,
    /// SYNs sent again before that.
    pub(super) syn_retransmits: u32,
    pub(super) first_byte: Option<Duration>,
    pub(super) reaction: Reaction,
    /// Whether the other end has acknowledged everything to the end, the FIN too.
    pub(super) finished: bool,
    pub(super) syn_data_acked: bool,
    pub(super) failure: Option<FastOpenFailure>,
    pub(super) error: Option<(io::ErrorKind, String)>,
}

impl Seen {
    /// Nothing yet.
    fn nothing(sent: Sent) -> Self {
        Self {
            sent,
            opened: None,
            syn_retransmits: 0,
            first_byte: None,
            reaction: Reaction::None,
            finished: false,
            syn_data_acked: false,
            failure: None,
            error: None,
        }
    }

    /// A dial that failed at once, if that is about the way or the server. What is about this
    /// process or machine (descriptors, ports, rights) is no news of either, but told in words.
    fn failed(sent: Sent, error: io::Error) -> Result<Self, String> {
        use io::ErrorKind::{
            ConnectionRefused, ConnectionReset, HostUnreachable, NetworkDown, NetworkUnreachable,
            TimedOut,
        };
        match error.kind() {
            ConnectionRefused | ConnectionReset | HostUnreachable | NetworkDown
            | NetworkUnreachable | TimedOut => Ok(Self {
                error: Some((error.kind(), error.to_string())),
                ..Self::nothing(sent)
            }),
            _ => Err(error.to_string()),
        }
    }
}

/// Why a dial could not be made.
#[derive(Debug)]
pub(super) enum Cannot {
    /// Fast Open is switched off for this side.
    SwitchedOff,
    /// Anything else.
    Because(String),
}

/// Dials, holds the conversation, and closes without leaving TIME_WAIT.
/// What the network says at once, such as that there is no route, is seen like what it says later.
pub(super) fn dial(
    address: SocketAddr,
    kind: Kind,
    mut speech: Speech,
    patience: Duration,
) -> Result<Seen, Cannot> {
    let (seen, stream) = converse(address, kind, &mut speech, patience, false)?;
    let _ = stream.map(close_abortively);
    Ok(seen)
}

/// The same, up to the first reaction; the connection, if there is one, is left open.
pub(super) fn dial_and_hold(
    address: SocketAddr,
    kind: Kind,
    first: Vec<u8>,
    patience: Duration,
) -> Result<(Seen, Option<TcpStream>), Cannot> {
    let mut speech = Speech::first_answer(first);
    converse(address, kind, &mut speech, patience, true)
}

fn converse(
    address: SocketAddr,
    kind: Kind,
    speech: &mut Speech,
    patience: Duration,
    hold: bool,
) -> Result<(Seen, Option<TcpStream>), Cannot> {
    let began = Instant::now();
    let attempt = match connect(address, kind, &speech.first, &Options::new()) {
        Ok(attempt) => attempt,
        Err(error) if error.no_fast_open() == Some(NoFastOpen::SwitchedOff) => {
            return Err(Cannot::SwitchedOff);
        }
        Err(error) => {
            let sent = match kind {
                Kind::Plain => Sent::Plain,
                Kind::FastOpen => Sent::CookieRequest,
            };
            let seen = Seen::failed(sent, io::Error::from(error)).map_err(Cannot::Because)?;
            return Ok((seen, None));
        }
    };
    let (sent, taken) = match (attempt.progress, kind) {
        (Progress::DataInSyn { sent } | Progress::Taken { sent }, _) => (Sent::Data(sent), sent),
        (Progress::Paused, _) => (Sent::Paused, 0),
        (_, Kind::FastOpen) => (Sent::CookieRequest, 0),
        (_, Kind::Plain) => (Sent::Plain, 0),
    };
    let mut out = speech.first.clone();
    out.drain(..taken);
    let mut watch = Watch::new(sent, began, attempt.stream);
    watch.run(speech, out, patience, hold);
    Ok((watch.seen, Some(watch.stream)))
}

/// A SYN with the cookie and without data: does the option alone pass?
pub(super) fn dial_with_option_only(address: SocketAddr, patience: Duration) -> io::Result<Seen> {
    let began = Instant::now();
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    setsockopt(&socket, sockopt::TcpFastOpenConnect, &true)?;
    match socket.connect(&address.into()) {
        // Sends a SYN with the option, since there is a cookie; without data, since there is none.
        Ok(()) => drop(socket.send(&[])),
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => {}
        Err(error) => return Seen::failed(Sent::OptionOnly, error).map_err(io::Error::other),
    }
    let mut watch = Watch::new(Sent::OptionOnly, began, socket.into());
    while watch.seen.opened.is_none() && began.elapsed() < patience && watch.seen.error.is_none() {
        watch.look();
        if let Err(error) = headstart_socket::take_error(&watch.stream) {
            watch.fail(&error);
        }
        thread::sleep(POLL);
    }
    let Watch { seen, stream, .. } = watch;
    let _ = close_abortively(stream);
    Ok(seen)
}

/// A dial under way.
struct Watch {
    began: Instant,
    stream: TcpStream,
    seen: Seen,
    state: Option<State>,
    /// Whether this side has hung up, and the other.
    shut: bool,
    ended: bool,
}

impl Watch {
    fn new(sent: Sent, began: Instant, stream: TcpStream) -> Self {
        Self {
            began,
            stream,
            seen: Seen::nothing(sent),
            state: None,
            shut: false,
            ended: false,
        }
    }

    /// Goes on until the conversation is over, an error, or the time is up. Half way to that it
    /// hangs up on a silent server, to see whether at least that is acknowledged.
    fn run(&mut self, speech: &mut Speech, mut out: Vec<u8>, patience: Duration, hold: bool) {
        loop {
            self.look();
            self.read(speech, &mut out);
            self.write(&mut out);
            let elapsed = self.began.elapsed();
            if self.seen.error.is_some() || elapsed >= patience {
                return;
            }
            if hold && (self.ended || self.seen.reaction != Reaction::None) {
                return;
            }
            let over = speech.is_over() || self.ended || elapsed >= patience / 2;
            let out_is_empty = out.is_empty();
            if over && !hold && !self.shut && out_is_empty && self.seen.opened.is_some() {
                out = speech.goodbye();
                self.write(&mut out);
                self.shut = self.stream.shutdown(Shutdown::Write).is_ok();
            }
            let acknowledged = matches!(
                self.state,
                Some(State::FinWait2 | State::TimeWait | State::Close)
            );
            self.seen.finished |= self.shut && acknowledged;
            // Who hangs up first still waits for the answer.
            let answered = self.seen.reaction != Reaction::None || !speech.hangs_up_first();
            if self.seen.finished && answered {
                return;
            }
            thread::sleep(POLL);
        }
    }

    /// Asks the kernel how far it is.
    fn look(&mut self) {
        let Ok(info) = TcpInfo::of(&self.stream) else {
            return;
        };
        self.state = Some(info.state);
        self.seen.failure = info.fast_open_failure;
        self.seen.syn_data_acked |= info.syn_data_acked;
        let open = !matches!(info.state, State::SynSent | State::Close);
        if self.seen.opened.is_none() && open {
            self.seen.opened = Some(self.began.elapsed());
            self.seen.syn_retransmits = info.retransmits;
        }
        if self.seen.opened.is_none() {
            self.seen.syn_retransmits = info.retransmits;
        }
    }

    fn read(&mut self, speech: &mut Speech, out: &mut Vec<u8>) {
        let mut buffer = [0; READ_SIZE];
        while !self.ended {
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    self.ended = true;
                    self.react(Reaction::Closed);
                }
                Ok(got) => {
                    self.seen.first_byte.get_or_insert(self.began.elapsed());
                    self.react(Reaction::Answered);
                    out.extend(speech.hear(buffer.get(..got).unwrap_or_default()));
                }
                Err(error) if is_pending(&error) => return,
                Err(error) => return self.fail(&error),
            }
        }
    }

    fn write(&mut self, out: &mut Vec<u8>) {
        while !out.is_empty() && self.seen.error.is_none() {
            match self.stream.write(out) {
                Ok(written) => drop(out.drain(..written)),
                Err(error) if is_pending(&error) => return,
                Err(error) => return self.fail(&error),
            }
        }
    }

    fn react(&mut self, reaction: Reaction) {
        if self.seen.reaction == Reaction::None {
            self.seen.reaction = reaction;
        }
    }

    fn fail(&mut self, error: &io::Error) {
        let reset = matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        );
        // A reset before the handshake has ended is a refusal (`tcp_reset` of the kernel): it ended
        // since the last look.
        if error.kind() == io::ErrorKind::ConnectionReset && self.seen.opened.is_none() {
            self.look();
            self.seen.opened.get_or_insert(self.began.elapsed());
        }
        if reset && self.seen.opened.is_some() {
            self.react(Reaction::Reset);
            // A reset that answers our hanging up is an end like any other.
            if self.shut {
                self.seen.finished = true;
                return;
            }
        }
        self.seen.error = Some((error.kind(), error.to_string()));
    }
}

fn is_pending(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::NotConnected
    )
}
