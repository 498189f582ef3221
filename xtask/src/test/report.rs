//! The table at the end of a run: the result of each suite, or the reason why it was skipped.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use anyhow::Result;
use bennu_test_tiers::{Suite, Tier};

use super::count::Counts;
use crate::step::{failed, took};

/// How a suite ended.
pub(super) enum Outcome {
    Passed { time: Duration, counts: Counts },
    Failed { time: Duration, counts: Counts },
    Skipped(String),
}

impl Outcome {
    /// The outcome of a suite that ran. Prints an error at once.
    pub(super) fn of(ended: Result<()>, time: Duration, counts: Counts) -> Self {
        match ended {
            Ok(()) => Self::Passed { time, counts },
            Err(error) => {
                failed(&error);
                Self::Failed { time, counts }
            }
        }
    }
}

/// How many tests are named that were skipped for the same reason.
const NAMES_MAX: usize = 3;

/// The outcomes of all suites.
pub(super) struct Report {
    tier: Tier,
    rows: Vec<(Suite, Outcome)>,
}

impl Report {
    pub(super) fn new(tier: Tier) -> Self {
        Self { tier, rows: Vec::new() }
    }

    pub(super) fn add(&mut self, suite: Suite, outcome: Outcome) {
        self.rows.push((suite, outcome));
    }

    fn total(&self) -> Counts {
        let mut total = Counts::default();
        for (_, outcome) in &self.rows {
            if let Outcome::Passed { counts, .. } | Outcome::Failed { counts, .. } = outcome {
                total += counts.clone();
            }
        }
        total
    }
}

impl Display for Report {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "\n{:10} {:8} {:>14} {:>7} {:>7}  (tier: {})",
            "suite",
            "outcome",
            "time",
            "passed",
            "skipped",
            self.tier.name()
        )?;
        for (suite, outcome) in &self.rows {
            let suite = suite.name();
            let (word, time, counts) = match outcome {
                Outcome::Passed { time, counts } => ("passed", time, counts),
                Outcome::Failed { time, counts } => ("FAILED", time, counts),
                Outcome::Skipped(why) => {
                    writeln!(out, "{suite:10} {:8} {why}", "skipped")?;
                    continue;
                }
            };
            // Lints are not tests, so they have no numbers.
            let number = |number: usize| if number == 0 { String::new() } else { number.to_string() };
            writeln!(
                out,
                "{suite:10} {word:8} {:>14} {:>7} {:>7}",
                took(*time),
                number(counts.passed),
                number(counts.skipped)
            )?;
        }
        let Counts { passed, failed, skipped, reasons, failures, figures } = self.total();
        if !reasons.is_empty() {
            writeln!(out, "\nskipped in a suite that ran:")?;
        }
        for (why, tests) in &reasons {
            let names = tests.iter().take(NAMES_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = tests.len().saturating_sub(NAMES_MAX);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            writeln!(out, "  {names}{more}: {why}")?;
        }
        if !figures.is_empty() {
            writeln!(out, "\nmeasured:")?;
        }
        for figure in &figures {
            writeln!(out, "  {figure}")?;
        }
        if !failures.is_empty() {
            writeln!(out, "\nfailed:")?;
        }
        for failure in &failures {
            writeln!(out, "  {failure}")?;
        }
        // The last line has a form that every reader of test output knows.
        write!(out, "\n{passed} passed, {failed} failed, {skipped} skipped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_each_result_and_each_reason_for_skipping() {
        let mut report = Report::new(Tier::Usual);
        let tests = ["a::one", "a::two", "a::three", "b::four"].map(str::to_owned).to_vec();
        let reasons = [("no disk".to_owned(), tests)].into();
        let failures = vec!["c::five\n    Error: no".to_owned()];
        let figures = vec!["d::six: 7 ms".to_owned()];
        let counts = Counts { passed: 700, failed: 1, skipped: 2, reasons, failures, figures };
        report.add(Suite::Host, Outcome::Passed { time: Duration::from_secs(75), counts });
        report.add(Suite::Bench, Outcome::Skipped("only in `cargo xtask test full`".into()));
        let text = report.to_string();
        assert!(text.contains("host       passed       1 min 15 s     700       2"), "{text}");
        assert!(text.contains("bench      skipped  only in `cargo xtask test full`"), "{text}");
        assert!(text.contains("\n  a::one, a::two, a::three and 1 more: no disk\n"), "{text}");
        assert!(text.contains("\nmeasured:\n  d::six: 7 ms\n"), "{text}");
        assert!(text.contains("\nfailed:\n  c::five\n    Error: no\n"), "{text}");
        assert!(text.ends_with("\n700 passed, 1 failed, 2 skipped"), "{text}");
    }
}
