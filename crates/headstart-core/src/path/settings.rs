//! How long a path is remembered, and every bound that the memory keeps.

use core::fmt;
use core::time::Duration;

use super::PathMemory;

/// Default of [`PathBuilder::capacity`]: 4,096 paths, about 1 MB when full.
pub const PATHS_DEFAULT: usize = 4_096;

/// Largest value of [`PathBuilder::capacity`]: a million paths.
pub const PATHS_LIMIT: usize = 1_000_000;

/// Default of [`PathBuilder::backoff`]'s first: a minute, as Linux 3.7 to 4.13
/// took for each SYN with data that was lost (`60*HZ << syn_loss` in
/// `tcp_fastopen_cookie_check`). A false alarm costs no more, and a retry that
/// fails costs one connection attempt beside plain's, but no time.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(60);

/// Default of [`PathBuilder::backoff`]'s longest: a day, so that a path that
/// has healed is used again by the next. FreeBSD tries again after 900 s each
/// time, Apple after 60 minutes, doubled up to 65,536.
pub const BACKOFF_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How often the first back-off is doubled before it is a stalled path's: from
/// a minute to 64, Apple's 60 and as much as makes it a power of two. A retry
/// may cost the application its connection there.
pub const STALL_DOUBLINGS: u8 = 6;

/// Default of [`PathBuilder::keep`]: a week without news.
pub const KEEP_DEFAULT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Answers in a row after which a path is trusted most: so many failures in a
/// row are forgiven. On a path that loses 5 % of its packets one Fast Open race in
/// seven fails by chance: with this, 20 races a second keep Fast Open in more than
/// 97 of 100, with 4 in as few as 85.
pub const TRUST_MAX: u8 = 6;

/// How long one retry keeps others from retrying, if nothing is heard of it.
pub const RETRY_PATIENCE: Duration = Duration::from_secs(60);

/// More doublings than any back-off has.
pub(super) const DOUBLINGS_MAX: u8 = 63;

/// The settings of a [`PathMemory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) capacity: usize,
    pub(super) first: Duration,
    pub(super) longest: Duration,
    pub(super) keep: Duration,
    pub(super) hedge: Option<Duration>,
}

impl Settings {
    /// The back-off after so many doublings.
    pub(super) fn backoff(&self, doublings: u8) -> Duration {
        let factor = 1u32.checked_shl(u32::from(doublings)).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.longest)
    }
}

/// Builds a [`PathMemory`]; wrong settings fail in [`build`](Self::build).
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct PathBuilder {
    settings: Settings,
}

impl PathBuilder {
    pub(super) fn new() -> Self {
        Self {
            settings: Settings {
                capacity: PATHS_DEFAULT,
                first: BACKOFF_FIRST,
                longest: BACKOFF_MAX,
                keep: KEEP_DEFAULT,
                hedge: None,
            },
        }
    }

    pub(super) fn settings(self) -> Settings {
        self.settings
    }

    /// Most paths remembered. 1 to [`PATHS_LIMIT`]; default [`PATHS_DEFAULT`].
    /// Beyond it the one used longest ago goes, those without trouble first.
    pub fn capacity(mut self, paths: usize) -> Self {
        self.settings.capacity = paths;
        self
    }

    /// How long Fast Open is not used after a path's first failure, and the
    /// longest time that doubling leads to. Defaults [`BACKOFF_FIRST`] and
    /// [`BACKOFF_MAX`]; a path that stalled begins [`STALL_DOUBLINGS`] later.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.settings.first = first;
        self.settings.longest = longest;
        self
    }

    /// How long a path is remembered without news of it. At least as long as
    /// the longest back-off; default [`KEEP_DEFAULT`].
    pub fn keep(mut self, time: Duration) -> Self {
        self.settings.keep = time;
        self
    }

    /// Over paths that are trusted most, dials Fast Open alone, and plain only
    /// if it has not answered after `delay`: half the connections, but where
    /// the path then fails, **plain leaves up to `delay` later** than it would
    /// alone, and the first bytes must be written for anything to leave at all.
    /// Default: none, both at once.
    pub fn hedge(mut self, delay: Option<Duration>) -> Self {
        self.settings.hedge = delay;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`PathConfigError`] names the first setting that is out of its range.
    pub fn build(self) -> Result<PathMemory, PathConfigError> {
        let settings = self.settings;
        if settings.capacity == 0 || settings.capacity > PATHS_LIMIT {
            return Err(PathConfigError::Capacity);
        }
        if settings.first.is_zero() || settings.first > settings.longest {
            return Err(PathConfigError::Backoff);
        }
        if settings.keep < settings.longest {
            return Err(PathConfigError::Keep);
        }
        Ok(PathMemory::with(settings))
    }
}

/// A setting out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PathConfigError {
    /// No path, or more than [`PATHS_LIMIT`].
    Capacity,
    /// The first back-off is zero, or longer than the longest.
    Backoff,
    /// Paths would be forgotten before their back-off has ended.
    Keep,
}

impl fmt::Display for PathConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capacity => write!(f, "a path memory holds 1 to {PATHS_LIMIT} paths"),
            Self::Backoff => {
                f.write_str("the first back-off must be above zero and no longer than the longest")
            }
            Self::Keep => {
                f.write_str("paths must be kept at least as long as the longest back-off")
            }
        }
    }
}

impl core::error::Error for PathConfigError {}
