//! Measures a Bennu host under load: `cargo run --release -p bennu-bench -- SCENARIO`.
//!
//! Each scenario starts the host as a separate process and runs the clients in this process. It prints a table with the CPU
//! time and memory that the host used. `compare` also measures the floor: the least that a server can need.

mod attack;
mod client;
mod cluster;
mod compare;
mod compression;
mod difference;
mod first_load;
mod floor;
mod host;
mod languages;
mod load;
mod plot;
mod process;
mod requests;
mod rooms;
mod rounds;
mod scenario;
mod scrapes;
mod scripts;
mod server;
mod soak;
mod statistics;
mod storm;
mod target;
mod wire;

use anyhow::Result;
use clap::{Parser, Subcommand};
use scenario::{Single, churn, echo, fanout, idle, mixed, reload, start};
use tokio::runtime::Runtime;

/// Measure a host under load.
#[derive(Parser)]
struct Command {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    Attack(attack::Attacking),
    /// Sockets connect, join, send one message, leave and close, again and again
    Churn(Single<churn::Churn>),
    Cluster(cluster::Cluster),
    Compare(compare::Compare),
    Compression(compression::Compression),
    Difference(difference::Difference),
    /// Every socket sends a message and waits until it comes back, again and again
    Echo(Single<echo::Echo>),
    /// One socket of each topic sends shouts, and all members of the topic receive them
    Fanout(Single<fanout::Fanout>),
    Floor(floor::Floor),
    /// Sockets connect and join, and then send nothing
    Idle(Single<idle::Idle>),
    Languages(languages::Languages),
    /// Most sockets are idle, some echo, some are in topics with shouts, some connect and close
    Mixed(Single<mixed::Mixed>),
    Plot(plot::Plot),
    Presence(storm::Storm),
    Reload(reload::Reload),
    Requests(requests::Requests),
    Rooms(rooms::Rooms),
    Scrapes(scrapes::Scrapes),
    Scripts(scripts::Scripts),
    Soak(soak::Soak),
    Start(start::Start),
}

fn main() -> Result<()> {
    process::open_many_files();
    match Command::parse().scenario {
        Scenario::Attack(attacking) => Runtime::new()?.block_on(attacking.run()),
        Scenario::Churn(churn) => churn.run(),
        Scenario::Cluster(cluster) => Runtime::new()?.block_on(cluster.run()),
        Scenario::Compare(compare) => compare.run(),
        Scenario::Compression(compression) => compression.run(),
        Scenario::Difference(difference) => Runtime::new()?.block_on(difference.run()),
        Scenario::Echo(echo) => echo.run(),
        Scenario::Fanout(fanout) => fanout.run(),
        Scenario::Floor(floor) => floor.run(),
        Scenario::Idle(idle) => idle.run(),
        Scenario::Languages(languages) => Runtime::new()?.block_on(languages.run()),
        Scenario::Mixed(mixed) => mixed.run(),
        Scenario::Plot(plot) => plot.run(),
        Scenario::Presence(storm) => Runtime::new()?.block_on(storm.run()),
        Scenario::Reload(reload) => reload.run(),
        Scenario::Requests(requests) => Runtime::new()?.block_on(requests.run()),
        Scenario::Rooms(rooms) => Runtime::new()?.block_on(rooms.run()),
        Scenario::Scrapes(scrapes) => Runtime::new()?.block_on(scrapes.run()),
        Scenario::Scripts(scripts) => Runtime::new()?.block_on(scripts.run()),
        Scenario::Soak(soak) => soak.run(),
        Scenario::Start(start) => start.run(),
    }
}
