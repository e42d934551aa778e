//! The way in: the rights that a lab needs, and what to say without them.

use std::{fs, io};

use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
    unistd::{getegid, geteuid},
};

use crate::{
    error::{Doing, LabError, Part},
    lab::Lab,
};

/// The environment variable that makes [`skip_or_fail`] fail when it is `1`.
pub const REQUIRE_LAB: &str = "HEADSTART_REQUIRE_LAB";

/// The capabilities the lab needs, with their bits (`linux/capability.h`).
const NEEDED: [(&str, u32); 3] = [
    ("CAP_NET_ADMIN", 12),
    ("CAP_NET_RAW", 13),
    ("CAP_SYS_ADMIN", 21),
];

/// Settings that can forbid user namespaces: Linux, Debian, Ubuntu.
const USER_NAMESPACE_SETTINGS: [(&str, &str); 3] = [
    (
        "user.max_user_namespaces",
        "/proc/sys/user/max_user_namespaces",
    ),
    (
        "kernel.unprivileged_userns_clone",
        "/proc/sys/kernel/unprivileged_userns_clone",
    ),
    (
        "kernel.apparmor_restrict_unprivileged_userns",
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    ),
];

/// Gives the process the rights that a lab needs.
///
/// With `CAP_SYS_ADMIN`, `CAP_NET_ADMIN` and `CAP_NET_RAW` it does nothing, nor
/// when called again. Otherwise it moves the process into a user namespace of
/// its own, where its user appears as root: it can then make network namespaces
/// but has no new right over anything outside, and files belong to whom they
/// did. This cannot be undone. Supplementary groups are dropped for good.
///
/// Call it first thing in `main`, before any thread is started (so a test needs
/// `harness = false`).
///
/// # Errors
///
/// [`LabError::Threads`] if it is too late, and [`LabError::Missing`] with
/// [`Part::UserNamespaces`] and the setting to look at if the system does not
/// allow user namespaces.
pub fn enter() -> Result<(), LabError> {
    if missing_capabilities()?.is_empty() {
        return Ok(());
    }
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(no_user_namespace)?;
    // Only a process that gave up changing its groups may map one.
    let mapped = fs::write("/proc/self/setgroups", "deny")
        .and_then(|()| fs::write("/proc/self/uid_map", format!("0 {uid} 1")))
        .and_then(|()| fs::write("/proc/self/gid_map", format!("0 {gid} 1")));
    mapped.map_err(|source| LabError::Missing {
        part: Part::UserNamespaces,
        hint: format!("mapping the user failed; {}", settings()),
        source,
    })?;
    require_capabilities().map_err(|error| LabError::Missing {
        part: Part::UserNamespaces,
        hint: settings(),
        source: io::Error::new(io::ErrorKind::PermissionDenied, error.to_string()),
    })
}

/// Builds a lab and takes it down again: can this process have one?
///
/// # Errors
///
/// Those of [`LabBuilder::build`](crate::LabBuilder::build).
pub fn check() -> Result<(), LabError> {
    Lab::builder().build().map(drop)
}

/// For tests: prints `skipped: <why>` and returns, or panics where the lab is required.
///
/// # Panics
///
/// If the environment variable [`REQUIRE_LAB`] is `1`. Set it where the lab is
/// known to work, so that no test is skipped for ever unseen.
#[allow(clippy::panic)] // A test that may not be skipped fails by panicking.
pub fn skip_or_fail(error: &LabError) {
    if std::env::var_os(REQUIRE_LAB).is_some_and(|value| value == "1") {
        panic!("the lab is required ({REQUIRE_LAB}=1): {error}");
    }
    println!("skipped: {error}");
}

/// Fails unless the process has all the capabilities that a lab needs.
pub(crate) fn require_capabilities() -> Result<(), LabError> {
    let missing = missing_capabilities()?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(LabError::NotPermitted {
        missing: missing.join(", "),
    })
}

/// The needed capabilities that the calling thread does not have.
fn missing_capabilities() -> Result<Vec<&'static str>, LabError> {
    let status = fs::read_to_string("/proc/thread-self/status").needs(Part::Proc)?;
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
        .needs(Part::Proc)?;
    let lacks = |(name, bit): &(&'static str, u32)| (effective >> bit & 1 == 0).then_some(*name);
    Ok(NEEDED.iter().filter_map(lacks).collect())
}

/// Says why the kernel refused a user namespace.
fn no_user_namespace(errno: Errno) -> LabError {
    let count = threads();
    if errno == Errno::EINVAL && count > 1 {
        return LabError::Threads { count };
    }
    let hint = match errno {
        Errno::EINVAL => "the kernel was built without CONFIG_USER_NS".to_owned(),
        Errno::EPERM => format!("{}; a container's seccomp filter or a chroot", settings()),
        _ => settings(),
    };
    LabError::Missing {
        part: Part::UserNamespaces,
        hint,
        source: errno.into(),
    }
}

/// How many threads this process has; 0 if `/proc` does not say.
fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(0, |tasks| tasks.count())
}

/// The settings that can forbid user namespaces, with their values.
fn settings() -> String {
    let found: Vec<String> = USER_NAMESPACE_SETTINGS
        .iter()
        .filter_map(|(name, path)| {
            let value = fs::read_to_string(path).ok()?;
            Some(format!("{name} = {}", value.trim()))
        })
        .collect();
    format!("look at {}", found.join(", "))
}
