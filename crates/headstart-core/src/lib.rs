//! The sans-IO core of Headstart: pure state machines without sockets, clock
//! or randomness, `no_std` with `alloc`.
//!
//! - [`race`]: several connection attempts for one logical connection, of
//!   which the first to answer is kept.
//! - [`pair`]: the race with the roles turned, for servers: several accepted
//!   connections with one first message, as one logical connection.
//! - [`framing`]: where a first message ends, from its bytes as they come.
//! - [`debounce`]: whether a first message has been seen before.
//! - [`path`]: on which paths Fast Open fails, and when it is tried there again.
//! - [`peers`]: which peers can be raced, and how they say so.
//! - [`config`]: what a race is told, and every bound it keeps.
//!
//! # Driving a race
//!
//! A driver owns the sockets. It tells the race what happened and does what
//! [`Race::poll`] asks, until that is to wait. Here the network is a pretence:
//! it eats SYNs that carry data, and plain TCP answers.
//!
//! ```
//! use headstart_core::config::Peer;
//! use headstart_core::race::{Accepted, AttemptKind, Progress, SynData};
//! use headstart_core::{Event, FirstFlight, Instant, Race, RaceConfig, Step};
//! use std::collections::VecDeque;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = RaceConfig::builder()
//!     .target(1_400) // one address; bytes that one SYN to it carries
//!     .first_flight(FirstFlight::Asserted)
//!     .peer(Peer::FirstCome)
//!     .build()?;
//! let mut now = Instant::from_nanos(0);
//! let mut race = Race::new(config, now);
//! assert_eq!(race.write(now, b"hello"), Accepted::Bytes(5));
//! race.end_flight(now); // the application reads: the flight is complete
//!
//! let mut network = VecDeque::new();
//! loop {
//!     let (id, event) = match race.poll(now) {
//!         Step::Start(id) => match race.attempt(id) {
//!             Some((AttemptKind::FastOpen, _)) => (id, Event::Started(Progress::DataInSyn(5))),
//!             _ => {
//!                 network.push_back((50, id, Event::Opened(SynData::None)));
//!                 (id, Event::Started(Progress::Handshake))
//!             }
//!         },
//!         Step::Write(id) => {
//!             let taken = race.unsent(id).concat().len(); // send them
//!             network.push_back((100, id, Event::Replied));
//!             (id, Event::Wrote(taken))
//!         }
//!         Step::Look(id) => (id, Event::Quiet),
//!         Step::Shutdown(id) => (id, Event::Finished),
//!         Step::Close(_id, _how) => continue, // close its socket
//!         Step::Wait(_until) => match network.pop_front() {
//!             Some((millis, id, event)) => {
//!                 now = Instant::from_nanos(millis * 1_000_000);
//!                 (id, event)
//!             }
//!             None => break, // this network has fallen silent
//!         },
//!         Step::Settled => break,
//!     };
//!     race.handle(now, id, event);
//!     if let Some(id) = race.take() {
//!         let report = race.report();
//!         println!("{id:?} is the connection: {report:?}"); // hand its socket over
//!         assert_eq!(report.winner().map(|winner| winner.kind), Some(AttemptKind::Plain));
//!     }
//! }
//! assert!(race.chosen().is_some());
//! # Ok(())
//! # }
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

extern crate alloc;

pub mod config;
pub mod debounce;
pub mod framing;
pub mod pair;
pub mod path;
pub mod peers;
pub mod race;
#[cfg(test)]
mod table;
pub mod time;

pub use config::{FirstFlight, RaceConfig};
pub use race::{Event, Race, Step};
pub use time::Instant;
