//! A comparison: the servers and scenarios that are compared with each other. In each round, every candidate is measured once.

use crate::rounds::order;
use crate::scenario::{Outcome, Scenario};

use super::servers::ServerKind;
use super::table::Table;

/// A comparison of several candidates.
pub(super) struct Comparison {
    pub(super) title: String,
    /// The others are compared with the first candidate.
    pub(super) candidates: Vec<Candidate>,
}

/// One server with the scenario that it runs.
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) server: ServerKind,
    pub(super) scenario: Box<dyn Scenario>,
}

impl Comparison {
    /// Measures `rounds` rounds, prints the table and returns it. A candidate that fails is left out of the following rounds.
    pub(super) fn run(&self, rounds: usize) -> Table {
        let names = self.candidates.iter().map(|candidate| candidate.name.clone()).collect();
        let mut table = Table::new(names);
        for round in 1..=rounds {
            for number in order(self.candidates.len(), round) {
                let candidate = &self.candidates[number];
                if table.has_failed(number) {
                    continue;
                }
                eprintln!("{}: round {round} of {rounds}, {}", self.title, candidate.name);
                match candidate.server.start().and_then(|target| candidate.scenario.measure(&target)) {
                    Ok(Outcome { taken, latency, notes }) => table.add(number, taken, latency, notes),
                    Err(error) => table.fail(number, &error),
                }
            }
        }
        print!("\n## {}\n\n{table}", self.title);
        table
    }
}
