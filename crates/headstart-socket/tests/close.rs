//! Looking at, and ending, connections.
#![cfg(target_os = "linux")]

mod common;

use std::io;
use std::net::TcpStream;

use common::*;
use headstart_socket::{
    Kind, ListenOptions, Listening, Options, State, TcpInfo, close_abortively, connect, peek,
    shutdown_write, take_error,
};

/// `TCP_TIME_WAIT` of `net/tcp_states.h`.
const TIME_WAIT: u8 = 6;

fn pair() -> (Listening, TcpStream, TcpStream) {
    let (server, addr) = server(V4, &ListenOptions::new());
    let client = connect(addr, Kind::Plain, b"", &Options::new())
        .unwrap()
        .stream;
    let accepted = accept(&server.listener);
    accepted.set_nonblocking(true).unwrap();
    wait_writable(&client);
    (server, client, accepted)
}

#[test]
fn r10_an_abortive_close_leaves_no_time_wait() {
    in_namespace(BOTH, || {
        let (_server, client, accepted) = pair();
        close_abortively(client).unwrap();
        wait_readable(&accepted);
        assert_eq!(
            peek(&accepted).unwrap_err().kind(),
            io::ErrorKind::ConnectionReset
        );
        drop(accepted);
        assert_eq!(connections_in_state(TIME_WAIT), 0);
    });
}

/// The control: without it the test above could not fail.
#[test]
fn an_ordinary_close_does_leave_time_wait() {
    in_namespace(BOTH, || {
        let (_server, client, accepted) = pair();
        drop(client);
        wait_readable(&accepted);
        assert_eq!(peek(&accepted).unwrap(), 0, "FIN, not RST");
        drop(accepted);
        assert_eq!(connections_in_state(TIME_WAIT), 1);
    });
}

#[test]
fn an_abortive_close_during_the_handshake_leaves_nothing() {
    in_namespace(BOTH, || {
        let (server, addr) = server(V4, &ListenOptions::new().backlog(0));
        fetch_cookie(&server.listener, addr);
        let filler = connect(addr, Kind::Plain, b"", &Options::new())
            .unwrap()
            .stream;
        wait_writable(&filler);
        let before = connections_in_state(2);
        let dialled = dial(addr, b"flight").stream;
        assert_eq!(TcpInfo::of(&dialled).unwrap().state, State::SynSent);
        assert_eq!(
            peek(&dialled).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        assert_eq!(connections_in_state(2), before + 1);
        close_abortively(dialled).unwrap();
        assert_eq!(connections_in_state(2), before);
        assert_eq!(connections_in_state(TIME_WAIT), 0);
    });
}

#[test]
fn peek_tells_nothing_reply_end_and_failure_apart() {
    in_namespace(BOTH, || {
        let (_server, client, accepted) = pair();
        assert_eq!(peek(&client).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        write(&accepted, b"ab");
        wait_readable(&client);
        assert_eq!(peek(&client).unwrap(), 1);
        assert_eq!(peek(&client).unwrap(), 1, "it takes nothing");
        assert_eq!(read(&client, 2), b"ab");
        shutdown_write(&accepted).unwrap();
        wait_readable(&client);
        assert_eq!(peek(&client).unwrap(), 0);
        write(&client, b"still");
        assert_eq!(read(&accepted, 5), b"still");
        assert_eq!(TcpInfo::of(&client).unwrap().state, State::CloseWait);
    });
}

#[test]
fn r3_bytes_before_a_reset_are_seen_first() {
    in_namespace(BOTH, || {
        let (_server, client, accepted) = pair();
        write(&accepted, b"a");
        close_abortively(accepted).unwrap();
        while TcpInfo::of(&client).unwrap().state != State::Close {
            wait_readable(&client);
        }
        assert_eq!(peek(&client).unwrap(), 1);
        assert_eq!(read(&client, 1), b"a");
        let error = peek(&client).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(
            take_error(&client).unwrap().is_none(),
            "the read has taken it"
        );
    });
}

/// A gate calls a member proven by what its peer has acknowledged: what exactly is counted?
#[test]
fn acked_counts_the_dialling_sides_syn_and_every_fin() {
    in_namespace(BOTH, || {
        let (server, addr) = server(V4, &ListenOptions::new());
        fetch_cookie(&server.listener, addr);
        for kind in [Kind::Plain, Kind::FastOpen] {
            let client = connect(addr, kind, b"flight", &Options::new())
                .unwrap()
                .stream;
            wait_writable(&client);
            let accepted = accept(&server.listener);
            if kind == Kind::Plain {
                write(&client, b"flight");
            }
            assert_eq!(read(&accepted, 6), b"flight");
            assert_eq!(TcpInfo::of(&accepted).unwrap().acked, Some(0), "{kind:?}");
            write(&accepted, b"reply");
            assert_eq!(read(&client, 5), b"reply");
            let until = |stream: &TcpStream, acked| {
                while TcpInfo::of(stream).unwrap().unacked > 0 {
                    std::thread::yield_now();
                }
                assert_eq!(TcpInfo::of(stream).unwrap().acked, Some(acked), "{kind:?}");
            };
            until(&accepted, 5);
            until(&client, 6 + 1);
            shutdown_write(&client).unwrap();
            until(&client, 6 + 2);
            assert_eq!(
                TcpInfo::of(&accepted).unwrap().received,
                Some(6 + 1),
                "{kind:?}"
            );
        }
    });
}
