//! Chance without sequence: every draw is a function of the seed and of what
//! it decides, so a run and its plain-only reference draw alike.

use std::time::Duration;

/// A source of draws for one concern.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// The source of a narrower concern.
    pub(crate) const fn of(self, concern: u64) -> Self {
        Self(mix(self.0 ^ concern.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    pub(crate) const fn draw(self, what: u64) -> u64 {
        self.of(what).0
    }

    /// True for `per_mille` of 1,000 questions.
    pub(crate) const fn chance(self, per_mille: u16, what: u64) -> bool {
        per_mille > 0 && self.draw(what) % 1000 < per_mille as u64
    }

    /// Zero to just below `span`.
    pub(crate) fn span(self, span: Duration, what: u64) -> u64 {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        self.draw(what).checked_rem(nanos).unwrap_or(0)
    }
}

/// Draws in sequence, for making scenarios.
#[derive(Clone, Debug)]
pub(crate) struct Rolls {
    dice: Dice,
    drawn: u64,
}

impl Rolls {
    pub(crate) const fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            drawn: 0,
        }
    }

    /// Draws apart, which leave these as they are.
    pub(crate) const fn apart(&self, which: u64) -> Self {
        Self {
            dice: self.dice.of(which),
            drawn: 0,
        }
    }

    /// Leaves out so many draws.
    pub(crate) const fn skip(mut self, draws: u64) -> Self {
        self.drawn = self.drawn.wrapping_add(draws);
        self
    }

    /// 0 to just below `sides`.
    pub(crate) const fn below(&mut self, sides: u64) -> u64 {
        self.drawn = self.drawn.wrapping_add(1);
        match sides {
            0 => 0,
            sides => self.dice.draw(self.drawn) % sides,
        }
    }

    /// True once in `times` calls.
    pub(crate) const fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// From `least` to `most`.
    pub(crate) const fn between(&mut self, least: u64, most: u64) -> u64 {
        least.saturating_add(self.below(most.saturating_sub(least).saturating_add(1)))
    }

    pub(crate) fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.between(least, most))
    }

    /// One of these.
    pub(crate) fn one_of<T: Clone>(&mut self, choices: &[T], otherwise: T) -> T {
        let index = usize::try_from(self.below(choices.len() as u64)).unwrap_or(0);
        choices.get(index).cloned().unwrap_or(otherwise)
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
