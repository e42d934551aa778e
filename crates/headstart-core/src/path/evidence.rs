//! What one race shows of Fast Open on a path.

use core::fmt;

use crate::race::{
    AttemptKind, AttemptReport, Exit, Failure, FailureKind, Outcome, Report, SynData,
};

/// What was wrong with Fast Open on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trouble {
    /// Its SYN was not answered, when plain already was: something drops the
    /// SYN, or the answer.
    Dropped,
    /// Its SYN was answered by RST or ICMP, and plain's was not.
    Refused,
    /// The handshake went well without the data in its SYN: the option was
    /// removed, or the server has Fast Open off.
    Ignored,
    /// The kernel asked for a cookie time and again, and has none.
    NoCookie,
    /// The data in its SYN was acknowledged, then plain answered first: what
    /// follows the handshake is lost.
    Silent,
    /// It answered, and the connection died later, as the application tells.
    Stalled,
}

impl Trouble {
    /// Every trouble.
    pub const ALL: [Self; 6] = [
        Self::Dropped,
        Self::Refused,
        Self::Ignored,
        Self::NoCookie,
        Self::Silent,
        Self::Stalled,
    ];

    /// Its name for machines: a lower-case word. Names do not change.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Refused => "refused",
            Self::Ignored => "ignored",
            Self::NoCookie => "no-cookie",
            Self::Silent => "silent",
            Self::Stalled => "stalled",
        }
    }

    /// The trouble of a [`name`](Self::name).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trouble| trouble.name() == name)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dropped => "its SYN is not answered",
            Self::Refused => "its SYN is refused",
            Self::Ignored => "the data in its SYN is ignored",
            Self::NoCookie => "it is given no cookie",
            Self::Silent => "nothing comes after its handshake",
            Self::Stalled => "its connection stalled",
        })
    }
}

/// What one race showed of Fast Open on one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// Nothing: it did not start, or was given up before anything could be told.
    Nothing,
    /// There was no cookie, and its SYN asked for one.
    Asked,
    /// An answer came to data in its SYN.
    Answered,
    /// It did not work as it should.
    Trouble(Trouble),
}

impl Evidence {
    /// What a race shows of the path to the address at a position, once its
    /// Fast Open attempt is out or is the connection.
    ///
    /// It is judged by the plain attempt beside it. What plain met too is the
    /// server's affair, and so is a reset of a connection that had opened: a
    /// server that debounces resets the second copy. A Fast Open attempt that
    /// had less time than plain's handshake and half as much again until plain
    /// was answered is not called late.
    ///
    /// A server that takes longer to answer than a round trip may be called
    /// [`Silent`](Trouble::Silent) wrongly, if its answer comes on both
    /// connections and plain's is read first. A driver that looks whether the
    /// loser was answered as well, and says so by its `first_byte`, avoids that.
    pub fn of(report: &Report, target: usize) -> Self {
        let of_kind = |kind| {
            let mut attempts = report.attempts.iter();
            attempts.find(|attempt| attempt.target == target && attempt.kind == kind)
        };
        of_kind(AttemptKind::FastOpen).map_or(Self::Nothing, |fast_open| {
            judge(fast_open, of_kind(AttemptKind::Plain))
        })
    }
}

fn judge(fast_open: &AttemptReport, plain: Option<&AttemptReport>) -> Evidence {
    if fast_open.opened.is_none()
        && let Outcome::Out(Exit::Failed(failure)) = fast_open.outcome
    {
        let plain_opened = plain.is_some_and(|plain| plain.opened.is_some());
        return match refusal(failure).filter(|_| plain_opened) {
            Some(trouble) => Evidence::Trouble(trouble),
            None => Evidence::Nothing,
        };
    }
    match fast_open.syn_data {
        SynData::None if fast_open.cookie_requested => Evidence::Asked,
        SynData::None => Evidence::Nothing,
        SynData::Ignored => Evidence::Trouble(Trouble::Ignored),
        SynData::Acknowledged if fast_open.first_byte.is_some() => Evidence::Answered,
        SynData::Acknowledged if was_late(fast_open, plain) => Evidence::Trouble(Trouble::Silent),
        SynData::Sent if was_late(fast_open, plain) => Evidence::Trouble(Trouble::Dropped),
        SynData::Acknowledged | SynData::Sent => Evidence::Nothing,
    }
}

/// What an attempt that failed before it opened had met on its path.
fn refusal(failure: Failure) -> Option<Trouble> {
    match failure.kind {
        FailureKind::Refused | FailureKind::Reset | FailureKind::Unreachable => {
            Some(Trouble::Refused)
        }
        FailureKind::TimedOut => Some(Trouble::Dropped),
        _ => None,
    }
}

/// Whether plain was answered while this one waited, and had waited long enough.
fn was_late(fast_open: &AttemptReport, plain: Option<&AttemptReport>) -> bool {
    let times = || {
        let plain = plain?;
        let (started, ended) = (fast_open.started?, fast_open.ended?);
        let handshake = plain.opened?.saturating_since(plain.started?);
        let waited = ended.saturating_since(started);
        let enough = waited >= handshake.saturating_add(handshake / 2);
        Some(plain.first_byte? <= ended && enough)
    };
    fast_open.outcome == Outcome::Out(Exit::Lost) && times() == Some(true)
}
