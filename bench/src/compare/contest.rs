//! A contest: some ways to do the same, played in turns.

use crate::scenario::{Outcome, Scenario};

use super::rivals::Rival;
use super::table::Table;

/// What is played, and who plays it.
pub(super) struct Contest {
    pub(super) title: String,
    /// The first is what the others are measured by.
    pub(super) entrants: Vec<Entrant>,
}

/// One way to do it.
pub(super) struct Entrant {
    pub(super) name: String,
    pub(super) rival: Rival,
    pub(super) scenario: Box<dyn Scenario>,
}

impl Contest {
    /// Plays so many rounds and prints what came of them. Tells how many of the entrants failed; they are left out of what
    /// follows.
    pub(super) fn hold(self, rounds: usize) -> usize {
        let names = self.entrants.iter().map(|entrant| entrant.name.clone()).collect();
        let mut table = Table::new(names);
        for round in 1..=rounds {
            for (number, entrant) in self.entrants.iter().enumerate() {
                if table.has_failed(number) {
                    continue;
                }
                eprintln!("{}: round {round} of {rounds}, {}", self.title, entrant.name);
                match entrant.rival.start().and_then(|target| entrant.scenario.play(&target)) {
                    Ok(Outcome { taken, latency, notes }) => table.add(number, taken, latency, notes),
                    Err(error) => table.fail(number, &error),
                }
            }
        }
        print!("\n## {}\n\n{table}", self.title);
        table.failures()
    }
}
