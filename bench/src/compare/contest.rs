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
    /// Plays so many rounds, prints the table and returns it. An entrant that fails is left out of the rounds that follow.
    pub(super) fn hold(&self, rounds: usize) -> Table {
        let names = self.entrants.iter().map(|entrant| entrant.name.clone()).collect();
        let mut table = Table::new(names);
        for round in 1..=rounds {
            for number in self.order(round) {
                let entrant = &self.entrants[number];
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
        table
    }

    /// Who plays when: every second round is played backwards, so that nobody always follows the same one.
    fn order(&self, round: usize) -> Vec<usize> {
        let order = 0..self.entrants.len();
        if round % 2 == 1 { order.collect() } else { order.rev().collect() }
    }
}
