//! Measures a Bennu host under load: `cargo run --release -p bennu-bench -- SCENARIO`.
//!
//! Each scenario starts the host as a process of its own, plays its clients from this one, and prints a table with what the
//! host took.

mod client;
mod difference;
mod host;
mod rooms;
mod storm;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measure a host under load.
#[derive(Parser)]
struct Command {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    Difference(difference::Difference),
    Presence(storm::Storm),
    Rooms(rooms::Rooms),
}

#[tokio::main]
async fn main() -> Result<()> {
    match Command::parse().scenario {
        Scenario::Difference(difference) => difference.run().await,
        Scenario::Presence(storm) => storm.run().await,
        Scenario::Rooms(rooms) => rooms.run().await,
    }
}
