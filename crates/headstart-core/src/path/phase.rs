//! What is held of a path, and how news changes it.

use super::evidence::{Evidence, Trouble};
use super::plan::Plan;
use super::settings::{DOUBLINGS_MAX, RETRY_PATIENCE, STALL_DOUBLINGS, Settings, TRUST_MAX};
use crate::time::Instant;

/// Where a path stands.
///
/// ```text
///            failure without trust,
///            stall                       back-off over, dial
///     Open ------------------> Suspended ------------------> Trying
///      ^  <--------------------    ^  <-----------------------  |
///      |    an answer, late        |  failure: doubled           |
///      |                              no verdict: as before      |
///      +---------------------------------------------------------+
///                              an answer
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Fast Open is used.
    Open(Open),
    /// It is not, until the back-off is over.
    Suspended {
        trouble: Trouble,
        doublings: u8,
        until: Instant,
    },
    /// The back-off is over, and one race tries again.
    Trying {
        trouble: Trouble,
        doublings: u8,
        since: Instant,
    },
}

/// A path on which Fast Open is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Open {
    /// How many failures it is forgiven.
    pub(super) trust: u8,
    /// Whether the latest race asked for a cookie.
    pub(super) asked: bool,
    /// When a failure was last counted. Races that had begun by then met the
    /// same, and count no more.
    pub(super) counted: Option<Instant>,
    /// The back-off that it came from.
    pub(super) relapse: Option<Relapse>,
}

/// A path that stalled answers before it stalls again: until as much time has
/// passed as the back-off took, the next doubles it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Relapse {
    pub(super) doublings: u8,
    /// When the retry began: what began before stalled with what was counted.
    pub(super) since: Instant,
    pub(super) until: Instant,
}

/// What was heard of a race: what it showed, when it began, when that is noted.
#[derive(Clone, Copy, Debug)]
pub(super) struct News {
    pub(super) evidence: Evidence,
    pub(super) began: Instant,
    pub(super) now: Instant,
}

impl Phase {
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// The plan of a race that begins now.
    pub(super) fn plan(self, now: Instant, settings: &Settings) -> (Self, Plan) {
        let plain = |trouble, until| Plan::Plain { trouble, until };
        match self {
            Self::Open(open) => (self, open.plan(now, settings)),
            Self::Suspended { trouble, until, .. } if now < until => (self, plain(trouble, until)),
            Self::Trying { trouble, since, .. } if now < since.saturating_add(RETRY_PATIENCE) => {
                (self, plain(trouble, since.saturating_add(RETRY_PATIENCE)))
            }
            Self::Suspended {
                trouble, doublings, ..
            }
            | Self::Trying {
                trouble, doublings, ..
            } => {
                let trying = Self::Trying {
                    trouble,
                    doublings,
                    since: now,
                };
                (trying, Plan::Retry(trouble))
            }
        }
    }

    /// Takes news.
    pub(super) fn note(self, news: News, settings: &Settings) -> Self {
        match self {
            Self::Open(open) => open.note(news, settings),
            Self::Trying {
                trouble,
                doublings,
                since,
            } if news.began >= since => tried(trouble, doublings, since, news, settings),
            Self::Suspended {
                trouble, doublings, ..
            }
            | Self::Trying {
                trouble, doublings, ..
            } => match news.evidence {
                // A race that began before tells of it only now.
                Evidence::Answered if trouble != Trouble::Stalled => healed(news.now),
                Evidence::Trouble(Trouble::Stalled) if trouble != Trouble::Stalled => {
                    suspend(Trouble::Stalled, doublings, news.now, settings)
                }
                Evidence::Nothing | Evidence::Asked | Evidence::Answered | Evidence::Trouble(_) => {
                    self
                }
            },
        }
    }
}

impl Open {
    fn plan(&self, now: Instant, settings: &Settings) -> Plan {
        match settings.hedge {
            Some(delay) if self.trust >= TRUST_MAX && self.relapse_at(now).is_none() => {
                Plan::Hedged(delay)
            }
            _ => Plan::Race,
        }
    }

    fn relapse_at(&self, now: Instant) -> Option<Relapse> {
        self.relapse.filter(|relapse| now < relapse.until)
    }

    fn note(mut self, news: News, settings: &Settings) -> Phase {
        self.relapse = self.relapse_at(news.now);
        let suspended = |trouble| {
            let doublings = self
                .relapse
                .map_or(0, |relapse| relapse.doublings.saturating_add(1));
            suspend(trouble, doublings, news.now, settings)
        };
        let was_counted = self.counted.is_some_and(|counted| news.began < counted);
        let is_past = self
            .relapse
            .is_some_and(|relapse| news.began < relapse.since);
        match news.evidence {
            Evidence::Nothing => {}
            Evidence::Answered => {
                self.trust = self.trust.saturating_add(1).min(TRUST_MAX);
                self.asked = false;
            }
            Evidence::Trouble(Trouble::Stalled) => {
                if !is_past {
                    return suspended(Trouble::Stalled);
                }
            }
            Evidence::Asked | Evidence::Trouble(_) if was_counted => {}
            Evidence::Asked => {
                if self.asked {
                    return suspended(Trouble::NoCookie);
                }
                self.asked = true;
                self.counted = Some(news.now);
            }
            Evidence::Trouble(trouble) => match self.trust.checked_sub(1) {
                Some(trust) => {
                    self.trust = trust;
                    self.counted = Some(news.now);
                }
                None => return suspended(trouble),
            },
        }
        Phase::Open(self)
    }
}

/// A retry has been heard of.
fn tried(
    trouble: Trouble,
    doublings: u8,
    since: Instant,
    news: News,
    settings: &Settings,
) -> Phase {
    let again = |trouble| Phase::Suspended {
        trouble,
        doublings,
        until: news.now,
    };
    let doubled = |trouble| suspend(trouble, doublings.saturating_add(1), news.now, settings);
    match news.evidence {
        Evidence::Nothing => again(trouble),
        // The cookie was gone meanwhile. One race more, with the new one.
        Evidence::Asked if trouble != Trouble::NoCookie => again(Trouble::NoCookie),
        Evidence::Asked => doubled(Trouble::NoCookie),
        Evidence::Trouble(trouble) => doubled(trouble),
        Evidence::Answered if trouble == Trouble::Stalled => Phase::Open(Open {
            trust: 1,
            asked: false,
            counted: Some(news.now),
            relapse: Some(Relapse {
                doublings,
                since,
                until: news.now.saturating_add(settings.backoff(doublings)),
            }),
        }),
        Evidence::Answered => healed(news.now),
    }
}

fn healed(now: Instant) -> Phase {
    Phase::Open(Open {
        trust: 1,
        asked: false,
        counted: Some(now),
        relapse: None,
    })
}

fn suspend(trouble: Trouble, doublings: u8, now: Instant, settings: &Settings) -> Phase {
    let least = match trouble {
        Trouble::Stalled => STALL_DOUBLINGS,
        _ => 0,
    };
    let doublings = doublings.clamp(least, DOUBLINGS_MAX);
    Phase::Suspended {
        trouble,
        doublings,
        until: now.saturating_add(settings.backoff(doublings)),
    }
}
