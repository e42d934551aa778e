//! The ways to dial that are compared.

use headstart_tokio::Peer;

use crate::cli::Mode;

/// A way to dial, and what the server does with the second copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Plain TCP alone.
    Plain,
    /// Fast Open alone.
    FastOpen,
    /// Headstart, to a server that resets the second copy, as others do.
    FirstCome,
    /// Headstart on both sides: the server joins the copies.
    Headstart,
}

impl Way {
    /// All of them, in the order in which they are shown.
    pub(super) const ALL: [Self; 4] = [
        Self::Plain,
        Self::FastOpen,
        Self::FirstCome,
        Self::Headstart,
    ];

    /// Its name in JSON.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::FastOpen => "fastopen",
            Self::FirstCome => "firstcome",
            Self::Headstart => "headstart",
        }
    }

    /// The head of its column.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::FastOpen => "Fast Open alone",
            Self::FirstCome => "first-come",
            Self::Headstart => "Headstart",
        }
    }

    /// What its client does.
    pub(super) const fn mode(self) -> Mode {
        match self {
            Self::Plain => Mode::Plain,
            Self::FastOpen => Mode::FastOpen,
            Self::FirstCome | Self::Headstart => Mode::Headstart,
        }
    }

    /// What its server does.
    pub(super) const fn peer(self) -> Peer {
        match self {
            Self::FirstCome => Peer::FirstCome,
            Self::Plain | Self::FastOpen | Self::Headstart => Peer::Pairing,
        }
    }

    /// Whether plain and Fast Open are raced.
    pub(super) const fn is_race(self) -> bool {
        matches!(self, Self::FirstCome | Self::Headstart)
    }
}
