//! The async driver of Headstart, generic over the runtime.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

mod budget;
mod dialer;
mod driver;
mod epoch;
mod error;
mod gate;
mod race;
mod runtime;
mod stream;
mod target;

pub use budget::{BUDGET_DEFAULT, Budget};
pub use dialer::{Dialer, DialerBuilder};
pub use epoch::Epoch;
pub use error::{RaceError, failure_of};
pub use gate::{
    ADMITTED_DEFAULT, Admitted, CLAIMS_DEFAULT, Claims, Gate, GateBuilder, GateCounters, GateEvent,
    GateStream, MESSAGE_TIMEOUT, Via, WAITING_DEFAULT,
};
pub use runtime::{AfterAcceptError, Listener, Runtime, StartError, Stream, Timer};
pub use stream::RaceStream;
pub use target::Target;
