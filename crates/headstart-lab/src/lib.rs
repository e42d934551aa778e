//! Real kernels, unreal network: a laboratory for TCP on one machine.
//!
//! A [`Lab`] is a client and two servers, each in a network namespace of its
//! own with the kernel's real TCP, and between them a wire of ours: a delay, a
//! bounded queue, and a middlebox that follows one [`Rule`] to the letter. What
//! a program does on a path that drops SYNs with data, or that falls silent
//! after the handshake, can then be seen instead of guessed. So can what it does
//! with several addresses: the servers have two, and the [`Way`] to each can be
//! open, dead, or end in ICMP unreachable; and plain connections and those by
//! Fast Open can each have a [`Link`] of their own, which is longer, or loses,
//! delays or repeats the packets that one names.
//!
//! ```no_run
//! use std::{io::{Read, Write}, net::{TcpListener, TcpStream}, time::Duration};
//! use headstart_lab::{Family, Lab, Rule};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     headstart_lab::enter()?; // first thing in `main`, before any thread
//!     let lab = Lab::builder().rtt(Duration::from_millis(50)).build()?;
//!     let address = (lab.server_addr(Family::V4), 80);
//!     let listener = lab.server().run(move || TcpListener::bind(address))??;
//!     let server = lab.server().spawn(move || listener.accept()?.0.write_all(b"hello"))?;
//!
//!     lab.set_rule(Rule::DropSynWithData); // a plain dial does not mind
//!     let mut hello = String::new();
//!     lab.client().run(|| TcpStream::connect(address)?.read_to_string(&mut hello))??;
//!     assert_eq!(hello, "hello");
//!     println!("{}", lab.stats());
//!     server.join().expect("the server does not panic")?;
//!     Ok(())
//! }
//! ```
//!
//! # How it is built
//!
//! ```text
//!  client's namespace         relay's namespace             servers' namespaces
//!  192.0.2.1                                                192.0.2.2 and .3
//!  2001:db8::1                                              2001:db8::2 and ::3
//!  +--------+   veth   +----------------------------+ veth  +--------+
//!  |  eth0  |==========| packet socket   pkt socket |=======|  eth0  | server
//!  +--------+          |      \   rule,    /        |       +--------+
//!                      |       \  delay,  /         | veth  +--------+
//!                      |        + queue  +----------|=======|  eth0  | second server
//!                      +----------------------------+       +--------+
//! ```
//!
//! One thread in the relay's namespace reads every packet from a packet socket,
//! shows it to the middlebox, and writes it to the other side half a round trip
//! later. Nothing else connects the namespaces. No program (`ip`, `tc`) and no
//! kernel module beside `veth` and `af_packet` is needed.
//!
//! # Rights
//!
//! Root, or rather `CAP_SYS_ADMIN`, `CAP_NET_ADMIN` and `CAP_NET_RAW`, is
//! enough. An ordinary user gets all three by [`enter`], which moves the process
//! into a user namespace of its own where the system allows that. Where it does
//! not, [`LabError`] says what is missing; tests hand it to [`skip_or_fail`].
//!
//! # Limits
//!
//! - Linux only; elsewhere the crate is empty.
//! - The wire has a delay but no bandwidth: it is as fast as one relay thread.
//!   Segmentation offload is switched off, so every packet on it is one that a
//!   real network could carry (MTU 1500).
//! - The relay's thread is on time by some 50 us each way on a machine with a free
//!   core, later on a busy one; as root it asks for the highest priority. It then
//!   carries about 1 Gbit/s. [`Stats`] tells how late packets were and whether any
//!   were lost against the lab's will.
//! - The hosts use Reno as congestion control, whatever the machine uses;
//!   [`Host::set_sysctl`] changes that.
//! - The middlebox stands in the middle of the path: what it answers itself (a
//!   reset, an unreachable) arrives after half a round trip.
#![cfg(target_os = "linux")]
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

mod builder;
mod checksum;
mod enter;
mod error;
mod flows;
mod host;
mod lab;
mod link;
mod middlebox;
mod namespace;
mod netlink;
mod packet_socket;
mod pcap;
mod queue;
mod relay;
mod rewrite;
mod rng;
mod rule;
mod segment;
mod stats;
mod steady;
mod topology;
mod trace;
mod way;

pub use builder::LabBuilder;
pub use enter::{REQUIRE_LAB, check, enter, skip_or_fail};
pub use error::{LabError, Part};
pub use host::Host;
pub use lab::Lab;
pub use link::{Fault, LINK_DELAY_MAX, Link, Mishap, Opening, Packet};
pub use rule::{ParseRuleError, Rule};
pub use segment::{FastOpenOption, OptionKind, Segment};
pub use stats::{Counters, Stats};
pub use steady::steadily;
pub use topology::{Direction, Family};
pub use trace::{Fate, TraceEntry};
pub use way::Way;
