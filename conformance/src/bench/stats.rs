//! Statistics of repeated measurements: medians, with intervals by resampling.

#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

/// The number of resamples.
const RESAMPLES: usize = 2000;

/// A median, with the interval that contains 95 % of the medians of resamples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The median of the sample itself.
    pub median: f64,
    /// The upper end.
    pub high: f64,
}

/// The median. NaN for an empty sample.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match (sorted.get(half), sorted.len() % 2) {
        (None, _) => f64::NAN,
        (Some(middle), 1) => *middle,
        (Some(upper), _) => f64::midpoint(sorted[half - 1], *upper),
    }
}

/// The ratio of the first value to the second, paired by rounds: a disturbance in a round affects both values.
pub fn ratio(pairs: &[(f64, f64)]) -> Interval {
    let logarithms: Vec<f64> = pairs.iter().map(|(one, other)| (one / other).ln()).collect();
    // A fixed seed: the same sample always has the same interval.
    let mut random = fastrand::Rng::with_seed(0x6e6f_636f_7079);
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let draw = |_| logarithms.get(random.usize(..logarithms.len().max(1))).copied();
            let drawn: Vec<f64> = (0..logarithms.len()).filter_map(draw).collect();
            median(&drawn)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    let at = |per_mille: usize| medians[(RESAMPLES - 1) * per_mille / 1000].exp();
    Interval { low: at(25), median: median(&logarithms).exp(), high: at(975) }
}

impl Interval {
    /// Whether both ends are within `percent` percent of the median.
    pub fn is_within(&self, percent: f64) -> bool {
        let wide = percent / 100.0;
        self.low >= self.median * (1.0 - wide) && self.high <= self.median * (1.0 + wide)
    }
}

impl std::fmt::Display for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} [{:.2}-{:.2}]", self.median, self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        assert!(median(&[]).is_nan());
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-12);
    }

    #[test]
    fn a_steady_ratio_has_a_narrow_interval() {
        let pairs: Vec<(f64, f64)> = (1..=21).map(|round| (2.0 * f64::from(round), f64::from(round))).collect();
        let ratio = ratio(&pairs);
        assert!((ratio.median - 2.0).abs() < 1e-9 && (ratio.low - ratio.high).abs() < 1e-9);
        assert!(ratio.is_within(1.0));
    }

    /// A round that takes ten times as long does so for both values, and the ratio stays the same.
    #[test]
    fn what_disturbs_both_changes_nothing() {
        let mut pairs = vec![(3.0, 1.0); 21];
        pairs[4] = (30.0, 10.0);
        assert!((ratio(&pairs).median - 3.0).abs() < 1e-9);
    }

    #[test]
    fn noise_makes_it_wide() {
        let pairs: Vec<(f64, f64)> = (0..21).map(|round| (if round % 2 == 0 { 1.0 } else { 4.0 }, 1.0)).collect();
        let ratio = ratio(&pairs);
        assert!(ratio.low < ratio.high && !ratio.is_within(10.0), "{ratio}");
        assert_eq!(ratio, super::ratio(&pairs), "the same sample, the same interval");
    }
}
