//! Repeated measurements.

use super::Outcome;

/// The figures of one thing, round by round.
#[derive(Clone, Debug, Default)]
pub struct Series(Vec<f64>);

impl Series {
    /// Adds the next round's.
    pub fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// How many rounds there were.
    pub fn rounds(&self) -> usize {
        self.0.len()
    }

    /// The figure that half of all are below.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The figure that a share of all are below; NaN if there are none.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else {
            return f64::NAN;
        };
        let at = share * last as f64;
        let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
        low + (high - low) * at.fract()
    }

    /// Round by round, this divided by that.
    pub fn ratio(&self, limit: &Self) -> Self {
        Self(
            self.0
                .iter()
                .zip(&limit.0)
                .map(|(ours, limit)| ours / limit)
                .collect(),
        )
    }

    /// Every figure by a function.
    pub fn map(&self, function: impl Fn(f64) -> f64) -> Self {
        Self(self.0.iter().copied().map(function).collect())
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Self {
        Self(figures.into_iter().collect())
    }
}

/// One thing to measure: each call is a round, and gives `N` figures.
pub type Measure<'a, const N: usize> = dyn FnMut() -> Outcome<[f64; N]> + 'a;

/// Measures several things in turn, round after round, so that what the
/// machine does meanwhile meets all of them alike. Every other round goes
/// backwards. A round before the first warms up and is not counted.
pub fn interleave<const N: usize>(
    rounds: usize,
    things: &mut [&mut Measure<'_, N>],
) -> Outcome<Vec<[Series; N]>> {
    let mut all: Vec<[Series; N]> = things
        .iter()
        .map(|_| std::array::from_fn(|_| Series::default()))
        .collect();
    for round in 0..=rounds {
        for step in 0..things.len() {
            let thing = if round % 2 == 0 {
                step
            } else {
                things.len() - 1 - step
            };
            let figures = things[thing]()?;
            if round > 0 {
                all[thing]
                    .iter_mut()
                    .zip(figures)
                    .for_each(|(series, figure)| series.push(figure));
            }
        }
    }
    Ok(all)
}
