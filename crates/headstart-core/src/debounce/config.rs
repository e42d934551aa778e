//! The debouncer's settings.

use core::fmt;
use core::time::Duration;

/// The largest capacity of one debouncer, in entries (2.7 GB of memory). More
/// than that is for several, each with its share of the digests.
pub const CAPACITY_MAX: usize = 1 << 26;

/// The debouncer's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How many messages are remembered at most: 1 to [`CAPACITY_MAX`], by
    /// default 65,536. To remember all for the whole window it must be at
    /// least the rate of new connections times the window. 41 bytes each.
    pub capacity: usize,
    /// How long a message is remembered, counted from its first copy: more
    /// than zero, by default 10 minutes. Forgotten up to 2.1 milliseconds
    /// later than said, never earlier.
    pub window: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            capacity: 65_536,
            window: Duration::from_secs(600),
        }
    }
}

impl Config {
    /// The capacity, if all settings are in range.
    pub(super) fn checked_capacity(&self) -> Result<u32, ConfigError> {
        if self.window.is_zero() {
            return Err(ConfigError::NoWindow);
        }
        match u32::try_from(self.capacity) {
            Ok(0) => Err(ConfigError::NoCapacity),
            Ok(capacity) if self.capacity <= CAPACITY_MAX => Ok(capacity),
            _ => Err(ConfigError::CapacityTooLarge),
        }
    }
}

/// Why a debouncer cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The capacity is zero.
    NoCapacity,
    /// The capacity is above [`CAPACITY_MAX`].
    CapacityTooLarge,
    /// The window is zero.
    NoWindow,
    /// The memory for that capacity cannot be had.
    OutOfMemory,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCapacity => f.write_str("the debouncer's capacity is zero"),
            Self::CapacityTooLarge => {
                write!(f, "the debouncer's capacity is above {CAPACITY_MAX}")
            }
            Self::NoWindow => f.write_str("the debouncer's window is zero"),
            Self::OutOfMemory => f.write_str("no memory for a debouncer of that capacity"),
        }
    }
}

impl core::error::Error for ConfigError {}
