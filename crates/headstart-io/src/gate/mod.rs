//! The gate: accepts connections, reads their first messages, and admits each
//! message once.
//!
//! ```text
//!  listener --> doorman --> claims: first? --> hall --> Gate::accept
//!               (reads)       | a copy           (admitted streams)
//!                             v
//!                           pairs: of a claim by Fast Open? joined : reset
//! ```

mod admission;
mod admitted;
mod builder;
mod claims;
mod config;
mod counters;
mod crowd;
mod doorman;
mod event;
mod hall;
#[cfg(all(test, shuttle))]
mod interleavings;
mod joined;
mod news;
mod paired;
mod pairs;
mod slot;
mod waiting;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use headstart_core::framing::Framing;

pub use admitted::{Admitted, GateStream};
pub use builder::{ADMITTED_DEFAULT, GateBuilder, MESSAGE_TIMEOUT, WAITING_DEFAULT};
pub use claims::{CLAIMS_DEFAULT, Claims};
pub use config::GateConfigError;
pub use counters::GateCounters;
pub use event::{GateEvent, Via};
pub use pairs::{PAIR_BYTES_DEFAULT, PAIRS_DEFAULT};

use crate::runtime::{Listener, Runtime};
use hall::Shared;

/// A listener that admits each first message once.
///
/// One task accepts and reads; [`accept`](Self::accept) only takes from its
/// queue, so that a dropped `accept` loses nothing. When the gate is dropped
/// the task accepts no more, finishes what is paired, and ends.
#[derive(Debug)]
pub struct Gate<R: Runtime> {
    shared: Arc<Shared<R>>,
    address: SocketAddr,
    fast_open: FastOpenOf<R>,
}

/// What a runtime's listener says of Fast Open.
type FastOpenOf<R> = <<R as Runtime>::Listener as Listener>::FastOpen;

impl<R: Runtime> Gate<R> {
    /// Starts from the defaults: debouncing, a memory of its own; on the
    /// runtime that this is called in.
    ///
    /// # Errors
    /// If there is no runtime.
    pub fn builder(framing: Framing) -> io::Result<GateBuilder<R>> {
        Ok(Self::builder_on(R::current()?, framing))
    }

    /// As [`builder`](Self::builder), on a given runtime.
    pub fn builder_on(runtime: R, framing: Framing) -> GateBuilder<R> {
        GateBuilder::new(runtime, framing)
    }

    /// The next admitted connection.
    ///
    /// **Cancel safety.** Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the listener is broken, or the runtime has dropped the gate's task.
    pub async fn accept(&self) -> io::Result<Admitted<R>> {
        self.shared.accept().await
    }

    /// As [`accept`](Self::accept), by any number of tasks. A task's waker is
    /// kept until the next connection is admitted, even if the task has given
    /// up: [`accept`](Self::accept) leaves nothing behind.
    ///
    /// **Cancel safety.** Nothing is taken unless it is ready.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Admitted<R>>> {
        self.shared.poll_accept(cx)
    }

    /// Stops accepting, resets connections whose first message is not whole or
    /// was not read, and waits until the port is free and all pairs are
    /// settled: at most the pair window and a minute. Connections that were
    /// admitted before can still be accepted meanwhile, and afterwards.
    ///
    /// **Cancel safety.** The first poll decides; the rest is waiting.
    pub async fn close(&self) {
        self.shared.close();
        self.shared.ended().await;
    }

    /// The address that the gate listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Whether Fast Open is really on, in this network namespace.
    pub fn fast_open(&self) -> &FastOpenOf<R> {
        &self.fast_open
    }

    /// What the gate has done so far.
    pub fn counters(&self) -> GateCounters {
        self.shared.counts.snapshot()
    }

    /// Whether copies of a message that came by Fast Open are joined.
    pub fn pairs(&self) -> bool {
        self.shared.settings.pairs.is_some()
    }

    /// The memory of first messages, unless debouncing is off.
    pub fn claims(&self) -> Option<&Claims> {
        self.shared.settings.claims.as_ref()
    }
}

impl<R: Runtime> Drop for Gate<R> {
    fn drop(&mut self) {
        self.shared.close();
    }
}
