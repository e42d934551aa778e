//! How the command ends: its exit status, and one line for what went wrong.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use headstart_tokio::GateConfigError;

/// What a command came to, if it could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// All of it went well: status 0.
    Well,
    /// Some of it did not, as its output tells: status 1.
    Partly,
    /// It ends as another command did.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "the lab's"))]
    Status(u8),
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Whoever read standard output has had enough: no error, status 0. Commands that have more to
    /// do than to write, or to tell by their status, go on: [`even_unread`].
    NobodyReads,
    /// What was asked for cannot be, in one line: status 2, as for other wrong
    /// usage.
    Misused(String),
    /// Anything else, in one line: status 1.
    Because(String),
}

impl Stop {
    /// Stops because of an error, after a few words on what was being done.
    pub(crate) fn because(doing: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self::Because(format!("{doing}: {error}"))
    }

    /// A gate could not be opened.
    pub(crate) fn listening(address: SocketAddr, error: &io::Error) -> Self {
        let because = format!("listening on {address}: {error}");
        match error.get_ref() {
            Some(inside) if inside.is::<GateConfigError>() => Self::Misused(because),
            Some(_) | None => Self::Because(because),
        }
    }

    /// An error of writing to standard output.
    pub(crate) fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::NobodyReads,
            _ => Self::because("writing to standard output", error),
        }
    }
}

/// What was written counts as written if nobody reads it any more.
pub(crate) fn even_unread(written: Result<(), Stop>) -> Result<(), Stop> {
    match written {
        Err(Stop::NobodyReads) => Ok(()),
        other => other,
    }
}

/// The exit status; tells the reason on standard error.
pub(crate) fn code(done: Result<Done, Stop>) -> ExitCode {
    match done {
        Ok(Done::Well) | Err(Stop::NobodyReads) => ExitCode::SUCCESS,
        Ok(Done::Partly) => ExitCode::FAILURE,
        Ok(Done::Status(status)) => ExitCode::from(status),
        Err(Stop::Misused(reason)) => {
            crate::output::complain("error", &reason);
            ExitCode::from(2)
        }
        Err(Stop::Because(reason)) => {
            crate::output::complain("error", &reason);
            ExitCode::FAILURE
        }
    }
}
