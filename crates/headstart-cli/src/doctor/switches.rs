//! Whether the system lets either side do Fast Open, where there are no namespaces of Linux's kind.

use headstart_socket::status::Switches;

use super::finding::{Finding, Place};

/// One finding for each side.
pub(super) fn findings() -> Vec<Finding> {
    let switches = match Switches::read() {
        Ok(switches) => switches,
        Err(error) => {
            let why = "This system has no setting for it that can be read; the exchange tells.";
            return vec![Finding::unknown("switches", error.to_string(), why)];
        }
    };
    vec![
        side("client-switch", switches.client, "dial", CLIENT),
        side(
            "server-switch",
            switches.server,
            "accept connections",
            SERVER,
        ),
    ]
}

/// The settings of each side: FreeBSD's in the host or jail, and Apple's.
const CLIENT: &str = if cfg!(target_os = "freebsd") {
    "net.inet.tcp.fastopen.client_enable=1"
} else {
    "net.inet.tcp.fastopen=3"
};
const SERVER: &str = if cfg!(target_os = "freebsd") {
    "net.inet.tcp.fastopen.server_enable=1"
} else {
    "net.inet.tcp.fastopen=3"
};

fn side(name: &'static str, on: Option<bool>, what: &str, setting: &str) -> Finding {
    let found = match on {
        Some(true) => return Finding::ok(name, format!("this side may {what} with Fast Open")),
        None => {
            let why = "The system does not say; the exchange tells.";
            return Finding::unknown(name, "not known", why);
        }
        Some(false) => format!("this side may not {what} with Fast Open"),
    };
    Finding::problem(
        name,
        found,
        "The system falls back to plain handshakes without a word. A jail with vnet has a setting of \
         its own.",
    )
    .mend(Place::Now, format!("sysctl {setting}"))
    .mend(Place::Boot, format!("echo '{setting}' >> /etc/sysctl.conf"))
    .mend(Place::Jail, format!("jexec JAIL sysctl {setting}"))
}
