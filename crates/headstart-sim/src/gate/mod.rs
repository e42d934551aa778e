//! The gate of a pairing server: what it decides of each copy of a message,
//! and what joins copies into one logical connection.

mod budget;
mod joined;
mod members;

use headstart_core::Instant;
use headstart_core::debounce::Verdict;
use headstart_core::pair::{Config, Pair};
use headstart_core::race::AttemptKind;

pub use budget::Place;
pub(crate) use budget::{Budget, Shortage};
pub use joined::{Copy, Joined, PairDriver};
pub use members::Members;

/// A connection whose first message is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claim {
    /// What the debouncer says of its message.
    pub verdict: Verdict,
    /// How it came: by Fast Open, if data in its SYN was accepted.
    pub kind: AttemptKind,
    /// Whether one more message may be kept open: there are not too many, and
    /// all together have not too many bytes.
    pub room: bool,
    /// Whether its message is kept open.
    pub open: bool,
}

/// What becomes of such a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Admission {
    /// The application gets it, and further copies are duplicates.
    Alone,
    /// The application gets it, and its message is kept open for copies.
    Open,
    /// It is a copy of a message that is kept open.
    Join,
    /// It is a duplicate: RST.
    Reset,
}

/// What a server decides by.
pub trait Gate {
    /// What becomes of a connection whose first message is whole.
    fn admit(&mut self, claim: &Claim) -> Admission;

    /// Keeps a message open for copies, in a place that has room for it.
    fn open(
        &mut self,
        config: Config,
        now: Instant,
        first: Copy,
        place: Place,
    ) -> Box<dyn PairDriver>;
}

/// The gate as it should be: a message that came by Fast Open is kept open.
#[derive(Clone, Copy, Debug, Default)]
pub struct Doorman;

impl Gate for Doorman {
    fn admit(&mut self, claim: &Claim) -> Admission {
        match claim.verdict {
            Verdict::First if claim.kind == AttemptKind::FastOpen && claim.room => Admission::Open,
            Verdict::First => Admission::Alone,
            Verdict::Duplicate { .. } if claim.open => Admission::Join,
            Verdict::Duplicate { .. } => Admission::Reset,
        }
    }

    fn open(
        &mut self,
        config: Config,
        now: Instant,
        first: Copy,
        place: Place,
    ) -> Box<dyn PairDriver> {
        Box::new(Joined::new(Pair::new(config, now), first, place))
    }
}
