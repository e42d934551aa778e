//! The catalogue of middleboxes.

use std::{error::Error, fmt, str::FromStr, time::Duration};

/// How long after the first the second copy comes, if not said otherwise.
const DUPLICATE_AFTER: Duration = Duration::from_millis(500);
/// How many packets pass before silence, if not said otherwise.
const BLACKHOLE_AFTER: u32 = 4;
/// How many of 1,000 packets are lost, if not said otherwise.
const LOSS_PER_MILLE: u16 = 10;
/// Longest delay of a duplicate: the lifetime of a segment (RFC 9293 section 3.4.2).
pub(crate) const DUPLICATE_AFTER_MAX: Duration = Duration::from_secs(120);

/// What the middlebox does.
///
/// A *Fast Open flow* is a connection whose SYN carried data when it reached
/// the middlebox. Flows are told apart by addresses, ports and the sequence
/// number of their SYN. All rules but [`Rule::RandomLoss`] and
/// [`Rule::Balance`] leave plain connections alone. A flow keeps the rule under
/// which its SYN came.
///
/// Its text form is a name, for some rules with a value: `drop-syn-with-data`,
/// `duplicate-syn=500ms`. Without the value the default holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Rule {
    /// Lets everything pass: a path without middlebox, or with an honest one.
    #[default]
    Transparent,
    /// Drops a SYN that carries data: firewalls that hold it for an attack.
    DropSynWithData,
    /// Drops a SYN with the Fast Open option, kind 34, cookie or not: boxes
    /// that drop what they do not know.
    DropSynWithOption,
    /// Drops a SYN with the older form of the option, kind 254 with magic
    /// 0xF989: boxes that know kind 34 but no experiments.
    DropSynWithExperimentalOption,
    /// Drops a SYN with the option in either form: strict boxes.
    DropSynWithAnyOption,
    /// Removes the option in either form, but not the data, from a SYN: boxes
    /// that normalize options, many of them in mobile networks.
    StripOption,
    /// Removes option and data from a SYN: proxies that make the handshake anew.
    StripOptionAndData,
    /// Removes the data from a SYN but leaves the option: boxes that normalize segments.
    CutData,
    /// Drops the answer to a SYN with data, each time: stateful firewalls to
    /// which its acknowledgement number looks wrong.
    DropSynAck,
    /// Drops the server's data in a Fast Open flow: boxes whose idea of the
    /// sequence numbers is off by the data in the SYN.
    DropServerDataAfterHandshake,
    /// Drops everything, both ways, that follows the first SYN-ACK of a Fast
    /// Open flow: firewalls that give up on a connection they cannot follow.
    BlackholeAfterHandshake,
    /// Drops everything in a Fast Open flow behind its first so many packets,
    /// both ways counted, the SYN being the first: boxes that judge late.
    BlackholeAfter(u32),
    /// Delivers the first SYN with data of a flow a second time: networks that
    /// duplicate packets, and late retransmissions.
    DuplicateSyn {
        /// How long after the first; more than 120 s count as 120 s.
        after: Duration,
    },
    /// Answers a SYN with data by a reset in the server's name: intrusion prevention.
    ResetSyn,
    /// Answers a SYN with data by ICMP host unreachable (IPv6: address
    /// unreachable): routers and firewalls that refuse politely.
    UnreachableSyn,
    /// Loses the first SYN with data of each flow: ordinary loss, on cue.
    LoseFirstSyn,
    /// Loses the first SYN-ACK of each Fast Open flow: ordinary loss, on cue.
    LoseFirstSynAck,
    /// Loses the server's first packet with data in each Fast Open flow:
    /// ordinary loss, on cue.
    LoseFirstServerData,
    /// Sends the client's flows to the two servers in turn, the first to the
    /// first: a balancer in front of servers that know nothing of each other.
    Balance,
    /// Loses packets of every kind at random, both ways: a bad link. The same
    /// seed loses the same packets of the same sequence.
    RandomLoss {
        /// How many of 1,000 packets; 1,000 and more are all.
        per_mille: u16,
    },
}

impl Rule {
    /// Every rule, with default values where it has one.
    pub const ALL: [Self; 20] = [
        Self::Transparent,
        Self::DropSynWithData,
        Self::DropSynWithOption,
        Self::DropSynWithExperimentalOption,
        Self::DropSynWithAnyOption,
        Self::StripOption,
        Self::StripOptionAndData,
        Self::CutData,
        Self::DropSynAck,
        Self::DropServerDataAfterHandshake,
        Self::BlackholeAfterHandshake,
        Self::BlackholeAfter(BLACKHOLE_AFTER),
        Self::DuplicateSyn {
            after: DUPLICATE_AFTER,
        },
        Self::ResetSyn,
        Self::UnreachableSyn,
        Self::LoseFirstSyn,
        Self::LoseFirstSynAck,
        Self::LoseFirstServerData,
        Self::Balance,
        Self::RandomLoss {
            per_mille: LOSS_PER_MILLE,
        },
    ];

    /// Its name, without a value: lower case, words joined by hyphens. Names do not change.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Transparent => "transparent",
            Self::DropSynWithData => "drop-syn-with-data",
            Self::DropSynWithOption => "drop-syn-with-option",
            Self::DropSynWithExperimentalOption => "drop-syn-with-experimental-option",
            Self::DropSynWithAnyOption => "drop-syn-with-any-option",
            Self::StripOption => "strip-option",
            Self::StripOptionAndData => "strip-option-and-data",
            Self::CutData => "cut-data",
            Self::DropSynAck => "drop-syn-ack",
            Self::DropServerDataAfterHandshake => "drop-server-data-after-handshake",
            Self::BlackholeAfterHandshake => "blackhole-after-handshake",
            Self::BlackholeAfter(_) => "blackhole-after",
            Self::DuplicateSyn { .. } => "duplicate-syn",
            Self::ResetSyn => "reset-syn",
            Self::UnreachableSyn => "unreachable-syn",
            Self::LoseFirstSyn => "lose-first-syn",
            Self::LoseFirstSynAck => "lose-first-syn-ack",
            Self::LoseFirstServerData => "lose-first-server-data",
            Self::Balance => "balance",
            Self::RandomLoss { .. } => "random-loss",
        }
    }

    /// What it does, in a line for people.
    #[must_use]
    pub fn summary(&self) -> &'static str {
        match self {
            Self::Transparent => "lets everything pass",
            Self::DropSynWithData => "drops a SYN that carries data",
            Self::DropSynWithOption => "drops a SYN with the Fast Open option (kind 34)",
            Self::DropSynWithExperimentalOption => {
                "drops a SYN with the experimental option (kind 254)"
            }
            Self::DropSynWithAnyOption => "drops a SYN with the option in either form",
            Self::StripOption => "removes the option from the SYN, leaves the data",
            Self::StripOptionAndData => "removes option and data from the SYN",
            Self::CutData => "removes the data from the SYN, leaves the option",
            Self::DropSynAck => "drops the answer to a SYN with data",
            Self::DropServerDataAfterHandshake => {
                "drops the server's data after a Fast Open handshake"
            }
            Self::BlackholeAfterHandshake => "drops everything after a Fast Open handshake",
            Self::BlackholeAfter(_) => "drops everything after some packets of a Fast Open flow",
            Self::DuplicateSyn { .. } => "delivers the SYN with data again, later",
            Self::ResetSyn => "answers a SYN with data by a reset",
            Self::UnreachableSyn => "answers a SYN with data by ICMP unreachable",
            Self::LoseFirstSyn => "loses the first SYN with data",
            Self::LoseFirstSynAck => "loses the first answer to a SYN with data",
            Self::LoseFirstServerData => {
                "loses the server's first data after a Fast Open handshake"
            }
            Self::Balance => "sends connections to two servers in turn",
            Self::RandomLoss { .. } => "loses packets at random",
        }
    }

    /// Whether its value is in range.
    fn is_sensible(&self) -> bool {
        match self {
            Self::RandomLoss { per_mille } => *per_mille <= 1000,
            Self::DuplicateSyn { after } => *after <= DUPLICATE_AFTER_MAX,
            _ => true,
        }
    }

    /// The same rule with a value in its text form.
    fn with_value(self, value: &str) -> Option<Self> {
        match self {
            Self::BlackholeAfter(_) => value.parse().ok().map(Self::BlackholeAfter),
            Self::RandomLoss { .. } => value
                .parse()
                .ok()
                .map(|per_mille| Self::RandomLoss { per_mille }),
            Self::DuplicateSyn { .. } => {
                let millis = value.strip_suffix("ms").unwrap_or(value).parse().ok()?;
                Some(Self::DuplicateSyn {
                    after: Duration::from_millis(millis),
                })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::BlackholeAfter(packets) => write!(f, "={packets}"),
            Self::DuplicateSyn { after } => write!(f, "={}ms", after.as_millis()),
            Self::RandomLoss { per_mille } => write!(f, "={per_mille}"),
            _ => Ok(()),
        }
    }
}

/// A text that names no rule, or gives one a bad value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseRuleError {
    text: String,
}

impl fmt::Display for ParseRuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.text;
        let name = text.split('=').next().unwrap_or(text);
        let Some(rule) = Rule::ALL.into_iter().find(|rule| rule.name() == name) else {
            let names = Rule::ALL.map(|rule| rule.name()).join(", ");
            return write!(f, "no such rule: {text:?}; there are {names}");
        };
        match rule.to_string() == name {
            true => write!(f, "{name} takes no value: {text:?}"),
            false => write!(f, "no such value: {text:?}; such as {rule}"),
        }
    }
}

impl Error for ParseRuleError {}

impl FromStr for Rule {
    type Err = ParseRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        Self::ALL
            .into_iter()
            .find(|rule| rule.name() == name)
            .and_then(|rule| value.map_or(Some(rule), |value| rule.with_value(value)))
            .filter(Self::is_sensible)
            .ok_or_else(|| ParseRuleError {
                text: text.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_rule_survives_its_text() {
        let others = [
            Rule::BlackholeAfter(0),
            Rule::RandomLoss { per_mille: 1000 },
            Rule::DuplicateSyn {
                after: Duration::from_secs(120),
            },
        ];
        for rule in Rule::ALL.into_iter().chain(others) {
            assert_eq!(rule.to_string().parse(), Ok(rule));
            assert_eq!(
                rule.name().parse::<Rule>().map(|rule| rule.name()),
                Ok(rule.name())
            );
        }
        assert_eq!(
            Rule::ALL
                .map(|rule| rule.name())
                .into_iter()
                .collect::<HashSet<_>>()
                .len(),
            Rule::ALL.len()
        );
    }

    #[test]
    fn bad_texts_are_refused() {
        for text in [
            "",
            "drop",
            "balance=1",
            "random-loss=1001",
            "blackhole-after=-1",
            "duplicate-syn=121000ms",
        ] {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
    }
}
