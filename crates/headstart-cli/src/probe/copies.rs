//! What the server does with a first message that comes twice.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use headstart_socket::Kind;
use serde::Serialize;

use super::dial::{Reaction, Seen, Sent, dial_and_hold};
use super::speech::Language;

/// How long the copy by Fast Open gets ahead. The plain copy's data comes a round trip later still.
const AHEAD: Duration = Duration::from_millis(5);

/// What the server does. Names do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Copies {
    /// Answers both: it must not be raced.
    ServesBoth,
    /// Turns the later copy away.
    Debounces,
    /// Turns the later copy away, but answers both if the first came by Fast Open.
    Pairs,
    /// Neither was answered, or not even dialled.
    Unknown,
    /// The first message is not unique, so a copy is no copy.
    NotTried,
}

impl Copies {
    /// For people.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::ServesBoth => {
                "the server answered both copies: it does not know of races, so do not race it (put `headstart \
                 gate` in front)"
            }
            Self::Debounces => {
                "the server turned the second copy away: it debounces, and can be raced"
            }
            Self::Pairs => {
                "the server answered both ways where the first copy came by Fast Open: it pairs, and can be \
                 raced on any path"
            }
            Self::Unknown => "no first copy was answered: no telling",
            Self::NotTried => "not tried: that needs --tls or --token",
        }
    }
}

/// Sends one first message twice: by plain TCP; and, if the second is then turned away, another
/// one by Fast Open and plain TCP.
pub(super) fn examine(
    address: SocketAddr,
    language: &Language,
    has_cookie: bool,
    patience: Duration,
) -> (Copies, Vec<Seen>) {
    let mut dials = Vec::new();
    let Some((first, second)) = both(address, language, Kind::Plain, patience) else {
        return (Copies::Unknown, dials);
    };
    let (reaction, answered) = (second.reaction, first.reaction);
    dials.extend([first, second]);
    let copies = match (answered, reaction) {
        (Reaction::Answered, Reaction::Answered) => Copies::ServesBoth,
        (Reaction::Answered, Reaction::Closed | Reaction::Reset) => Copies::Debounces,
        _ => Copies::Unknown,
    };
    if copies != Copies::Debounces || !has_cookie {
        return (copies, dials);
    }
    let Some((first, second)) = both(address, language, Kind::FastOpen, patience) else {
        return (copies, dials);
    };
    // Only what surely arrived first can have been paired with what came second.
    let arrived = matches!(first.sent, Sent::Data(_)) && first.syn_data_acked;
    let paired = arrived && second.reaction == Reaction::Answered;
    dials.extend([first, second]);
    match paired {
        true => (Copies::Pairs, dials),
        false => (copies, dials),
    }
}

/// One first message on two connections, the first of this kind, the second plain. Both stay open
/// until both were answered.
fn both(
    address: SocketAddr,
    language: &Language,
    kind: Kind,
    patience: Duration,
) -> Option<(Seen, Seen)> {
    let message = language.begin().ok()?.first;
    let copy = message.clone();
    let ahead = thread::spawn(move || dial_and_hold(address, kind, message, patience));
    match kind {
        // The second waits for the first's answer, so that there is no doubt which came first.
        Kind::Plain => {
            let (first, held) = ahead.join().ok()?.ok()?;
            let (second, _) = dial_and_hold(address, Kind::Plain, copy, patience).ok()?;
            let _ = held.map(headstart_socket::close_abortively);
            Some((first, second))
        }
        Kind::FastOpen => {
            thread::sleep(AHEAD);
            let second = dial_and_hold(address, Kind::Plain, copy, patience);
            let (first, held) = ahead.join().ok()?.ok()?;
            let _ = held.map(headstart_socket::close_abortively);
            Some((first, second.ok()?.0))
        }
    }
}
