//! The result of `--against`: whether a build costs more than an older one.

use std::fmt::{self, Display, Formatter};

use super::table::Table;
use crate::statistics::Spread;

/// The largest median of the rounds' ratios that counts as unchanged. Two equal builds differ by about this much on a
/// machine that also does other work.
const UNCHANGED_MAX: f64 = 1.03;

/// The median of fewer rounds isn't precise enough for differences of a few hundredths.
const ROUNDS_MIN: usize = 11;

/// The notes of a scenario that are compared in addition to the CPU time.
const NOTES: [&str; 1] = ["memory a socket with its topics, bytes"];

/// The figures of the new build, as ratios to the old build in the same round: a name, the ratios, and the number of
/// rounds.
pub(super) struct CostChange(Vec<(String, Spread, usize)>);

impl CostChange {
    /// Compares the second candidate of a comparison with the first one.
    pub(super) fn of(table: &Table) -> Self {
        let ratios = |what: &str, ratios: Vec<f64>| {
            let rounds = ratios.len();
            Spread::of(ratios).map(|spread| (what.to_owned(), spread, rounds))
        };
        let cpu = ratios("CPU time", table.cpu_ratios());
        let notes = NOTES.iter().filter_map(|name| ratios(name, table.note_ratios(name)));
        Self(cpu.into_iter().chain(notes).collect())
    }

    /// Whether a figure grew by more than [`UNCHANGED_MAX`] allows. With fewer than [`ROUNDS_MIN`] rounds it is always
    /// false.
    pub(super) fn is_worse(&self) -> bool {
        self.0.iter().any(|(_, spread, rounds)| *rounds >= ROUNDS_MIN && spread.median > UNCHANGED_MAX)
    }
}

impl Display for CostChange {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        for (what, spread, rounds) in &self.0 {
            let says = match spread.median <= UNCHANGED_MAX {
                _ if *rounds < ROUNDS_MIN => format!("{ROUNDS_MIN} rounds are needed for a result"),
                true => format!("unchanged: at most {UNCHANGED_MAX}"),
                false => format!("MORE than {UNCHANGED_MAX}"),
            };
            let Spread { median, least, greatest } = spread;
            writeln!(out, "{what}, new to old: {median:.3} ({least:.3}–{greatest:.3}) in {rounds} rounds; {says}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(ratio: f64, rounds: usize) -> CostChange {
        CostChange(vec![("CPU time".into(), Spread::of(vec![ratio; rounds]).expect("some rounds"), rounds)])
    }

    #[test]
    fn three_hundredths_more_are_unchanged_and_four_are_not() {
        assert!(!change(1.03, 11).is_worse());
        assert!(change(1.04, 11).is_worse());
        assert!(change(1.04, 11).to_string().contains("1.040 (1.040–1.040) in 11 rounds; MORE than 1.03"));
    }

    #[test]
    fn too_few_rounds_give_no_result() {
        assert!(!change(2.0, 10).is_worse());
        assert!(change(2.0, 10).to_string().contains("11 rounds are needed"));
    }
}
