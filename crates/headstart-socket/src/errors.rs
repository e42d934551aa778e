//! What can go wrong, at which step, and what a caller can do about it.

use std::error::Error;
use std::fmt;
use std::io;

use crate::sys::errno;

/// The step of setting up a socket that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// Looking at the first flight: a Fast Open attempt was given no byte to send.
    Flight,
    /// Making the socket, and making it nonblocking.
    Socket,
    /// Setting the named option, such as `"TCP_FASTOPEN_CONNECT"`.
    Option(&'static str),
    /// The caller's hook.
    Hook,
    /// Binding the local address.
    Bind,
    /// Connecting.
    Connect,
    /// Handing the first flight to the kernel.
    Send,
    /// Starting to listen.
    Listen,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flight => f.write_str("first flight"),
            Self::Socket => f.write_str("socket"),
            Self::Option(name) => write!(f, "option {name}"),
            Self::Hook => f.write_str("hook"),
            Self::Bind => f.write_str("bind"),
            Self::Connect => f.write_str("connect"),
            Self::Send => f.write_str("send"),
            Self::Listen => f.write_str("listen"),
        }
    }
}

/// What sort of failure an error is: what it says about the machine, the caller and the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// Descriptors, memory, buffers, watches, local ports or addresses are lacking here.
    NoResources,
    /// A permission is lacking, or a local policy forbids it.
    NotPermitted,
    /// The system does not have what was asked for, or has it switched off.
    Unsupported,
    /// The peer or the path to it: refused, reset, unreachable, timed out.
    Network,
    /// None of these.
    Other,
}

/// Sorts an error of the operating system; any other error by its kind.
pub fn classify(error: &io::Error) -> Class {
    match error.raw_os_error() {
        Some(code) if errno::NO_RESOURCES.contains(&code) => Class::NoResources,
        Some(code) if errno::NOT_PERMITTED.contains(&code) => Class::NotPermitted,
        Some(code) if errno::UNSUPPORTED.contains(&code) => Class::Unsupported,
        Some(code) if errno::NETWORK.contains(&code) => Class::Network,
        _ => classify_kind(error.kind()),
    }
}

fn classify_kind(kind: io::ErrorKind) -> Class {
    use io::ErrorKind as K;
    match kind {
        K::OutOfMemory | K::AddrInUse | K::AddrNotAvailable => Class::NoResources,
        K::PermissionDenied => Class::NotPermitted,
        K::Unsupported => Class::Unsupported,
        K::ConnectionRefused
        | K::ConnectionReset
        | K::ConnectionAborted
        | K::HostUnreachable
        | K::NetworkUnreachable
        | K::NetworkDown
        | K::TimedOut => Class::Network,
        _ => Class::Other,
    }
}

/// Why Fast Open cannot be had for dialling, where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NoFastOpen {
    /// Switched off for clients: on Linux bit 0x1 of the `tcp_fastopen` sysctl is missing in this
    /// network namespace.
    SwitchedOff,
    /// The running kernel does not know the mechanism.
    Kernel,
    /// This crate has no mechanism for this platform.
    Platform,
}

impl fmt::Display for NoFastOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SwitchedOff => "Fast Open is switched off for clients here",
            Self::Kernel => "this kernel lacks Fast Open for clients",
            Self::Platform => "Fast Open is not supported on this platform",
        })
    }
}

/// Why an attempt could not be started.
///
/// Converts into an [`io::Error`] of the same kind, with this error inside.
#[derive(Debug)]
pub struct ConnectError {
    step: Step,
    source: io::Error,
    no_fast_open: Option<NoFastOpen>,
}

impl ConnectError {
    pub(crate) fn new(step: Step, source: io::Error) -> Self {
        Self {
            step,
            source,
            no_fast_open: None,
        }
    }

    pub(crate) fn no_fast_open_because(step: Step, source: io::Error, why: NoFastOpen) -> Self {
        Self {
            step,
            source,
            no_fast_open: Some(why),
        }
    }

    /// The step that failed.
    pub fn step(&self) -> Step {
        self.step
    }

    /// The error of that step, as the system gave it.
    pub fn io_error(&self) -> &io::Error {
        &self.source
    }

    /// What sort of failure this is.
    pub fn class(&self) -> Class {
        match self.no_fast_open {
            Some(_) => Class::Unsupported,
            None => classify(&self.source),
        }
    }

    /// Set if the attempt failed because Fast Open cannot be had; no packet was sent then.
    pub fn no_fast_open(&self) -> Option<NoFastOpen> {
        self.no_fast_open
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.no_fast_open {
            Some(why) => write!(f, "{}: {why}: {}", self.step, self.source),
            None => write!(f, "{}: {}", self.step, self.source),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        Self::new(error.source.kind(), error)
    }
}

impl From<(Step, io::Error)> for ConnectError {
    fn from((step, source): (Step, io::Error)) -> Self {
        Self::new(step, source)
    }
}

/// Why a listener could not be opened.
///
/// Converts into an [`io::Error`] of the same kind, with this error inside.
#[derive(Debug)]
pub struct ListenError {
    step: Step,
    source: io::Error,
}

impl ListenError {
    /// The step that failed.
    pub fn step(&self) -> Step {
        self.step
    }

    /// The error of that step, as the system gave it.
    pub fn io_error(&self) -> &io::Error {
        &self.source
    }

    /// What sort of failure this is.
    pub fn class(&self) -> Class {
        classify(&self.source)
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.source)
    }
}

impl Error for ListenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

impl From<ListenError> for io::Error {
    fn from(error: ListenError) -> Self {
        Self::new(error.source.kind(), error)
    }
}

impl From<(Step, io::Error)> for ListenError {
    fn from((step, source): (Step, io::Error)) -> Self {
        Self { step, source }
    }
}

/// What a server should do after `accept` failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AfterAcceptError {
    /// One connection is lost, the listener is fine: accept again at once (or, after
    /// [`WouldBlock`](io::ErrorKind::WouldBlock), when the listener is next ready).
    Retry,
    /// The machine lacks something, or the error may last: accept again after a pause.
    BackOff,
    /// The listener is of no more use.
    Stop,
}

/// Tells the errors of `accept` that a server survives from those it does not.
///
/// Linux hands errors of the *new* connection out of `accept`, and advises to treat them like
/// "try again" (accept(2), "Error handling").
pub fn after_accept_error(error: &io::Error) -> AfterAcceptError {
    use io::ErrorKind as K;
    match error.kind() {
        K::WouldBlock | K::Interrupted => return AfterAcceptError::Retry,
        _ => {}
    }
    let protocol_error = error
        .raw_os_error()
        .is_some_and(|c| errno::ACCEPT_RETRY.contains(&c));
    match classify(error) {
        _ if protocol_error => AfterAcceptError::Retry,
        Class::Network => AfterAcceptError::Retry,
        Class::NoResources | Class::NotPermitted | Class::Unsupported => AfterAcceptError::BackOff,
        Class::Other => AfterAcceptError::Stop,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn os(code: i32) -> io::Error {
        io::Error::from_raw_os_error(code)
    }

    #[test]
    fn errors_are_sorted_by_what_they_mean() {
        for (code, class) in [
            (libc::EMFILE, Class::NoResources),
            (libc::ENFILE, Class::NoResources),
            (libc::ENOBUFS, Class::NoResources),
            (libc::ENOMEM, Class::NoResources),
            (libc::ENOSPC, Class::NoResources),
            (libc::EADDRNOTAVAIL, Class::NoResources),
            (libc::EADDRINUSE, Class::NoResources),
            (libc::EPERM, Class::NotPermitted),
            (libc::EACCES, Class::NotPermitted),
            (libc::ENOPROTOOPT, Class::Unsupported),
            (libc::EOPNOTSUPP, Class::Unsupported),
            (libc::EAFNOSUPPORT, Class::Unsupported),
            (libc::ECONNREFUSED, Class::Network),
            (libc::ECONNRESET, Class::Network),
            (libc::ENETUNREACH, Class::Network),
            (libc::EHOSTUNREACH, Class::Network),
            (libc::ETIMEDOUT, Class::Network),
            (libc::EINVAL, Class::Other),
            (libc::EBADF, Class::Other),
        ] {
            assert_eq!(classify(&os(code)), class, "{}", os(code));
        }
        assert_eq!(classify(&io::Error::other("a hook's")), Class::Other);
        assert_eq!(
            classify(&io::ErrorKind::Unsupported.into()),
            Class::Unsupported
        );
    }

    #[test]
    fn a_server_survives_what_it_can() {
        use AfterAcceptError::{BackOff, Retry, Stop};
        for (code, what) in [
            (libc::EAGAIN, Retry),
            (libc::EINTR, Retry),
            (libc::ECONNABORTED, Retry),
            (libc::EPROTO, Retry),
            (libc::ENETDOWN, Retry),
            (libc::EHOSTUNREACH, Retry),
            (libc::EMFILE, BackOff),
            (libc::ENFILE, BackOff),
            (libc::ENOBUFS, BackOff),
            (libc::ENOMEM, BackOff),
            (libc::ENOSPC, BackOff),
            (libc::EPERM, BackOff),
            (libc::EBADF, Stop),
            (libc::EINVAL, Stop),
            (libc::ENOTSOCK, Stop),
        ] {
            assert_eq!(after_accept_error(&os(code)), what, "{}", os(code));
        }
    }

    #[test]
    fn an_io_error_keeps_kind_and_cause() {
        let error = io::Error::from(ConnectError::new(Step::Connect, os(libc::ECONNREFUSED)));
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let inner = error
            .get_ref()
            .unwrap()
            .downcast_ref::<ConnectError>()
            .unwrap();
        assert_eq!(inner.step(), Step::Connect);
        assert_eq!(inner.io_error().raw_os_error(), Some(libc::ECONNREFUSED));
        assert!(error.to_string().starts_with("connect: "), "{error}");
    }
}
