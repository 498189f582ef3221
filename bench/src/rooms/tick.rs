//! A tick that reads, moves and writes all players of a topic: as entries, against the same players as one value.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::time::sleep;

use super::Setup;
use super::row::{Candidate, Costs, Row};
use super::shelf::ShelfHost;

const TARGET: f64 = 1.5;

const PLAYERS: usize = 100;

/// The shortest tick period that a host allows by default.
const PERIOD_MS: u64 = 10;

/// Time for the first ticks, before the measured time.
const SETTLE: Duration = Duration::from_millis(300);

/// The number of topics, and the measured time of each round.
struct Sizes {
    topics: usize,
    time: Duration,
}

const SIZES: Sizes = Sizes { topics: 20, time: Duration::from_secs(3) };

const QUICK: Sizes = Sizes { topics: 4, time: Duration::from_millis(500) };

pub(super) async fn rows(setup: &Setup) -> Result<Vec<Row>> {
    let mut candidates = Vec::new();
    for (form, prefix) in [("value", "room:"), ("entries", "players:")] {
        let name = format!("a tick of {PLAYERS} players, {form}");
        candidates.push(Candidate { name, host: Ticking::start(setup, prefix).await? });
    }
    let costs = Costs::measure(setup.rounds(), 1, &mut candidates, Ticking::cost).await?;
    let name = format!("a tick of {PLAYERS} players: scan and put-many / one value");
    Ok(vec![Row::new(name, costs.ratios(1), TARGET)?])
}

/// A host with topics that tick while they are measured.
struct Ticking {
    shelf: ShelfHost,
    topics: Vec<String>,
    time: Duration,
}

impl Ticking {
    /// Starts a host. The prefix of the topics' names chooses how the players are kept.
    async fn start(setup: &Setup, prefix: &str) -> Result<Self> {
        let Sizes { topics, time } = if setup.quick { QUICK } else { SIZES };
        let mut shelf = setup.start().await?;
        let topics: Vec<String> = (0..topics).map(|number| format!("{prefix}{number}")).collect();
        for topic in &topics {
            shelf.join(topic).await?;
        }
        Ok(Self { shelf, topics, time })
    }

    /// Microseconds of the host's CPU time for each handled tick. The ticks end before the next host is measured.
    async fn cost(&mut self) -> Result<f64> {
        let start = json!({ "players": PLAYERS, "ms": PERIOD_MS });
        for topic in &self.topics {
            self.shelf.call(topic, "start", &start).await?;
        }
        sleep(SETTLE).await;
        let ticks = self.ticks().await?;
        let cpu = self.shelf.cpu()?;
        sleep(self.time).await;
        let cpu = self.shelf.cpu()?.saturating_sub(cpu);
        let ticks = self.ticks().await?.saturating_sub(ticks);
        for topic in &self.topics {
            self.shelf.call(topic, "stop", &json!({})).await?;
        }
        ensure!(ticks > 0, "no tick was handled");
        Ok(cpu.as_secs_f64() * 1e6 / ticks as f64)
    }

    /// The number of handled ticks, in all topics.
    async fn ticks(&mut self) -> Result<u64> {
        let mut sum = 0;
        for topic in &self.topics {
            let response = self.shelf.call(topic, "where", &json!({})).await?;
            sum += response["ticks"].as_u64().with_context(|| format!("{response} has no number of ticks"))?;
        }
        Ok(sum)
    }
}
