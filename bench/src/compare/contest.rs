//! A contest: entrants that are compared with each other. In each round, every entrant is measured once.

use crate::scenario::{Outcome, Scenario};

use super::rivals::Rival;
use super::table::Table;

/// A comparison of several entrants.
pub(super) struct Contest {
    pub(super) title: String,
    /// The others are compared with the first entrant.
    pub(super) entrants: Vec<Entrant>,
}

/// One server with the scenario that it plays.
pub(super) struct Entrant {
    pub(super) name: String,
    pub(super) rival: Rival,
    pub(super) scenario: Box<dyn Scenario>,
}

impl Contest {
    /// Plays `rounds` rounds, prints the table and returns it. An entrant that fails is left out of the following rounds.
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

    /// The order of the entrants in a round. Every second round is reversed, so that no entrant always follows the same
    /// one.
    fn order(&self, round: usize) -> Vec<usize> {
        let order = 0..self.entrants.len();
        if round % 2 == 1 { order.collect() } else { order.rev().collect() }
    }
}
