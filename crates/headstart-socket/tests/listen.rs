//! Listeners with Fast Open, against the running kernel.
#![cfg(target_os = "linux")]

mod common;

use std::io;
use std::net::SocketAddr;

use common::*;
use headstart_socket::socket2::SockFilter;
use headstart_socket::{
    CookieKey, FastOpenFailure, Kind, ListenOptions, ListenerFastOpen, Options, Progress, QueueLen,
    State, Step, TcpInfo, accepted, came_by_fast_open, close_abortively, connect, listen, peek,
    set_cookie_key, status,
};

fn queue_of(fast_open: &ListenerFastOpen) -> u32 {
    match fast_open {
        ListenerFastOpen::On { queue, .. } => *queue,
        other => panic!("{other}"),
    }
}

#[test]
fn the_queue_is_as_large_as_the_system_allows() {
    in_namespace(BOTH, || {
        let limit = status::somaxconn().unwrap();
        assert_eq!(
            queue_of(&server(V4, &ListenOptions::new()).0.fast_open),
            limit
        );
        let few = ListenOptions::new().fast_open(QueueLen::Len(5));
        assert_eq!(queue_of(&server(V4, &few).0.fast_open), 5);
        let many = ListenOptions::new().fast_open(QueueLen::Len(u32::MAX));
        assert_eq!(queue_of(&server(V4, &many).0.fast_open), limit);
    });
}

#[test]
fn a_namespace_without_the_server_bit_is_reported() {
    in_namespace(0x1, || {
        let (server, addr) = server(V4, &ListenOptions::new());
        let ListenerFastOpen::SwitchedOff { queue } = server.fast_open else {
            panic!("{}", server.fast_open)
        };
        assert_eq!(queue, status::somaxconn().unwrap());
        for _ in 0..2 {
            let dialled = dial(addr, b"flight");
            assert_eq!(
                dialled.progress,
                Progress::CookieRequest,
                "no cookie is given"
            );
            wait_writable(&dialled.stream);
            accept(&server.listener);
        }
        set_sysctl("net/ipv4/tcp_fastopen", BOTH).unwrap();
        fetch_cookie(&server.listener, addr);
        assert_eq!(
            dial(addr, b"flight").progress,
            Progress::DataInSyn { sent: 6 }
        );
        assert!(came_by_fast_open(&accept(&server.listener)).unwrap());
    });
}

/// Bit 0x400 turns it on for listeners that did not ask; off is off all the same.
#[test]
fn off_is_off_even_where_the_sysctl_turns_it_on_for_all() {
    in_namespace(BOTH | 0x400, || {
        let (control, addr) = server(V4, &ListenOptions::new());
        fetch_cookie(&control.listener, addr);
        let unasked = std::net::TcpListener::bind(V4).unwrap();
        let with_data = dial(unasked.local_addr().unwrap(), b"flight");
        assert_eq!(with_data.progress, Progress::DataInSyn { sent: 6 });
        assert!(
            came_by_fast_open(&accept(&unasked)).unwrap(),
            "the bit does what it says"
        );

        for queue in [QueueLen::Off, QueueLen::Len(0)] {
            let (off, addr) = server(V4, &ListenOptions::new().fast_open(queue));
            assert!(
                matches!(off.fast_open, ListenerFastOpen::Off),
                "{}",
                off.fast_open
            );
            dial(addr, b"flight");
            assert!(!came_by_fast_open(&accept(&off.listener)).unwrap());
        }
    });
}

#[test]
fn a_rotated_key_costs_one_handshake_and_a_backup_none() {
    in_namespace(BOTH, || {
        let (old, new) = (CookieKey::new([1; 16]), CookieKey::new([2; 16]));
        let options = ListenOptions::new().cookie_key(Some(old));
        let (server, addr) = server(V4, &options);
        assert!(matches!(
            server.fast_open,
            ListenerFastOpen::On { own_key: true, .. }
        ));
        fetch_cookie(&server.listener, addr);

        set_cookie_key(&server.listener, &new).unwrap();
        let refused = dial(addr, b"flight");
        assert_eq!(refused.progress, Progress::DataInSyn { sent: 6 });
        let stream = accept(&server.listener);
        assert_eq!(
            read(&stream, 6),
            b"flight",
            "sent again after the handshake"
        );
        assert!(!came_by_fast_open(&stream).unwrap());
        let info = TcpInfo::of(&refused.stream).unwrap();
        assert_eq!(info.fast_open_failure, Some(FastOpenFailure::DataNotAcked));
        assert_eq!(counters().passive_fail, Some(1));

        let accepted_again = dial(addr, b"flight");
        assert!(
            came_by_fast_open(&accept(&server.listener)).unwrap(),
            "the new cookie came"
        );
        drop(accepted_again);

        let newest = CookieKey::new([3; 16]).with_backup([2; 16]);
        set_cookie_key(&server.listener, &newest).unwrap();
        dial(addr, b"flight");
        assert!(came_by_fast_open(&accept(&server.listener)).unwrap());
        assert_eq!(counters().passive_alt_key, Some(1));
    });
}

/// Servers behind one address: a cookie of one is good for the other if they share the key.
#[test]
fn a_shared_key_makes_cookies_good_for_both() {
    in_namespace(BOTH, || {
        let options = ListenOptions::new().cookie_key(Some(CookieKey::new([1; 16])));
        let (one, addr) = server(V4, &options);
        let (other, other_addr) = server(V4, &options);
        let (stranger, stranger_addr) = server(
            V4,
            &ListenOptions::new().cookie_key(Some(CookieKey::new([2; 16]))),
        );
        fetch_cookie(&one.listener, addr);
        dial(other_addr, b"flight");
        assert!(came_by_fast_open(&accept(&other.listener)).unwrap());
        dial(stranger_addr, b"flight");
        assert!(!came_by_fast_open(&accept(&stranger.listener)).unwrap());
    });
}

/// A client that hears nothing leaves its request pending; one that resets it then still holds its
/// place, for a minute.
#[test]
fn a_full_queue_falls_back_to_an_ordinary_handshake() {
    in_namespace(BOTH, || {
        let options = ListenOptions::new().fast_open(QueueLen::Len(1));
        let (server, addr) = server(V4, &options);
        fetch_cookie(&server.listener, addr);
        let expect_overflow = |so_far| {
            let late = dial(addr, b"flight");
            assert_eq!(late.progress, Progress::DataInSyn { sent: 6 });
            let stream = accept(&server.listener);
            assert_eq!(
                read(&stream, 6),
                b"flight",
                "sent again after the handshake"
            );
            assert!(!came_by_fast_open(&stream).unwrap());
            assert_eq!(counters().listen_overflow, Some(so_far));
        };

        let deaf = Options::new().hook(|socket| socket.attach_filter(&[DROP_ALL]));
        let silent = connect(addr, Kind::FastOpen, b"flight", &deaf).unwrap();
        assert_eq!(silent.progress, Progress::DataInSyn { sent: 6 });
        let pending = accept(&server.listener);
        let info = TcpInfo::of(&pending).unwrap();
        assert_eq!(
            info.state,
            State::SynRecv,
            "accepted before its handshake has ended"
        );
        assert!(info.syn_data_acked);
        assert_eq!(read(&pending, 6), b"flight");
        expect_overflow(1);

        // Its SYN-ACK, sent once more, is now answered by RST.
        close_abortively(silent.stream).unwrap();
        wait_readable(&pending);
        assert_eq!(
            peek(&pending).unwrap_err().kind(),
            io::ErrorKind::ConnectionReset
        );
        drop(pending);
        expect_overflow(2);
    });
}

/// The classic BPF program of one instruction, "return 0": let nothing through.
const DROP_ALL: SockFilter = SockFilter::new(0x06, 0, 0, 0);

#[test]
fn settings_reach_listener_and_accepted_connections() {
    in_namespace(BOTH, || {
        let options = Options::new().mark(Some(5)).hook(|socket| {
            assert_eq!(socket.mark()?, 5);
            assert!(socket.tcp_nodelay()?);
            Ok(())
        });
        let (server, addr) = server(V4, &ListenOptions::new().options(options.clone()));
        let _client = dial(addr, b"flight");
        let stream = accept(&server.listener);
        accepted(&stream, &options).unwrap();
        assert!(stream.nodelay().unwrap());

        let refusing = Options::new().hook(|_| Err(io::ErrorKind::PermissionDenied.into()));
        let error = accepted(&stream, &refusing).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        let error = listen(V4.parse().unwrap(), &ListenOptions::new().options(refusing));
        assert_eq!(error.unwrap_err().step(), Step::Hook);
    });
}

#[test]
fn the_backlog_holds_a_crowd_by_default() {
    in_namespace(BOTH, || {
        let (server, addr) = server(V4, &ListenOptions::new());
        let crowd: Vec<_> = (0..50)
            .map(|_| connect(addr, Kind::Plain, b"", &Options::new()).unwrap())
            .collect();
        for dialled in &crowd {
            wait_writable(&dialled.stream);
            assert_eq!(
                TcpInfo::of(&dialled.stream).unwrap().state,
                State::Established
            );
        }
        for _ in &crowd {
            server.listener.accept().unwrap();
        }
    });
}

#[test]
fn a_port_can_be_reused_while_old_connections_linger() {
    in_namespace(BOTH, || {
        let (server, addr) = server(V4, &ListenOptions::new());
        let client = connect(addr, Kind::Plain, b"", &Options::new()).unwrap();
        drop(accept(&server.listener));
        wait_readable(&client.stream);
        drop((client, server));
        let strict = ListenOptions::new().reuse_address(false);
        assert_eq!(
            listen(addr, &strict).unwrap_err().step(),
            Step::Bind,
            "it does linger"
        );
        assert!(listen(addr, &ListenOptions::new()).is_ok());
    });
}

#[test]
fn ports_are_shared_only_when_asked() {
    in_namespace(BOTH, || {
        let shared = ListenOptions::new().reuse_port(true);
        let (_one, addr) = server(V4, &shared);
        assert!(listen(addr, &shared).is_ok());
        let error = listen(addr, &ListenOptions::new()).unwrap_err();
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::AddrInUse);
    });
}

#[test]
fn an_ipv6_listener_takes_ipv4_unless_told_not_to() {
    in_namespace(BOTH, || {
        for (only, reaches) in [(false, true), (true, false)] {
            let (server, addr) = server("[::]:0", &ListenOptions::new().only_v6(Some(only)));
            let over_v4 = SocketAddr::from(([127, 0, 0, 1], addr.port()));
            let dialled = dial(over_v4, b"flight");
            wait_writable(&dialled.stream);
            assert_eq!(
                headstart_socket::take_error(&dialled.stream)
                    .unwrap()
                    .is_none(),
                reaches
            );
            drop(server);
        }
    });
}

#[test]
fn a_namespace_has_its_own_settings_and_counters() {
    in_namespace(0x601, || {
        let sysctl = status::FastOpenSysctl::read().unwrap();
        assert_eq!(sysctl.bits(), 0x601);
        set_sysctl("net/ipv4/tcp_fastopen_blackhole_timeout_sec", 77).unwrap();
        assert_eq!(status::blackhole_timeout().unwrap().as_secs(), 77);
        set_sysctl("net/core/somaxconn", 12).unwrap();
        assert_eq!(status::somaxconn().unwrap(), 12);
        let counters = counters();
        assert_eq!((counters.active, counters.passive), (Some(0), Some(0)));
        assert_eq!(counters.passive_alt_key, Some(0));
    });
}
