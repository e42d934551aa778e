//! What a pair is told, and every bound it keeps.

use core::time::Duration;

/// Most members of a pair: two attempts of one client, and as many copies by
/// the network.
pub const MEMBERS_MAX: usize = 4;

/// Default of [`Config::window`]: 15 s. A SYN is sent again after 1, 2 and
/// 4 s (RFC 6298 section 5), each time to meet its own delay.
pub const WINDOW_DEFAULT: Duration = Duration::from_secs(15);

/// Default of [`Config::log_max`]: 64 KiB.
pub const LOG_DEFAULT: usize = 64 * 1024;

/// Largest value of [`Config::log_max`]: 16 MiB.
pub const LOG_LIMIT: usize = 16 * 1024 * 1024;

/// Bytes of an answer for which a gate that bounds what all its pairs keep
/// together holds room in each: 512. So no pair waits for another's bytes, and
/// each has something by which a way can be proven.
pub const LOG_RESERVE: usize = 512;

/// How long what is ambiguous may clear up by itself: a FIN that may be a
/// loser's, bytes that a client may have copied, a proof that another member
/// may be about to give. 1 s.
pub const GRACE: Duration = Duration::from_secs(1);

/// How long beyond the window an answer may wait for room in the connection's
/// buffer once the application has gone. 60 s.
pub const LINGER: Duration = Duration::from_secs(60);

/// The settings of one pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long after the first copy others may join.
    pub window: Duration,
    /// Most bytes of the answer that are kept, 1 to [`LOG_LIMIT`].
    pub log_max: usize,
    /// Whether the client has said that it resets its losers and copies
    /// nothing beyond the first message: it then need not be waited for.
    pub resets_losers: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            window: WINDOW_DEFAULT,
            log_max: LOG_DEFAULT,
            resets_losers: false,
        }
    }
}
