//! Three nodes of a cluster beside what their engines do by themselves: broadcasts to another node, callbacks that write, commits of
//! several nodes, and transaction ids.
//!
//! Everything that is compared runs in one process against the same servers, in turns. So what else the machine does hits all of it, and
//! the ratios mean something on any machine. The times and rates don't.

mod broadcasts;
mod commits;
mod ids;
mod nodes;
mod pairs;
mod writes;

use std::path::PathBuf;

use anyhow::{Result, bail};
use bennu_test_engines::{NatsServer, PostgresServer};
use clap::{Args, ValueEnum};

use crate::host::default_binary;

/// Three nodes of a cluster, beside what PostgreSQL and NATS do by themselves
#[derive(Args)]
pub(crate) struct Cluster {
    /// Measure only these tables; may be given more than once
    #[arg(long = "table", value_enum, value_name = "TABLE")]
    tables: Vec<TableName>,

    #[command(flatten)]
    setup: Setup,
}

/// What is measured together.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum TableName {
    /// From a client's message to a member at another node, beside the `NOTIFY` of PostgreSQL and a publish of NATS
    Broadcasts,
    /// A callback that writes, beside an `INSERT`
    Writes,
    /// Commits a second of one, two and three nodes, on one plugin and on three
    Commits,
    /// Transaction ids a day, without load and with broadcasts
    Ids,
}

/// What all tables have in common.
#[derive(Args)]
struct Setup {
    /// Measured rounds
    #[arg(long, default_value_t = 7)]
    rounds: usize,

    /// Measure for a short time: tests the tables. The figures have no meaning
    #[arg(long)]
    quick: bool,

    /// The host's binary
    #[arg(long, default_value_os_t = default_binary())]
    host: PathBuf,
}

impl Setup {
    fn rounds(&self) -> usize {
        if self.quick { 2 } else { self.rounds }
    }

    /// How long something is measured in a round, in seconds.
    fn seconds(&self, usual: f64) -> f64 {
        if self.quick { usual / 10.0 } else { usual }
    }
}

/// Settings of PostgreSQL: those of a server that serves, where the servers of the tests don't wait for the disk.
const SETTINGS: [&str; 2] = ["fsync=on", "autovacuum_naptime=1min"];

impl Cluster {
    pub(crate) async fn run(&self) -> Result<()> {
        if !PostgresServer::is_there() {
            bail!("no PostgreSQL was found; install one, or set BENNU_POSTGRES_BIN to the directory with `initdb`");
        }
        let postgres = PostgresServer::start_with(&SETTINGS)?;
        let nats = if NatsServer::is_there() {
            Some(NatsServer::start()?)
        } else {
            eprintln!("no NATS server was found: what needs one is left out");
            None
        };
        let wants = |table| self.tables.is_empty() || self.tables.contains(&table);
        if wants(TableName::Broadcasts) {
            broadcasts::run(&self.setup, &postgres, nats.as_ref()).await?;
        }
        if wants(TableName::Writes) {
            writes::run(&self.setup, &postgres).await?;
        }
        if wants(TableName::Commits) {
            commits::run(&self.setup, &postgres).await?;
        }
        if wants(TableName::Ids) {
            ids::run(&self.setup, &postgres, nats.as_ref()).await?;
        }
        Ok(())
    }
}
