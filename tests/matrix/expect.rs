//! What each cell must show.

use headstart_lab::Rule;

/// The outcome of a dial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expected {
    /// An answer after one round trip, by Fast Open with its data in the SYN.
    FastOpen,
    /// An answer after two round trips, by plain.
    Plain,
    /// An answer after two round trips, by either: an ordinary handshake.
    Ordinary,
    /// An answer some time, the whole of it, by either.
    Answer,
}

/// What a dial must come to, both ends speaking Fast Open and the cookie cached.
pub fn with_fast_open(rule: Rule) -> Expected {
    match rule {
        Rule::Transparent | Rule::DuplicateSyn { .. } | Rule::BlackholeAfter(_) => {
            Expected::FastOpen
        }
        Rule::DropSynWithData
        | Rule::DropSynWithOption
        | Rule::DropSynWithExperimentalOption
        | Rule::DropSynWithAnyOption
        | Rule::ResetSyn
        | Rule::UnreachableSyn
        | Rule::LoseFirstSyn => Expected::Plain,
        // Fast Open's copy comes first; the gate answers the plain one too.
        Rule::DropSynAck
        | Rule::DropServerDataAfterHandshake
        | Rule::BlackholeAfterHandshake
        | Rule::LoseFirstSynAck
        | Rule::LoseFirstServerData => Expected::Plain,
        Rule::StripOption | Rule::StripOptionAndData | Rule::CutData => Expected::Ordinary,
        _ => Expected::Answer,
    }
}

/// What it must come to if either end does not speak Fast Open: what plain
/// alone would give.
pub fn without_fast_open(rule: Rule) -> Expected {
    match rule {
        Rule::RandomLoss { .. } => Expected::Answer,
        _ => Expected::Ordinary,
    }
}
