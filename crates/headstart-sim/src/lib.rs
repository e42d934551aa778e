//! A deterministic simulator for Headstart: virtual time, a virtual network
//! with its middleboxes, TCP as Linux does it, a client that races with the
//! real core, and a server with the real framing, the real debouncer and the real
//! pairs.
//!
//! A [`Scenario`] is plain data, and a number makes one. [`run`] lives it to its
//! end, in microseconds, the same way every time, and judges it by every rule
//! of the race: what was broken is in [`Run::violations`], by the rule's name.
//!
//! ```
//! use headstart_sim::{Rule, Scenario, run, run_traced};
//! use std::time::Duration;
//!
//! // Any number is a scenario; the same number is always the same one.
//! for seed in 0..100 {
//!     let run = run(&Scenario::from_seed(seed));
//!     assert!(run.violations.is_empty(), "seed {seed}: {:?}", run.violations);
//! }
//!
//! // Or one made to measure: a path that drops SYNs with data.
//! let (rtt, think) = (Duration::from_millis(50), Duration::from_millis(3));
//! let mut scenario = Scenario::plainest(Rule::DropSynWithData, rtt);
//! scenario.server.think = think;
//! let run = run_traced(&scenario);
//! println!("{}", run.trace); // who did what, and when
//! assert_eq!(run.outcome.read, 600);
//! assert_eq!(run.outcome.handled, 1);
//! assert_eq!(run.outcome.first_byte, Some(2 * rtt + think));
//! ```
//!
//! # What is real and what is not
//!
//! ```text
//!  application      driver          network                 server
//!  a script   -->   Headstart  -->  sockets, packets   -->  framing, debouncer,
//!  of acts          (or yours)      loss, middlebox         a handler of few words
//!                   real race       simulated               real framing, real debouncer,
//!                                                           real pair, or a gate of yours
//! ```
//!
//! Every [`Rule`] of the middlebox has a twin of the same name in
//! `headstart-lab`, where real kernels meet it, over IPv4 and IPv6, before a
//! server that debounces first-come and one that pairs; a test fails if winner,
//! bytes, handler calls or round trips differ. So with addresses of every kind
//! ([`Reach`]), first of two and alone, with paths of plain that die
//! ([`Link::dies_after`]), and with one attempt's path that is longer than the
//! other's, or on which packets of any kind are lost, overtaken or doubled
//! ([`Fault`]), one, several, or those on which chance falls. What has no twin is noise that needs no network: the order of
//! events of one moment, readiness that is none, writes that are cut short,
//! clocks that jump.
//!
//! Chance is a function of the seed and of what it decides, never a sequence:
//! a run and the same run without Headstart ([`Scenario::plain_alone`]) draw
//! alike, packet by packet. So "no later than plain alone" is compared to the
//! nanosecond.
//!
//! The simulated driver sleeps exactly as long as the race says, and wakes only
//! for what it waited for: a lost wake-up is a hang, a stale deadline a busy
//! loop, and both are violations.
//!
//! A server that pairs ([`Server::pairing`], drawn for every second number)
//! keeps what came by Fast Open open for copies, as the gate does, and drives
//! the real [`Pair`](headstart_core::pair::Pair): it is woken at its deadlines
//! and for what it waited for, and never otherwise. [`gate`] holds the traits of
//! whoever does that; [`run_with_gate`] judges one.
//!
//! A [`Stranger`] in the race's place is a client that is not ours
//! ([`Scenario::stranger_from_seed`], [`Scenario::with_stranger`]): it keeps both
//! connections open, reads its answer from both, half-closes the one that it
//! uses, or copies bytes beyond the first message. What a server promises holds
//! for it, too: D1 to D5 and P1 to P3 judge it, and the rules of the race do not.
//!
//! A [`Crowd`] of other clients brings first messages to the same memory, up to
//! its capacity and past its window, also such as are aimed at one place: each
//! observation costs a constant (D3).
//!
//! # What is excused
//!
//! Where plain alone would have worked and the race did not, one of these must
//! be the reason, or it is a violation:
//!
//! - A first-come server has claimed a copy whose way back lost packets, and no
//!   byte of its answer came: the known weakness of first-come debouncing. With
//!   a pairing server that is a violation, unless the message was not kept open:
//!   there was no room, or its first copy did not come by Fast Open.
//! - There were no bytes left for a pair, which then keeps one copy, and turns
//!   the others away.
//! - A copy came after the pair's window.
//! - A loser that was closed gracefully ended its pair before the other copy
//!   came: its FIN is all that the server has seen.
//! - Bytes beyond the first flight forced a choice before any answer, and the
//!   path that they went to died, or a first-come server had claimed another
//!   copy. That the choice was the one that the rules name is not excused.
//! - The connection's path died after it had answered.
//! - The server ended a copy before it sent a byte: the race waits for the
//!   others, where plain alone would have read the end.
//! - A Fast Open attempt had the last socket when plain to a further address
//!   was due.
//! - A reset destroys what is under way (a socket closed with bytes unread):
//!   how much arrives before is a matter of moments.
//! - A stranger's loser ended with less said than the one that it uses, and that
//!   stood for a second, or before the other copy came: the application was told
//!   that end.
//!
//! What is written beyond the first flight waits for the choice of its only
//! connection (R6), so its reply may come later than alone. Where plain takes it
//! and no packet of it was lost, and all fits in the first window, by no more than
//! this, or it is a violation:
//!
//! - From when plain opens, as long as Fast Open began later than plain, and a
//!   quarter of plain's handshake: an answer to its SYN may be on its way.
//! - Where Fast Open has opened and its data was not acknowledged: a handshake
//!   and a quarter of it, at least 250 ms, for the reset of the copy that was not
//!   served. If it opened after plain, since then.
//! - A second, where a pairing server waits for the end of what a client writes
//!   whose Token does not say that losers are reset.
//!
//! # Other drivers
//!
//! [`conformance::check`] runs any [`Driver`] over the same [`Transports`]
//! through a fixed list of named scenarios and through random ones, and judges
//! it by the same rules: one line in the tests of whoever drives the core by
//! other means. [`run_with`] runs a single one. The tests of this crate do both
//! with drivers that are wrong on purpose, one for each rule; `headstart-io`
//! and the example `bring_your_own_runtime` with theirs.
//!
//! # A failing seed
//!
//! ```text
//! cargo run --release -p headstart-sim --example prove -- --seeds 1000000
//! cargo run --release -p headstart-sim --example prove -- --seed 209
//! ```
//!
//! The first runs scenarios by their numbers; the second shows one, with its
//! trace, made smaller by [`shrink`] if it breaks a rule.
//!
//! # Limits
//!
//! One race a run: of a crowd there are first messages only. Windows and buffers
//! are of a size, and receivers always have room and acknowledge at once.
//! Congestion control is slow start and what follows a loss: selective
//! acknowledgement, RACK, tail loss probes (RFC 8985) and proportional rate
//! reduction (RFC 9937), as Linux does them; there is no pacing, and repairs
//! that were not needed, as where packets of one answer are both lost and late,
//! are not taken back. IPv4 and IPv6 are alike: a SYN holds as much of either.
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

mod app;
pub mod conformance;
mod dice;
mod driver;
pub mod gate;
mod generate;
mod handler;
mod headstart;
mod host;
mod link;
mod memory;
mod middlebox;
mod net;
mod party;
mod rule;
mod rules;
mod run;
mod scenario;
mod segment;
mod shrink;
pub mod state_space;
mod stranger;
mod stream;
mod tcp;
mod trace;
mod wire;
mod world;

pub use app::ReadEnd;
pub use driver::{Driver, Wakes};
pub use headstart::Headstart;
pub use link::{Fault, Link, Mishap, Packet};
pub use net::{SocketError, SocketId, StartError, Transports};
pub use rule::{ParseRuleError, Rule};
pub use rules::Violation;
pub use run::{Outcome, Run, run, run_traced, run_with, run_with_gate};
pub use scenario::{
    Act, Client, Crowd, End, Jump, Noise, Pairing, RaceSettings, Reach, Scenario, Server, Target,
    Trigger,
};
pub use segment::OptionKind;
pub use shrink::shrink;
pub use stranger::Stranger;
pub use stream::{SYN_PAYLOAD, Statement};
pub use trace::Trace;
pub use world::Counters;
