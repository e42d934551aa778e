//! Dialling with data on Windows. wine runs it, too: there the option is refused, the operation is not.
#![cfg(windows)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::windows::io::AsRawSocket;
use std::time::{Duration, Instant};

use headstart_socket::{
    Class, Connecting, Kind, ListenOptions, ListenerFastOpen, Mechanism, NoFastOpen, Options,
    Progress, Step, close_abortively, connect, connect_with, listen, peek, shutdown_write,
    take_error,
};
use windows_sys::Win32::Networking::WinSock::{POLLWRNORM, SOCKET, WSAPOLLFD, WSAPoll};

/// Waits no longer than this for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Longer than dropping takes, and far shorter than any handshake that is waited for.
const AT_ONCE: Duration = Duration::from_millis(200);

fn server() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

fn dial(addr: SocketAddr) -> Connecting {
    connect_with(addr, Mechanism::ConnectExAlone, b"flight", &Options::new()).unwrap()
}

/// An address where nobody answers: a listener whose backlog is full, and who fills it.
fn silent() -> (Vec<TcpStream>, TcpListener, SocketAddr) {
    let server = listen(
        "127.0.0.1:0".parse().unwrap(),
        &ListenOptions::new().backlog(1),
    );
    let listener = server.unwrap().listener;
    let addr = listener.local_addr().unwrap();
    let mut fillers = Vec::new();
    loop {
        let filler = connect(addr, Kind::Plain, b"", &Options::new())
            .unwrap()
            .stream;
        let open = is_writable(&filler, 300);
        fillers.push(filler);
        if !open {
            return (fillers, listener, addr);
        }
    }
}

fn is_writable(stream: &TcpStream, within_ms: i32) -> bool {
    let mut poll = WSAPOLLFD {
        fd: stream.as_raw_socket() as SOCKET,
        events: POLLWRNORM,
        revents: 0,
    };
    // SAFETY: the pointer is to one `WSAPOLLFD`.
    unsafe { WSAPoll(&mut poll, 1, within_ms) > 0 }
}

/// Waits until the operation is over.
fn finish(dialled: &Connecting) -> io::Result<()> {
    let began = Instant::now();
    loop {
        match dialled.operation.finish(&dialled.stream) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
        assert!(began.elapsed() < PATIENCE, "nothing happened");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn connect_ex_carries_the_flight() {
    let (listener, addr) = server();
    let dialled = dial(addr);
    assert_eq!(dialled.progress, Progress::Taken { sent: 6 });
    let (mut accepted, from) = listener.accept().unwrap();
    let mut got = [0; 6];
    accepted.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"flight");

    finish(&dialled).unwrap();
    finish(&dialled).unwrap();
    let mut stream = dialled.stream;
    assert!(take_error(&stream).unwrap().is_none());
    // What only a socket that knows its connection can do.
    assert_eq!(stream.peer_addr().unwrap(), addr);
    assert_eq!(stream.local_addr().unwrap(), from);
    stream.set_nonblocking(false).unwrap();
    stream.write_all(b"more").unwrap();
    shutdown_write(&stream).unwrap();
    let mut rest = Vec::new();
    accepted.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"more");
    accepted.write_all(b"reply").unwrap();
    drop(accepted);
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    assert_eq!(reply, b"reply");
}

#[test]
fn a_flight_is_carried_over_ipv6_and_from_a_bound_address() {
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let dialled = dial(addr);
    listener.accept().unwrap();
    finish(&dialled).unwrap();

    let (listener, addr) = server();
    let options = Options::new().bind(Some("127.0.0.2:0".parse().unwrap()));
    let bound = connect_with(addr, Mechanism::ConnectExAlone, b"flight", &options).unwrap();
    let (_, from) = listener.accept().unwrap();
    assert_eq!(from.ip().to_string(), "127.0.0.2");
    finish(&bound).unwrap();
}

#[test]
fn a_refusal_is_told_by_the_operation() {
    let addr = server().1;
    let dialled = dial(addr);
    for _ in 0..2 {
        let error = finish(&dialled).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
        assert_eq!(headstart_socket::classify(&error), Class::Network);
    }
}

#[test]
fn an_attempt_dropped_while_it_is_under_way_waits_for_nothing() {
    let (fillers, _listener, addr) = silent();
    let pending = || {
        let dialled = dial(addr);
        let error = dialled.operation.finish(&dialled.stream).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(peek(&dialled.stream).is_err());
        dialled
    };
    for round in 0..100 {
        let Connecting {
            stream, operation, ..
        } = pending();
        let began = Instant::now();
        // Whatever goes first.
        match round % 3 {
            0 => drop((stream, operation)),
            1 => drop((operation, stream)),
            _ => close_abortively(stream).unwrap(),
        }
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    }
    drop(fillers);
}

/// The operation's share is not needed for the connection to open.
#[test]
fn a_stream_outlives_its_operation() {
    let (listener, addr) = server();
    let Connecting {
        stream, operation, ..
    } = dial(addr);
    drop(operation);
    let (mut accepted, _) = listener.accept().unwrap();
    let mut got = [0; 6];
    accepted.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"flight");
    assert!(is_writable(&stream, PATIENCE.as_millis() as i32));
}

/// On Windows 10 the kernel takes the option. wine refuses it, and then nothing may have been sent.
#[test]
fn without_the_option_there_is_an_error_and_no_plain_dial() {
    let (listener, addr) = server();
    match connect(addr, Kind::FastOpen, b"flight", &Options::new()) {
        Ok(dialled) => {
            assert!(std::env::var_os("HEADSTART_WINE").is_none());
            assert_eq!(dialled.progress, Progress::Taken { sent: 6 });
            listener.accept().unwrap();
            finish(&dialled).unwrap();
        }
        Err(error) => {
            println!("{error}");
            assert_eq!(error.no_fast_open(), Some(NoFastOpen::Kernel), "{error}");
            assert_eq!(error.class(), Class::Unsupported);
            assert_eq!(error.step(), Step::Option("TCP_FASTOPEN"));
            listener.set_nonblocking(true).unwrap();
            let nobody = listener.accept().unwrap_err();
            assert_eq!(nobody.kind(), io::ErrorKind::WouldBlock);
            let plain = connect(addr, Kind::Plain, b"", &Options::new()).unwrap();
            plain.operation.finish(&plain.stream).unwrap();
            assert!(is_writable(&plain.stream, PATIENCE.as_millis() as i32));
        }
    }
}

#[test]
fn a_listener_says_that_it_does_not_know_or_was_refused() {
    let server = listen("127.0.0.1:0".parse().unwrap(), &ListenOptions::new()).unwrap();
    println!("{}", server.fast_open);
    assert!(matches!(
        server.fast_open,
        ListenerFastOpen::Unverified { .. } | ListenerFastOpen::Refused { .. }
    ));
    let addr = server.listener.local_addr().unwrap();
    connect(addr, Kind::Plain, b"", &Options::new()).unwrap();
}

#[test]
fn mechanisms_of_other_platforms_are_unsupported() {
    let addr = server().1;
    for mechanism in [Mechanism::FastOpenConnect, Mechanism::SendTo] {
        let error = connect_with(addr, mechanism, b"flight", &Options::new()).unwrap_err();
        assert_eq!(error.no_fast_open(), Some(NoFastOpen::Platform));
    }
}
