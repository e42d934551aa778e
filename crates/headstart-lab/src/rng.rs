//! Random numbers that come again with the same seed.

/// SplitMix64 (Steele, Lea, Flood 2014): one word of state, good enough for loss.
#[derive(Debug)]
pub(crate) struct Rng {
    state: u64,
}

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// True in `per_mille` of 1,000 calls.
    pub(crate) fn chance(&mut self, per_mille: u16) -> bool {
        self.next() % 1000 < u64::from(per_mille)
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn a_seed_repeats_and_a_rate_holds() {
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            (0..10_000).map(|_| rng.chance(100)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let lost = draw(1).iter().filter(|lost| **lost).count();
        assert!((900..1100).contains(&lost), "{lost}");
        assert!(!Rng::new(1).chance(0) && Rng::new(1).chance(1000));
    }
}
