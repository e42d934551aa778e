//! Dialling with Fast Open, against the running kernel.
#![cfg(target_os = "linux")]

mod common;

use std::io;
use std::net::SocketAddr;

use common::*;
use headstart_socket::socket2::SockRef;
use headstart_socket::{
    Class, FastOpenFailure, Kind, ListenOptions, Mechanism, NoFastOpen, Options, Progress,
    QueueLen, State, Step, TcpInfo, came_by_fast_open, connect, connect_with, peek, syn_payload,
    take_error,
};

const MECHANISMS: [Mechanism; 2] = [Mechanism::FastOpenConnect, Mechanism::MsgFastOpen];

/// The whole story of a peer: cookie, then data in the SYN.
fn cookie_then_data(at: &'static str, mechanism: Mechanism) {
    in_namespace(BOTH, move || {
        let (server, addr) = server(at, &ListenOptions::new());
        let options = Options::new();

        let first = connect_with(addr, mechanism, b"flight", &options).unwrap();
        assert_eq!(first.progress, Progress::CookieRequest);
        wait_writable(&first.stream);
        assert!(take_error(&first.stream).unwrap().is_none());
        let info = TcpInfo::of(&first.stream).unwrap();
        assert_eq!(info.state, State::Established);
        assert!(!info.syn_data_acked);
        assert_eq!(info.fast_open_failure, Some(FastOpenFailure::NoCookie));
        let accepted = accept(&server.listener);
        assert!(!came_by_fast_open(&accepted).unwrap());
        accepted.set_nonblocking(true).unwrap();
        let nothing = peek(&accepted).unwrap_err();
        assert_eq!(
            nothing.kind(),
            io::ErrorKind::WouldBlock,
            "no byte may be taken"
        );

        let second = connect_with(addr, mechanism, b"flight", &options).unwrap();
        assert_eq!(second.progress, Progress::DataInSyn { sent: 6 });
        let accepted = accept(&server.listener);
        assert!(came_by_fast_open(&accepted).unwrap());
        assert_eq!(read(&accepted, 6), b"flight");
        write(&accepted, b"reply");
        assert_eq!(read(&second.stream, 5), b"reply");
        let info = TcpInfo::of(&second.stream).unwrap();
        assert_eq!(info.state, State::Established);
        assert!(info.syn_data_acked);
        assert_eq!(info.fast_open_failure, None);

        let counters = counters();
        assert_eq!(counters.cookie_requests, Some(1));
        assert_eq!(counters.active, Some(1));
        assert_eq!(counters.passive, Some(1));
    });
}

#[test]
fn option_fetches_a_cookie_then_sends_data_v4() {
    cookie_then_data(V4, Mechanism::FastOpenConnect);
}

#[test]
fn option_fetches_a_cookie_then_sends_data_v6() {
    cookie_then_data(V6, Mechanism::FastOpenConnect);
}

#[test]
fn flag_fetches_a_cookie_then_sends_data_v4() {
    cookie_then_data(V4, Mechanism::MsgFastOpen);
}

#[test]
fn flag_fetches_a_cookie_then_sends_data_v6() {
    cookie_then_data(V6, Mechanism::MsgFastOpen);
}

#[test]
fn plain_takes_no_byte_even_with_a_cookie() {
    in_namespace(BOTH, || {
        let (server, addr) = server(V4, &ListenOptions::new());
        fetch_cookie(&server.listener, addr);
        let plain = connect(addr, Kind::Plain, b"flight", &Options::new()).unwrap();
        assert!(matches!(
            plain.progress,
            Progress::Handshake | Progress::Open
        ));
        let accepted = accept(&server.listener);
        accepted.set_nonblocking(true).unwrap();
        assert_eq!(
            peek(&accepted).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        assert!(!came_by_fast_open(&accepted).unwrap());
        assert_eq!(counters().passive, Some(0));
    });
}

#[test]
fn an_empty_flight_is_refused_before_anything_is_sent() {
    in_namespace(BOTH, || {
        let (server, addr) = server(V4, &ListenOptions::new());
        fetch_cookie(&server.listener, addr);
        let error = connect(addr, Kind::FastOpen, b"", &Options::new()).unwrap_err();
        assert_eq!(error.step(), Step::Flight);
        assert_eq!(error.io_error().kind(), io::ErrorKind::InvalidInput);
        for mechanism in MECHANISMS {
            assert!(connect_with(addr, mechanism, b"", &Options::new()).is_err());
        }
        expect_nobody(&server.listener);
    });
}

/// The client's bit off, also after a cookie was stored: an error, and no packet.
#[test]
fn switched_off_for_clients_is_an_error_not_a_plain_dial() {
    in_namespace(BOTH, || {
        let (server, addr) = server(V4, &ListenOptions::new());
        fetch_cookie(&server.listener, addr);
        set_sysctl("net/ipv4/tcp_fastopen", 0x2).unwrap();
        let attempts = MECHANISMS.map(|m| connect_with(addr, m, b"flight", &Options::new()));
        let [option, flag] = attempts.map(Result::unwrap_err);
        assert_eq!(option.step(), Step::Option("TCP_FASTOPEN_CONNECT"));
        assert_eq!(flag.step(), Step::Send);
        let chosen = connect(addr, Kind::FastOpen, b"flight", &Options::new()).unwrap_err();
        for error in [option, flag, chosen] {
            assert_eq!(
                error.no_fast_open(),
                Some(NoFastOpen::SwitchedOff),
                "{error}"
            );
            assert_eq!(error.class(), Class::Unsupported);
            assert_eq!(error.io_error().raw_os_error(), Some(libc::EOPNOTSUPP));
        }
        expect_nobody(&server.listener);
        assert!(connect(addr, Kind::Plain, b"", &Options::new()).is_ok());
        accept(&server.listener);
    });
}

/// Cookies are kept per address, not per port, so a closed port can be dialled with data.
#[test]
fn a_refusal_with_a_cookie_comes_after_connect() {
    in_namespace(BOTH, || {
        let (server, addr) = server(V4, &ListenOptions::new());
        fetch_cookie(&server.listener, addr);
        let closed = {
            let taken = std::net::TcpListener::bind(V4).unwrap();
            taken.local_addr().unwrap()
        };
        for mechanism in MECHANISMS {
            let dialled = connect_with(closed, mechanism, b"flight", &Options::new()).unwrap();
            assert_eq!(dialled.progress, Progress::DataInSyn { sent: 6 });
            wait_readable(&dialled.stream);
            let error = peek(&dialled.stream).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            assert_eq!(headstart_socket::classify(&error), Class::Network);
            assert_eq!(TcpInfo::of(&dialled.stream).unwrap().state, State::Close);
        }
        let next = dial(addr, b"flight");
        assert_eq!(
            next.progress,
            Progress::DataInSyn { sent: 6 },
            "the cookie survives"
        );
    });
}

/// With Ethernet's MTU one SYN holds what `syn_payload` promises, and says how much it took.
#[test]
fn a_syn_holds_what_is_promised_and_the_rest_follows() {
    in_namespace(BOTH, || {
        set_mtu(1500).unwrap();
        for at in [V4, V6] {
            let (server, addr) = server(at, &ListenOptions::new());
            fetch_cookie(&server.listener, addr);
            let flight: Vec<u8> = (0..4_000_u32).map(|i| i as u8).collect();
            let fits = dial(addr, &flight[..syn_payload(&addr)]);
            assert_eq!(
                fits.progress,
                Progress::DataInSyn {
                    sent: syn_payload(&addr)
                }
            );
            assert_eq!(
                read(&accept(&server.listener), syn_payload(&addr)),
                flight[..syn_payload(&addr)]
            );

            for mechanism in MECHANISMS {
                let long = connect_with(addr, mechanism, &flight, &Options::new()).unwrap();
                let Progress::DataInSyn { sent } = long.progress else {
                    panic!("{:?}", long.progress)
                };
                println!("one SYN to {addr} holds {sent}");
                assert!((syn_payload(&addr)..flight.len()).contains(&sent), "{sent}");
                let accepted = accept(&server.listener);
                write(&long.stream, &flight[sent..]);
                assert_eq!(read(&accepted, flight.len()), flight);
            }
        }
    });
}

/// Bits 0x4 and 0x200: data without any cookie.
#[test]
fn data_goes_without_a_cookie_where_both_sides_allow_it() {
    in_namespace(0x207, || {
        for mechanism in MECHANISMS {
            let (server, addr) = server(V4, &ListenOptions::new());
            let dialled = connect_with(addr, mechanism, b"flight", &Options::new()).unwrap();
            assert_eq!(dialled.progress, Progress::DataInSyn { sent: 6 });
            assert!(came_by_fast_open(&accept(&server.listener)).unwrap());
        }
    });
}

/// A kernel that suspects a black hole sends neither data nor a request for a cookie.
#[test]
fn a_paused_kernel_is_told_apart_from_a_missing_cookie() {
    in_namespace(BOTH, || {
        set_sysctl("net/ipv4/tcp_fastopen_blackhole_timeout_sec", 3600).unwrap();
        let (server, addr) = server(V4, &ListenOptions::new().backlog(0));
        fetch_cookie(&server.listener, addr);
        // Fill the backlog: from now on SYNs are dropped.
        let filler = connect(addr, Kind::Plain, b"", &Options::new()).unwrap();
        wait_writable(&filler.stream);
        let impatient = Options::new()
            .hook(|socket| socket.set_tcp_user_timeout(Some(std::time::Duration::from_millis(1))));
        let lost = connect(addr, Kind::FastOpen, b"flight", &impatient).unwrap();
        assert_eq!(lost.progress, Progress::DataInSyn { sent: 6 });
        assert_eq!(TcpInfo::of(&lost.stream).unwrap().state, State::SynSent);
        wait_readable(&lost.stream);
        assert_eq!(
            peek(&lost.stream).unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
        assert_eq!(counters().blackhole, Some(1));
        for mechanism in MECHANISMS {
            let paused = connect_with(addr, mechanism, b"flight", &Options::new()).unwrap();
            assert_eq!(paused.progress, Progress::Paused);
        }
    });
}

/// An address of nobody's here, an option refused, a hook that says no: each is named.
#[test]
fn failures_before_connecting_name_their_step() {
    in_namespace(BOTH, || {
        let (server, addr) = server(V4, &ListenOptions::new());
        for kind in [Kind::Plain, Kind::FastOpen] {
            let foreign = Options::new().bind(Some("192.0.2.1:0".parse().unwrap()));
            let error = connect(addr, kind, b"flight", &foreign).unwrap_err();
            assert_eq!(error.step(), Step::Bind);
            assert_eq!(error.class(), Class::NoResources);
            assert_eq!(error.io_error().kind(), io::ErrorKind::AddrNotAvailable);

            let refusing = Options::new().hook(|_| Err(io::Error::other("not today")));
            let error = connect(addr, kind, b"flight", &refusing).unwrap_err();
            assert_eq!(error.step(), Step::Hook);
            assert_eq!(error.class(), Class::Other);
            assert_eq!(error.to_string(), "hook: not today");

            let nowhere: SocketAddr = "192.0.2.1:80".parse().unwrap();
            let error = connect(nowhere, kind, b"flight", &Options::new()).unwrap_err();
            assert_eq!(error.step(), Step::Connect);
            assert_eq!(error.class(), Class::Network);
            assert_eq!(error.io_error().kind(), io::ErrorKind::NetworkUnreachable);
        }
        expect_nobody(&server.listener);
    });
}

#[test]
fn options_reach_the_socket_and_the_hook_sees_it_unbound() {
    in_namespace(BOTH, || {
        let (server, addr) = server(V4, &ListenOptions::new());
        let local: SocketAddr = "127.0.0.2:0".parse().unwrap();
        let options = Options::new()
            .mark(Some(7))
            .keepalive(Some(std::time::Duration::ZERO))
            .bind(Some(local))
            .hook(|socket| {
                assert_eq!(socket.mark()?, 7);
                assert!(socket.tcp_nodelay()? && socket.keepalive()?);
                assert_eq!(socket.tcp_keepalive_time()?.as_secs(), 1);
                assert_eq!(socket.local_addr()?.as_socket().unwrap().port(), 0);
                assert!(
                    socket
                        .local_addr()?
                        .as_socket()
                        .unwrap()
                        .ip()
                        .is_unspecified()
                );
                socket.set_nonblocking(false)
            });
        let dialled = connect(addr, Kind::FastOpen, b"flight", &options).unwrap();
        let accepted = accept(&server.listener);
        assert_eq!(accepted.peer_addr().unwrap().ip(), local.ip());
        assert!(dialled.stream.nodelay().unwrap());
        assert!(
            SockRef::from(&dialled.stream).nonblocking().unwrap(),
            "whatever the hook did"
        );

        let slow = connect(addr, Kind::Plain, b"", &Options::new().nodelay(false)).unwrap();
        assert!(!slow.stream.nodelay().unwrap());
    });
}

/// One port is enough for many peers, also from a bound address.
#[test]
fn a_bound_address_costs_no_port_of_its_own() {
    in_namespace(BOTH, || {
        let [one, other] = [(); 2].map(|()| server(V4, &ListenOptions::new()));
        let options = Options::new().bind(Some("127.0.0.2:0".parse().unwrap()));
        set_sysctl("net/ipv4/ip_local_port_range", "40000 40000").unwrap();
        let _first = connect(one.1, Kind::Plain, b"", &options).unwrap();
        let _second = connect(other.1, Kind::Plain, b"", &options).unwrap();
        let error = connect(one.1, Kind::FastOpen, b"flight", &options).unwrap_err();
        assert_eq!(
            (error.step(), error.class()),
            (Step::Connect, Class::NoResources)
        );
        assert_eq!(error.io_error().kind(), io::ErrorKind::AddrNotAvailable);
    });
}

/// Cookies belong to a pair of addresses: another source address has none.
#[test]
fn a_cookie_is_for_one_source_address() {
    in_namespace(BOTH, || {
        let (server, addr) = server(V4, &ListenOptions::new());
        fetch_cookie(&server.listener, addr);
        let elsewhere = Options::new().bind(Some("127.0.0.2:0".parse().unwrap()));
        let other = connect(addr, Kind::FastOpen, b"flight", &elsewhere).unwrap();
        assert_eq!(other.progress, Progress::CookieRequest);
        let (without, addr) = common::server(V4, &ListenOptions::new().fast_open(QueueLen::Off));
        let same = dial(addr, b"flight");
        assert_eq!(
            same.progress,
            Progress::DataInSyn { sent: 6 },
            "another port shares it"
        );
        let accepted = accept(&without.listener);
        assert_eq!(
            read(&accepted, 6),
            b"flight",
            "sent again after the handshake"
        );
        assert!(!came_by_fast_open(&accepted).unwrap());
        let info = TcpInfo::of(&same.stream).unwrap();
        assert_eq!(info.fast_open_failure, Some(FastOpenFailure::DataNotAcked));
    });
}
