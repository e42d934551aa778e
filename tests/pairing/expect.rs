//! What every middlebox comes to, with pairing and without. The cookie is
//! cached, and both ends speak Fast Open.

use headstart_lab::Rule;

use crate::story::Story;

/// What the gate does with a second copy of a first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Joins it with the first.
    Paired,
    /// Resets it.
    FirstCome,
}

/// What races over a path come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expected {
    /// All of it, the first byte within so many round trips.
    Within(f64),
    /// All of it, but only after a retransmission: the first byte between so
    /// many round trips.
    Mended(f64, f64),
    /// All of it, some time, but for what is long: that would take too long
    /// here.
    Whole,
    /// The first byte within so many round trips; what is long is lost, as
    /// the path dies after the choice. Only a memory of paths helps.
    DiesLater(f64),
    /// Nothing: the copy that the gate claimed has no way back, and the
    /// healthy one was reset. Unless plain's copy comes first, on a busy machine.
    Never,
    /// All of it or nothing: that depends on which of two ordinary handshakes
    /// the gate claimed, and on how soon it resets the other.
    Chance,
}

/// Fast Open's answer, and plain TCP's, with a little for the machine's work.
const FAST_OPEN: f64 = 1.1;
pub const PLAIN: f64 = 2.1;

/// The whole table.
pub fn expected(rule: Rule, gate: Gate, story: Story) -> Expected {
    use Expected::{Chance, DiesLater, Mended, Never, Whole, Within};
    let (paired, first_come) = match rule {
        Rule::Transparent | Rule::DuplicateSyn { .. } => (Within(FAST_OPEN), Within(FAST_OPEN)),
        // Fast Open comes to nothing, or to an ordinary handshake.
        Rule::DropSynWithData
        | Rule::DropSynWithOption
        | Rule::DropSynWithExperimentalOption
        | Rule::DropSynWithAnyOption
        | Rule::StripOption
        | Rule::StripOptionAndData
        | Rule::CutData
        | Rule::ResetSyn
        | Rule::UnreachableSyn
        | Rule::LoseFirstSyn => (Within(PLAIN), Within(PLAIN)),
        // Fast Open's copy comes first, and its way back is dead for good.
        Rule::DropSynAck
        | Rule::DropServerDataAfterHandshake
        | Rule::BlackholeAfterHandshake
        | Rule::BlackholeAfter(..=2) => (Within(PLAIN), Never),
        // An upload has followed plain when the SYN-ACK comes.
        Rule::LoseFirstSynAck if story == Story::Upload => (Within(PLAIN), Never),
        // The same, until something is sent again: a SYN-ACK after about 1 s,
        // data after a probe's time (RFC 8985 section 7) or more.
        Rule::LoseFirstSynAck => (Within(PLAIN), Mended(20.0, 32.0)),
        Rule::LoseFirstServerData => (Within(PLAIN), Mended(1.95, 9.0)),
        Rule::BlackholeAfter(_) => (DiesLater(FAST_OPEN), DiesLater(FAST_OPEN)),
        // Two servers know nothing of each other: both are asked.
        Rule::Balance => (Within(PLAIN), Within(PLAIN)),
        _ => (Whole, Whole),
    };
    match gate {
        Gate::Paired => paired,
        // Whom the gate serves is not known yet when an upload must go somewhere.
        Gate::FirstCome if story == Story::Upload && first_come == Within(PLAIN) => Chance,
        Gate::FirstCome => first_come,
    }
}

/// How often a message may be admitted.
pub fn admissions_max(rule: Rule) -> usize {
    match rule {
        Rule::Balance => 2,
        _ => 1,
    }
}
