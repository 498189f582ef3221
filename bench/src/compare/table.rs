//! The results of the rounds as a table. Each figure is the median of the rounds, with minimum and maximum. Ratios are
//! computed for each round.

use std::fmt::{self, Display, Formatter};

use crate::load::Measurement;
use crate::statistics::{Latency, Spread};

/// The CPU time of a server counts only if its throughput is at least this part of the first server's.
const THROUGHPUT_LEAST: f64 = 0.5;

/// The CPU time of a server counts only if its p99 is at most this many times the first server's. Otherwise the server may
/// save CPU time by delaying its work.
const P99_MOST: f64 = 2.0;

/// All rounds of all candidates. The others are compared with the first candidate.
pub(super) struct Table {
    rows: Vec<Row>,
}

struct Row {
    name: String,
    rounds: Vec<Round>,
    /// The error, if the candidate failed.
    failure: Option<String>,
}

struct Round {
    cpu_each: f64,
    a_second: f64,
    latency: Option<Latency>,
    notes: Vec<(String, f64)>,
}

impl Table {
    pub(super) fn new(names: Vec<String>) -> Self {
        let row = |name| Row { name, rounds: Vec::new(), failure: None };
        Self { rows: names.into_iter().map(row).collect() }
    }

    pub(super) fn add(
        &mut self,
        candidate: usize,
        taken: Measurement,
        latency: Option<Latency>,
        notes: Vec<(String, f64)>,
    ) {
        let (cpu_each, a_second) = (taken.cpu_each(), taken.a_second());
        self.rows[candidate].rounds.push(Round { cpu_each, a_second, latency, notes });
    }

    pub(super) fn fail(&mut self, candidate: usize, error: &anyhow::Error) {
        self.rows[candidate].failure = Some(format!("{error:#}"));
    }

    pub(super) fn has_failed(&self, candidate: usize) -> bool {
        self.rows[candidate].failure.is_some()
    }

    pub(super) fn failures(&self) -> usize {
        self.rows.iter().filter(|row| row.failure.is_some()).count()
    }

    /// The CPU time of an operation as a ratio, for each round: the second candidate's divided by the first's.
    pub(super) fn cpu_ratios(&self) -> Vec<f64> {
        self.ratios(|round| Some(round.cpu_each))
    }

    /// The same ratio for a note.
    pub(super) fn note_ratios(&self, name: &str) -> Vec<f64> {
        self.ratios(|round| round.notes.iter().find(|(what, _)| what == name).map(|(_, figure)| *figure))
    }

    fn ratios(&self, of: impl Fn(&Round) -> Option<f64>) -> Vec<f64> {
        let [first, second] = &self.rows[..] else { return Vec::new() };
        let rounds = first.rounds.iter().zip(&second.rounds);
        rounds.filter_map(|(first, second)| Some(of(second)? / of(first)?)).collect()
    }

    fn notes(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let names = |round: &Round| round.notes.iter().map(|(what, _)| what.clone()).collect::<Vec<_>>();
        let most = self.rows.iter().filter_map(|row| row.rounds.first()).map(names).max_by_key(Vec::len);
        let Some(names) = most.filter(|names| !names.is_empty()) else { return Ok(()) };
        writeln!(out, "\n| | {} |", self.rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>().join(" | "))?;
        writeln!(out, "| --- |{}", " --- |".repeat(self.rows.len()))?;
        for name in names {
            write!(out, "| {name} |")?;
            for row in &self.rows {
                let noted =
                    |round: &Round| round.notes.iter().find(|(what, _)| *what == name).map(|(_, figure)| *figure);
                write!(out, " {} |", cell(Spread::of(row.rounds.iter().filter_map(noted))))?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

impl Row {
    fn spread(&self, of: impl Fn(&Round) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(of))
    }

    /// Combines a figure with another row's figure of the same round. Returns `None` for the same row.
    fn beside(&self, other: &Self, of: impl Fn(&Round) -> Option<f64>, join: fn(f64, f64) -> f64) -> Option<Spread> {
        if std::ptr::eq(self, other) {
            return None;
        }
        let pairs = self.rounds.iter().zip(&other.rounds);
        Spread::of(pairs.filter_map(|(ours, theirs)| Some(join(of(ours)?, of(theirs)?))))
    }

    fn write(&self, first: &Self, out: &mut Formatter<'_>) -> fmt::Result {
        if let Some(failure) = &self.failure {
            return writeln!(out, "| {} | failed: {} | | | | | | | |", self.name, failure.replace('|', "/"));
        }
        let cpu = |round: &Round| Some(round.cpu_each);
        let rate = |round: &Round| Some(round.a_second);
        let p99 = |round: &Round| round.latency.map(|it| it.p99);
        let (rates, p99s) = (self.beside(first, rate, |a, b| a / b), self.beside(first, p99, |a, b| a / b));
        let is_quick = p99s.is_none_or(|it| it.median <= P99_MOST);
        let counts = match rates {
            Some(rates) if rates.median >= THROUGHPUT_LEAST && is_quick => "yes",
            Some(_) => "no",
            None => "",
        };
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            self.name,
            cell(self.spread(cpu)),
            cell(self.beside(first, cpu, |a, b| a / b)),
            cell(self.beside(first, cpu, |a, b| a - b)),
            cell(self.spread(rate)),
            cell(rates),
            cell(self.spread(p99)),
            cell(p99s),
            counts,
        )
    }
}

impl Display for Table {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Some(first) = self.rows.first() else { return Ok(()) };
        let name = &first.name;
        writeln!(
            out,
            "| | CPU, µs an operation | × {name} | above, µs | operations a second | × {name} | p99, µs | × {name} | counts |"
        )?;
        writeln!(out, "|{}", " --- |".repeat(9))?;
        self.rows.iter().try_for_each(|row| row.write(first, out))?;
        self.notes(out)
    }
}

fn cell(spread: Option<Spread>) -> String {
    spread.map_or_else(String::new, |spread| spread.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn taken(micros: u64, operations: u64) -> Measurement {
        let cpu = Duration::from_micros(micros);
        Measurement { operations, time: Duration::from_secs(1), cpu, clients_cpu: Duration::ZERO }
    }

    fn table(rounds: &[[(u64, u64, f64); 2]]) -> String {
        let mut table = Table::new(vec!["floor".into(), "bennu".into()]);
        for round in rounds {
            for (candidate, (micros, operations, p99)) in round.iter().enumerate() {
                let latency = Some(Latency { p50: 1.0, p99: *p99 });
                table.add(candidate, taken(*micros, *operations), latency, vec![("memory".into(), *p99)]);
            }
        }
        table.to_string()
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        // The ratio of the medians would be 3 : 2.
        let shown = table(&[
            [(1_000, 1_000, 10.0), (3_000, 1_000, 10.0)],
            [(2_000, 1_000, 10.0), (2_000, 1_000, 20.0)],
            [(3_000, 1_000, 10.0), (6_000, 500, 20.0)],
        ]);
        let row = "| bennu | 3.00 (2.00–12.0) | 3.00 (1.00–4.00) | 2.00 (0.00–9.00) | 1000 (500–1000) \
                   | 1.00 (0.50–1.00) | 20.0 (10.0–20.0) | 2.00 (1.00–2.00) | yes |";
        assert!(shown.contains(row), "{shown}");
        assert!(shown.contains("| memory | 10.0 (10.0–10.0) | 20.0 (10.0–20.0) |"), "{shown}");
    }

    #[test]
    fn cpu_time_does_not_count_if_throughput_is_too_low_or_latency_too_high() {
        let counts = |host| table(&[[(1_000, 1_000, 10.0), host]]).contains("| yes |\n\n");
        assert!(counts((1_000, 500, 20.0)));
        assert!(!counts((1_000, 499, 20.0)));
        assert!(!counts((1_000, 500, 20.1)));
    }

    #[test]
    fn a_failure_is_shown_in_the_table() {
        let mut table = Table::new(vec!["floor".into(), "bennu".into()]);
        table.add(0, taken(1, 1), None, Vec::new());
        table.fail(1, &anyhow::anyhow!("connection closed"));
        assert!(table.has_failed(1) && table.failures() == 1);
        assert!(table.to_string().contains("| bennu | failed: connection closed |"));
    }
}
