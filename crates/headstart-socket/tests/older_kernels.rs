//! Kernels that lack a part of Fast Open, imitated by refusing the system call that asks for it.
//!
//! Not where the C library makes all socket calls through `socketcall` (x86 of 32 bit).
#![cfg(all(
    target_os = "linux",
    target_endian = "little",
    not(target_arch = "x86")
))]

mod common;

use common::*;
use headstart_socket::{
    Class, CookieKey, Kind, ListenOptions, ListenerFastOpen, NoFastOpen, Options, Progress, Step,
    came_by_fast_open, connect,
};

// From `linux/tcp.h` and `linux/socket.h`.
const TCP_FASTOPEN: i32 = 23;
const TCP_FASTOPEN_CONNECT: i32 = 30;
const TCP_FASTOPEN_KEY: i32 = 33;
const MSG_FASTOPEN: i32 = 0x2000_0000;

/// Which argument of `setsockopt` is the option, and which of `sendto` the flags.
const OPTION: u32 = 2;
const FLAGS: u32 = 3;

fn without_option(option: i32) {
    refuse(libc::SYS_setsockopt, OPTION, option, libc::ENOPROTOOPT);
}

#[test]
fn linux_3_7_dials_by_flag() {
    in_namespace(BOTH, || {
        without_option(TCP_FASTOPEN_CONNECT);
        let (server, addr) = server(V4, &ListenOptions::new());
        fetch_cookie(&server.listener, addr);
        assert_eq!(
            dial(addr, b"flight").progress,
            Progress::DataInSyn { sent: 6 }
        );
        assert!(came_by_fast_open(&accept(&server.listener)).unwrap());
    });
}

/// Before 3.7 the flag is unknown, and an unconnected socket is a broken pipe.
#[test]
fn before_3_7_is_an_error_not_a_plain_dial() {
    in_namespace(BOTH, || {
        without_option(TCP_FASTOPEN_CONNECT);
        refuse(
            libc::SYS_sendto,
            FLAGS,
            MSG_FASTOPEN | libc::MSG_NOSIGNAL,
            libc::EPIPE,
        );
        let (server, addr) = server(V4, &ListenOptions::new());
        let error = connect(addr, Kind::FastOpen, b"flight", &Options::new()).unwrap_err();
        assert_eq!(error.no_fast_open(), Some(NoFastOpen::Kernel), "{error}");
        assert_eq!(
            (error.step(), error.class()),
            (Step::Send, Class::Unsupported)
        );
        expect_nobody(&server.listener);
    });
}

#[test]
fn a_listener_without_the_option_listens_and_says_so() {
    in_namespace(BOTH, || {
        without_option(TCP_FASTOPEN);
        let (server, addr) = server(V4, &ListenOptions::new());
        let ListenerFastOpen::Refused { option, error } = &server.fast_open else {
            panic!("{}", server.fast_open)
        };
        assert_eq!(*option, "TCP_FASTOPEN");
        assert_eq!(error.raw_os_error(), Some(libc::ENOPROTOOPT));
        let _client = connect(addr, Kind::Plain, b"", &Options::new()).unwrap();
        accept(&server.listener);
    });
}

/// A listener that cannot have the shared key gives no cookies at all, not even where bit 0x400 turns
/// Fast Open on for all listeners.
#[test]
fn a_listener_without_its_key_has_no_fast_open() {
    in_namespace(BOTH | 0x400, || {
        without_option(TCP_FASTOPEN_KEY);
        let options = ListenOptions::new().cookie_key(Some(CookieKey::new([1; 16])));
        let (server, addr) = server(V4, &options);
        let ListenerFastOpen::Refused { option, .. } = &server.fast_open else {
            panic!("{}", server.fast_open)
        };
        assert_eq!(*option, "TCP_FASTOPEN_KEY");
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
    });
}
