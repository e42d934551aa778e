//! The pair: accepted connections that brought the same first message, joined
//! into one logical connection. It is the race with the roles turned.
//!
//! A first-come debouncer closes the second copy, and so loses the client whose
//! first copy arrived but whose way back is dead or has lost a packet. A
//! [`Pair`] keeps both: it writes the answer to each *member* from one log, and
//! drops members only once the client has shown which one it uses.
//!
//! ```text
//!  application             pair                     members
//!  writes once   -->  log, whole until      --> cursor -->  Fast Open  --> (dead)
//!                     a member is proven    --> cursor -->  plain      --> client
//!  reads once    <--  what the first member that has it brought
//! ```
//!
//! - A member is *proven* once its peer has acknowledged a byte of the answer:
//!   its path works both ways.
//! - The *choice* falls by the client's bytes beyond the first message, on a
//!   plain or a proven member; or on the sole survivor.
//! - RST and errors abandon a member, never the pair. FIN is neither choice
//!   nor abandonment by itself.
//! - After the window, who is not proven goes once another is. Several that are
//!   proven stay until the client has shown which one it uses, or one lags
//!   behind by the whole log.
//! - Whoever comes late, within the window, gets the answer from its first
//!   byte, also after the application has answered and gone.
//!
//! A [`Pair`] does no I/O, like a [`Race`](crate::Race): its driver tells it
//! what happened ([`handle`](Pair::handle)) and does what [`poll`](Pair::poll)
//! says. Bytes of the client never pass through it.
//!
//! ```
//! use core::time::Duration;
//! use headstart_core::Instant;
//! use headstart_core::pair::{Accepted, Config, Event, Pair, Source, Step};
//! use headstart_core::race::AttemptKind::Plain;
//!
//! let at = |millis: u64| Instant::from_nanos(millis * 1_000_000);
//! // A message came by Fast Open and was admitted; the application answers.
//! let mut pair = Pair::new(Config::default(), at(0));
//! assert_eq!(pair.write(at(1), b"answer"), Accepted::Bytes(6));
//! let Step::Write(first) = pair.poll(at(1)) else { panic!() };
//! assert_eq!(pair.unsent(first).concat(), b"answer");
//! pair.handle(at(1), first, Event::Wrote(6)); // into a dead path
//!
//! // The same message, by plain TCP: it gets the answer too.
//! let second = pair.join(at(25), Plain).unwrap();
//! assert_eq!(pair.poll(at(25)), Step::Write(second));
//! assert_eq!(pair.unsent(second).concat(), b"answer");
//! pair.handle(at(25), second, Event::Wrote(6));
//!
//! // The client goes on there, and has reset the other.
//! pair.handle(at(75), second, Event::Readable);
//! assert_eq!(pair.source(), Source::From(second));
//! pair.handle(at(76), first, Event::Failed);
//! assert_eq!(pair.take(), Some(second));
//! ```

mod choice;
mod ending;
mod input;
mod log;
mod member;
mod output;
mod proof;
mod settings;
mod snapshot;
#[cfg(test)]
mod table;

use alloc::vec::Vec;

pub use member::{Event, MemberId, Outcome};
pub use output::{Accepted, Source, Step};
pub use settings::{
    Config, GRACE, LINGER, LOG_DEFAULT, LOG_LIMIT, LOG_RESERVE, MEMBERS_MAX, WINDOW_DEFAULT,
};
pub use snapshot::{MemberSnapshot, Snapshot};

use crate::race::AttemptKind;
use crate::time::Instant;
use log::Log;
use member::Member;
use proof::Asking;

/// Connections that brought one first message, as one logical connection.
///
/// Order of calls: after any input, [`poll`](Self::poll) until it says
/// [`Step::Wait`] or [`Step::Settled`]. [`take`](Self::take) may succeed after
/// any of them. Late events, and events for members that are out, are harmless.
#[derive(Clone, Debug)]
pub struct Pair {
    now: Instant,
    began: Instant,
    config: Config,
    members: Vec<Member>,
    log: Log,
    /// Bytes of the client's beyond the first message that the application has.
    delivered: u64,
    chosen: Option<MemberId>,
    /// When a member's bytes first spoke for it, though others stay for now.
    spoken: Option<Instant>,
    asking: Asking,
    /// A write was refused for want of room.
    wanting: bool,
    finishing: bool,
    /// When the application went.
    abandoned: Option<Instant>,
    /// When a client had the whole answer of an application that is gone, and
    /// on which member.
    served: Option<(Instant, MemberId)>,
    /// The client will send no more.
    ended: bool,
    /// Since when no member is left.
    deserted: Option<Instant>,
}

impl Pair {
    /// A pair of one member so far, by Fast Open, whose first message was
    /// admitted.
    pub fn new(config: Config, now: Instant) -> Self {
        Self {
            now,
            began: now,
            log: Log::new(config.log_max.clamp(1, LOG_LIMIT)),
            config,
            members: Vec::from([Member::new(MemberId(0), AttemptKind::FastOpen)]),
            delivered: 0,
            chosen: None,
            spoken: None,
            asking: Asking::default(),
            wanting: false,
            finishing: false,
            abandoned: None,
            served: None,
            ended: false,
            deserted: None,
        }
    }

    /// The member that is the connection.
    pub fn chosen(&self) -> Option<MemberId> {
        self.chosen
    }

    /// The member that the client uses, as far as is known: the first to deliver
    /// the whole answer of an application that is gone, or else the connection.
    /// What a sibling's kernel is left with beside it wins nothing. Where the
    /// client's kernel had all of it on two before the client chose, that is the
    /// one which is known to have been first.
    pub fn winner(&self) -> Option<MemberId> {
        let stands = |id: &MemberId| self.get(*id).is_some_and(|m| m.outcome() == Outcome::Won);
        let served = self.served.map(|(_, by)| by);
        served.or(self.chosen.filter(stands))
    }

    /// The [`winner`](Self::winner), once nothing can take that from it: who
    /// delivered the whole answer; or a connection whose path works, while the
    /// application is there to go on with it.
    pub fn sure_winner(&self) -> Option<MemberId> {
        let works = |id: &MemberId| self.get(*id).is_some_and(Member::is_eligible);
        let sure = |id: &MemberId| self.served.is_some() || self.abandoned.is_none() && works(id);
        self.winner().filter(sure)
    }

    /// How a member came, and how it stands.
    pub fn member(&self, id: MemberId) -> Option<(AttemptKind, Outcome)> {
        let member = self.get(id)?;
        Some((member.kind, member.outcome()))
    }

    /// Members that have joined, the first included, whatever became of them.
    pub fn joined(&self) -> usize {
        self.members.len()
    }

    /// The member with this number, if there is one.
    pub fn id(&self, index: usize) -> Option<MemberId> {
        Some(self.members.get(index)?.id)
    }

    /// Whether any member's way back has worked.
    pub fn is_proven(&self) -> bool {
        self.members.iter().any(Member::is_proven)
    }

    /// Whether a further copy of the message would be a member.
    pub fn may_join(&self) -> bool {
        self.has_place() && self.now < self.window_end() && !self.is_dead()
    }

    /// Whether a further copy would be a member if it came early enough.
    fn has_place(&self) -> bool {
        self.chosen.is_none()
            && self.served.is_none()
            && self.log.is_whole()
            && self.members.len() < MEMBERS_MAX
    }

    fn window_end(&self) -> Instant {
        self.began.saturating_add(self.config.window)
    }

    /// Clocks may jump; for the pair, time only goes forward.
    fn tick(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    fn get(&self, id: MemberId) -> Option<&Member> {
        self.members.get(id.0)
    }

    fn live(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.is_live())
    }

    fn live_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.iter_mut().filter(|member| member.is_live())
    }

    /// Brings everything that follows from the state and the time up to date.
    fn advance(&mut self) {
        self.make_room();
        if self.chosen.is_none() {
            self.decide();
            // A choice needs less of the log.
            self.make_room();
        }
        self.see_end();
        self.close_delivered();
        self.note_desertion();
        self.keep_asking();
    }
}
