//! What doubled dials use up: ports, descriptors, conntrack entries; and how much a SYN holds.

use std::collections::HashMap;
use std::net::SocketAddr;

use rustix::process::{Resource, getrlimit};

use super::listeners::{DESCRIPTORS, more_descriptors};
use super::{number, sysctl, unread};
use crate::doctor::finding::{Finding, Place};
use crate::netlink::{self, Link};

const PORTS: &str = "net.ipv4.ip_local_port_range";
const REUSE: &str = "net.ipv4.tcp_tw_reuse";
const COUNT: &str = "net.netfilter.nf_conntrack_count";
const MAX: &str = "net.netfilter.nf_conntrack_max";
/// Fewer ephemeral ports than IANA's dynamic range (RFC 6335 section 6) are few.
const PORTS_MIN: u64 = 16_384;
/// A process that may have fewer descriptors cannot raise its limit to what servers need.
const DESCRIPTORS_MIN: u64 = 4_096;
/// Of so many hundredths in use, a limit is near.
const NEAR_PER_CENT: u64 = 80;
/// The least that IPv6 demands of a link (RFC 8200 section 5).
const MTU_MIN: u32 = 1_280;
/// What a SYN needs beside its data: two headers, IPv6's being the larger, and the largest options.
const SYN_OVERHEAD: u32 = 40 + 20 + 40;

pub(super) fn findings() -> Vec<Finding> {
    vec![
        ports(),
        time_wait_reuse(),
        descriptors(),
        conntrack(),
        mtu(),
    ]
}

/// Ephemeral ports limit the connections to each one destination.
fn ports() -> Finding {
    const NAME: &str = "ephemeral-ports";
    let range = match sysctl(PORTS) {
        Ok(range) => range,
        Err(error) => return unread(NAME, PORTS, &error),
    };
    let mut ends = range.split_whitespace().map(str::parse::<u16>);
    let (Some(Ok(first)), Some(Ok(last))) = (ends.next(), ends.next()) else {
        return Finding::unknown(NAME, format!("{PORTS} = {range}"), "Not two numbers.");
    };
    let count = u64::from(last.saturating_sub(first)) + 1;
    let mut used: HashMap<SocketAddr, u64> = HashMap::new();
    let counted = netlink::connections(|connection| {
        if (first..=last).contains(&connection.local.port()) {
            *used.entry(connection.peer).or_default() += 1;
        }
    });
    if let Err(error) = counted {
        return unread(NAME, "connections (sock_diag)", &error);
    }
    let busiest = used.into_iter().max_by_key(|(_, used)| *used);
    let (busiest, used) = match busiest {
        Some((peer, used)) => (format!("{used} in use to {peer}, TIME_WAIT included"), used),
        None => ("none in use".to_owned(), 0),
    };
    let found = format!(
        "{count} ephemeral ports to each destination ({PORTS} = {first} {last}); {busiest}"
    );
    let why = "A race takes two for a moment; none left is EADDRNOTAVAIL. What Headstart resets \
               leaves no TIME_WAIT, what programs close does for 60 s.";
    let finding = match used.saturating_mul(100) >= count.saturating_mul(NEAR_PER_CENT) {
        true => Finding::problem(NAME, found, why),
        false if count < PORTS_MIN => Finding::warning(NAME, found, why),
        false => return Finding::ok(NAME, found),
    };
    match wider(first, last) {
        Some((first, last)) => finding.set(PORTS, &format!("{first} {last}")),
        None => finding.mend(
            Place::Program,
            "dial from another local address too: each has all these ports again",
        ),
    }
}

/// A range that has all ports of this one and more, but not those of well-known services.
fn wider(first: u16, last: u16) -> Option<(u16, u16)> {
    const FIRST: u16 = 10_240;
    let wider = (first.min(FIRST), u16::MAX);
    (wider != (first, last)).then_some(wider)
}

fn time_wait_reuse() -> Finding {
    const NAME: &str = "time-wait-reuse";
    match number::<u32>(REUSE) {
        Ok(0) => Finding::warning(
            NAME,
            format!("{REUSE} = 0: a port in TIME_WAIT is not used for another dial"),
            "A client that closes first runs out of ports sooner. 1 is safe for dials (it needs \
             TCP timestamps); tcp_tw_recycle, which was not, is gone since Linux 4.12.",
        )
        .set(REUSE, "1"),
        Ok(1) => Finding::ok(
            NAME,
            format!("ports in TIME_WAIT are reused for dials ({REUSE} = 1)"),
        ),
        Ok(value) => Finding::ok(
            NAME,
            format!(
                "ports in TIME_WAIT are reused on loopback only ({REUSE} = {value}, the default)"
            ),
        ),
        Err(error) => unread(NAME, REUSE, &error),
    }
}

/// The limits of this process: what the shell that started it gives to others, too.
fn descriptors() -> Finding {
    const NAME: &str = "descriptors";
    let limit = getrlimit(Resource::Nofile);
    let shown = |limit: Option<u64>| limit.map_or_else(|| "no limit".to_owned(), |l| l.to_string());
    let found = format!(
        "programs started here may have {} descriptors, or {} if they ask",
        shown(limit.current),
        shown(limit.maximum)
    );
    match limit.maximum {
        Some(maximum) if maximum < DESCRIPTORS_MIN => {
            let finding = Finding::warning(
                NAME,
                found,
                "A race takes two for a moment, and a server one for every copy of a first \
                 message. Only root's shell may raise it, for what is started there.",
            );
            more_descriptors(finding, DESCRIPTORS)
                .mend(Place::Now, format!("ulimit -n {DESCRIPTORS}"))
        }
        _ => Finding::ok(NAME, found),
    }
}

fn conntrack() -> Finding {
    const NAME: &str = "conntrack";
    let (Ok(count), Ok(max)) = (number::<u64>(COUNT), number::<u64>(MAX)) else {
        return Finding::ok(NAME, "connections are not tracked here");
    };
    tracked(NAME, count, max)
}

fn tracked(name: &'static str, count: u64, max: u64) -> Finding {
    let found = format!("{count} of {max} connections tracked ({COUNT})");
    if max == 0 || count.saturating_mul(100) < max.saturating_mul(NEAR_PER_CENT) {
        return Finding::ok(name, found);
    }
    let why = "A full table drops new connections of everybody; a race takes two entries. Only the \
               host may make it larger.";
    Finding::problem(name, found, why).mend(
        Place::Now,
        format!("sysctl -w {MAX}={}", max.saturating_mul(4)),
    )
}

/// How much a SYN holds on the links of this namespace.
fn mtu() -> Finding {
    const NAME: &str = "mtu";
    match netlink::links() {
        Ok(links) => least_mtu(NAME, links),
        Err(error) => unread(NAME, "network interfaces", &error),
    }
}

fn least_mtu(name: &'static str, links: Vec<Link>) -> Finding {
    let links = links.into_iter().filter(|link| link.up && !link.loopback);
    let Some(least) = links.min_by_key(|link| link.mtu) else {
        return Finding::ok(name, "no interface but loopback is up");
    };
    let room = least.mtu.saturating_sub(SYN_OVERHEAD);
    let found = format!(
        "a SYN through {} (MTU {}) holds at least {room} bytes",
        least.name, least.mtu
    );
    if least.mtu >= MTU_MIN {
        return Finding::ok(name, found);
    }
    let why = "Less than the 1,280 that IPv6 demands: a TLS ClientHello hardly fits into one SYN, \
               and what does not fit waits for the handshake.";
    Finding::warning(name, found, why)
        .mend(Place::Now, format!("ip link set {} mtu 1500", least.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Status;

    #[test]
    fn a_full_conntrack_table_is_a_problem() {
        for (count, max, status) in [
            (0, 0, Status::Ok),
            (0, 262_144, Status::Ok),
            (79, 100, Status::Ok),
            (80, 100, Status::Problem),
            (262_144, 262_144, Status::Problem),
        ] {
            assert_eq!(
                tracked("conntrack", count, max).status,
                status,
                "{count} of {max}"
            );
        }
        let finding = tracked("conntrack", 90, 100);
        let command = &finding.remedies.first().unwrap().command;
        assert!(command.contains("nf_conntrack_max=400"), "{command}");
    }

    #[test]
    fn ranges_of_ports_are_only_ever_widened() {
        for (range, wider) in [
            ((32_768, 60_999), Some((10_240, 65_535))),
            ((1_024, 1_034), Some((1_024, 65_535))),
            ((1_024, 65_534), Some((1_024, 65_535))),
            ((10_241, 65_535), Some((10_240, 65_535))),
            ((10_240, 65_535), None),
            ((1_024, 65_535), None),
        ] {
            let (first, last) = range;
            assert_eq!(super::wider(first, last), wider, "{range:?}");
        }
    }

    #[test]
    fn the_least_mtu_of_what_is_up_counts() {
        let link = |name: &str, mtu, up, loopback| Link {
            name: name.to_owned(),
            mtu,
            up,
            loopback,
        };
        let mut links = vec![
            link("lo", 500, true, true),
            link("eth0", 1500, true, false),
            link("old0", 576, false, false),
        ];
        let finding = least_mtu("mtu", links.clone());
        assert_eq!(finding.status, Status::Ok);
        assert!(finding.found.contains("at least 1400 bytes"), "{finding:?}");
        links.push(link("tun0", 1000, true, false));
        let finding = least_mtu("mtu", links);
        assert_eq!(finding.status, Status::Warning);
        let command = &finding.remedies.first().unwrap().command;
        assert_eq!(command, "ip link set tun0 mtu 1500");
    }
}
