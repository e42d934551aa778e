//! Errors of the race, and what the system's errors mean to it.

use std::fmt;
use std::io;

use headstart_core::race::{Ending, Failure, FailureKind, Reasons};

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
            .map_or(io::ErrorKind::ConnectionAborted, |failure| kind_of(failure.kind));
        io::Error::new(kind, error)
    }
}

/// What a read returns when the race ends so: end of file, or an error.
pub(crate) fn read_result(ending: Ending) -> io::Result<usize> {
    match ending {
        Ending::Eof => Ok(0),
        Ending::Failed(reasons) => Err(RaceError { reasons }.into()),
    }
}

/// What a write returns when the race ends so.
pub(crate) fn write_error(ending: Option<Ending>) -> io::Error {
    match ending {
        Some(Ending::Failed(reasons)) => RaceError { reasons }.into(),
        Some(Ending::Eof) | None => io::ErrorKind::BrokenPipe.into(),
    }
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
    Failure { kind, os: error.raw_os_error() }
}

fn kind_of(failure: FailureKind) -> io::ErrorKind {
    match failure {
        FailureKind::Refused => io::ErrorKind::ConnectionRefused,
        FailureKind::Reset => io::ErrorKind::ConnectionReset,
        FailureKind::Unreachable => io::ErrorKind::HostUnreachable,
        FailureKind::TimedOut => io::ErrorKind::TimedOut,
        FailureKind::NotPermitted => io::ErrorKind::PermissionDenied,
        FailureKind::Unsupported => io::ErrorKind::Unsupported,
        _ => io::ErrorKind::Other,
    }
}
