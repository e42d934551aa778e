//! Limits of the process.

/// Allows as many descriptors as the system lets the process have: each
/// connection takes one, and the usual limit of 1,024 is for programs that
/// call `select`. Where it fails, the command lives with fewer.
#[cfg(unix)]
pub(crate) fn raise_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

#[cfg(not(unix))]
pub(crate) fn raise_descriptors() {}
