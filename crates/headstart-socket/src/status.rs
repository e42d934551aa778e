//! What the kernel says about Fast Open, on Linux in *this thread's* network namespace. Reads only:
//! no function here changes a setting.
//!
//! [`Switches`] says it for any platform; the rest is there where the platform has it, and elsewhere
//! an error of kind [`Unsupported`](io::ErrorKind::Unsupported).
//!
//! On Linux a container, and a thread that moved, has settings and counters of its own; `/proc/net` would show
//! those of the process's first thread, so `/proc/thread-self/net` is read.

use std::io;
use std::time::Duration;

use crate::sys;

/// Whether the system lets either side do Fast Open, by whatever settings it has for that.
///
/// | platform | setting |
/// |---|---|
/// | Linux, Android | `net.ipv4.tcp_fastopen`, bits 0x1 and 0x2, of the network namespace |
/// | macOS, iOS | `net.inet.tcp.fastopen`, bits 0x1 and 0x2 |
/// | FreeBSD | `net.inet.tcp.fastopen.client_enable` and `.server_enable`, of the jail or host |
/// | Windows, others | none that can be read |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Switches {
    /// Whether this side may dial with Fast Open; `None` if the system does not say.
    pub client: Option<bool>,
    /// Whether listeners with the option accept Fast Open; `None` if the system does not say.
    pub server: Option<bool>,
}

impl Switches {
    /// Reads the settings.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported) where there are none; the system's if they cannot
    /// be read; [`InvalidData`](io::ErrorKind::InvalidData) if they are not numbers.
    pub fn read() -> io::Result<Self> {
        sys::switches()
    }
}

/// The bits of `net.ipv4.tcp_fastopen` (`Documentation/networking/ip-sysctl.rst`). macOS and iOS have
/// the first two, in `net.inet.tcp.fastopen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FastOpenSysctl {
    bits: u32,
}

impl FastOpenSysctl {
    /// Names the bits of a given value.
    pub fn from_bits(bits: u32) -> Self {
        Self { bits }
    }

    /// Reads the sysctl.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported) where there is no such sysctl; the system's if
    /// `/proc` cannot be read; [`InvalidData`](io::ErrorKind::InvalidData) if it is not a number.
    pub fn read() -> io::Result<Self> {
        sys::tcp_fastopen().map(Self::from_bits)
    }

    /// The value.
    pub fn bits(self) -> u32 {
        self.bits
    }

    /// 0x1: this side may dial with Fast Open. On by default.
    pub fn client(self) -> bool {
        self.bits & 0x1 != 0
    }

    /// 0x2: listeners with the option accept Fast Open. Off by default.
    pub fn server(self) -> bool {
        self.bits & 0x2 != 0
    }

    /// 0x4: data is sent in the SYN even without a cookie.
    pub fn client_without_cookie(self) -> bool {
        self.bits & 0x4 != 0
    }

    /// 0x200: data in a SYN is accepted even without a cookie. Allows amplification attacks.
    pub fn server_without_cookie(self) -> bool {
        self.bits & 0x200 != 0
    }

    /// 0x400: listeners without the option do Fast Open too. Works only together with 0x2.
    pub fn all_listeners(self) -> bool {
        self.bits & 0x400 != 0
    }
}

/// How long the kernel pauses Fast Open when it suspects a black hole. Zero: never.
///
/// On Linux for all peers (`tcp_fastopen_blackhole_timeout_sec`), and doubled with each further
/// suspicion; on FreeBSD for the one path (`net.inet.tcp.fastopen.path_disable_time`).
///
/// # Errors
///
/// As [`FastOpenSysctl::read`].
pub fn blackhole_timeout() -> io::Result<Duration> {
    sys::blackhole_timeout().map(|seconds| Duration::from_secs(seconds.into()))
}

/// The limit of every backlog, and on Linux of every Fast Open queue, in connections: on Linux
/// `net.core.somaxconn`, on macOS `kern.ipc.somaxconn`, on FreeBSD `kern.ipc.soacceptqueue`.
///
/// # Errors
///
/// As [`FastOpenSysctl::read`].
pub fn somaxconn() -> io::Result<u32> {
    sys::somaxconn()
}

/// The counters of the network namespace that concern Fast Open and listening, since it was made.
/// Linux only.
///
/// A counter is `None` where the kernel does not have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// `TCPFastOpenActive`: dialled, and the peer acknowledged data in the SYN.
    pub active: Option<u64>,
    /// `TCPFastOpenActiveFail`: dialled with data in the SYN, in vain.
    pub active_fail: Option<u64>,
    /// `TCPFastOpenPassive`: accepted with data in the SYN.
    pub passive: Option<u64>,
    /// `TCPFastOpenPassiveFail`: came with a cookie that was not valid.
    pub passive_fail: Option<u64>,
    /// `TCPFastOpenListenOverflow`: got an ordinary handshake because the queue was full.
    pub listen_overflow: Option<u64>,
    /// `TCPFastOpenCookieReqd`: clients that asked for a cookie.
    pub cookie_requests: Option<u64>,
    /// `TCPFastOpenBlackhole`: times the kernel suspected a black hole (Linux 4.12).
    pub blackhole: Option<u64>,
    /// `TCPFastOpenPassiveAltKey`: accepted with a cookie of the backup key (Linux 5.3).
    pub passive_alt_key: Option<u64>,
    /// `ListenOverflows`: handshakes that ended while the backlog was full.
    pub listen_overflows: Option<u64>,
    /// `ListenDrops`: SYNs and handshakes dropped at listeners, those of `ListenOverflows` among them.
    pub listen_drops: Option<u64>,
}

impl Counters {
    /// Reads the counters.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported) where there are none; the system's if `/proc`
    /// cannot be read; [`InvalidData`](io::ErrorKind::InvalidData) if it is not in the known form.
    pub fn read() -> io::Result<Self> {
        sys::counters()
    }

    /// Finds the counters in the text of `/proc/net/netstat`: pairs of lines with the same prefix,
    /// names on the first, numbers on the second.
    ///
    /// `None` if there is no such pair for `TcpExt`, or a counter of ours is not a number.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
        let names = lines.next()?.split_ascii_whitespace();
        let values = lines.next()?.split_ascii_whitespace();
        let mut counters = Self::default();
        for (name, value) in names.zip(values) {
            if let Some(counter) = counters.by_name(name) {
                *counter = Some(value.parse().ok()?);
            }
        }
        Some(counters)
    }

    /// What was counted since an earlier reading.
    pub fn since(&self, earlier: &Self) -> Self {
        let less = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        Self {
            active: less(self.active, earlier.active),
            active_fail: less(self.active_fail, earlier.active_fail),
            passive: less(self.passive, earlier.passive),
            passive_fail: less(self.passive_fail, earlier.passive_fail),
            listen_overflow: less(self.listen_overflow, earlier.listen_overflow),
            cookie_requests: less(self.cookie_requests, earlier.cookie_requests),
            blackhole: less(self.blackhole, earlier.blackhole),
            passive_alt_key: less(self.passive_alt_key, earlier.passive_alt_key),
            listen_overflows: less(self.listen_overflows, earlier.listen_overflows),
            listen_drops: less(self.listen_drops, earlier.listen_drops),
        }
    }

    fn by_name(&mut self, name: &str) -> Option<&mut Option<u64>> {
        Some(match name {
            "TCPFastOpenActive" => &mut self.active,
            "TCPFastOpenActiveFail" => &mut self.active_fail,
            "TCPFastOpenPassive" => &mut self.passive,
            "TCPFastOpenPassiveFail" => &mut self.passive_fail,
            "TCPFastOpenListenOverflow" => &mut self.listen_overflow,
            "TCPFastOpenCookieReqd" => &mut self.cookie_requests,
            "TCPFastOpenBlackhole" => &mut self.blackhole,
            "TCPFastOpenPassiveAltKey" => &mut self.passive_alt_key,
            "ListenOverflows" => &mut self.listen_overflows,
            "ListenDrops" => &mut self.listen_drops,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NETSTAT: &str = "\
TcpExt: SyncookiesSent TCPFastOpenActive TCPFastOpenPassive TCPFastOpenCookieReqd
TcpExt: 1 2 3 18446744073709551615
IpExt: InNoRoutes TCPFastOpenActive
IpExt: 4 5
";

    #[test]
    fn counters_are_found_by_name() {
        let counters = Counters::parse(NETSTAT).unwrap();
        assert_eq!(counters.active, Some(2));
        assert_eq!(counters.passive, Some(3));
        assert_eq!(counters.cookie_requests, Some(u64::MAX));
        assert_eq!(counters.blackhole, None);
    }

    #[test]
    fn hostile_text_is_refused_or_read_as_far_as_it_goes() {
        for text in [
            "",
            "\0",
            "TcpExt:",
            "TcpExt: TCPFastOpenActive",
            "TcpExt: TCPFastOpenActive\nIpExt: 1",
            "TcpExt: TCPFastOpenActive\nTcpExt: -1",
            "TcpExt: TCPFastOpenActive\nTcpExt: 18446744073709551616",
            "TcpExt: TCPFastOpenActive\nTcpExt: \u{661}",
            "tcpext: TCPFastOpenActive\ntcpext: 1",
        ] {
            assert_eq!(Counters::parse(text), None, "{text:?}");
        }
        let short = Counters::parse("TcpExt: A TCPFastOpenActive B\nTcpExt: 1").unwrap();
        assert_eq!(short, Counters::default());
        let long = Counters::parse("TcpExt: TCPFastOpenActive\r\nTcpExt: 1 2 3").unwrap();
        assert_eq!(long.active, Some(1));
        let junk = Counters::parse("TcpExt: A TCPFastOpenActive\nTcpExt: x 1").unwrap();
        assert_eq!(
            junk.active,
            Some(1),
            "others' counters are not ours to judge"
        );
    }

    #[test]
    fn any_cut_of_the_text_is_survived() {
        for end in 0..=NETSTAT.len() {
            let _ = Counters::parse(&NETSTAT[..end]);
            let _ = Counters::parse(&NETSTAT[end..]);
        }
    }

    #[test]
    fn since_is_the_difference_and_never_wraps() {
        let then = Counters {
            active: Some(5),
            passive: Some(1),
            ..Counters::default()
        };
        let now = Counters {
            active: Some(3),
            passive: Some(9),
            ..Counters::default()
        };
        let since = now.since(&then);
        assert_eq!(since.active, Some(0));
        assert_eq!(since.passive, Some(8));
        assert_eq!(since.blackhole, None);
    }

    #[test]
    fn bits_have_names() {
        let all = FastOpenSysctl::from_bits(0x607);
        assert!(all.client() && all.server() && all.client_without_cookie());
        assert!(all.server_without_cookie() && all.all_listeners());
        let none = FastOpenSysctl::from_bits(!0x607);
        assert!(!none.client() && !none.server() && !none.client_without_cookie());
        assert!(!none.server_without_cookie() && !none.all_listeners());
    }
}
