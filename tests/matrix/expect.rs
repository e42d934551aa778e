//! What each cell must show.

use headstart_lab::Rule;

/// The outcome of a dial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expected {
    /// An answer after one round trip, by Fast Open with its data in the SYN.
    FastOpen,
    /// The same, but only after a retransmission: between so many round trips.
    Mended(f64, f64),
    /// An answer after two round trips, by plain.
    Plain,
    /// An answer after two round trips, by either: an ordinary handshake.
    Ordinary,
    /// An answer some time, the whole of it, by either.
    Answer,
    /// No answer: a first-come debouncer has claimed the copy whose way back
    /// is dead, and reset the healthy one.
    Never,
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
        Rule::StripOption | Rule::StripOptionAndData | Rule::CutData => Expected::Ordinary,
        Rule::DropSynAck | Rule::DropServerDataAfterHandshake | Rule::BlackholeAfterHandshake => {
            Expected::Never
        }
        // The healthy plain copy is reset as a duplicate; the other is mended
        // by retransmission: about 1 s for a SYN-ACK, 200 ms and more for data.
        Rule::LoseFirstSynAck => Expected::Mended(20.0, 32.0),
        Rule::LoseFirstServerData => Expected::Mended(4.0, 9.0),
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
