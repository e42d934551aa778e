//! The settings of a race under test, and the bytes that its application writes.

use std::time::Duration;

use headstart_core::config::{FirstFlight, Kinds, LoserClose, Peer, RaceConfig, Schedule};
use headstart_core::framing::token::{HEADER_LEN, Header, Id};
use headstart_core::framing::{ByteOrder, Framing, LengthPrefix, PrefixWidth};
use headstart_core::path::{Plan, Trouble};
use headstart_core::time::Instant;

/// What the application states of its first bytes, and what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flight {
    /// A framed message of so many bytes, its length included.
    Framed(u16),
    /// Bytes that fail the framing's check.
    Malformed,
    /// Asserted to be safe to replay.
    Asserted,
    /// The same, under a Token.
    Token,
    /// Nothing is stated.
    Unstated,
}

/// A race under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Setup {
    /// What the application states of its first bytes.
    pub flight: Flight,
    /// What the peer does with a first message that comes twice.
    pub peer: Peer,
    /// Whether one that acts twice is raced.
    pub insist: bool,
    /// Which kinds of attempt may be used.
    pub kinds: Kinds,
    /// When attempts start.
    pub schedule: Schedule,
    /// How losers are closed.
    pub losers: LoserClose,
    /// Addresses.
    pub targets: usize,
    /// How many of them, the last ones, have a path on which Fast Open is
    /// suspended: plain alone goes there.
    pub suspended: usize,
    /// Bytes that a SYN carries.
    pub syn_payload: usize,
    /// Most bytes held beyond the first flight.
    pub held_max: usize,
    /// Time between attempts to different addresses.
    pub address_delay: Duration,
    /// How long held bytes wait for plain to open.
    pub cutover_wait: Duration,
}

const TOKEN: Id = Id([7; 16]);
const SUSPENDED: Plan = Plan::Plain {
    trouble: Trouble::Refused,
    until: Instant::from_nanos(u64::MAX),
};

/// A framing whose first bytes count the rest: one byte where that is enough
/// for a message of this length, two otherwise.
fn framing(length: u16) -> Framing {
    let prefix = LengthPrefix {
        width: match width(length) {
            1 => PrefixWidth::One,
            _ => PrefixWidth::Two,
        },
        order: ByteOrder::Big,
        counts_itself: false,
    };
    Framing::length_prefixed(prefix).assert_unique()
}

fn width(length: u16) -> usize {
    if length <= 256 { 1 } else { 2 }
}

impl Setup {
    /// Both kinds at once to one address of a peer that pairs.
    pub const fn new(flight: Flight) -> Self {
        Self {
            flight,
            peer: Peer::Pairing,
            insist: false,
            kinds: Kinds::Both,
            schedule: Schedule::AtOnce,
            losers: LoserClose::Abortive,
            targets: 1,
            suspended: 0,
            syn_payload: 1400,
            held_max: 2,
            address_delay: Duration::from_nanos(20),
            cutover_wait: Duration::from_nanos(40),
        }
    }

    /// What the core is told.
    pub fn config(&self) -> RaceConfig {
        let first_flight = match self.flight {
            Flight::Framed(length) => FirstFlight::Framed(framing(length)),
            Flight::Malformed => FirstFlight::Framed(framing(1)),
            Flight::Asserted => FirstFlight::Asserted,
            Flight::Token => FirstFlight::Token { id: TOKEN },
            Flight::Unstated => FirstFlight::Unstated,
        };
        let builder = RaceConfig::builder()
            .first_flight(first_flight)
            .peer(self.peer)
            .insist(self.insist)
            .kinds(self.kinds)
            .schedule(self.schedule)
            .losers(self.losers)
            .held_max(self.held_max)
            .address_delay(self.address_delay)
            .cutover_wait(self.cutover_wait);
        let raced = self.targets.saturating_sub(self.suspended);
        (0..self.targets)
            .map(|target| {
                if target < raced {
                    Plan::Race
                } else {
                    SUSPENDED
                }
            })
            .fold(builder, |builder, plan| {
                builder.planned_target(self.syn_payload, plan)
            })
            .build()
            .expect("settings within their ranges")
    }

    /// Whether the first flight may be copied at all.
    pub(super) fn copies(&self) -> bool {
        match self.kinds {
            Kinds::PlainOnly => false,
            Kinds::FastOpenOnly => true,
            Kinds::Both => self.peer != Peer::Unaware || self.insist,
        }
    }

    /// Bytes of the log before the application's own.
    pub(super) fn header_len(&self) -> usize {
        match self.flight {
            Flight::Token => HEADER_LEN,
            _ => 0,
        }
    }

    /// The byte of the application's at this place.
    pub(super) fn app_byte(&self, place: usize) -> u8 {
        match (self.flight, place) {
            (Flight::Framed(length), place) if place < width(length) => {
                let rest = length - width(length) as u16;
                rest.to_be_bytes()[2 - width(length) + place]
            }
            (Flight::Malformed, 0) => 0,
            _ => (place * 31 + 1) as u8,
        }
    }

    /// The byte of the log at this place, when the flight has this length.
    pub(super) fn log_byte(&self, place: usize, flight: Option<usize>) -> u8 {
        match place.checked_sub(self.header_len()) {
            Some(place) => self.app_byte(place),
            None => self.token(flight.expect("a token sent before its length was known"))[place],
        }
    }

    fn token(&self, flight: usize) -> [u8; HEADER_LEN] {
        let header = Header {
            id: TOKEN,
            flight_len: (flight - HEADER_LEN) as u16,
            resets_losers: self.losers == LoserClose::Abortive,
        };
        header.encode()
    }
}
