//! The proof: a Fast Open exchange with itself on loopback.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use headstart_socket::status::Switches;
use headstart_socket::{
    Kind, ListenOptions, Options, Progress, QueueLen, close_abortively, connect, listen,
};

use super::finding::{Finding, Place};

const NAME: &str = "loopback";
/// How long one exchange may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often to look whether the other end has come.
const POLL: Duration = Duration::from_millis(1);
const FLIGHT: &[u8] = b"headstart doctor";

/// Dials a listener of its own: the first time for a cookie, if the kernel has none, the second
/// time with data in the SYN. Connections are reset, so that no TIME_WAIT is left.
pub(super) fn finding() -> Finding {
    let off = |side: &str| {
        let why = "Fast Open is switched off here; run the doctor again when it is on.";
        Finding::unknown(NAME, format!("not tried: the {side} side is off"), why)
    };
    if let Ok(switches) = Switches::read() {
        // A dial that gets no cookie would make the kernel try the option of old experiments.
        match (switches.client, switches.server) {
            (Some(false), _) => return off("client's"),
            (_, Some(false)) => return off("server's"),
            _ => {}
        }
    }
    #[cfg(target_os = "linux")]
    if let Some(what) = super::linux::spoils_exchange() {
        let why = "The exchange would fail, and be counted among what was sent in vain; run the \
                   doctor again when this is mended.";
        return Finding::unknown(NAME, format!("not tried: {what}"), why);
    }
    match exchange_until_data() {
        Ok(Seen::Data { sent }) => Finding::ok(
            NAME,
            format!("a Fast Open exchange with itself worked: {sent} bytes in the SYN, accepted"),
        ),
        Ok(Seen::Paused) => {
            let finding = Finding::problem(
                NAME,
                "the kernel has paused Fast Open for every peer: it suspects a black hole",
                "A dial with Fast Open was not answered, so the kernel uses plain handshakes for a \
                 while, longer after each further suspicion. Writing the setting ends the pause; 0 \
                 means never to pause, which is right where both are dialled.",
            );
            #[cfg(target_os = "linux")]
            let finding = finding.set("net.ipv4.tcp_fastopen_blackhole_timeout_sec", "0");
            finding
        }
        Ok(Seen::NoCookie) => {
            let finding = Finding::problem(
                NAME,
                "no cookie came from a listener with the option",
                "The switches are on, and still this kernel gives no cookie to itself: bit 0x200 (no \
                 cookies wanted), SYN cookies for every SYN, or a firewall on loopback that removes \
                 the option.",
            );
            #[cfg(target_os = "linux")]
            let finding = match super::linux::takes_any_data() {
                true => super::linux::mend_switches(finding),
                false => finding,
            };
            finding
        }
        Ok(Seen::Ignored) => Finding::problem(
            NAME,
            "data in the SYN was not accepted by a listener with the option",
            "The kernel had to send it again after the handshake: a firewall or proxy on loopback cuts \
             it, the SYN was answered by a SYN cookie, or the cookie key was changed just now.",
        ),
        Err(error) => Finding::problem(
            NAME,
            format!("the exchange failed: {error}"),
            "Without a working loopback nothing can be proved here. Is `lo` up, and does a \
             firewall let it pass?",
        )
        .mend(Place::Now, "ip link set lo up"),
    }
}

/// What became of data in the SYN.
enum Seen {
    Data { sent: usize },
    Ignored,
    NoCookie,
    Paused,
}

fn exchange_until_data() -> io::Result<Seen> {
    let options = ListenOptions::new().fast_open(QueueLen::Len(8));
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = listen(any, &options).map_err(io::Error::other)?.listener;
    for _ in 0..2 {
        match exchange(&listener)? {
            Seen::NoCookie => {}
            seen => return Ok(seen),
        }
    }
    Ok(Seen::NoCookie)
}

fn exchange(listener: &TcpListener) -> io::Result<Seen> {
    let deadline = Instant::now() + PATIENCE;
    let address = listener.local_addr()?;
    let attempt =
        connect(address, Kind::FastOpen, FLIGHT, &Options::new()).map_err(io::Error::other)?;
    let mut dialled = attempt.stream;
    let sent = match attempt.progress {
        Progress::DataInSyn { sent } | Progress::Taken { sent } => sent,
        _ => 0,
    };
    let paused = matches!(attempt.progress, Progress::Paused);
    let mut accepted = accept(listener, deadline)?;
    for stream in [&dialled, &accepted] {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
    }
    dialled.write_all(FLIGHT.get(sent..).unwrap_or_default())?;
    let mut got = [0; FLIGHT.len()];
    accepted.read_exact(&mut got)?;
    let in_syn = headstart_socket::came_by_fast_open(&accepted).unwrap_or(sent > 0);
    close_abortively(accepted)?;
    close_abortively(dialled)?;
    Ok(match (paused, sent, in_syn) {
        (true, ..) => Seen::Paused,
        (_, 0, _) => Seen::NoCookie,
        (_, sent, true) => Seen::Data { sent },
        (_, _, false) => Seen::Ignored,
    })
}

fn accept(listener: &TcpListener, deadline: Instant) -> io::Result<TcpStream> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => return Ok(stream),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Err(_) if Instant::now() >= deadline => return Err(io::ErrorKind::TimedOut.into()),
            Err(_) => std::thread::sleep(POLL),
        }
    }
}
