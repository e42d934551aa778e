//! What a gate's settings may be.

use std::fmt;
use std::io;

use headstart_core::framing::FLIGHT_MAX;
use headstart_core::pair::LOG_LIMIT;

/// A setting of a [`GateBuilder`](super::GateBuilder) out of its range, or at
/// odds with another.
///
/// Found inside the [`io::Error`] of [`bind`](super::GateBuilder::bind) and
/// [`serve`](super::GateBuilder::serve), by [`io::Error::get_ref`] and a
/// downcast; that error's kind is [`InvalidInput`](io::ErrorKind::InvalidInput).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GateConfigError {
    /// The framing's messages repeat by nature, so to debounce them is to drop
    /// other people's connections.
    NotUnique,
    /// `message_max` is above [`FLIGHT_MAX`], or below the framing's shortest
    /// first message, so that nobody could be admitted.
    MessageMax {
        /// Length of that message in bytes.
        least: usize,
    },
    /// `message_timeout` is zero.
    MessageTimeout,
    /// `waiting_max` is 0.
    WaitingMax,
    /// `admitted_max` is 0.
    AdmittedMax,
    /// `pair_window` is zero.
    PairWindow,
    /// `pair_log_max` is 0 or above [`LOG_LIMIT`].
    PairLogMax,
    /// `pairs_max` is 0.
    PairsMax,
    /// `pair_bytes_max` has no room for a single pair.
    PairBytesMax {
        /// What the smallest pair takes, in bytes: the shortest first message,
        /// and room for the first bytes of its answer.
        least: usize,
    },
    /// Pairing is asked for where debouncing is off: nobody would know a copy.
    PairingUndebounced,
    /// The claims are shared with a gate whose pairs have other bounds: its
    /// `pair_window`, `pair_log_max`, `pairs_max` or `pair_bytes_max`.
    OtherBounds,
    /// The claims are shared with a gate of another runtime, whose connections
    /// cannot be joined with this one's.
    OtherRuntime,
}

impl fmt::Display for GateConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUnique => f.write_str(
                "this framing's messages repeat by nature; assert that they are unique to debounce them",
            ),
            Self::MessageMax { least } => write!(
                f,
                "message_max must be {least} to {FLIGHT_MAX} bytes with this framing"
            ),
            Self::MessageTimeout => f.write_str("message_timeout must be above zero"),
            Self::WaitingMax => f.write_str("waiting_max must be at least 1 connection"),
            Self::AdmittedMax => f.write_str("admitted_max must be at least 1 connection"),
            Self::PairWindow => f.write_str("pair_window must be above zero"),
            Self::PairLogMax => write!(f, "pair_log_max must be 1 to {LOG_LIMIT} bytes"),
            Self::PairsMax => f.write_str(
                "pairs_max must be at least 1 message; without pairs, switch pairing off",
            ),
            Self::PairBytesMax { least } => write!(
                f,
                "pair_bytes_max must be at least {least} bytes; without pairs, switch pairing off"
            ),
            Self::PairingUndebounced => f.write_str("pairing needs debouncing, which is off"),
            Self::OtherBounds => f.write_str(
                "gates that share claims share pairs: pair_window, pair_log_max, pairs_max and \
                 pair_bytes_max must be the same for all",
            ),
            Self::OtherRuntime => f.write_str(
                "gates of different runtimes can share claims only with pairing off",
            ),
        }
    }
}

impl std::error::Error for GateConfigError {}

impl From<GateConfigError> for io::Error {
    fn from(error: GateConfigError) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}
