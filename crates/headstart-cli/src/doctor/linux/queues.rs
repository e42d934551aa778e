//! How long backlogs and Fast Open queues may be, and how to let them be longer.

use headstart_socket::status;

use crate::doctor::finding::{Finding, Place};
use crate::netlink::{self, Listener};

pub(super) const SOMAXCONN: &str = "net.core.somaxconn";
/// Long enough for most servers, and the default of Linux since 5.4.
pub(super) const ENOUGH: u32 = 4_096;
/// No kernel cuts down what is no longer than that.
const LENGTH_MAX: u32 = 65_535;

/// Whether its program does not accept, and no more handshakes can end.
pub(super) fn is_full(listener: &Listener) -> bool {
    listener.waiting > 0 && listener.waiting >= listener.backlog
}

/// The length to ask for, for one that was filled at this length.
pub(super) fn longer_than(length: u32) -> u32 {
    length.saturating_mul(2).clamp(ENOUGH, LENGTH_MAX)
}

/// The length to ask for where it is not known how long those were that were filled.
pub(super) fn ample() -> u32 {
    let limit = status::somaxconn().unwrap_or(ENOUGH);
    limit.clamp(ENOUGH, LENGTH_MAX)
}

/// Adds the ways to have a backlog of this length.
pub(super) fn mend_backlog(finding: Finding, length: u32) -> Finding {
    let finding = finding
        .mend(
            Place::Program,
            format!(
                "listen(listener, {length}); nginx: listen 443 backlog={length}; \
                 haproxy: bind :443 backlog {length}"
            ),
        )
        .mend(
            Place::Systemd,
            format!("in the socket unit: Backlog={length}"),
        );
    allow(finding, length)
}

/// Adds the way to let queues be of this length, if they may not: by the one value that is enough for
/// every queue that is full, so that no remedy undoes another.
pub(super) fn allow(finding: Finding, length: u32) -> Finding {
    match status::somaxconn() {
        Ok(limit) if limit < length => {
            let all = netlink::listeners().unwrap_or_default();
            let full = all.iter().filter(|listener| is_full(listener));
            let wanted = full.map(|listener| longer_than(listener.backlog));
            let length = wanted.fold(length.max(ENOUGH), u32::max);
            finding.set(SOMAXCONN, &length.to_string())
        }
        Ok(_) | Err(_) => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_filled_is_only_ever_made_longer() {
        for (length, longer) in [(0, 4_096), (1, 4_096), (4_096, 8_192), (40_000, 65_535)] {
            assert_eq!(longer_than(length), longer);
        }
    }
}
