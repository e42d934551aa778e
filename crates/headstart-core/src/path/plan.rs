//! How the next race over a path is run.

use core::fmt;
use core::time::Duration;

use super::evidence::Trouble;
use crate::time::Instant;

/// How a race uses the path to one address. No plan but
/// [`Hedged`](Self::Hedged) lets plain leave later than it would alone (R9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Plan {
    /// As the race's settings say: the path is new, or what is known of it does
    /// not speak against Fast Open.
    #[default]
    Race,
    /// The same, as the one race that tries again after a back-off for this
    /// trouble.
    Retry(Trouble),
    /// Fast Open alone, and plain after this time unless it has answered: plain
    /// may leave so much later than it would alone.
    Hedged(Duration),
    /// Plain alone.
    Plain {
        /// What was wrong with Fast Open.
        trouble: Trouble,
        /// When it may be tried again.
        until: Instant,
    },
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Race => f.write_str("both"),
            Self::Retry(trouble) => write!(f, "both, as a retry after this: {trouble}"),
            Self::Hedged(delay) => write!(f, "Fast Open, and plain after {delay:?}"),
            Self::Plain { trouble, .. } => write!(f, "plain alone: {trouble}"),
        }
    }
}
