//! Why a lab cannot be had.

use std::{error::Error, fmt, io};

/// Why the process cannot enter, or a lab cannot be built.
///
/// Its words are for the person whose machine lacks something: they name the
/// missing part and, where one decides, the setting.
#[derive(Debug)]
#[non_exhaustive]
pub enum LabError {
    /// [`enter`](crate::enter) came after a second thread was started. The
    /// kernel moves only single-threaded processes into a user namespace.
    Threads {
        /// How many threads the process has.
        count: usize,
    },
    /// The process may not make namespaces and has not called
    /// [`enter`](crate::enter), or called it in vain.
    NotPermitted {
        /// The capabilities that are missing, for example `CAP_NET_ADMIN`.
        missing: String,
    },
    /// Something the kernel must provide is not there or not allowed.
    Missing {
        /// What is missing.
        part: Part,
        /// What to look at: the setting that decides, and its value.
        hint: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A setting of the builder is out of its range.
    Setting {
        /// Which, and its range.
        reason: &'static str,
    },
    /// A step failed for another reason, for example for lack of descriptors.
    Io {
        /// What was being done.
        doing: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A part of the kernel that the lab is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Part {
    /// `CLONE_NEWUSER`: lets an ordinary user make the other namespaces.
    UserNamespaces,
    /// `CLONE_NEWNET`.
    NetworkNamespaces,
    /// `/proc` with `/proc/thread-self/ns/net`.
    Proc,
    /// Routing netlink sockets.
    Netlink,
    /// The `veth` driver (`CONFIG_VETH`).
    Veth,
    /// `AF_PACKET` sockets (`CONFIG_PACKET`).
    PacketSockets,
    /// IPv6.
    Ipv6,
    /// A writable `/proc/sys/net`.
    Sysctl,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UserNamespaces => "user namespaces",
            Self::NetworkNamespaces => "network namespaces",
            Self::Proc => "a mounted /proc",
            Self::Netlink => "routing netlink",
            Self::Veth => "veth devices",
            Self::PacketSockets => "packet sockets",
            Self::Ipv6 => "IPv6",
            Self::Sysctl => "a writable /proc/sys/net",
        })
    }
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threads { count } => write!(
                f,
                "the process already has {count} threads; enter the lab first thing in main"
            ),
            Self::NotPermitted { missing } => {
                write!(
                    f,
                    "{missing} missing; run as root, or call enter() first thing in main"
                )
            }
            Self::Missing { part, hint, source } if hint.is_empty() => {
                write!(f, "the lab needs {part}: {source}")
            }
            Self::Missing { part, hint, source } => {
                write!(f, "the lab needs {part}: {source} ({hint})")
            }
            Self::Setting { reason } => f.write_str(reason),
            Self::Io { doing, source } => write!(f, "{doing}: {source}"),
        }
    }
}

impl Error for LabError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Missing { source, .. } | Self::Io { source, .. } => Some(source),
            Self::Threads { .. } | Self::NotPermitted { .. } | Self::Setting { .. } => None,
        }
    }
}

impl From<LabError> for io::Error {
    fn from(error: LabError) -> Self {
        let kind = match &error {
            LabError::Threads { .. } => io::ErrorKind::Other,
            LabError::NotPermitted { .. } => io::ErrorKind::PermissionDenied,
            LabError::Missing { .. } => io::ErrorKind::Unsupported,
            LabError::Setting { .. } => io::ErrorKind::InvalidInput,
            LabError::Io { source, .. } => source.kind(),
        };
        Self::new(kind, error)
    }
}

/// Says what was being done when an I/O error came.
pub(crate) trait Doing<T> {
    /// Turns the error into [`LabError::Io`].
    fn doing(self, what: &str) -> Result<T, LabError>;
    /// Turns the error into [`LabError::Missing`].
    fn needs(self, part: Part) -> Result<T, LabError>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: &str) -> Result<T, LabError> {
        self.map_err(|error| LabError::Io {
            doing: what.to_owned(),
            source: error.into(),
        })
    }

    fn needs(self, part: Part) -> Result<T, LabError> {
        self.map_err(|error| {
            let source = error.into();
            if is_scarcity(&source) {
                return LabError::Io {
                    doing: format!("setting up {part}"),
                    source,
                };
            }
            LabError::Missing {
                part,
                hint: String::new(),
                source,
            }
        })
    }
}

/// Whether the kernel has the thing but not enough of it just now.
fn is_scarcity(error: &io::Error) -> bool {
    use nix::errno::Errno;
    error.raw_os_error().is_some_and(|code| {
        matches!(
            Errno::from_raw(code),
            Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS
        )
    })
}
