//! The costs of rooms. One table compares costs of a room's entries, and each of its rows has a target. Two more
//! [tables](plain) are about rooms with one value.
//!
//! The rows need the plugin `shelf`. [`shelf`] lists what it has to do.

mod change;
mod first_read;
mod memory;
mod plain;
mod published;
mod replies;
mod row;
mod shelf;
mod tick;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Args, Subcommand, ValueEnum};

use crate::host::{default_binary, guest};
use row::{Row, Table};
use shelf::ShelfHost;

/// Costs of a room's entries, each as a ratio with a target: exits with status 1 if a target isn't met
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Rooms {
    #[command(subcommand)]
    tables: Option<Tables>,

    /// Measure only these rows; may be given more than once
    #[arg(long = "row", value_enum, value_name = "ROW")]
    rows: Vec<RowName>,

    #[command(flatten)]
    setup: Setup,
}

#[derive(Subcommand)]
enum Tables {
    Plain(plain::Plain),
}

/// A group of rows that are measured together.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum RowName {
    /// A change of one entry of 100 bytes, in memory rooms of 100 KB and 10 MB against 1 KB: CPU time of a message
    Change,
    /// The same in durable rooms, with one of 1 GB; and the pages that the first read in that room needs after a start
    Durable,
    /// A change of one published entry of 10,000 for 100 members, against a broadcast of the same bytes: CPU time
    Published,
    /// A join of a published state of 10,000 entries, against writing its bytes once: CPU time
    Join,
    /// A tick that moves 100 players, by scan and put-many against one value: CPU time
    Tick,
    /// Memory of a million entries of 100 bytes, against their bytes
    Memory,
}

/// The hosts of a row, and the number of rounds.
#[derive(Args)]
struct Setup {
    /// Rounds; each measures all hosts of a row, one after another
    #[arg(long, default_value_t = 7)]
    rounds: usize,

    /// Measure small rooms for a short time: tests the rows. The ratios have no meaning, and none is a failure
    #[arg(long)]
    quick: bool,

    /// Leave out the room of 1 GB, which takes about a minute to fill
    #[arg(long)]
    no_large: bool,

    /// The host's binary
    #[arg(long, default_value_os_t = default_binary())]
    host: PathBuf,

    /// The plugin `shelf`, as `cargo xtask guests` builds it
    #[arg(long, default_value_os_t = guest("shelf"))]
    plugin: PathBuf,
}

impl Setup {
    fn rounds(&self) -> usize {
        if self.quick { self.rounds.min(2) } else { self.rounds }
    }

    /// Starts a host.
    async fn start(&self) -> Result<ShelfHost> {
        ShelfHost::start(&self.host, &self.plugin).await
    }
}

impl Rooms {
    pub(crate) async fn run(self) -> Result<()> {
        match self.tables {
            Some(Tables::Plain(tables)) => tables.run().await,
            None => self.measure().await,
        }
    }

    async fn measure(&self) -> Result<()> {
        let mut table = Table::default();
        let measured = self.measure_rows(&mut table).await;
        // If a row fails, the table has the rows before it.
        print!("{table}");
        measured?;
        let missed = table.missed();
        ensure!(self.setup.quick || missed == 0, "{missed} of the targets aren't met");
        Ok(())
    }

    async fn measure_rows(&self, table: &mut Table) -> Result<()> {
        for name in RowName::value_variants() {
            if self.rows.is_empty() || self.rows.contains(name) {
                table.add(name.measure(&self.setup).await?);
            }
        }
        Ok(())
    }
}

impl RowName {
    async fn measure(self, setup: &Setup) -> Result<Vec<Row>> {
        match self {
            Self::Change => change::memory(setup).await,
            Self::Durable => change::durable(setup).await,
            Self::Published => published::changes(setup).await,
            Self::Join => published::joins(setup).await,
            Self::Tick => tick::rows(setup).await,
            Self::Memory => memory::rows(setup).await,
        }
    }
}
