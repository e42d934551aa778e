//! Whether anybody listens.

use std::fs;
use std::io;

use crate::netlink;

/// `TCP_LISTEN` of the kernel's `include/net/tcp_states.h`, as the tables show it.
const LISTEN: &str = "0A";

/// Whether a TCP socket listens in the network namespace of this thread.
pub(super) fn is_listening() -> io::Result<bool> {
    match netlink::listeners() {
        Ok(listeners) => Ok(!listeners.is_empty()),
        // A kernel without `sock_diag`. Reading these takes as long as the machine's tables are.
        Err(_) => is_in_tables(),
    }
}

fn is_in_tables() -> io::Result<bool> {
    for table in ["tcp", "tcp6"] {
        let text = match fs::read_to_string(format!("/proc/thread-self/net/{table}")) {
            Ok(text) => text,
            // No IPv6 here.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let state = |line: &str| line.split_whitespace().nth(3) == Some(LISTEN);
        if text.lines().skip(1).any(state) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_is_seen_either_way() {
        let _listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(is_listening().unwrap());
        assert!(is_in_tables().unwrap());
    }
}
