//! A change of one entry, in memory rooms of several sizes: it must not cost more in a large room.

use anyhow::Result;

use super::Setup;
use super::row::{Candidate, Costs, Row};
use super::shelf::{ENTRY_BYTES, Shelf};
use crate::random::Random;

const TARGET: f64 = 1.2;

const TOPIC: &str = "shelf:1";

/// The sizes of the rooms, and the number of messages that a round measures.
struct Sizes {
    /// The numbers of entries. All rooms are compared with the first.
    entries: [usize; 3],
    messages: usize,
}

/// Rooms of 1 KB, 100 KB and 10 MB.
const SIZES: Sizes = Sizes { entries: [10, 1_000, 100_000], messages: 20_000 };

const QUICK: Sizes = Sizes { entries: [10, 100, 1_000], messages: 500 };

pub(super) async fn rows(setup: &Setup) -> Result<Vec<Row>> {
    let Sizes { entries, messages } = if setup.quick { QUICK } else { SIZES };
    let mut candidates = Vec::new();
    for entries in entries {
        let name = format!("a change of one entry, memory room of {}", size(entries * ENTRY_BYTES));
        let host = Changing::start(setup, entries, messages).await?;
        candidates.push(Candidate { name, host });
    }
    let costs = Costs::measure(setup.rounds(), &mut candidates, Changing::cost).await?;
    for Candidate { host, .. } in &mut candidates {
        host.shelf.check_filled(TOPIC, host.entries).await?;
    }
    let against = size(entries[0] * ENTRY_BYTES);
    let row =
        |number: usize| Row::new(format!("{} / {against}", candidates[number].name), costs.ratios(number), TARGET);
    (1..candidates.len()).map(row).collect()
}

/// A host with one filled room.
struct Changing {
    shelf: Shelf,
    entries: usize,
    messages: usize,
    random: Random,
}

impl Changing {
    async fn start(setup: &Setup, entries: usize, messages: usize) -> Result<Self> {
        let mut shelf = setup.start().await?;
        shelf.join(TOPIC).await?;
        shelf.fill(TOPIC, entries).await?;
        let mut changing = Self { shelf, entries, messages, random: Random::new(1) };
        // The first messages are slower: threads start, and the plugin's instances are made.
        changing.change(messages / 10).await?;
        Ok(changing)
    }

    /// Microseconds of the host's CPU time for each message.
    async fn cost(&mut self) -> Result<f64> {
        let before = self.shelf.cpu()?;
        self.change(self.messages).await?;
        let cpu = self.shelf.cpu()?.saturating_sub(before);
        Ok(cpu.as_secs_f64() * 1e6 / self.messages as f64)
    }

    async fn change(&mut self, messages: usize) -> Result<()> {
        let Self { shelf, entries, random, .. } = self;
        shelf.change(TOPIC, messages, || random.below(*entries)).await
    }
}

/// A size in the largest decimal unit that gives a whole number.
fn size(bytes: usize) -> String {
    match bytes {
        _ if bytes.is_multiple_of(1_000_000) => format!("{} MB", bytes / 1_000_000),
        _ if bytes.is_multiple_of(1_000) => format!("{} KB", bytes / 1_000),
        _ => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_have_the_sizes_of_their_rows() {
        let sizes = SIZES.entries.map(|entries| size(entries * ENTRY_BYTES));
        assert_eq!(sizes, ["1 KB", "100 KB", "10 MB"]);
        assert_eq!(size(1_500), "1500 bytes");
    }
}
