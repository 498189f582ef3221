//! A callback that writes, beside an `INSERT` of the same server.

use std::time::Instant;

use anyhow::{Context, Result};
use bennu_test_engines::PostgresServer;
use tokio_postgres::NoTls;

use super::Setup;
use super::nodes::{LEDGER, Nodes, deposit, join};
use crate::statistics::{Latency, Samples, Spread};

/// Writes of each kind in a second of a round.
const WRITES: f64 = 200.0;

/// Measures, and prints the table. A callback that writes is one that reads an account and stores it, which is one transaction. It waits
/// for the disk once, as the `INSERT` does.
pub(super) async fn run(setup: &Setup, postgres: &PostgresServer) -> Result<()> {
    let nodes = Nodes::start(&setup.host, "writes", postgres, None)?;
    let topic = format!("{LEDGER}:1");
    let mut client = nodes.connect(0).await?;
    join(&mut client, &topic).await?;
    let (session, connection) = tokio_postgres::connect(&postgres.url("postgres", "writes"), NoTls).await?;
    tokio::spawn(connection);
    session.batch_execute("CREATE TABLE plain (number bigint PRIMARY KEY, value text)").await?;
    let statement = session.prepare("INSERT INTO plain VALUES ($1, $2)").await?;
    let (writes, mut number) = (setup.seconds(WRITES).ceil() as usize, 0_i64);
    let mut rounds: Vec<(Latency, Latency)> = Vec::new();
    // The first round warms up.
    for round in 0..=setup.rounds() {
        let (mut inserts, mut callbacks) = (Samples::default(), Samples::default());
        // In turns, because the disk of a shared machine is fast in one second and slow in the next one.
        for _ in 0..writes {
            let began = Instant::now();
            session.execute(&statement, &[&number, &"a value"]).await?;
            inserts.add(began.elapsed().as_nanos() as u64);
            let began = Instant::now();
            deposit(&mut client, &topic, "own").await?;
            callbacks.add(began.elapsed().as_nanos() as u64);
            number += 1;
        }
        if round > 0 {
            rounds.push((
                inserts.latency().context("nothing was measured")?,
                callbacks.latency().context("nothing was measured")?,
            ));
        }
    }
    print(&rounds)
}

fn print(rounds: &[(Latency, Latency)]) -> Result<()> {
    let spread =
        |figure: fn(&(Latency, Latency)) -> f64| Spread::of(rounds.iter().map(figure)).context("no round was measured");
    println!("\n| one write after another | p50, ms | p99, ms |\n| --- | --- | --- |");
    println!("| `INSERT` | {} | {} |", spread(|it| it.0.p50 / 1e3)?, spread(|it| it.0.p99 / 1e3)?);
    println!(
        "| a callback that reads a key and stores it | {} | {} |",
        spread(|it| it.1.p50 / 1e3)?,
        spread(|it| it.1.p99 / 1e3)?
    );
    println!("| × the `INSERT` | {} | {} |", spread(|it| it.1.p50 / it.0.p50)?, spread(|it| it.1.p99 / it.0.p99)?);
    Ok(())
}
