//! TCP Fast Open at the operating system: sockets, options, `TCP_INFO`, kernel status.
//!
//! This crate is what Headstart knows about operating systems, and the only one of its crates with
//! `unsafe` code. It never waits: all sockets are nonblocking, and are the standard library's, so
//! that any runtime can take them over.
//!
//! - [`connect`] starts an attempt with its first flight in hand, and says in [`Progress`] what the
//!   kernel did with it; [`ConnectError`] says why it could not.
//! - [`listen`] opens a listener, and says in [`ListenerFastOpen`] whether Fast Open is really on.
//! - [`peek`], [`take_error`], [`shutdown_write`], [`close_abortively`] and [`TcpInfo`] work on any
//!   socket, a runtime's too.
//! - [`status`] reads settings and counters of the kernel. Nothing in this crate changes a sysctl.
//!
//! ```
//! use std::io::{Read, Write};
//! use headstart_socket::{Kind, ListenOptions, Options, Progress, connect, listen};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = listen("127.0.0.1:0".parse()?, &ListenOptions::new())?;
//! println!("Fast Open: {}", server.fast_open);
//! let addr = server.listener.local_addr()?;
//!
//! let flight = b"hello";
//! let (attempt, sent) = match connect(addr, Kind::FastOpen, flight, &Options::new()) {
//!     Ok(attempt) => match attempt.progress {
//!         Progress::DataInSyn { sent } | Progress::Taken { sent } => (attempt, sent),
//!         // No cookie yet: this handshake brings one, for the next time.
//!         _ => (attempt, 0),
//!     },
//!     Err(error) if error.no_fast_open().is_some() => {
//!         eprintln!("{error}");
//!         (connect(addr, Kind::Plain, flight, &Options::new())?, 0)
//!     }
//!     Err(error) => return Err(error.into()),
//! };
//!
//! // From here on a runtime would wait for readiness; this example simply blocks.
//! let mut stream = attempt.stream;
//! stream.set_nonblocking(false)?;
//! server.listener.set_nonblocking(false)?;
//! let (mut accepted, _) = server.listener.accept()?;
//! stream.write_all(&flight[sent..])?;
//! let mut got = [0; 5];
//! accepted.read_exact(&mut got)?;
//! assert_eq!(&got, flight);
//! # Ok(())
//! # }
//! ```
//!
//! # Platforms
//!
//! Linux, Android, macOS, iOS, FreeBSD and Windows have Fast Open, each by its own [`Mechanism`].
//! Elsewhere on Unix there is plain TCP, and asking for Fast Open is an error that says so
//! ([`NoFastOpen::Platform`]). `docs/platforms.md` of the repository says what was run, and where.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

mod connect;
mod errors;
mod info;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod inspect;
mod listen;
mod operation;
mod options;
pub mod status;
mod stream;
mod sys;

pub use connect::{
    Connecting, Kind, Mechanism, Progress, connect, connect_with, local_ip, syn_payload,
};
pub use errors::{
    AfterAcceptError, Class, ConnectError, ListenError, NoFastOpen, Step, after_accept_error,
    classify,
};
pub use info::{FastOpenFailure, State, TcpInfo};
#[cfg(any(target_os = "linux", target_os = "android"))]
pub use inspect::ListenerSettings;
pub use listen::{
    CookieKey, ListenOptions, ListenerFastOpen, Listening, QueueLen, accepted, came_by_fast_open,
    listen, set_cookie_key,
};
pub use operation::Operation;
pub use options::{Hook, Options};
pub use socket2;
pub use stream::{
    close_abortively, give_up_after, make_close_abortive, peek, shutdown_write, take_error,
};
