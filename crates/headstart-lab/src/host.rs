//! A machine of the lab: a place where threads run.

use std::{
    fs, io,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use crate::namespace::Namespace;

/// A machine of the lab: the client or one of the servers.
///
/// It is a network namespace with an interface `eth0` and a loopback of its
/// own. Cloning gives another handle to the same machine; it lives as long as a
/// handle, a thread or a socket in it, even after the [`Lab`](crate::Lab) is
/// gone (the wire is then cut).
#[derive(Debug, Clone)]
pub struct Host {
    name: &'static str,
    namespace: Arc<Namespace>,
}

impl Host {
    pub(crate) fn new(name: &'static str, namespace: Namespace) -> Self {
        Self {
            name,
            namespace: Arc::new(namespace),
        }
    }

    /// Its name: `client`, `server` or `second-server`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Starts a thread on this machine.
    ///
    /// Sockets it opens, and threads and processes it starts, are on this
    /// machine too; so is an async runtime that is built inside.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started or cannot enter the namespace.
    pub fn spawn<T, F>(&self, body: F) -> io::Result<JoinHandle<T>>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        // Entering is tried on a thread that may fail, so that the one handed
        // out always has a result: it inherits the namespace of its parent.
        let (started, start) = mpsc::sync_channel(1);
        let namespace = Arc::clone(&self.namespace);
        let name = format!("lab-{}", self.name);
        thread::Builder::new().spawn(move || {
            let thread = namespace
                .enter()
                .and_then(|()| thread::Builder::new().name(name).spawn(body));
            // The caller waits for exactly this message.
            let _ = started.send(thread);
        })?;
        start
            .recv()
            .unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }

    /// Runs `body` on this machine, on a thread of its own, and waits for it.
    ///
    /// It may borrow from the caller. A panic in it goes on in the caller.
    ///
    /// # Errors
    ///
    /// If the thread cannot enter the namespace.
    pub fn run<T, F>(&self, body: F) -> io::Result<T>
    where
        T: Send,
        F: FnOnce() -> T + Send,
    {
        self.namespace.run(body)
    }

    /// Sets `net.ipv4.tcp_fastopen` of this machine (it rules IPv6 too).
    ///
    /// Bits: 0x1 client, 0x2 server, 0x4 client sends data without a cookie,
    /// 0x200 server accepts data without a cookie, 0x400 every listener, without
    /// the socket option (kernel: `networking/ip-sysctl.rst`). The lab starts
    /// with 0x1 on the client and 0x3 on the servers.
    ///
    /// # Errors
    ///
    /// Those of [`Host::set_sysctl`].
    pub fn set_fast_open(&self, bits: u32) -> io::Result<()> {
        self.set_sysctl("net.ipv4.tcp_fastopen", &format!("{bits:#x}"))
    }

    /// Sets a network setting of this machine, for example `net.ipv4.tcp_syn_retries`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the name is not one of `net.` with dots between its
    /// parts; otherwise what the kernel says: `NotFound`, `PermissionDenied` for
    /// settings that are not per namespace, `InvalidInput` for a bad value.
    pub fn set_sysctl(&self, name: &str, value: &str) -> io::Result<()> {
        let path = sysctl_path(name)?;
        self.run(|| fs::write(path, value))?
    }

    /// Reads a network setting of this machine, without its line end.
    ///
    /// # Errors
    ///
    /// As [`Host::set_sysctl`].
    pub fn sysctl(&self, name: &str) -> io::Result<String> {
        let path = sysctl_path(name)?;
        let text = self.run(|| fs::read_to_string(path))??;
        Ok(text.trim_end().to_owned())
    }
}

/// The file of a setting below `/proc/sys/net`.
fn sysctl_path(name: &str) -> io::Result<String> {
    let mut parts = name.split('.');
    let is_word = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    if parts.next() != Some("net") || !parts.all(is_word) {
        let reason = format!("not a network setting: {name}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    Ok(format!("/proc/sys/{}", name.replace('.', "/")))
}

#[cfg(test)]
mod tests {
    use super::sysctl_path;

    #[test]
    fn a_setting_is_below_net() {
        assert_eq!(
            sysctl_path("net.ipv4.tcp_fastopen").unwrap(),
            "/proc/sys/net/ipv4/tcp_fastopen"
        );
        for bad in [
            "kernel.hostname",
            "net",
            "net..x",
            "net./etc/passwd",
            "net.ipv4.../x",
            "",
        ] {
            // `net` alone names a folder; the kernel refuses it when it is opened.
            assert_eq!(sysctl_path(bad).is_ok(), bad == "net", "{bad}");
        }
    }
}
