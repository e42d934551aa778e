//! Headstart without async, on a poll loop of your own.
//!
//! ```text
//! cargo run --example bring_your_own_runtime                       a server of its own
//! cargo run --example bring_your_own_runtime -- example.com:80     any HTTP server
//! cargo run --example bring_your_own_runtime -- --conformance 100000
//! ```
//!
//! Three parts. `driver` does what the core's race asks, over any
//! [`Transports`](headstart_sim::Transports). `sockets.rs` is those over real
//! sockets and mio. And here an application uses both, or lets the very same
//! driver be judged by every rule of the race, on a simulated network.

mod driver;
mod sockets;

use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::process::ExitCode;
use std::task::Poll;

use headstart::core::RaceConfig;
use headstart::core::race::Report;
use headstart::{FirstFlight, Peer};
use headstart_sim::{Driver, conformance};
use headstart_socket::syn_payload;

use driver::Connection;
use sockets::Sockets;

/// HTTP says of GET that it may be repeated: it can be stated, and raced.
const REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["--conformance", seeds @ ..] => prove(seeds.first().copied()),
        [] => serve().and_then(show),
        [address] => resolve(address).and_then(show),
        _ => Err("usage: bring_your_own_runtime [HOST:PORT | --conformance [SEEDS]]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Lets the driver be judged.
fn prove(seeds: Option<&str>) -> Result<(), Box<dyn Error>> {
    let settings = match seeds {
        Some(seeds) => conformance::Settings::seeds(seeds.parse()?),
        None => conformance::Settings::default(),
    };
    let report = conformance::check(settings, |dial, net| Connection::dial(dial.config, net));
    match report.is_sound() {
        true => println!("{report}"),
        false => return Err(report.to_string().into()),
    }
    Ok(())
}

fn show(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let (reply, report) = ask(address)?;
    println!("{}", String::from_utf8_lossy(&reply).trim_end());
    println!("\n{} bytes of reply from {address}", reply.len());
    for attempt in &report.attempts {
        println!("{}: {:?}", attempt.kind, attempt.outcome);
    }
    Ok(())
}

/// Sends the request, and reads to the end: an application and its poll loop.
fn ask(address: SocketAddr) -> Result<(Vec<u8>, Report), Box<dyn Error>> {
    let config = RaceConfig::builder()
        .target(syn_payload(&address))
        .first_flight(FirstFlight::Asserted)
        .peer(Peer::Unaware)
        .insist(true) // a server that answers both copies of a GET does no harm
        .build()?;
    let mut net = Sockets::new(vec![address])?;
    let mut connection = Connection::dial(config, &mut net);
    let mut unsent = REQUEST;
    let mut reply = Vec::new();
    let mut buffer = [0; 4096];
    'application: loop {
        while !unsent.is_empty()
            && let Poll::Ready(written) = connection.write(&mut net, unsent)
        {
            unsent = &unsent[written.map_err(|kind| format!("writing: {kind:?}"))?..];
        }
        while unsent.is_empty()
            && let Poll::Ready(read) = connection.read(&mut net, &mut buffer)
        {
            match read.map_err(|kind| format!("reading: {kind:?}"))? {
                0 => break 'application,
                length => reply.extend_from_slice(&buffer[..length]),
            }
        }
        net.wait(connection.deadline())?;
        connection.wake(&mut net);
    }
    connection.abandon(&mut net);
    // A handshake that fetches a cookie for the next dial may go on.
    while !connection.is_settled() {
        net.wait(connection.deadline())?;
        connection.wake(&mut net);
    }
    let mut report = None;
    connection.look(&mut |race| report = Some(race.report()));
    Ok((reply, report.ok_or("no report")?))
}

fn resolve(address: &str) -> Result<SocketAddr, Box<dyn Error>> {
    let first = address.to_socket_addrs()?.next();
    first.ok_or_else(|| format!("{address} has no address").into())
}

/// Starts a server on the loopback that says a request's own words.
fn serve() -> Result<SocketAddr, Box<dyn Error>> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; REQUEST.len()];
            // A client that has its answer by another connection is gone.
            if stream.read_exact(&mut request).is_ok() {
                let _ = stream.write_all(&request);
            }
        }
    });
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_holds_of_this_driver() {
        let settings = conformance::Settings::seeds(2_000);
        conformance::check(settings, |dial, net| Connection::dial(dial.config, net)).assert();
    }

    #[test]
    fn a_request_is_answered_over_real_sockets() {
        let (reply, report) = ask(serve().unwrap()).unwrap();
        assert_eq!(reply, REQUEST);
        assert!(report.winner().is_some(), "{report:?}");
    }

    #[test]
    fn a_port_where_nobody_listens_is_refused() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = ask(address).unwrap_err().to_string();
        assert!(error.contains("Refused"), "{error}");
    }
}
