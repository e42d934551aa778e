//! The paths that are measured.

use std::time::Duration;

use headstart_lab::Rule;

/// A path from the client to the server, and what is peculiar to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// The first dial to a server, of which no cookie is known.
    FirstContact,
    /// A server whose kernel has Fast Open switched off.
    NoFastOpen,
    /// A middlebox, with a cookie at hand.
    Under(Rule),
}

impl Path {
    /// Each of them, in the order in which they are shown. Random loss is
    /// left out: it says something only over many dials.
    pub(super) fn all() -> Vec<Self> {
        let mut paths = Vec::new();
        for rule in Rule::ALL {
            if matches!(rule, Rule::BlackholeAfter(_)) {
                paths.extend([1, 2].map(Rule::BlackholeAfter).map(Self::Under));
            }
            if !matches!(rule, Rule::RandomLoss { .. }) {
                paths.push(Self::Under(rule));
            }
            if rule == Rule::Transparent {
                paths.extend([Self::FirstContact, Self::NoFastOpen]);
            }
        }
        paths
    }

    /// Its name in JSON.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::FirstContact => "first-contact",
            Self::NoFastOpen => "server-without-fast-open",
            Self::Under(Rule::BlackholeAfter(1)) => "blackhole-after-1",
            Self::Under(Rule::BlackholeAfter(2)) => "blackhole-after-2",
            Self::Under(rule) => rule.name(),
        }
    }

    /// What it does, for people.
    pub(super) fn summary(&self) -> &'static str {
        match self {
            Self::FirstContact => "first contact: no cookie yet",
            Self::NoFastOpen => "a server without Fast Open",
            Self::Under(Rule::BlackholeAfter(1)) => "drops everything after the SYN with data",
            Self::Under(Rule::BlackholeAfter(2)) => "drops everything after the answer to it",
            Self::Under(rule) => rule.summary(),
        }
    }

    /// The middlebox.
    pub(super) fn rule(&self) -> Rule {
        match self {
            Self::FirstContact | Self::NoFastOpen => Rule::Transparent,
            Self::Under(rule) => *rule,
        }
    }

    /// Whether the client has a cookie when it is measured.
    pub(super) fn has_cookie(&self) -> bool {
        matches!(self, Self::Under(_))
    }

    /// Whether its cookie is to be one of the experimental kind, which goes
    /// in the option that this middlebox looks for.
    pub(super) fn wants_experimental_cookie(&self) -> bool {
        *self == Self::Under(Rule::DropSynWithExperimentalOption)
    }

    /// Whether there are two servers.
    pub(super) fn is_balanced(&self) -> bool {
        *self == Self::Under(Rule::Balance)
    }

    /// How long late copies may take to arrive, beside some round trips.
    pub(super) fn late(&self) -> Duration {
        match self.rule() {
            Rule::DuplicateSyn { after } => after,
            _ => Duration::ZERO,
        }
    }

    /// Whether dials wait for the kernel's timers on it.
    pub(super) fn is_slow(&self) -> bool {
        matches!(
            self.rule(),
            Rule::DropSynAck
                | Rule::DropServerDataAfterHandshake
                | Rule::BlackholeAfterHandshake
                | Rule::BlackholeAfter(_)
                | Rule::LoseFirstSynAck
        )
    }
}
