//! What a gate has done, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows. With the feature `metrics` it is told to that
/// facade too, as `headstart_gate_NAME_total`.
#[derive(Debug)]
pub(super) struct Counter {
    value: AtomicU64,
    #[cfg(feature = "metrics")]
    name: &'static str,
}

impl Counter {
    #[cfg_attr(
        not(feature = "metrics"),
        allow(unused_variables, reason = "to name it")
    )]
    fn new(name: &'static str, what: &'static str) -> Self {
        #[cfg(feature = "metrics")]
        {
            metrics::describe_counter!(name, what);
            // It is there from the start, so that a rate can be taken of it.
            metrics::counter!(name).increment(0);
        }
        Self {
            value: AtomicU64::new(0),
            #[cfg(feature = "metrics")]
            name,
        }
    }

    pub(super) fn count(&self) {
        self.add(1);
    }

    pub(super) fn add(&self, more: u64) {
        if more == 0 {
            return;
        }
        self.value.fetch_add(more, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        metrics::counter!(self.name).increment(more);
    }

    fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident),+ $(,)?) => {
        /// What a gate has done since it was made.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct GateCounters {
            $($(#[doc = $doc])* pub $name: u64,)+
        }

        #[derive(Debug)]
        pub(super) struct Counts { $(pub(super) $name: Counter),+ }

        impl Default for Counts {
            fn default() -> Self {
                Self {
                    $($name: Counter::new(
                        concat!("headstart_gate_", stringify!($name), "_total"),
                        concat!($($doc),*).trim_ascii(),
                    )),+
                }
            }
        }

        impl Counts {
            /// The numbers now.
            pub(super) fn snapshot(&self) -> GateCounters {
                GateCounters { $($name: self.$name.get(),)+ }
            }
        }
    };
}

counters! {
    /// Connections accepted.
    accepted,
    /// First messages admitted.
    first,
    /// Copies of first messages, reset.
    duplicates,
    /// First messages that were forgotten before their time, to make room for
    /// those of this gate: if this grows, their memory is too small. What other
    /// gates that share it forced out, they count.
    forced_out,
    /// First messages by Fast Open that were kept open for copies.
    pairs,
    /// First messages by Fast Open that were not, as there were too many.
    unpaired,
    /// Copies that were joined with the first.
    joined,
    /// Pairs that went on, or ended well, on a plain connection.
    won_by_plain,
    /// Pairs that went on, or ended well, on a Fast Open connection.
    won_by_fast_open,
    /// Pairs that ended without a connection.
    expired,
    /// Pairs of whose answers less was kept, as all together took too many
    /// bytes.
    cut_short,
    /// Bytes of answers that were written to joined copies.
    bytes_copied,
    /// Connections whose bytes were no first message.
    malformed,
    /// Connections whose first message did not come in time.
    timeouts,
    /// Connections that ended before their first message was whole.
    closed,
    /// Connections reset to make room.
    evicted,
    /// Failed accepts.
    accept_errors,
}
