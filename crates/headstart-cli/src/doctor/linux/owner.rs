//! Whose a listener is, and what it is set to: by its inode in `/proc/PID/fd`, and a copy of its
//! descriptor (`pidfd_getfd`, Linux 5.6), which is closed again at once.

use std::collections::HashMap;
use std::io;

use headstart_socket::ListenerSettings;
use procfs::process::{FDTarget, LimitValue, Process, all_processes};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// A process that holds a listener.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) pid: i32,
    pub(super) command: String,
    /// The listener's number in it.
    descriptor: i32,
    /// Descriptors that it has, and that it may have.
    pub(super) descriptors: usize,
    pub(super) limit: Option<u64>,
    /// The limit that it may not raise its own above.
    pub(super) hard_limit: Option<u64>,
}

impl Owner {
    /// What the listener is set to.
    pub(super) fn settings(&self) -> io::Result<ListenerSettings> {
        let pid = Pid::from_raw(self.pid).ok_or(io::ErrorKind::NotFound)?;
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        let copy = pidfd_getfd(process, self.descriptor, PidfdGetfdFlags::empty())?;
        ListenerSettings::of(&std::net::TcpListener::from(copy))
    }
}

/// The processes that hold these inodes, as far as this user may look: one for each inode, the
/// oldest.
pub(super) fn owners(inodes: &[u64]) -> HashMap<u64, Owner> {
    let mut found: HashMap<u64, Owner> = HashMap::new();
    let Ok(processes) = all_processes() else {
        return found;
    };
    for process in processes.flatten() {
        let Ok(descriptors) = process.fd() else {
            continue;
        };
        for descriptor in descriptors.flatten() {
            let FDTarget::Socket(inode) = descriptor.target else {
                continue;
            };
            if inodes.contains(&inode) {
                found
                    .entry(inode)
                    .or_insert_with(|| owner(&process, descriptor.fd));
            }
        }
        if found.len() == inodes.len() {
            break;
        }
    }
    found
}

fn owner(process: &Process, descriptor: i32) -> Owner {
    let limits = process.limits().ok().map(|limits| limits.max_open_files);
    let number = |limit| match limit {
        LimitValue::Value(limit) => Some(limit),
        LimitValue::Unlimited => None,
    };
    Owner {
        pid: process.pid,
        command: process.stat().map(|stat| stat.comm).unwrap_or_default(),
        descriptor,
        descriptors: process.fd_count().unwrap_or(0),
        limit: limits.and_then(|limits| number(limits.soft_limit)),
        hard_limit: limits.and_then(|limits| number(limits.hard_limit)),
    }
}
