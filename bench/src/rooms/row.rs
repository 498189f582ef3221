//! The table. A row is the ratio of a cost to another cost of the same round, and its target.

use std::fmt::{self, Display, Formatter};

use anyhow::{Context, Result};

use crate::rounds::order;
use crate::statistics::{Spread, shown};

/// The rows that are measured so far.
#[derive(Default)]
pub(super) struct Table(Vec<Row>);

impl Table {
    pub(super) fn add(&mut self, rows: Vec<Row>) {
        self.0.extend(rows);
    }

    /// The number of rows whose targets aren't met.
    pub(super) fn missed(&self) -> usize {
        self.0.iter().filter(|row| !row.is_met()).count()
    }
}

impl Display for Table {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "| row | ratio (from .. to) | target | met |")?;
        writeln!(out, "| --- | --- | --- | --- |")?;
        self.0.iter().try_for_each(|row| writeln!(out, "{row}"))
    }
}

/// A row: the median of the rounds' ratios, with its spread.
pub(super) struct Row {
    name: String,
    ratio: Spread,
    /// The largest median that is met.
    target: f64,
}

impl Row {
    /// Fails if there are no ratios.
    pub(super) fn new(name: String, ratios: impl IntoIterator<Item = f64>, target: f64) -> Result<Self> {
        let ratio = Spread::of(ratios).context("no round was measured")?;
        Ok(Self { name, ratio, target })
    }

    /// Whether the target is met. It isn't if any ratio is zero or can't be computed, because then a cost wasn't measured.
    fn is_met(&self) -> bool {
        let Spread { median, least, greatest } = self.ratio;
        // NaN is sorted as the least or the greatest figure, so these comparisons are false for it.
        least > 0.0 && greatest < f64::INFINITY && median <= self.target
    }
}

impl Display for Row {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Self { name, ratio: Spread { median, least, greatest }, target } = self;
        let met = if self.is_met() { "yes" } else { "NO" };
        write!(out, "| {name} | {median:.3} ({least:.3} .. {greatest:.3}) | {target:.1} | {met} |")
    }
}

/// A host that is compared with others, and its name.
pub(super) struct Candidate<H> {
    pub(super) name: String,
    pub(super) host: H,
}

/// The usual number of slices of a round. The speed of a machine changes within a second, so a round alternates between its
/// candidates.
pub(super) const SLICES: usize = 10;

/// The costs of all rounds. Each round has the cost of each candidate.
pub(super) struct Costs(Vec<Vec<f64>>);

impl Costs {
    /// Measures all candidates in each slice of each round, one after another, so that other load of the machine affects all
    /// of them. A cost of a round is the mean of its slices.
    pub(super) async fn measure<H>(
        rounds: usize,
        slices: usize,
        candidates: &mut [Candidate<H>],
        cost: impl AsyncFn(&mut H) -> Result<f64>,
    ) -> Result<Self> {
        let count = candidates.len();
        let mut costs = vec![vec![0.0; count]; rounds];
        for (round, costs) in (1..).zip(&mut costs) {
            for number in (0..slices).flat_map(|slice| order(count, round + slice)) {
                let Candidate { name, host } = &mut candidates[number];
                costs[number] += cost(host).await.with_context(|| name.clone())? / slices as f64;
            }
            for (Candidate { name, .. }, cost) in candidates.iter().zip(costs) {
                eprintln!("round {round} of {rounds}, {name}: {} µs", shown(*cost));
            }
        }
        Ok(Self(costs))
    }

    /// The cost of a candidate divided by that of the first candidate, for each round.
    pub(super) fn ratios(&self, candidate: usize) -> impl Iterator<Item = f64> {
        self.0.iter().map(move |round| round[candidate] / round[0])
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn row(ratios: &[f64]) -> Row {
        Row::new("a tick".into(), ratios.iter().copied(), 1.5).expect("some ratios")
    }

    #[test]
    fn a_row_is_met_up_to_its_target() {
        assert_eq!(row(&[9.0, 1.25, 1.5]).to_string(), "| a tick | 1.500 (1.250 .. 9.000) | 1.5 | yes |");
        assert_eq!(row(&[1.0, 1.501, 1.6]).to_string(), "| a tick | 1.501 (1.000 .. 1.600) | 1.5 | NO |");
    }

    #[test]
    fn a_row_without_a_cost_is_not_met() {
        assert!(Row::new("a tick".into(), [], 1.5).is_err());
        for ratio in [f64::NAN, -f64::NAN, f64::INFINITY, 0.0] {
            assert!(row(&[1.0, 1.0, 1.0]).is_met() && !row(&[ratio, 1.0, 1.0]).is_met(), "{ratio}");
        }
    }

    #[test]
    fn a_table_counts_the_rows_that_are_not_met() {
        let mut table = Table::default();
        table.add(vec![row(&[1.0])]);
        assert_eq!(table.missed(), 0);
        table.add(vec![row(&[1.6]), row(&[2.0])]);
        assert_eq!(table.missed(), 2);
        let lines = [
            "| row | ratio (from .. to) | target | met |",
            "| --- | --- | --- | --- |",
            "| a tick | 1.000 (1.000 .. 1.000) | 1.5 | yes |",
            "| a tick | 1.600 (1.600 .. 1.600) | 1.5 | NO |",
            "| a tick | 2.000 (2.000 .. 2.000) | 1.5 | NO |",
        ];
        assert_eq!(table.to_string().lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let costs = Costs(vec![vec![1.0, 3.0, 1.0], vec![2.0, 2.0, 4.0], vec![3.0, 6.0, 3.0]]);
        // The ratio of the medians would be 3 : 2.
        let Spread { median, least, greatest } = Spread::of(costs.ratios(1)).expect("three rounds");
        assert_eq!([median, least, greatest], [2.0, 1.0, 3.0]);
        assert_eq!(costs.ratios(2).collect::<Vec<_>>(), [1.0, 2.0, 1.0]);
    }

    #[tokio::test]
    async fn each_slice_measures_all_candidates_in_turn() {
        let measured = RefCell::new(Vec::new());
        let mut candidates = ["a", "b", "c"].map(|name| Candidate { name: name.into(), host: name });
        let cost = async |host: &mut &'static str| {
            measured.borrow_mut().push(*host);
            Ok(measured.borrow().len() as f64)
        };
        let costs = Costs::measure(2, 2, &mut candidates, cost).await.expect("no candidate fails");
        assert_eq!(measured.into_inner().join(""), "abccbacbaabc");
        assert_eq!(costs.0, [[3.5, 3.5, 3.5], [9.5, 9.5, 9.5]]);
    }
}
