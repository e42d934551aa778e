//! Strangers from numbers.

use std::time::Duration;

use headstart_core::config::LoserClose;
use headstart_core::race::AttemptKind;

use super::Stranger;
use crate::dice::Rolls;
use crate::scenario::Scenario;
use crate::stream::Statement;

/// Tells the draws for strangers from those for all else.
const STRANGER: u64 = 0x7374_7261_6e67_6572;

/// Most pieces of an answer that fills the log again and again.
const PIECES_MAX: u32 = 1_000;

impl Scenario {
    /// The scenario with this number, with a client that is not ours before a
    /// server that keeps messages open for copies.
    #[must_use]
    pub fn stranger_from_seed(seed: u64) -> Self {
        let mut scenario = Self::from_seed(seed);
        if scenario.client.statement == Statement::Malformed {
            scenario.client.statement = Statement::Asserted;
        }
        let mut scenario = scenario.made_to_pair();
        // Who waits for an answer has to get one; a log of a few bytes makes a
        // packet of each few.
        let log = scenario.server.pairing.map_or(1, |pairing| pairing.log_max);
        let most = u32::try_from(log).unwrap_or(1).saturating_mul(PIECES_MAX);
        scenario.server.answer = scenario.server.answer.clamp(1, most.max(1));
        let rolls = &mut Rolls::new(seed ^ STRANGER);
        scenario.client.stranger = Some(stranger(rolls));
        scenario
    }
}

fn stranger(rolls: &mut Rolls) -> Stranger {
    let bytes = |rolls: &mut Rolls| {
        let bytes = match rolls.below(6) {
            0..3 => 0,
            3 => rolls.between(1, 60_000),
            _ => rolls.between(1, 3_000),
        };
        u32::try_from(bytes).unwrap_or(1)
    };
    let short = |rolls: &mut Rolls| match rolls.below(4) {
        0 => rolls.millis(1, 400),
        1 => rolls.millis(1, 10),
        _ => Duration::ZERO,
    };
    Stranger {
        prefers: match rolls.below(3) {
            0 => None,
            1 => Some(AttemptKind::Plain),
            _ => Some(AttemptKind::FastOpen),
        },
        reads_both: rolls.once_in(2),
        copied: bytes(rolls),
        upfront: rolls.once_in(2),
        more: bytes(rolls),
        piece: match rolls.below(3) {
            0 => u32::try_from(rolls.between(500, 4_000)).unwrap_or(1_000),
            _ => u32::MAX,
        },
        pause: short(rolls),
        lag: short(rolls),
        hears_out: rolls.once_in(2),
        keeps: match rolls.below(4) {
            0 => None,
            1 => Some(Duration::ZERO),
            2 => Some(rolls.millis(1, 500)),
            _ => Some(rolls.millis(500, 20_000)),
        },
        loser: match rolls.below(3) {
            0 => LoserClose::Graceful,
            _ => LoserClose::Abortive,
        },
    }
}
