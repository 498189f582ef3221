//! The transaction ids that a cluster takes in a day: without load, and with broadcasts.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bennu_test_engines::{NatsServer, PostgresServer};

use super::Setup;
use super::nodes::Nodes;
use super::pairs::{Pair, measure};
use crate::statistics::{Spread, shown};

/// Broadcasts a second of all nodes together.
const RATE: f64 = 2_000.0;

/// How long each row is measured in a round, in seconds.
const SECONDS: f64 = 5.0;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Measures, and prints the table. One cluster runs at a time, because the ids are those of the whole server.
pub(super) async fn run(setup: &Setup, postgres: &PostgresServer, nats: Option<&NatsServer>) -> Result<()> {
    let mut rows = Vec::new();
    for (name, database, bus) in [("PostgreSQL", "ids", None), ("NATS", "ids_nats", nats)] {
        if name == "NATS" && bus.is_none() {
            continue;
        }
        let nodes = Nodes::start(&setup.host, database, postgres, bus)?;
        let mut pairs = Vec::new();
        for at in 0..nodes.count() {
            pairs.push(Pair::of_members(&nodes, at, 1).await?);
        }
        let (mut idle, mut loaded) = (Vec::new(), Vec::new());
        for _ in 0..setup.rounds() {
            let seconds = setup.seconds(SECONDS);
            idle.push(
                a_day(postgres, async || {
                    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
                    Ok(())
                })
                .await?,
            );
            loaded.push(a_day(postgres, async || measure(&mut pairs, RATE, seconds).await.map(drop)).await?);
        }
        let millions = |figures: Vec<f64>| Spread::of(figures.into_iter().map(|ids| ids / 1e6)).context("no round");
        rows.push(format!("| the bus on {name}, millions | {} | {} |", millions(idle)?, millions(loaded)?));
    }
    println!("\n| transaction ids a day, three nodes | without load | {} broadcasts a second |", shown(RATE));
    println!("| --- | --- | --- |");
    rows.iter().for_each(|row| println!("{row}"));
    Ok(())
}

/// The ids that the server would give away in a day if it went on as during some work.
async fn a_day(postgres: &PostgresServer, work: impl AsyncFnOnce() -> Result<()>) -> Result<f64> {
    let next = || -> Result<f64> {
        // It takes no id itself.
        let shown = postgres.sql("postgres", "SELECT pg_snapshot_xmax(pg_current_snapshot())")?;
        Ok(shown.parse()?)
    };
    let (began, first) = (Instant::now(), next()?);
    work().await?;
    Ok((next()? - first) / began.elapsed().as_secs_f64() * DAY.as_secs_f64())
}
