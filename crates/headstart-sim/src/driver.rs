//! What drives a race: anything that owns a race and its sockets.

use std::task::Poll;

use headstart_core::Instant;
use headstart_core::race::{FailureKind, Race};

use crate::net::Transports;

/// Whom a driver wants woken, once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wakes {
    /// Who waits to read.
    pub reader: bool,
    /// Who waits to write, flush or shut down.
    pub writer: bool,
}

/// One logical connection over raced transports.
///
/// The simulation calls [`wake`](Self::wake) when a socket that was polled in
/// vain is ready, and when [`deadline`](Self::deadline) has come; never
/// otherwise. Applications wait until [`wakes`](Self::wakes) names them.
pub trait Driver {
    /// Something happened that this waited for.
    fn wake(&mut self, net: &mut dyn Transports);

    /// When to be woken though nothing happens.
    fn deadline(&self) -> Option<Instant>;

    /// Who is to be woken since this was last asked.
    fn wakes(&mut self) -> Wakes;

    /// Writes; how many bytes were taken.
    fn write(&mut self, net: &mut dyn Transports, bytes: &[u8])
    -> Poll<Result<usize, FailureKind>>;

    /// Reads; 0 at the end.
    fn read(
        &mut self,
        net: &mut dyn Transports,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, FailureKind>>;

    /// Waits until the connection is chosen or a kernel has everything.
    fn flush(&mut self, net: &mut dyn Transports) -> Poll<Result<(), FailureKind>>;

    /// Waits until FIN is handed to a kernel.
    fn shutdown(&mut self, net: &mut dyn Transports) -> Poll<Result<(), FailureKind>>;

    /// The application drops the stream.
    fn abandon(&mut self, net: &mut dyn Transports);

    /// Nothing is left to be done.
    fn is_settled(&self) -> bool;

    /// Shows the race, for what it says of itself; also when it is over.
    fn look(&self, look: &mut dyn FnMut(&Race));
}

impl<D: Driver + ?Sized> Driver for Box<D> {
    fn wake(&mut self, net: &mut dyn Transports) {
        (**self).wake(net);
    }

    fn deadline(&self) -> Option<Instant> {
        (**self).deadline()
    }

    fn wakes(&mut self) -> Wakes {
        (**self).wakes()
    }

    fn write(
        &mut self,
        net: &mut dyn Transports,
        bytes: &[u8],
    ) -> Poll<Result<usize, FailureKind>> {
        (**self).write(net, bytes)
    }

    fn read(
        &mut self,
        net: &mut dyn Transports,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, FailureKind>> {
        (**self).read(net, buffer)
    }

    fn flush(&mut self, net: &mut dyn Transports) -> Poll<Result<(), FailureKind>> {
        (**self).flush(net)
    }

    fn shutdown(&mut self, net: &mut dyn Transports) -> Poll<Result<(), FailureKind>> {
        (**self).shutdown(net)
    }

    fn abandon(&mut self, net: &mut dyn Transports) {
        (**self).abandon(net);
    }

    fn is_settled(&self) -> bool {
        (**self).is_settled()
    }

    fn look(&self, look: &mut dyn FnMut(&Race)) {
        (**self).look(look);
    }
}

/// What a look at the race is for.
pub(crate) fn look_at<T>(driver: &(impl Driver + ?Sized), take: impl Fn(&Race) -> T) -> Option<T> {
    let mut taken = None;
    driver.look(&mut |race| taken = Some(take(race)));
    taken
}
