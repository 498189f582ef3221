//! Commits a second of one, two and three nodes that write for the same plugin, or for three.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bennu_test_engines::PostgresServer;
use tokio::task::JoinSet;

use super::Setup;
use super::nodes::{COPIES, Nodes, deposit, join};
use crate::client::Client;
use crate::rounds::order;
use crate::statistics::{Spread, shown};

/// Clients of a node that write at the same time, each into an account of its own. So no two of them have a conflict.
const WRITERS: usize = 24;

/// How long each cell is measured in a round, in seconds.
const SECONDS: f64 = 2.0;

/// A cell of the table.
struct Cell {
    /// The nodes that write. The others are idle.
    nodes: usize,
    plugins: usize,
    /// The commits a second of each round.
    rates: Vec<f64>,
}

/// A client that has joined the topics of all plugins.
struct Writer {
    client: Client,
    account: String,
    number: usize,
}

/// Measures, and prints the table.
pub(super) async fn run(setup: &Setup, postgres: &PostgresServer) -> Result<()> {
    let nodes = Nodes::start(&setup.host, "commits", postgres, None)?;
    let mut writers = Vec::new();
    for node in 0..nodes.count() {
        let mut of_node = Vec::new();
        for number in 0..WRITERS {
            let mut client = nodes.connect(node).await?;
            for plugin in COPIES {
                join(&mut client, &format!("{plugin}:{node}")).await?;
            }
            of_node.push(Writer { client, account: format!("{node}-{number}"), number });
        }
        writers.push(of_node);
    }
    let plugins = [1, COPIES.len()];
    let mut cells: Vec<Cell> = (1..=nodes.count())
        .flat_map(|nodes| plugins.map(|plugins| Cell { nodes, plugins, rates: Vec::new() }))
        .collect();
    // The first round warms up.
    for round in 0..=setup.rounds() {
        for at in order(cells.len(), round) {
            let rate = measure(&mut writers, &cells[at], setup.seconds(SECONDS)).await?;
            if round > 0 {
                cells[at].rates.push(rate);
            }
        }
    }
    print(&cells)
}

/// Lets the clients of some nodes write for some plugins, without pauses. Returns the commits a second.
async fn measure(writers: &mut [Vec<Writer>], cell: &Cell, seconds: f64) -> Result<f64> {
    let (began, length) = (Instant::now(), Duration::from_secs_f64(seconds));
    let mut working = JoinSet::new();
    for (node, of_node) in writers.iter_mut().enumerate().take(cell.nodes) {
        for mut writer in of_node.drain(..) {
            let topic = format!("{}:{node}", COPIES[writer.number % cell.plugins]);
            working.spawn(async move {
                let mut commits = 0_u64;
                while began.elapsed() < length {
                    deposit(&mut writer.client, &topic, &writer.account).await?;
                    commits += 1;
                }
                anyhow::Ok((node, writer, commits))
            });
        }
    }
    let mut commits = 0;
    while let Some(ended) = working.join_next().await {
        let (node, writer, own) = ended??;
        writers[node].push(writer);
        commits += own;
    }
    Ok(commits as f64 / began.elapsed().as_secs_f64())
}

fn print(cells: &[Cell]) -> Result<()> {
    let first = cells.first().context("no cell was measured")?;
    println!(
        "\n| commits a second | on one plugin | × one node | on {} plugins | × one node, one plugin |",
        COPIES.len()
    );
    println!("| --- | --- | --- | --- | --- |");
    for row in cells.chunks(2) {
        let nodes = row.first().map_or(0, |cell| cell.nodes);
        print!("| {nodes} {} ", if nodes == 1 { "node" } else { "nodes" });
        for cell in row {
            let rate = Spread::of(cell.rates.iter().copied()).context("no round was measured")?;
            let ratios = cell.rates.iter().zip(&first.rates).map(|(own, first)| own / first);
            let ratio = Spread::of(ratios).context("no round was measured")?;
            print!("| {} | {ratio} ", shown(rate.median));
        }
        println!("|");
    }
    Ok(())
}
