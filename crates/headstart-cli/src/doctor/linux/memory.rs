//! What the kernel remembers of peers: cookies, and SYNs that were lost.

use super::unread;
use crate::doctor::finding::{Finding, Place};
use crate::netlink;
use crate::output::{seconds, times};

/// Peers that are named at most.
const NAMED: usize = 5;

pub(super) fn finding() -> Finding {
    const NAME: &str = "cookies";
    let remembered = match netlink::remembered() {
        Ok(remembered) => remembered,
        Err(error) => return unread(NAME, "what is remembered of peers (tcp_metrics)", &error),
    };
    let cookies = remembered
        .iter()
        .filter(|peer| peer.cookie.is_some())
        .count();
    let cookies = format!("cookies of servers in the cache: {cookies} (ip tcp_metrics show)");
    let lost: Vec<_> = remembered
        .iter()
        .filter(|peer| peer.syn_drops > 0)
        .collect();
    if lost.is_empty() {
        return Finding::ok(NAME, cookies);
    }
    let named = lost.iter().take(NAMED).filter_map(|peer| {
        let ago = peer.last_drop.unwrap_or_default().as_secs();
        let ago = seconds(std::time::Duration::from_secs(ago));
        Some(format!(
            "{} ({}, last {ago} ago)",
            peer.peer?,
            times(peer.syn_drops.into())
        ))
    });
    let named = named.collect::<Vec<_>>().join(", ");
    let more = match lost.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let finding = Finding::warning(
        NAME,
        format!("{cookies}; SYNs with data were lost to {named}{more}"),
        "A middlebox on that path drops them, or what answers them: Fast Open alone waits a \
         second there. Dial it to see what the path does; raced with plain TCP it does no harm. \
         What is remembered of an address can be deleted.",
    );
    finding
        .mend(Place::Now, "headstart probe HOST:PORT")
        .mend(Place::Now, "ip tcp_metrics delete ADDRESS")
}
