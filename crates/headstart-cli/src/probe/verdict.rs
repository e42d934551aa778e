//! What dials say about the path and the server.

use std::io;
use std::time::Duration;

use headstart_socket::FastOpenFailure;
use serde::Serialize;

use super::dial::{Reaction, Seen, Sent};

/// The answer to data in the SYN comes with the SYN-ACK or right behind it: a round trip earlier, from
/// open on, than plain TCP's. When it does not, it is late, within these bounds: some patience
/// with busy machines; and the kernel's shortest retransmission timeout is 200 ms. A handshake that is slow
/// as a whole is not.
const LATE_MIN: Duration = Duration::from_millis(20);
const LATE_MAX: Duration = Duration::from_millis(150);

/// What the probe comes to. Names do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    Works,
    NoCookie,
    CookiesDiffer,
    SynOptionDropped,
    SynDataDropped,
    SynDataCut,
    SynDataIgnored,
    SynDataRefused,
    SynDataUnreachable,
    SynAckDropped,
    SynAckLate,
    ServerDataDropped,
    ServerDataLate,
    Blackholed,
    DiesLater,
    Mixed,
    ClientOff,
    ClientPaused,
    ServerRefused,
    ServerUnreachable,
    ServerSilent,
    NotUnderstood,
}

impl Verdict {
    /// For people: what it means, and what to make of it.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Works => "Fast Open works on this path: the server acts on data in the SYN.",
            Self::NoCookie => {
                "The server gives no cookie: it has no Fast Open (on Linux: `headstart doctor --port PORT` \
                 there says why), or the path removes the option. Dials are plain, and no slower."
            }
            Self::CookiesDiffer => {
                "The cookie given a moment ago was refused, and another one given: servers behind \
                 this address have different cookie keys. Give all the same \
                 (net.ipv4.tcp_fastopen_key); they should share their memory of first messages, too."
            }
            Self::SynOptionDropped => {
                "The path drops SYNs with the Fast Open option: such a dial waits a second for the \
                 retransmission. Race it with plain TCP, or do not use it here."
            }
            Self::SynDataDropped => {
                "The path drops SYNs that carry data (or loses the first of each connection): Fast \
                 Open alone waits a second. Race it with plain TCP, or do not use it here."
            }
            Self::SynDataCut => {
                "The path lets the option through and cuts the data out of the SYN: Fast Open gains \
                 nothing here, and does no harm."
            }
            Self::SynDataIgnored => {
                "Data in the SYN was not acknowledged: the path strips the option or the data, or \
                 the server has switched Fast Open off since it gave the cookie. Nothing gained, no harm. \
                 Which one it is shows without the old cookie: ip tcp_metrics delete ADDRESS, \
                 and probe again."
            }
            Self::SynDataRefused => {
                "A SYN with data is answered by a reset, a plain one is not: a middlebox, or the \
                 server, refuses it. Fast Open alone fails here at once; raced with plain TCP it does no harm."
            }
            Self::SynDataUnreachable => {
                "A SYN with data is answered by ICMP unreachable, a plain one is not: a router or \
                 firewall refuses it. Fast Open alone fails here at once; raced with plain TCP it \
                 does no harm."
            }
            Self::SynAckDropped => {
                "Nothing answers a connection that begins with data in its SYN, not even its \
                 retransmission without: the answers are dropped. The server may have acted on it. \
                 Fast Open alone hangs here for two minutes; raced with plain TCP it needs a \
                 server that pairs."
            }
            Self::SynAckLate => {
                "The answer to a SYN with data came only after a retransmission: the first one is \
                 lost. Fast Open alone waits a second; raced with plain TCP it needs a server that \
                 pairs."
            }
            Self::ServerDataDropped => {
                "The handshake ends, the server acknowledges, and its data never comes: something \
                 between has lost count of the data in the SYN. Fast Open alone hangs here; raced \
                 with plain TCP it needs a server that pairs."
            }
            Self::ServerDataLate => {
                "The answer comes, and no earlier than by plain TCP: the server's first data is lost and \
                 sent again."
            }
            Self::Blackholed => {
                "The data in the SYN was acknowledged, and from then on nothing passes: the \
                 connection is blackholed. Fast Open alone hangs here; raced with plain TCP it needs \
                 a server that pairs."
            }
            Self::DiesLater => {
                "The answer begins, and then the connection dies: the path gives up on it after some \
                 packets. No race helps after the first answer: do not use Fast Open here."
            }
            Self::Mixed => {
                "The dials disagree: some work, some do not, by plain TCP or with data in the SYN. \
                 Look at them one by one (--json)."
            }
            Self::ClientOff => {
                "Fast Open is switched off for dials on this machine: sysctl -w net.ipv4.tcp_fastopen=3 \
                 (`headstart doctor` says more)."
            }
            Self::ClientPaused => {
                "This machine's kernel has paused Fast Open for every peer: `headstart doctor` says \
                 why, and how to end it."
            }
            Self::ServerRefused => "The server refuses plain TCP, too: nothing listens there.",
            Self::ServerUnreachable => "The server cannot be reached by plain TCP either.",
            Self::ServerSilent => {
                "The server does not answer plain TCP either, or after a few dials no longer: it may be \
                 stuck."
            }
            Self::NotUnderstood => {
                "Plain TCP connects, and no first message gets an answer: nothing to compare Fast Open \
                 with. The server speaks something else (--tls NAME is for TLS, --token for a gate \
                 that expects Tokens), or it is a gate whose own server is down."
            }
        }
    }
}

impl Verdict {
    /// Whether a server that has just gone silent, or away, would look the same.
    pub(super) fn may_be_the_servers(self) -> bool {
        matches!(
            self,
            Self::SynOptionDropped
                | Self::SynDataRefused
                | Self::SynDataUnreachable
                | Self::SynAckDropped
                | Self::ServerDataDropped
                | Self::Blackholed
        )
    }
}

/// What plain TCP does: what Fast Open is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plain {
    pub(super) reaction: Reaction,
    /// The longest time from open to the first byte of the answer.
    pub(super) answer_time: Option<Duration>,
    /// Whether the conversation came to its end.
    pub(super) finished: bool,
    /// The quickest handshake.
    pub(super) round_trip: Duration,
}

impl Plain {
    /// What the dials have in common, or what is wrong with the server.
    pub(super) fn of(dials: &[Seen]) -> Result<Self, Verdict> {
        if dials.iter().all(|dial| dial.opened.is_none()) {
            return Err(match dials.iter().find_map(|dial| dial.error.as_ref()) {
                Some((io::ErrorKind::ConnectionRefused, _)) => Verdict::ServerRefused,
                Some(_) => Verdict::ServerUnreachable,
                None => Verdict::ServerSilent,
            });
        }
        let by = |reaction| dials.iter().any(|dial| dial.reaction == reaction);
        let reaction = [Reaction::Answered, Reaction::Closed, Reaction::Reset]
            .into_iter()
            .find(|reaction| by(*reaction));
        Ok(Self {
            reaction: reaction.unwrap_or(Reaction::None),
            answer_time: dials.iter().filter_map(answer_time).max(),
            finished: dials.iter().any(|dial| dial.finished),
            round_trip: dials
                .iter()
                .filter_map(|dial| dial.opened)
                .min()
                .unwrap_or_default(),
        })
    }
}

/// What keeps plain dials from being compared with, though one of them was open: half of them or more
/// were not served. Where no answer is expected, that is to be turned away.
pub(super) fn of_plain(dials: &[Seen], answer_expected: bool) -> Option<Verdict> {
    let served = |dial: &&Seen| match answer_expected {
        true => dial.reaction == Reaction::Answered,
        false => dial.opened.is_some() && dial.reaction != Reaction::Reset,
    };
    match dials.iter().filter(served).count() {
        0 => Some(Verdict::NotUnderstood),
        served if served * 2 <= dials.len() => Some(Verdict::Mixed),
        _ => None,
    }
}

/// What became of data in a SYN.
pub(super) fn of_dial(dial: &Seen, plain: &Plain) -> Verdict {
    if let (Some((kind, _)), None) = (&dial.error, dial.opened) {
        return match kind {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => {
                Verdict::SynDataRefused
            }
            _ => Verdict::SynDataUnreachable,
        };
    }
    if dial.opened.is_none() {
        return Verdict::SynAckDropped;
    }
    if dial.failure == Some(FastOpenFailure::SynRetransmitted) {
        return Verdict::SynDataDropped;
    }
    if !dial.syn_data_acked {
        return Verdict::SynDataIgnored;
    }
    let expected = plain.reaction != Reaction::None;
    let answer_missing = plain.reaction == Reaction::Answered && dial.first_byte.is_none();
    if answer_missing || (expected && dial.reaction == Reaction::None) {
        return match dial.finished {
            true => Verdict::ServerDataDropped,
            false => Verdict::Blackholed,
        };
    }
    if plain.finished && !dial.finished {
        return match expected {
            true => Verdict::DiesLater,
            false => Verdict::Blackholed,
        };
    }
    if dial.syn_retransmits > 0 {
        return Verdict::SynAckLate;
    }
    let late = plain.round_trip.clamp(LATE_MIN, LATE_MAX);
    match (answer_time(dial), plain.answer_time) {
        (Some(time), Some(expected)) if time + plain.round_trip > expected + late => {
            Verdict::ServerDataLate
        }
        _ => Verdict::Works,
    }
}

fn answer_time(dial: &Seen) -> Option<Duration> {
    Some(dial.first_byte?.saturating_sub(dial.opened?))
}

/// What dials that asked for a cookie in vain have in common.
pub(super) fn without_cookie(asked: &[Seen]) -> Verdict {
    let lost = |dial: &Seen| dial.opened.is_none() || dial.syn_retransmits > 0;
    if asked.iter().any(|dial| dial.sent == Sent::Paused) {
        return Verdict::ClientPaused;
    }
    match asked.iter().all(lost) {
        true => Verdict::SynOptionDropped,
        false => Verdict::NoCookie,
    }
}

/// What most dials with data say; one that works weighs more than what can be chance.
pub(super) fn of_dials(dials: &[Seen], plain: &Plain) -> Verdict {
    let each: Vec<_> = dials.iter().map(|dial| of_dial(dial, plain)).collect();
    let count = |one: Verdict| each.iter().filter(|other| **other == one).count();
    let works = count(Verdict::Works);
    if works * 2 >= each.len() {
        return Verdict::Works;
    }
    let most = each.iter().copied().max_by_key(|one| count(*one));
    match most {
        Some(most) if count(most) * 2 > each.len() => most,
        _ => Verdict::Mixed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const PLAIN: Plain = Plain {
        reaction: Reaction::Answered,
        answer_time: Some(Duration::from_millis(51)),
        finished: true,
        round_trip: Duration::from_millis(50),
    };

    /// A dial that works.
    fn good() -> Seen {
        Seen {
            sent: Sent::Data(200),
            opened: Some(MS * 50),
            syn_retransmits: 0,
            first_byte: Some(MS * 51),
            reaction: Reaction::Answered,
            finished: true,
            syn_data_acked: true,
            failure: None,
            error: None,
        }
    }

    /// A dial that is good but for one thing.
    fn but(change: impl FnOnce(&mut Seen)) -> Seen {
        let mut dial = good();
        change(&mut dial);
        dial
    }

    #[test]
    fn one_dial_has_one_verdict() {
        let error = |kind: io::ErrorKind| Some((kind, String::new()));
        for (dial, verdict) in [
            (good(), Verdict::Works),
            (
                but(|d| d.first_byte = Some(MS * 102)),
                Verdict::ServerDataLate,
            ),
            (but(|d| d.first_byte = Some(MS * 100)), Verdict::Works),
            // Slow as a whole: the machine, not the path.
            (
                but(|d| (d.opened, d.first_byte) = (Some(MS * 170), Some(MS * 171))),
                Verdict::Works,
            ),
            (but(|d| d.syn_retransmits = 1), Verdict::SynAckLate),
            (but(|d| d.syn_data_acked = false), Verdict::SynDataIgnored),
            (but(|d| d.finished = false), Verdict::DiesLater),
        ] {
            assert_eq!(of_dial(&dial, &PLAIN), verdict, "{dial:?}");
        }
        let lost = but(|d| d.failure = Some(FastOpenFailure::SynRetransmitted));
        assert_eq!(of_dial(&lost, &PLAIN), Verdict::SynDataDropped);
        for (kind, verdict) in [
            (io::ErrorKind::ConnectionRefused, Verdict::SynDataRefused),
            (io::ErrorKind::HostUnreachable, Verdict::SynDataUnreachable),
        ] {
            let refused = but(|d| (d.opened, d.error) = (None, error(kind)));
            assert_eq!(of_dial(&refused, &PLAIN), verdict);
        }
        assert_eq!(
            of_dial(&but(|d| d.opened = None), &PLAIN),
            Verdict::SynAckDropped
        );
        let silent = |finished| {
            but(|d| (d.first_byte, d.reaction, d.finished) = (None, Reaction::None, finished))
        };
        assert_eq!(of_dial(&silent(true), &PLAIN), Verdict::ServerDataDropped);
        assert_eq!(of_dial(&silent(false), &PLAIN), Verdict::Blackholed);
    }

    #[test]
    fn silence_is_no_fault_where_plain_is_silent_too() {
        let plain = Plain {
            reaction: Reaction::None,
            answer_time: None,
            ..PLAIN
        };
        let silent = but(|d| (d.first_byte, d.reaction) = (None, Reaction::None));
        assert_eq!(of_dial(&silent, &plain), Verdict::Works);
    }

    #[test]
    fn chance_is_outvoted_and_disagreement_is_told() {
        let lost = but(|d| d.opened = None);
        let late = but(|d| d.syn_retransmits = 1);
        for (dials, verdict) in [
            ([good(), good(), lost.clone(), late.clone()], Verdict::Works),
            (
                [good(), lost.clone(), lost.clone(), lost.clone()],
                Verdict::SynAckDropped,
            ),
            (
                [good(), lost.clone(), late.clone(), late.clone()],
                Verdict::Mixed,
            ),
            (
                [lost.clone(), lost.clone(), late.clone(), late],
                Verdict::Mixed,
            ),
        ] {
            assert_eq!(of_dials(&dials, &PLAIN), verdict);
        }
    }

    #[test]
    fn a_request_for_a_cookie_is_lost_only_if_each_is() {
        let asked =
            |retransmits| but(|d| (d.sent, d.syn_retransmits) = (Sent::CookieRequest, retransmits));
        assert_eq!(
            without_cookie(&[asked(1), asked(1)]),
            Verdict::SynOptionDropped
        );
        assert_eq!(without_cookie(&[asked(1), asked(0)]), Verdict::NoCookie);
        let paused = but(|d| d.sent = Sent::Paused);
        assert_eq!(without_cookie(&[paused]), Verdict::ClientPaused);
    }

    #[test]
    fn plain_tcp_that_fails_is_about_the_server() {
        let failed = |error| but(|d| (d.opened, d.error) = (None, error));
        let refused = failed(Some((io::ErrorKind::ConnectionRefused, String::new())));
        assert_eq!(Plain::of(&[refused]), Err(Verdict::ServerRefused));
        let unreachable = failed(Some((io::ErrorKind::HostUnreachable, String::new())));
        assert_eq!(Plain::of(&[unreachable]), Err(Verdict::ServerUnreachable));
        assert_eq!(Plain::of(&[failed(None)]), Err(Verdict::ServerSilent));
        assert!(Plain::of(&[failed(None), good()]).is_ok());
    }
    #[test]
    fn plain_dials_that_are_not_served_leave_nothing_to_compare_with() {
        let reset = but(|d| (d.first_byte, d.reaction) = (None, Reaction::Reset));
        let silent = but(|d| (d.first_byte, d.reaction) = (None, Reaction::None));
        let refused = but(|d| {
            d.opened = None;
            d.reaction = Reaction::None;
            d.error = Some((io::ErrorKind::ConnectionRefused, String::new()));
        });
        for (dials, answer_expected, verdict) in [
            ([good(), good()], true, None),
            (
                [reset.clone(), reset.clone()],
                true,
                Some(Verdict::NotUnderstood),
            ),
            (
                [silent.clone(), reset.clone()],
                true,
                Some(Verdict::NotUnderstood),
            ),
            (
                [refused.clone(), reset.clone()],
                true,
                Some(Verdict::NotUnderstood),
            ),
            ([good(), reset.clone()], true, Some(Verdict::Mixed)),
            ([good(), refused.clone()], true, Some(Verdict::Mixed)),
            // Nobody is bound to answer a line end.
            ([silent.clone(), silent.clone()], false, None),
            ([reset.clone(), reset], false, Some(Verdict::NotUnderstood)),
            ([silent, refused], false, Some(Verdict::Mixed)),
        ] {
            assert_eq!(of_plain(&dials, answer_expected), verdict, "{dials:?}");
        }
    }
}
