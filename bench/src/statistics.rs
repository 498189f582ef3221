//! Medians, percentiles and spreads.

use std::fmt::{self, Display, Formatter};

/// Measured times, in nanoseconds.
#[derive(Default)]
pub(crate) struct Samples(Vec<u64>);

/// Median and 99th percentile of measured times, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Samples {
    pub(crate) fn add(&mut self, nanoseconds: u64) {
        self.0.push(nanoseconds);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns `None` if there are no samples.
    pub(crate) fn latency(&mut self) -> Option<Latency> {
        self.0.sort_unstable();
        let at =
            |percent: usize| Some(*self.0.get((self.0.len().checked_sub(1)? * percent).div_ceil(100))? as f64 / 1e3);
        Some(Latency { p50: at(50)?, p99: at(99)? })
    }
}

/// The median of some figures, with minimum and maximum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

impl Spread {
    /// Returns `None` if there are no figures.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (least, greatest) = (*figures.first()?, *figures.last()?);
        let (low, high) = (figures[(figures.len() - 1) / 2], figures[figures.len() / 2]);
        Some(Self { median: f64::midpoint(low, high), least, greatest })
    }
}

impl Display for Spread {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({}–{})", shown(self.median), shown(self.least), shown(self.greatest))
    }
}

/// A number with about three significant digits.
pub(crate) fn shown(figure: f64) -> String {
    match figure.abs() {
        100.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_to_three_digits() {
        assert_eq!([0.123, 1.0, 12.34, 123.4, 12_345.6].map(shown), ["0.12", "1.00", "12.3", "123", "12346"]);
        let spread = Spread { median: 2.0, least: 1.0, greatest: 30.0 };
        assert_eq!(spread.to_string(), "2.00 (1.00–30.0)");
    }

    #[test]
    fn the_median_of_an_even_count_is_the_mean_of_the_middle_two() {
        let spread = |figures: &[f64]| Spread::of(figures.iter().copied());
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[3.0]), Some(Spread { median: 3.0, least: 3.0, greatest: 3.0 }));
        assert_eq!(spread(&[9.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, greatest: 9.0 }));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 9.0]), Some(Spread { median: 3.0, least: 1.0, greatest: 9.0 }));
    }

    #[test]
    fn percentiles_are_by_rank() {
        let mut samples = Samples::default();
        assert_eq!(samples.latency(), None);
        (1..=101).rev().for_each(|n| samples.add(n * 1_000));
        assert_eq!(samples.latency(), Some(Latency { p50: 51.0, p99: 100.0 }));
        samples.clear();
        samples.add(7_000);
        assert_eq!(samples.latency(), Some(Latency { p50: 7.0, p99: 7.0 }));
    }
}
