//! The listeners of this namespace: their option, backlog and key.

use std::collections::HashMap;

use headstart_socket::{ListenerSettings, status};

use super::owner::{Owner, owners};
use super::queues::SOMAXCONN;
use super::settings::with_option;
use super::{number, queues, unread};
use crate::doctor::finding::{Finding, Place};
use crate::netlink::{self, Listener};

/// A shorter Fast Open queue is easily filled by others: a request that is reset before its
/// handshake ends holds its place for 60 s (RFC 7413 section 5.1).
const QUEUE_MIN: u32 = 16;
/// A shorter backlog overflows at the bursts that busy services see. `SOMAXCONN` of old C libraries.
const BACKLOG_MIN: u32 = 128;
/// A process that may have no more descriptors serves no more than half as many raced clients.
const DESCRIPTORS_MIN: u64 = 1024;
/// `fs.nr_open` of kernels that are left as they are.
const OPEN_MAX: u64 = 1 << 20;
/// As many are enough for most servers.
pub(super) const DESCRIPTORS: u64 = 65_536;
/// Of so many hundredths in use, a limit is near.
const NEAR_PER_CENT: u64 = 80;

/// Of one port, or, without, of all ports whose listeners have the option.
pub(super) fn findings(port: Option<u16>) -> Vec<Finding> {
    let mut findings = vec![somaxconn()];
    let all = match netlink::listeners() {
        Ok(all) => all,
        Err(error) => {
            findings.push(unread("listener", "listening sockets (sock_diag)", &error));
            return findings;
        }
    };
    let wanted = |listener: &&Listener| port.is_none_or(|port| listener.address.port() == port);
    let listeners: Vec<_> = all.iter().filter(wanted).copied().collect();
    let inodes: Vec<_> = listeners.iter().map(|listener| listener.inode).collect();
    let owners = owners(&inodes);
    match port {
        Some(port) => findings.extend(of_port(port, &listeners, &owners)),
        None => findings.push(overview(&listeners, &owners)),
    }
    findings
}

fn somaxconn() -> Finding {
    const NAME: &str = "somaxconn";
    match status::somaxconn() {
        Ok(limit) if limit < BACKLOG_MIN => {
            let finding = Finding::warning(
                NAME,
                format!("{SOMAXCONN} = {limit}: no backlog and no Fast Open queue can be longer"),
                "Whatever programs ask for is cut down to it; doubled dials fill it twice as fast.",
            );
            queues::allow(finding, queues::ENOUGH)
        }
        Ok(limit) => Finding::ok(
            NAME,
            format!("backlogs and Fast Open queues of up to {limit}"),
        ),
        Err(error) => unread(NAME, SOMAXCONN, &error),
    }
}

/// Which listeners have the option, where no port was asked for.
fn overview(listeners: &[Listener], owners: &HashMap<u64, Owner>) -> Finding {
    const NAME: &str = "listeners";
    let (mut with, mut unseen) = (Vec::new(), 0_usize);
    for listener in listeners {
        match owners.get(&listener.inode).map(Owner::settings) {
            Some(Ok(settings)) if settings.queue > 0 => with.push(listener.address.to_string()),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => unseen += 1,
        }
    }
    let all = listeners.len();
    let with = match with.as_slice() {
        [] => "none seen".to_owned(),
        some => some.join(", "),
    };
    let unseen = match unseen {
        0 => String::new(),
        unseen => format!(" ({unseen} could not be looked into: root with CAP_SYS_PTRACE may)"),
    };
    Finding::ok(
        NAME,
        format!("{all} listening sockets, with the Fast Open option: {with}{unseen}"),
    )
}

fn of_port(port: u16, listeners: &[Listener], owners: &HashMap<u64, Owner>) -> Vec<Finding> {
    if listeners.is_empty() {
        let finding = Finding::problem(
            "listener",
            format!("nothing listens on port {port} in this network namespace"),
            "A server in a container listens in the container's namespace: look there.",
        );
        let inside = format!("headstart doctor --port {port}");
        return vec![
            finding
                .mend(Place::Now, format!("nsenter --net --target PID {inside}"))
                .mend(
                    Place::Docker,
                    format!(
                        "nsenter --net --target \"$(docker inspect -f '{{{{.State.Pid}}}}' NAME)\" {inside}"
                    ),
                ),
        ];
    }
    let mut findings = Vec::new();
    let mut keys = Vec::new();
    for listener in listeners {
        let owner = owners.get(&listener.inode);
        findings.push(backlog(listener, owner));
        match owner.map(|owner| (owner, owner.settings())) {
            Some((_, Ok(settings))) => {
                findings.extend(option(listener, &settings));
                if settings.queue > 0 {
                    keys.push(settings.key);
                }
            }
            Some((_, Err(error))) => findings.push(unseen(listener, &error.to_string())),
            None => findings.push(unseen(listener, "its process is not visible")),
        }
        findings.extend(owner.map(descriptors));
    }
    if keys
        .windows(2)
        .any(|pair| matches!(pair, [one, other] if one != other))
    {
        findings.push(
            Finding::problem(
                "listener-keys",
                format!(
                    "{} listeners share port {port}, with different cookie keys",
                    keys.len()
                ),
                "A cookie from one is refused by the next, so every other dial loses its data in \
                 the SYN. Give all the same key, or none a key of its own.",
            )
            .mend(
                Place::Program,
                "setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, 16) with the same key",
            ),
        );
    }
    findings.push(open_connections(port));
    findings
}

fn named(listener: &Listener, owner: Option<&Owner>) -> String {
    match owner {
        Some(owner) => format!(
            "{} ({}, pid {})",
            listener.address, owner.command, owner.pid
        ),
        None => listener.address.to_string(),
    }
}

fn backlog(listener: &Listener, owner: Option<&Owner>) -> Finding {
    const NAME: &str = "backlog";
    let (waiting, limit) = (listener.waiting, listener.backlog);
    let found = format!("{}: {waiting} of {limit} waiting", named(listener, owner));
    if queues::is_full(listener) {
        let why = "The accept queue is full now: the program does not accept, and further \
                   handshakes are dropped. A client waits for its retransmission.";
        return longer_backlog(Finding::problem(NAME, found, why), limit);
    }
    if limit < BACKLOG_MIN {
        let why = "Doubled dials fill a short backlog twice as fast; a handshake that ends while it \
                   is full is dropped.";
        return longer_backlog(Finding::warning(NAME, found, why), limit);
    }
    Finding::ok(NAME, found)
}

/// Where none can be longer, the program has to accept.
fn longer_backlog(finding: Finding, limit: u32) -> Finding {
    match queues::longer_than(limit) {
        length if length > limit => queues::mend_backlog(finding, length),
        _ => finding,
    }
}

fn option(listener: &Listener, settings: &ListenerSettings) -> Vec<Finding> {
    const NAME: &str = "listener-option";
    let address = listener.address;
    let mut findings = vec![match settings.queue {
        0 => with_option(Finding::problem(
            NAME,
            format!("{address} has no Fast Open: its queue (TCP_FASTOPEN) is 0"),
            "The kernel gives no cookie and takes no data in a SYN on this port.",
        )),
        queue if queue < QUEUE_MIN => with_option(Finding::warning(
            NAME,
            format!("{address} has a Fast Open queue of only {queue}"),
            "So many may be accepted before their handshake has ended; one that is reset before \
             holds its place for 60 s. Beyond it, requests get an ordinary handshake.",
        )),
        queue => {
            let key = match settings.key {
                Some(_) => "a cookie key of its own",
                None => "the namespace's cookie key",
            };
            Finding::ok(
                NAME,
                format!("{address} has Fast Open, queue {queue}, {key}"),
            )
        }
    }];
    if settings.without_cookie {
        findings.push(
            Finding::problem(
                "listener-without-cookie",
                format!(
                    "{address} accepts data in a SYN without a cookie (TCP_FASTOPEN_NO_COOKIE)"
                ),
                "Whoever forges a source address has this server send answers there: an \
                 amplification attack (RFC 7413 section 5.1).",
            )
            .mend(
                Place::Program,
                "setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 0)",
            ),
        );
    }
    findings
}

fn unseen(listener: &Listener, reason: &str) -> Finding {
    Finding::unknown(
        "listener-option",
        format!(
            "{}: whether it has Fast Open cannot be seen: {reason}",
            listener.address
        ),
        "The kernel tells it only to who holds the socket. Root with CAP_SYS_PTRACE can borrow it \
         (Linux 5.6): run the doctor as root; or dial it: headstart probe HOST:PORT.",
    )
}

fn descriptors(owner: &Owner) -> Finding {
    const NAME: &str = "listener-descriptors";
    let Some(limit) = owner.limit else {
        let found = format!(
            "{} (pid {}) has no limit of descriptors",
            owner.command, owner.pid
        );
        return Finding::ok(NAME, found);
    };
    let used = u64::try_from(owner.descriptors).unwrap_or(u64::MAX);
    let found = format!(
        "{} (pid {}) has {used} of {limit} descriptors",
        owner.command, owner.pid
    );
    let near = used.saturating_mul(100) >= limit.saturating_mul(NEAR_PER_CENT);
    let finding = match (near, limit < DESCRIPTORS_MIN) {
        (true, _) => Finding::problem(
            NAME,
            found,
            "It will soon be unable to accept (EMFILE). Every raced client takes two for a moment.",
        ),
        (false, true) => Finding::warning(
            NAME,
            found,
            "Every raced client takes two for a moment: it serves few at a time.",
        ),
        (false, false) => return Finding::ok(NAME, found),
    };
    let most = number("fs.nr_open").unwrap_or(OPEN_MAX);
    let Some(wanted) = more_than(limit, most) else {
        return finding;
    };
    let limits = limits(wanted, owner.hard_limit);
    more_descriptors(finding, wanted).mend(
        Place::Now,
        format!("prlimit --pid {} --nofile={limits}", owner.pid),
    )
}

/// The limit to set in place of one that is too low, where no process may have more than `most`.
fn more_than(limit: u64, most: u64) -> Option<u64> {
    let wanted = limit.saturating_mul(2).max(DESCRIPTORS).min(most);
    (wanted > limit).then_some(wanted)
}

/// As `prlimit` takes it. The hard limit is never lowered.
fn limits(wanted: u64, hard: Option<u64>) -> String {
    match hard {
        Some(hard) if hard < wanted => format!("{wanted}:{wanted}"),
        Some(_) | None => format!("{wanted}:"),
    }
}

/// How to let a program have so many descriptors.
pub(super) fn more_descriptors(finding: Finding, wanted: u64) -> Finding {
    finding
        .mend(Place::Systemd, format!("in the unit: LimitNOFILE={wanted}"))
        .mend(
            Place::Docker,
            format!("docker run --ulimit nofile={wanted}:{wanted} ..."),
        )
        .mend(
            Place::Boot,
            format!("echo '* - nofile {wanted}' >> /etc/security/limits.d/60-headstart.conf"),
        )
}

/// How the connections that are open now came.
fn open_connections(port: u16) -> Finding {
    const NAME: &str = "connections";
    let (mut open, mut by_fast_open) = (0_u64, 0_u64);
    let counted = netlink::connections(|connection| {
        if connection.local.port() == port {
            open += 1;
            by_fast_open += u64::from(connection.syn_data);
        }
    });
    match counted {
        Ok(()) => Finding::ok(
            NAME,
            format!(
                "of {open} connections on port {port}, {by_fast_open} brought data in their SYN"
            ),
        ),
        Err(error) => unread(NAME, "connections (sock_diag)", &error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_descriptors_are_only_ever_raised() {
        for (limit, wanted) in [
            (100, Some(65_536)),
            (100_000, Some(200_000)),
            (1_000_000, Some(OPEN_MAX)),
            (OPEN_MAX, None),
            (OPEN_MAX * 2, None),
        ] {
            assert_eq!(more_than(limit, OPEN_MAX), wanted, "{limit}");
        }
        assert_eq!(limits(65_536, Some(1_024)), "65536:65536");
        assert_eq!(limits(65_536, Some(100_000)), "65536:");
        assert_eq!(limits(65_536, None), "65536:");
    }
}
