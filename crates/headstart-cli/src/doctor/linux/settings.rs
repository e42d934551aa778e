//! Settings of the kernel that let Fast Open work, or make it dangerous.

use headstart_socket::status::{Counters, FastOpenSysctl, blackhole_timeout};

use super::{number, sysctl, unread};
use crate::doctor::finding::{Finding, Place};
use crate::output::times;

const FAST_OPEN: &str = "net.ipv4.tcp_fastopen";
const BLACK_HOLE: &str = "net.ipv4.tcp_fastopen_blackhole_timeout_sec";
const KEY: &str = "net.ipv4.tcp_fastopen_key";
const SYN_COOKIES: &str = "net.ipv4.tcp_syncookies";

/// With a port, this is about a server on it; without, about clients first.
pub(super) fn findings(port: Option<u16>) -> Vec<Finding> {
    let mut findings = Vec::new();
    match FastOpenSysctl::read() {
        Ok(bits) => findings.extend(switches(bits, port.is_some())),
        Err(error) => findings.push(unread("client-switch", FAST_OPEN, &error)),
    }
    findings.push(black_hole());
    findings.push(cookie_key());
    findings.push(syn_cookies());
    findings
}

fn switches(bits: FastOpenSysctl, serves: bool) -> Vec<Finding> {
    let value = format!("{FAST_OPEN} = {:#x}", bits.bits());
    let mut findings = vec![
        match bits.client() {
            true => Finding::ok("client-switch", format!("this side may dial with Fast Open ({value})")),
            false => judge(!serves)(
                "client-switch",
                format!("this side may not dial with Fast Open: {value} lacks 0x1"),
                "Every dial is plain; asking for Fast Open fails with EOPNOTSUPP.",
            )
            .set(FAST_OPEN, &mended(bits)),
        },
        match bits.server() {
            true => Finding::ok("server-switch", format!("listeners may accept Fast Open ({value})")),
            false => judge(serves)(
                "server-switch",
                format!("listeners may not accept Fast Open: {value} lacks 0x2"),
                "Setting the option on a listener succeeds all the same, and clients get no cookie. \
                 Needed where this namespace has a server; a client alone does without.",
            )
            .set(FAST_OPEN, &mended(bits)),
        },
    ];
    if bits.client_without_cookie() {
        let finding = Finding::warning(
            "client-without-cookie",
            format!("{value} has 0x4: data is sent in the SYN even without a cookie"),
            "Servers throw it away unless they are set to take it, and the data in the SYN is \
             then sent twice. No cookie is asked for, so Fast Open never begins.",
        );
        findings.push(finding.set(FAST_OPEN, &mended(bits)));
    }
    if bits.server_without_cookie() {
        let finding = Finding::problem(
            "server-without-cookie",
            format!("{value} has 0x200: data in a SYN is accepted without a cookie"),
            "Whoever forges a source address has this machine send answers there: an amplification \
             attack (RFC 7413 section 5.1). And clients get no cookie then, so Fast Open never begins.",
        );
        findings.push(finding.set(FAST_OPEN, &mended(bits)));
    }
    if bits.all_listeners() {
        let finding = Finding::warning(
            "all-listeners",
            format!("{value} has 0x400: every listener does Fast Open, asked or not"),
            "Programs that know nothing of it can be given the same request twice (RFC 7413 \
             section 6.1). Set the option on the listeners that are meant to have it.",
        );
        findings.push(finding.set(FAST_OPEN, &mended(bits)));
    }
    findings
}

/// Adds the ways to mend the switches.
pub(in crate::doctor) fn mend_switches(finding: Finding) -> Finding {
    match FastOpenSysctl::read() {
        Ok(bits) => finding.set(FAST_OPEN, &mended(bits)),
        Err(_) => finding,
    }
}

/// The one value that mends whatever is wrong, so that no remedy undoes another.
fn mended(bits: FastOpenSysctl) -> String {
    const NEEDED: u32 = 0x1 | 0x2;
    const BAD: u32 = 0x4 | 0x200 | 0x400;
    ((bits.bits() | NEEDED) & !BAD).to_string()
}

type Judge = fn(&'static str, String, &str) -> Finding;

/// A problem if it concerns what this namespace is for, else a warning.
fn judge(concerns: bool) -> Judge {
    match concerns {
        true => |name, found, why| Finding::problem(name, found, why),
        false => |name, found, why| Finding::warning(name, found, why),
    }
}

/// Whether the kernel is pausing just now shows in the exchange on loopback.
fn black_hole() -> Finding {
    const NAME: &str = "black-hole";
    let timeout = match blackhole_timeout() {
        Ok(timeout) => timeout,
        Err(error) => return unread(NAME, BLACK_HOLE, &error),
    };
    let suspected = Counters::read()
        .ok()
        .and_then(|counters| counters.blackhole);
    match (timeout.as_secs(), suspected.unwrap_or(0)) {
        (0, _) => Finding::ok(NAME, "the kernel never pauses Fast Open (timeout 0)"),
        (seconds, 0) => Finding::ok(
            NAME,
            format!(
                "the kernel pauses Fast Open for {seconds} s and more after a failure; none so far"
            ),
        ),
        (seconds, count) => Finding::warning(
            NAME,
            format!(
                "Fast Open was paused {} (TCPFastOpenBlackhole; timeout {seconds} s)",
                times(count)
            ),
            "One peer on a broken path stops Fast Open to all peers. Where plain TCP is dialled \
             beside it, the pause only loses round trips: 0 switches it off, and ends a pause.",
        )
        .set(BLACK_HOLE, "0"),
    }
}

/// Reads the key, but only to see whether there is one: it is a secret.
fn cookie_key() -> Finding {
    const NAME: &str = "cookie-key";
    let keys = match sysctl(KEY) {
        Ok(keys) => keys,
        Err(error) => {
            return Finding::unknown(
                NAME,
                format!("{KEY}: {error}"),
                "Only root may read it. A kernel without a key makes a random one; servers \
                 behind one address must be given the same.",
            );
        }
    };
    let is_none = |key: &str| key.chars().all(|digit| digit == '0' || digit == '-');
    let shared = "servers behind one address must share it";
    match keys.split(',').count() {
        _ if is_none(&keys) => Finding::ok(
            NAME,
            format!("none yet: the kernel makes a random one when needed; {shared}"),
        ),
        1 => Finding::ok(
            NAME,
            format!("one key, made by the kernel or set; {shared}"),
        ),
        _ => Finding::ok(NAME, format!("a key and a backup; {shared}")),
    }
}

fn syn_cookies() -> Finding {
    const NAME: &str = "syn-cookies";
    match number::<u32>(SYN_COOKIES) {
        Ok(2) => Finding::problem(
            NAME,
            format!("{SYN_COOKIES} = 2: every SYN is answered by a SYN cookie"),
            "Meant for tests only: no SYN is looked at for Fast Open, and no cookie is given. 1 \
             uses SYN cookies only under attack.",
        )
        .set(SYN_COOKIES, "1"),
        Ok(value) => Finding::ok(NAME, format!("not in the way ({SYN_COOKIES} = {value})")),
        Err(error) => unread(NAME, SYN_COOKIES, &error),
    }
}

/// What lets a Fast Open exchange with itself fail, and be counted as sent in vain. The switches are
/// not among it.
pub(in crate::doctor) fn spoils_exchange() -> Option<String> {
    if FastOpenSysctl::read().is_ok_and(FastOpenSysctl::client_without_cookie) {
        return Some(format!(
            "data is sent in the SYN without a cookie ({FAST_OPEN} has 0x4)"
        ));
    }
    match number::<u32>(SYN_COOKIES) {
        Ok(2) => Some(format!(
            "every SYN is answered by a SYN cookie ({SYN_COOKIES} = 2), none by Fast Open"
        )),
        _ => None,
    }
}

/// Whether no cookies are given, as none is needed.
pub(in crate::doctor) fn takes_any_data() -> bool {
    FastOpenSysctl::read().is_ok_and(FastOpenSysctl::server_without_cookie)
}

/// How to give a listener the option.
pub(super) fn with_option(finding: Finding) -> Finding {
    finding
        .mend(
            Place::Program,
            "setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN, queue); nginx: listen 443 fastopen=256; \
             haproxy: bind :443 tfo",
        )
        .mend(
            Place::Systemd,
            "no socket unit sets it; put `headstart gate` in front of the server",
        )
}
