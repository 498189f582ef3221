//! A change of one entry, in rooms of several sizes: it must not cost more in a large room.

use anyhow::Result;
use bennu_test_tiers::Noise;

use super::Setup;
use super::first_read;
use super::row::{Candidate, Costs, Row, SLICES};
use super::shelf::ShelfHost;

const TARGET: f64 = 1.2;

/// A room that is measured.
#[derive(Clone, Copy)]
struct Room {
    /// The size of the room, for the name of its row.
    size: &'static str,
    /// The entries of 100 bytes. The changed entries are some of them.
    entries: usize,
    /// Larger entries, which are only there.
    others: usize,
}

/// The bytes of the values of the larger entries.
const OTHER_BYTES: usize = 988;

/// The first number of the larger entries.
const FIRST_OTHER: usize = 1_000_000;

const ROOMS: [Room; 3] = [
    Room { size: "1 KB", entries: 10, others: 0 },
    Room { size: "100 KB", entries: 1_000, others: 0 },
    Room { size: "10 MB", entries: 100_000, others: 0 },
];

/// With a million entries of 1,000 bytes. Its changed entries are warm, and they are few.
const LARGE: Room = Room { size: "1 GB", entries: 10_000, others: 1_000_000 };

const QUICK: [Room; 3] = [
    Room { size: "1 KB", entries: 10, others: 0 },
    Room { size: "10 KB", entries: 100, others: 0 },
    Room { size: "200 KB", entries: 1_000, others: 100 },
];

/// The messages of a round.
const MESSAGES: usize = 20_000;
/// Each of them waits for a commit.
const MESSAGES_DURABLE: usize = 1_000;
const MESSAGES_QUICK: usize = 500;

/// Memory rooms.
pub(super) async fn memory(setup: &Setup) -> Result<Vec<Row>> {
    let rooms = if setup.quick { QUICK } else { ROOMS };
    let messages = if setup.quick { MESSAGES_QUICK } else { MESSAGES };
    let (rows, _) = measure(setup, "shelf:1", "memory", &rooms, messages).await?;
    Ok(rows)
}

/// Durable rooms. The largest of them is also read after a start.
pub(super) async fn durable(setup: &Setup) -> Result<Vec<Row>> {
    let rooms = match setup {
        Setup { quick: true, .. } => QUICK.to_vec(),
        Setup { no_large: true, .. } => {
            eprintln!("the room of {} is left out", LARGE.size);
            ROOMS.to_vec()
        }
        _ => [&ROOMS[..], &[LARGE]].concat(),
    };
    let messages = if setup.quick { MESSAGES_QUICK } else { MESSAGES_DURABLE };
    let (mut rows, largest) = measure(setup, "vault:1", "durable", &rooms, messages).await?;
    if let Some(Candidate { host, .. }) = largest {
        let size = rooms[rooms.len() - 1].size;
        rows.push(first_read::row(setup, host.shelf, host.topic, size, host.room.entries).await?);
    }
    Ok(rows)
}

/// Measures a kind of rooms. Also returns the host with the last room.
async fn measure(
    setup: &Setup,
    topic: &'static str,
    kind: &str,
    rooms: &[Room],
    messages: usize,
) -> Result<(Vec<Row>, Option<Candidate<Changing>>)> {
    let mut candidates = Vec::new();
    for room in rooms {
        let name = format!("a change of one entry, {kind} room of {}", room.size);
        eprintln!("{name}: filling it");
        candidates.push(Candidate { name, host: Changing::start(setup, topic, *room, messages).await? });
    }
    let costs = Costs::measure(setup.rounds(), SLICES, &mut candidates, Changing::cost).await?;
    for Candidate { host, .. } in &mut candidates {
        host.shelf.check_filled(topic, host.room.entries).await?;
    }
    let against = rooms[0].size;
    let row =
        |number: usize| Row::new(format!("{} / {against}", candidates[number].name), costs.ratios(number), TARGET);
    let rows = (1..candidates.len()).map(row).collect::<Result<_>>()?;
    Ok((rows, candidates.pop()))
}

/// A host with one filled room.
struct Changing {
    shelf: ShelfHost,
    topic: &'static str,
    room: Room,
    messages: usize,
    random: Noise,
}

impl Changing {
    async fn start(setup: &Setup, topic: &'static str, room: Room, messages: usize) -> Result<Self> {
        let mut shelf = setup.start().await?;
        shelf.join(topic).await?;
        shelf.fill_with(topic, FIRST_OTHER..FIRST_OTHER + room.others, OTHER_BYTES).await?;
        shelf.fill(topic, room.entries).await?;
        shelf.check_filled(topic, room.entries).await?;
        shelf.read(topic, room.entries).await?;
        let mut changing = Self { shelf, topic, room, messages, random: Noise::new(1) };
        // The first messages are slower: threads start, and the plugin's instances are made.
        changing.change(messages / 10).await?;
        Ok(changing)
    }

    /// Microseconds of the host's CPU time for each message.
    async fn cost(&mut self) -> Result<f64> {
        let before = self.shelf.cpu()?;
        let messages = self.messages / SLICES;
        self.change(messages).await?;
        let cpu = self.shelf.cpu()?.saturating_sub(before);
        Ok(cpu.as_secs_f64() * 1e6 / messages as f64)
    }

    async fn change(&mut self, messages: usize) -> Result<()> {
        let Self { shelf, topic, room, random, .. } = self;
        shelf.change(topic, messages, || random.below(room.entries)).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::shelf::ENTRY_BYTES;
    use super::*;

    #[test]
    fn rooms_have_the_sizes_of_their_rows() {
        let bytes = |room: &Room| room.entries * ENTRY_BYTES + room.others * (OTHER_BYTES + 12);
        assert_eq!(ROOMS.each_ref().map(bytes), [1_000, 100_000, 10_000_000]);
        assert_eq!(QUICK.each_ref().map(bytes), [1_000, 10_000, 200_000]);
        assert_eq!(bytes(&LARGE), 1_001_000_000);
    }
}
