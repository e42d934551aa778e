//! Errors of the race, and what the system's errors mean to it.

use std::fmt;
use std::io;

use headstart_core::race::{Ending, Failure, FailureKind, Reasons};

use crate::race::Over;

/// No attempt became the connection; the reasons of all of them (R4, R5).
///
/// Found inside the [`io::Error`] of the operation that failed, by
/// [`io::Error::get_ref`] and a downcast. That error's kind is plain's, if
/// plain failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaceError {
    /// Why each attempt is out.
    pub reasons: Reasons,
}

impl fmt::Display for RaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reasons.fmt(f)
    }
}

impl std::error::Error for RaceError {}

impl From<RaceError> for io::Error {
    fn from(error: RaceError) -> Self {
        let kind = error
            .reasons
            .leading()
            .map_or(io::ErrorKind::ConnectionAborted, kind_of);
        io::Error::new(kind, error)
    }
}

/// What a read returns when the race ends so: end of file, or an error.
pub(crate) fn read_result(over: Over) -> io::Result<usize> {
    match over {
        Over::Race(Ending::Eof) => Ok(0),
        Over::Race(Ending::Failed(reasons)) => Err(RaceError { reasons }.into()),
        Over::Orphaned => Err(orphaned()),
    }
}

/// What a write returns when the race ends so.
pub(crate) fn write_error(over: Over) -> io::Error {
    match over {
        Over::Race(Ending::Eof) => io::ErrorKind::BrokenPipe.into(),
        Over::Race(Ending::Failed(reasons)) => RaceError { reasons }.into(),
        Over::Orphaned => orphaned(),
    }
}

fn orphaned() -> io::Error {
    let text = "the runtime that dialled was shut down before the connection was chosen";
    io::Error::new(io::ErrorKind::NotConnected, text)
}

/// What an error of the system's means to a race.
pub fn failure_of(error: &io::Error) -> Failure {
    use io::ErrorKind as K;
    let kind = match error.kind() {
        K::ConnectionRefused => FailureKind::Refused,
        K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe => FailureKind::Reset,
        K::HostUnreachable | K::NetworkUnreachable | K::NetworkDown => FailureKind::Unreachable,
        K::TimedOut => FailureKind::TimedOut,
        K::PermissionDenied => FailureKind::NotPermitted,
        K::Unsupported => FailureKind::Unsupported,
        K::AddrNotAvailable | K::AddrInUse | K::OutOfMemory => FailureKind::NoResources,
        _ => FailureKind::Other,
    };
    Failure {
        kind,
        os: error.raw_os_error(),
    }
}

/// The kind that the system's own error had, where there was one.
fn kind_of(failure: Failure) -> io::ErrorKind {
    if let Some(number) = failure.os {
        return io::Error::from_raw_os_error(number).kind();
    }
    match failure.kind {
        FailureKind::Refused => io::ErrorKind::ConnectionRefused,
        FailureKind::Reset => io::ErrorKind::ConnectionReset,
        FailureKind::Unreachable => io::ErrorKind::HostUnreachable,
        FailureKind::TimedOut => io::ErrorKind::TimedOut,
        FailureKind::NotPermitted => io::ErrorKind::PermissionDenied,
        FailureKind::Unsupported => io::ErrorKind::Unsupported,
        _ => io::ErrorKind::Other,
    }
}
