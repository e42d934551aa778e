//! Network namespaces, and threads that live in them.

use std::{fs::File, io, panic, thread};

use nix::sched::{CloneFlags, setns, unshare};

use crate::error::{Doing, LabError, Part};

/// A network namespace. It lives as long as this handle, a thread in it or a socket in it.
#[derive(Debug)]
pub(crate) struct Namespace {
    handle: File,
}

impl Namespace {
    /// Makes a new, empty namespace. The calling thread stays where it is.
    pub(crate) fn new() -> Result<Self, LabError> {
        in_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).needs(Part::NetworkNamespaces)?;
            // `/proc/self` would be the namespace of the process's first thread.
            let handle = File::open("/proc/thread-self/ns/net").needs(Part::Proc)?;
            Ok(Self { handle })
        })
        .doing("starting a thread")?
    }

    /// The namespace's file, for netlink messages that name it.
    pub(crate) fn handle(&self) -> &File {
        &self.handle
    }

    /// Moves the calling thread into the namespace, for good.
    pub(crate) fn enter(&self) -> io::Result<()> {
        Ok(setns(&self.handle, CloneFlags::CLONE_NEWNET)?)
    }

    /// Runs `body` on a thread of its own in the namespace and waits for it.
    /// A panic in it goes on in the caller.
    pub(crate) fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> io::Result<T> {
        in_a_thread(|| self.enter().map(|()| body()))?
    }
}

/// Runs `body` on a thread whose namespace is its own business.
fn in_a_thread<T: Send>(body: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, body)?;
        Ok(thread
            .join()
            .unwrap_or_else(|payload| panic::resume_unwind(payload)))
    })
}
