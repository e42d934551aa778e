//! The catalogue of middleboxes: the same names, and the same behaviour, as
//! the rules of `headstart-lab`, on simulated packets.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const DUPLICATE_AFTER: Duration = Duration::from_millis(500);
const BLACKHOLE_AFTER: u32 = 4;
const LOSS_PER_MILLE: u16 = 10;

/// What the middlebox does.
///
/// A *Fast Open flow* is a connection whose SYN carried data. All rules but
/// [`Rule::RandomLoss`] and [`Rule::Balance`] leave plain connections alone.
/// Its text form is that of the lab's rule of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Rule {
    /// Lets everything pass.
    #[default]
    Transparent,
    /// Drops a SYN that carries data.
    DropSynWithData,
    /// Drops a SYN with the Fast Open option, kind 34, cookie or not.
    DropSynWithOption,
    /// Drops a SYN with the older form of the option, kind 254.
    DropSynWithExperimentalOption,
    /// Drops a SYN with the option in either form.
    DropSynWithAnyOption,
    /// Removes the option, but not the data, from a SYN.
    StripOption,
    /// Removes option and data from a SYN.
    StripOptionAndData,
    /// Removes the data from a SYN but leaves the option.
    CutData,
    /// Drops the answer to a SYN with data, each time.
    DropSynAck,
    /// Drops the server's data in a Fast Open flow.
    DropServerDataAfterHandshake,
    /// Drops everything that follows the first SYN-ACK of a Fast Open flow.
    BlackholeAfterHandshake,
    /// Drops everything in a Fast Open flow behind its first so many packets.
    BlackholeAfter(u32),
    /// Delivers the first SYN with data of a flow a second time.
    DuplicateSyn {
        /// How long after the first.
        after: Duration,
    },
    /// Answers a SYN with data by a reset in the server's name.
    ResetSyn,
    /// Answers a SYN with data by ICMP unreachable.
    UnreachableSyn,
    /// Loses the first SYN with data of each flow.
    LoseFirstSyn,
    /// Loses the first SYN-ACK of each Fast Open flow.
    LoseFirstSynAck,
    /// Loses the server's first packet with data in each Fast Open flow.
    LoseFirstServerData,
    /// Sends the client's flows to the two servers in turn.
    Balance,
    /// Loses packets of every kind at random, both ways.
    RandomLoss {
        /// How many of 1,000 packets.
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

    /// Its name, without a value: that of its twin in the lab.
    #[must_use]
    pub const fn name(&self) -> &'static str {
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseRuleError {
    text: String,
}

impl fmt::Display for ParseRuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Rule::ALL.map(|rule| rule.name()).join(", ");
        write!(f, "no such rule: {:?}; there are {names}", self.text)
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
            .ok_or_else(|| ParseRuleError {
                text: text.to_owned(),
            })
    }
}
