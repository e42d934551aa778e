//! What the kernel has counted in this namespace, and what that implies.

use headstart_socket::status::{Counters, FastOpenSysctl};

use super::settings::mend_switches;
use super::{queues, unread};
use crate::doctor::finding::{Finding, Place};
use crate::output::times;

/// Below so many events nothing is concluded from how few of another kind there are.
const ENOUGH: u64 = 5;
/// A failure in so many is worth a look.
const ONE_IN: u64 = 10;

pub(super) fn findings() -> Vec<Finding> {
    let counters = match Counters::read() {
        Ok(counters) => counters,
        Err(error) => return vec![unread("dialled", "the counters (TcpExt)", &error)],
    };
    let serves = FastOpenSysctl::read().is_ok_and(FastOpenSysctl::server);
    vec![
        dialled(&counters),
        accepted(&counters, serves),
        refused_cookies(&counters),
        queue_overflow(&counters),
        listen_overflow(&counters),
    ]
}

fn dialled(counters: &Counters) -> Finding {
    const NAME: &str = "dialled";
    let (good, bad) = (
        counters.active.unwrap_or(0),
        counters.active_fail.unwrap_or(0),
    );
    let found = format!(
        "data in the SYN was acknowledged {} (TCPFastOpenActive), sent in vain {} \
         (TCPFastOpenActiveFail)",
        times(good),
        times(bad)
    );
    match (good, bad) {
        (0, 0) => Finding::ok(NAME, "nothing was dialled with data in the SYN so far"),
        (good, bad) if bad < ENOUGH || !one_in(bad, good) => Finding::ok(NAME, found),
        _ => Finding::warning(
            NAME,
            found,
            "On the way to some server SYNs with data, or the option in them, are dropped or \
             stripped, or its cookie key changed. Which path it is: `cookies` below, and",
        )
        .mend(Place::Now, "headstart probe HOST:PORT"),
    }
}

fn accepted(counters: &Counters, serves: bool) -> Finding {
    const NAME: &str = "accepted";
    let (asked, came) = (
        counters.cookie_requests.unwrap_or(0),
        counters.passive.unwrap_or(0),
    );
    let found = format!(
        "clients asked for a cookie {} (TCPFastOpenCookieReqd), came with data in the SYN {} \
         (TCPFastOpenPassive)",
        times(asked),
        times(came)
    );
    match (asked, came) {
        (0, 0) => Finding::ok(NAME, "no client has asked for Fast Open so far"),
        (1.., 0) if !serves => mend_switches(Finding::warning(
            NAME,
            found,
            "They asked in vain: bit 0x2 of net.ipv4.tcp_fastopen is missing (server-switch).",
        )),
        (ENOUGH.., 0) => Finding::warning(
            NAME,
            found,
            "Cookies went out, and nobody came back with one: clients that dial once only, \
             whose address changes, or on whose way SYNs with data are dropped or stripped. \
             Or the listeners have no option. Dial from outside:",
        )
        .mend(Place::Now, "headstart probe HOST:PORT"),
        _ => Finding::ok(NAME, found),
    }
}

fn refused_cookies(counters: &Counters) -> Finding {
    const NAME: &str = "refused-cookies";
    let (bad, good) = (
        counters.passive_fail.unwrap_or(0),
        counters.passive.unwrap_or(0),
    );
    let found = format!("{bad} came with a cookie that is not ours (TCPFastOpenPassiveFail)");
    if bad < ENOUGH || !one_in(bad, good) {
        return Finding::ok(NAME, found);
    }
    Finding::warning(
        NAME,
        found,
        "Servers behind one address have different keys, or the key was changed without keeping \
         the old one as backup. Each costs the client its data in the SYN. Set the same on every \
         server; a new one: od -An -N16 -tx4 /dev/urandom | sed 's/^ //; s/ /-/g'",
    )
    .mend(Place::Now, "sysctl -w net.ipv4.tcp_fastopen_key=NEW,OLD")
    .mend(
        Place::Program,
        "headstart gate, or TCP_FASTOPEN_KEY with the same key on every server",
    )
}

fn queue_overflow(counters: &Counters) -> Finding {
    const NAME: &str = "queue-overflow";
    let length = queues::ample();
    let finding = match counters.listen_overflow.unwrap_or(0) {
        0 => {
            return Finding::ok(
                NAME,
                "the Fast Open queue was never full (TCPFastOpenListenOverflow)",
            );
        }
        count => Finding::warning(
            NAME,
            format!(
                "the Fast Open queue was full {} (TCPFastOpenListenOverflow)",
                times(count)
            ),
            "Requests then get an ordinary handshake, and lose the round trip. A request that is \
             reset before its handshake ends holds its place for 60 s, so an attacker can fill it.",
        )
        .mend(
            Place::Program,
            format!(
                "setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN, {length}); nginx: listen 443 \
                 fastopen={length}"
            ),
        ),
    };
    queues::allow(finding, length)
}

fn listen_overflow(counters: &Counters) -> Finding {
    const NAME: &str = "listen-overflow";
    let drops = counters.listen_drops.unwrap_or(0);
    let finding = match counters.listen_overflows.unwrap_or(0) {
        0 => {
            return Finding::ok(
                NAME,
                format!("no backlog was ever full (ListenOverflows 0, ListenDrops {drops})"),
            );
        }
        count => Finding::warning(
            NAME,
            format!(
                "a backlog was full {} (ListenOverflows; ListenDrops {drops})",
                times(count)
            ),
            "Handshakes were dropped; their clients waited a second or more. Doubled dials fill it \
             twice as fast. The program must accept faster, or listen with a longer backlog.",
        ),
    };
    queues::mend_backlog(finding, queues::ample())
}

/// Whether at least one in so many failed.
fn one_in(bad: u64, good: u64) -> bool {
    bad > 0 && bad.saturating_mul(ONE_IN) >= bad.saturating_add(good)
}
